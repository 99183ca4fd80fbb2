// SPDX-License-Identifier: Apache-2.0
//! Cipher suites in OpenSSL's words.

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, SupportedCipherSuite};

/// The suites of TLS 1.2 that there are here, each with the words of OpenSSL's lists that stand for
/// it besides those for all of them. Those of TLS 1.3 are in no such list.
const SUITES: [(&str, CipherSuite, &str); 6] = [
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "ECDSA aECDSA AES AES128 AESGCM",
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "aRSA AES AES128 AESGCM",
    ),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "ECDSA aECDSA AES AES256 AESGCM",
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "aRSA AES AES256 AESGCM",
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDSA aECDSA CHACHA20",
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        "aRSA CHACHA20",
    ),
];
/// The words for all of them.
const ALL: &str = "ALL DEFAULT HIGH TLSv1.2 ECDHE EECDH kECDHE kEECDH";

/// What a list comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// In the order of the list; there may be none.
    pub(crate) suites: Vec<CipherSuite>,
    /// Words for what there is not.
    pub(crate) missing: Vec<String>,
}

/// Reads `ECDHE-RSA-AES128-GCM-SHA256:HIGH:!AES128` as OpenSSL does (its manual page `ciphers`):
/// words add, `-` takes away, `!` for good, `+` moves to the end.
pub(crate) fn choose(text: &str) -> Chosen {
    let words = text.split([':', ',', ' ']).filter(|word| !word.is_empty());
    let (mut suites, mut missing, mut banned) = (Vec::new(), Vec::new(), Vec::new());
    for word in words {
        let name = word.trim_start_matches(['!', '-', '+']);
        let meant = meant(name);
        match word.as_bytes()[0] {
            // How strong, which is as strong as it gets.
            b'@' => {}
            b'!' => banned.extend(meant),
            b'-' => suites.retain(|suite| !meant.contains(suite)),
            b'+' => suites.sort_by_key(|suite| meant.contains(suite)),
            _ if name.starts_with("TLS_") && is_13(name) => {}
            _ if meant.is_empty() => missing.push(word.to_owned()),
            _ => {
                let new = meant.into_iter().filter(|suite| !suites.contains(suite));
                suites.extend(new.collect::<Vec<_>>());
            }
        }
    }
    suites.retain(|suite| !banned.contains(suite));
    Chosen { suites, missing }
}

/// A suite by its name, or all that have what each part of a word says.
fn meant(word: &str) -> Vec<CipherSuite> {
    let has = |tags: &str, part: &str| {
        let mut tags = tags.split(' ').chain(ALL.split(' '));
        tags.any(|tag| tag == part)
    };
    let fits = |(name, _, tags): &&(&str, CipherSuite, &str)| {
        *name == word || word.split('+').all(|part| has(tags, part))
    };
    let all = SUITES.iter().filter(fits);
    all.map(|(_, suite, _)| *suite).collect()
}

/// Whether it is a suite of TLS 1.3, which are always there.
fn is_13(name: &str) -> bool {
    let all = [
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    ];
    all.contains(&name)
}

/// Leaves a provider the suites of a list, and those of TLS 1.3; all if there is none of the list.
pub(super) fn restrict(provider: &mut CryptoProvider, text: &str) {
    let wanted = choose(text).suites;
    if !wanted.is_empty() {
        keep(provider, &wanted);
    }
}

/// Leaves a provider these suites, in this order, and those of TLS 1.3.
pub(super) fn keep(provider: &mut CryptoProvider, wanted: &[CipherSuite]) {
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
        for (text, count) in [
            ("ALL:!AES128", 4),
            ("AESGCM", 4),
            ("EECDH+AESGCM:EECDH+CHACHA20", 6),
            ("ECDHE+aRSA+AES256", 1),
            ("HIGH:-CHACHA20", 4),
            ("HIGH:-CHACHA20:CHACHA20", 6),
            ("CHACHA20:!CHACHA20:AES256", 2),
            ("ALL:!ALL", 0),
            ("RSA", 0),
            ("TLS_AES_128_GCM_SHA256", 0),
        ] {
            assert_eq!(choose(text).suites.len(), count, "{text}");
        }
        let last = choose("ALL:+AES128").suites;
        assert_eq!(
            last[4],
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        );
    }

    #[test]
    fn what_there_is_not_is_named() {
        let chosen = choose("DHE-RSA-AES128-GCM-SHA256:AES128-SHA:EECDH+AESGCM:@SECLEVEL=1");
        assert_eq!(chosen.missing, ["DHE-RSA-AES128-GCM-SHA256", "AES128-SHA"]);
    }
}
