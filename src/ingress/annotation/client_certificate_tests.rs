// SPDX-License-Identifier: Apache-2.0
use super::super::tests::{Shelf, ingress, notes};
use super::super::{Annotated, Defaults};
use super::*;
use crate::model::ServiceName;

fn read(annotations: &[(&str, &str)]) -> Annotated {
    let names = vec!["authority.example".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let pem = made.cert.pem();
    let mut shelf = Shelf::default();
    let mut add = |name: &str, authority: Option<&str>, list: Option<&str>| {
        let list = list.map(|list| ("ca.crl".into(), list.as_bytes().into()));
        let secret = Secret {
            name: ServiceName::new("default", name),
            certificate: None,
            key: None,
            authority: authority.map(|text| text.as_bytes().into()),
            auth: None,
            others: list.into_iter().collect(),
        };
        shelf.secrets.insert(secret.name.clone(), secret);
    };
    add("ca", Some(&[&pem[..], &pem[..]].concat()), None);
    add("none", None, None);
    add("empty", Some("nothing"), None);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    add("broken", Some(broken), None);
    let list = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    add("list", Some(&pem), Some(list));
    super::super::read(&ingress(annotations), &Defaults::default(), &shelf)
}

fn asked(read: &Annotated) -> Option<Arc<ClientCertificate>> {
    read.plain.gate.as_ref()?.certificate.clone()
}

#[test]
fn all_is_read() {
    let bare = asked(&read(&[(SECRET, "default/ca")])).expect("a certificate");
    assert_eq!(
        (bare.demand, bare.depth, bare.authorities.len()),
        (Demand::On, 1, 2)
    );
    assert!(!bare.pass && bare.subject.is_none() && bare.error_page.is_none());
    let full = read(&[
        (SECRET, "default/ca"),
        ("auth-tls-verify-client", "optional_no_ca"),
        ("auth-tls-verify-depth", "3"),
        ("auth-tls-error-page", "https://in.example/why"),
        ("auth-tls-pass-certificate-to-upstream", "true"),
        ("auth-tls-match-cn", "CN=(anna|bert)"),
    ]);
    assert_eq!(notes(&full), [""; 0]);
    let full = asked(&full).expect("a certificate");
    assert_eq!((full.demand, full.depth), (Demand::OptionalOfAnybody, 3));
    assert_eq!(
        full.error_page.as_ref().expect("a page"),
        "https://in.example/why"
    );
    assert!(full.pass && full.subject.is_some());
}

#[test]
fn what_cannot_be_read_closes_the_hosts() {
    for (annotations, why) in [
        (&[(SECRET, "")][..], "must name a Secret"),
        (
            &[(SECRET, "default/gone")],
            "Secret default/gone is not there",
        ),
        (
            &[(SECRET, "other/ca")],
            "must be of the Ingress's namespace",
        ),
        (&[(SECRET, "default/none")], "has no entry ca.crt"),
        (&[(SECRET, "default/empty")], "has no certificate"),
        (&[(SECRET, "default/broken")], "is not X.509"),
        (&[(SECRET, "default/list")], "ca.crl of Secret default/list"),
        (
            &[(SECRET, "default/ca"), ("auth-tls-match-cn", "anna")],
            "must begin with CN=",
        ),
        (
            &[(SECRET, "default/ca"), ("auth-tls-match-cn", "CN=(")],
            "cannot be compiled",
        ),
    ] {
        let read = read(annotations);
        let asked = asked(&read).expect("a certificate");
        assert_eq!(asked.demand, Demand::Closed, "{annotations:?}");
        let notes = notes(&read);
        assert!(notes[0].contains(why), "{notes:?}");
        assert!(notes[0].ends_with("; its hosts answer 403"), "{notes:?}");
    }
}

#[test]
fn what_else_is_wrong_keeps_the_strict_default() {
    let read = read(&[
        (SECRET, "ca"),
        ("auth-tls-verify-client", "maybe"),
        ("auth-tls-verify-depth", "0"),
        ("auth-tls-error-page", "/why"),
    ]);
    let asked = asked(&read).expect("a certificate");
    assert_eq!((asked.demand, asked.depth), (Demand::On, 1));
    assert_eq!(asked.error_page, None);
    assert_eq!(notes(&read).len(), 3);
}

#[test]
fn nothing_is_asked_without_a_secret() {
    let read = read(&[("auth-tls-verify-client", "on")]);
    assert_eq!(asked(&read), None);
    assert_eq!(
        notes(&read),
        ["annotation auth-tls-verify-client: has no effect without auth-tls-secret"]
    );
}
