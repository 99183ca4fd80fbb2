// SPDX-License-Identifier: Apache-2.0
//! What ingress-nginx has for a whole server or in its ConfigMap only, where it can be taken for
//! one Ingress.

use std::collections::BTreeSet;

use super::value::{number, switch};
use super::{Draft, Kind, Reader};

/// The suites of TLS 1.2 that are offered, by OpenSSL's names. Those of TLS 1.3 are not chosen by
/// `ssl-ciphers` in nginx either.
const SUITES: [&str; 6] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

/// The versions of TLS that are offered.
const VERSIONS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    hsts(reader, draft);
    tls(reader);
    if let Some(most) = reader.value("upstream-keepalive-connections", |v| number(0, v)) {
        draft.route.idle_upstream_connections = Some(most as usize);
    }
}

fn hsts(reader: &mut Reader<'_>, draft: &mut Draft) {
    let hsts = &mut draft.hsts;
    for (name, place) in [
        ("hsts", &mut hsts.on),
        ("hsts-include-subdomains", &mut hsts.subdomains),
        ("hsts-preload", &mut hsts.preload),
    ] {
        if let Some(on) = reader.value(name, switch) {
            *place = on;
        }
    }
    if let Some(age) = reader.value("hsts-max-age", |value| number(0, value)) {
        hsts.max_age = age;
    }
}

/// One way to speak TLS serves all hosts; it is told where an Ingress asks for another.
fn tls(reader: &mut Reader<'_>) {
    if let Some(text) = reader.text("ssl-protocols") {
        let asked: BTreeSet<&str> = text.split_whitespace().collect();
        if asked != BTreeSet::from(VERSIONS) {
            let text = "TLS 1.2 and 1.3 are offered for all hosts";
            reader.note("ssl-protocols", Kind::Approximated, text);
        }
    }
    if let Some(text) = reader.text("ssl-ciphers") {
        let asked: BTreeSet<&str> = text.split(':').map(str::trim).collect();
        let differs = |of: &BTreeSet<&str>, than: &BTreeSet<&str>| {
            let names: Vec<&str> = of.difference(than).copied().collect();
            names.join(", ")
        };
        let offered = BTreeSet::from(SUITES);
        let (missing, more) = (differs(&asked, &offered), differs(&offered, &asked));
        if asked != offered {
            let mut text = "all hosts are offered the same suites".to_owned();
            for (what, names) in [("not", missing), ("also", more)] {
                if !names.is_empty() {
                    text = format!("{text}; {what} {names}");
                }
            }
            reader.note("ssl-ciphers", Kind::Approximated, text);
        }
    }
    for (name, so, text) in [
        (
            "ssl-prefer-server-ciphers",
            false,
            "the client's order counts, as all suites are strong",
        ),
        (
            "ssl-session-cache",
            true,
            "sessions are resumed by tickets whose keys change every six hours",
        ),
        (
            "ssl-session-tickets",
            true,
            "sessions are resumed by tickets whose keys change every six hours",
        ),
    ] {
        if let Some(on) = reader.value(name, switch)
            && on != so
        {
            reader.note(name, Kind::Approximated, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ingress::annotation::tests::{notes, read_all};

    #[test]
    fn hsts_is_a_matter_of_each_ingress() {
        let header = |annotations: &[(&str, &str)]| {
            let annotated = read_all(annotations);
            assert_eq!(notes(&annotated), [""; 0]);
            let plain = annotated.plain.hsts.clone();
            assert_eq!(plain, annotated.secured.hsts);
            plain.map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(header(&[("hsts-max-age", "5")]), None);
        let all = header(&[
            ("hsts", "true"),
            ("hsts-max-age", "5"),
            ("hsts-preload", "true"),
        ]);
        let all = all.expect("a header");
        assert_eq!(all, "max-age=5; includeSubDomains; preload");
        let short = header(&[("hsts", "true"), ("hsts-include-subdomains", "false")]);
        assert_eq!(short.as_deref(), Some("max-age=31536000"));
        let wrong = read_all(&[("hsts-max-age", "a year")]);
        assert!(notes(&wrong)[0].contains("must be a number"));
    }

    #[test]
    fn what_all_hosts_share_is_told_where_it_differs() {
        let so = read_all(&[
            ("ssl-protocols", "TLSv1.3 TLSv1.2"),
            ("ssl-session-cache", "true"),
            ("ssl-session-tickets", "true"),
            ("ssl-prefer-server-ciphers", "false"),
            ("ssl-passthrough", "false"),
            ("upstream-keepalive-connections", "7"),
        ]);
        assert_eq!(notes(&so), [""; 0]);
        assert_eq!(so.plain.idle_upstream_connections, Some(7));
        let other = read_all(&[
            (
                "ssl-ciphers",
                "ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256",
            ),
            ("ssl-passthrough", "true"),
            ("ssl-prefer-server-ciphers", "true"),
            ("ssl-protocols", "TLSv1 TLSv1.2"),
            ("ssl-session-tickets", "false"),
        ]);
        let notes = notes(&other);
        assert_eq!(notes.len(), 5, "{notes:?}");
        let ciphers = notes.iter().find(|note| note.contains("ssl-ciphers"));
        let ciphers = ciphers.expect("a note");
        assert!(ciphers.contains("; not DHE-RSA-AES128-GCM-SHA256; also ECDHE-ECDSA-AES128"));
    }
}
