// SPDX-License-Identifier: Apache-2.0

use super::*;

/// PEM of a certificate for these names, and of its key.
fn pem(names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn a_secret_is_read() {
    let (certificate, key) = pem(&["Example.com", "*.example.org"]);
    let parsed = parse(certificate.as_bytes(), key.as_bytes()).unwrap();
    assert_eq!(
        parsed.names().collect::<Vec<_>>(),
        ["example.com", "*.example.org"]
    );
    assert!(parsed.not_before() < parsed.not_after());
    for (host, covered) in [
        ("example.com", true),
        ("EXAMPLE.com", true),
        ("www.example.com", false),
        ("www.example.org", true),
        ("a.www.example.org", false),
        ("*.example.org", true),
        ("example.org", false),
        ("", false),
    ] {
        assert_eq!(parsed.covers(host), covered, "{host}");
    }
}

#[test]
fn what_is_wrong_with_a_secret_is_named() {
    let (certificate, key) = pem(&["a.example"]);
    let (_, other) = pem(&["b.example"]);
    let broken = certificate.replace("-----END", "-----FIN");
    let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (certificate, key, expected) in [
        ("", key.as_str(), "there is no certificate"),
        (key.as_str(), key.as_str(), "there is no certificate"),
        (&certificate, "", "there is no private key"),
        (&certificate, &certificate, "there is no private key"),
        (&certificate, &other, "the private key cannot be used: "),
        (&broken, &key, "the certificate is not PEM: "),
        (empty, &key, "the certificate is not X.509: "),
    ] {
        let error = parse(certificate.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[test]
fn names_are_found_before_wildcards_before_the_default() {
    let key = |name: &str| Arc::new(self_signed(&[name]).unwrap());
    let (exact, wildcard, default) = (
        key("a.example.com"),
        key("*.example.com"),
        key("default.example"),
    );
    let certificates = Certificates {
        by_host: [
            ("a.example.com".into(), exact.clone()),
            ("*.example.com".into(), wildcard.clone()),
        ]
        .into(),
        default: Some(default.clone()),
    };
    for (name, expected) in [
        (Some("a.example.com"), &exact),
        (Some("b.example.com"), &wildcard),
        (Some("a.b.example.com"), &default),
        (Some("example.com"), &default),
        (Some("localhost"), &default),
        (None, &default),
    ] {
        assert!(
            Arc::ptr_eq(certificates.find(name).unwrap(), expected),
            "{name:?}"
        );
    }
    assert!(Certificates::default().find(Some("a")).is_none());
}
