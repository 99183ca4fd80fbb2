// SPDX-License-Identifier: Apache-2.0
//! Cipher suites in OpenSSL's words.

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, SupportedCipherSuite};

/// The suites of TLS 1.2 that there are here; those of TLS 1.3 are in no such list.
const SUITES: [(&str, CipherSuite); 6] = [
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// What a list comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// In the order of the list; none: all that there are.
    suites: Vec<CipherSuite>,
    /// Words for what there is not.
    pub(crate) missing: Vec<String>,
}

/// Reads `ECDHE-RSA-AES128-GCM-SHA256:…`. Words for many (`HIGH`, `DEFAULT`, `ALL`) mean all that
/// there are, and what is excluded by `!` or `-` is only what is named as a whole.
pub(crate) fn choose(text: &str) -> Chosen {
    let words = text.split([':', ',', ' ']).filter(|word| !word.is_empty());
    let (mut suites, mut missing, mut excluded) = (Vec::new(), Vec::new(), Vec::new());
    for word in words {
        let known = |word: &str| SUITES.iter().find(|(name, _)| *name == word);
        match (word.strip_prefix(['!', '-']), known(word)) {
            (Some(not), _) => excluded.extend(known(not).map(|(_, suite)| *suite)),
            (None, Some((_, suite))) => suites.push(*suite),
            (None, None) if is_group(word) => suites.extend(SUITES.map(|(_, suite)| suite)),
            (None, None) => missing.push(word.to_owned()),
        }
    }
    if suites.is_empty() {
        suites.extend(SUITES.map(|(_, suite)| suite));
    }
    let kept: Vec<_> = suites
        .iter()
        .filter(|suite| !excluded.contains(suite))
        .copied()
        .collect();
    Chosen {
        suites: if kept.is_empty() { suites } else { kept },
        missing,
    }
}

fn is_group(word: &str) -> bool {
    let word = word.trim_start_matches('+');
    let groups = [
        "ALL", "DEFAULT", "HIGH", "ECDHE", "EECDH", "AESGCM", "TLSv1.2",
    ];
    word.starts_with('@') || word.split('+').all(|part| groups.contains(&part))
}

/// Leaves a provider the suites of a list, and those of TLS 1.3.
pub(super) fn restrict(provider: &mut CryptoProvider, text: &str) {
    let wanted = choose(text).suites;
    let place = |suite: &SupportedCipherSuite| wanted.iter().position(|w| *w == suite.suite());
    let is_13 = |suite: &SupportedCipherSuite| suite.tls13().is_some();
    provider
        .cipher_suites
        .retain(|suite| is_13(suite) || place(suite).is_some());
    provider
        .cipher_suites
        .sort_by_key(|suite| (!is_13(suite), place(suite)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let mut provider = (*crate::ingress::tls::provider()).clone();
        restrict(&mut provider, text);
        let suites = provider.cipher_suites.iter();
        let old = suites.filter(|suite| suite.tls13().is_none());
        old.map(|suite| format!("{:?}", suite.suite())).collect()
    }

    #[test]
    fn openssl_s_words_choose_and_order() {
        let two = names("ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256");
        assert_eq!(
            two,
            [
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            ]
        );
        for all in [
            "",
            "DEFAULT",
            "HIGH:!aNULL:!MD5",
            "DHE-RSA-AES128-GCM-SHA256",
        ] {
            assert_eq!(names(all).len(), 6, "{all}");
        }
        assert_eq!(names("HIGH:!ECDHE-RSA-AES128-GCM-SHA256").len(), 5);
    }

    #[test]
    fn what_there_is_not_is_named() {
        let chosen = choose("DHE-RSA-AES128-GCM-SHA256:AES128-SHA:EECDH+AESGCM:@SECLEVEL=1");
        assert_eq!(chosen.missing, ["DHE-RSA-AES128-GCM-SHA256", "AES128-SHA"]);
    }
}
