// SPDX-License-Identifier: Apache-2.0
//! TLS to endpoints: with whom, and as whom.

use std::sync::Arc;

use super::value::{Wrong, number, words};
use super::{Kind, Reader, backend};
use crate::ingress::tls::UpstreamTls;
use crate::ingress::tls::cipher;
use crate::ingress::tls::upstream::{ANY_NAME, Terms};

const SECRET: &str = "proxy-ssl-secret";
/// All that mean nothing without it.
const OTHERS: [&str; 6] = [
    "proxy-ssl-ciphers",
    "proxy-ssl-name",
    "proxy-ssl-protocols",
    "proxy-ssl-server-name",
    "proxy-ssl-verify",
    "proxy-ssl-verify-depth",
];

/// None if the Ingress says nothing of it, or nothing that can be used.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<UpstreamTls> {
    if reader.text(SECRET).is_none() {
        for name in OTHERS {
            if reader.text(name).is_some() {
                let text = "means nothing without proxy-ssl-secret, as in ingress-nginx";
                reader.note(name, Kind::Refused, text);
            }
        }
        return None;
    }
    let terms = terms(reader)?;
    match UpstreamTls::new(terms) {
        Ok(tls) => Some(tls),
        Err(error) => {
            reader.deny(SECRET, error.to_string());
            None
        }
    }
}

fn terms(reader: &mut Reader<'_>) -> Option<Terms> {
    let name = reader.text(SECRET).filter(|name| name.contains('/'));
    let Some(name) = name.map(|name| reader.object_name(name)) else {
        reader.deny(SECRET, "must be NAMESPACE/NAME");
        return None;
    };
    if name.namespace != reader.ingress().name.namespace {
        reader.deny(SECRET, "must be a Secret of the Ingress's namespace");
        return None;
    }
    let Some(secret) = reader.secret(&name) else {
        reader.deny(SECRET, format!("Secret {name} is not there"));
        return None;
    };
    let client = secret.certificate.clone().zip(secret.key.clone());
    let authority = secret.authority.clone();
    if client.is_none() && authority.is_none() {
        let why = format!("Secret {name} has neither ca.crt nor tls.crt with tls.key");
        reader.deny(SECRET, why);
        return None;
    }
    let verifies = reader.guard("proxy-ssl-verify", backend::on_off);
    let verifies = verifies.unwrap_or(false);
    if verifies && authority.is_none() {
        let why = format!("Secret {name} has no ca.crt to verify with");
        reader.deny("proxy-ssl-verify", why);
        return None;
    }
    let depth = reader.value("proxy-ssl-verify-depth", |value| number(0, value));
    let (tls12, tls13) = reader
        .value("proxy-ssl-protocols", protocols)
        .unwrap_or((true, false));
    Some(Terms {
        authority,
        client,
        name: server_name(reader),
        tells_name: reader
            .value("proxy-ssl-server-name", backend::on_off)
            .unwrap_or(false),
        verifies,
        depth: depth.filter(|depth| *depth > 0).unwrap_or(1) as usize,
        tls12,
        tls13,
        ciphers: ciphers(reader),
    })
}

fn server_name(reader: &mut Reader<'_>) -> Arc<str> {
    let name = reader.value("proxy-ssl-name", |value| {
        let name = rustls_pki_types::ServerName::try_from(value);
        name.map_err(|_| format!("must be the name of a server, is {value:?}"))?;
        Ok(Arc::from(value))
    });
    name.unwrap_or_else(|| ANY_NAME.into())
}

/// Of TLS 1.2 and of TLS 1.3.
fn protocols(value: &str) -> Result<(bool, bool), Wrong> {
    let mut both = (false, false);
    for word in words(value) {
        match word {
            "TLSv1.2" => both.0 = true,
            "TLSv1.3" => both.1 = true,
            _ => return Err(format!("must be of TLSv1.2 and TLSv1.3, is {word:?}")),
        }
    }
    Ok(both)
}

fn ciphers(reader: &mut Reader<'_>) -> Arc<str> {
    let Some(text) = reader.text("proxy-ssl-ciphers") else {
        return "DEFAULT".into();
    };
    let missing = cipher::choose(text).missing;
    if !missing.is_empty() {
        let text = format!("there is no {} here", missing.join(", "));
        reader.note("proxy-ssl-ciphers", Kind::Approximated, text);
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Shelf, ingress, notes};
    use super::super::{Annotated, Defaults};
    use super::*;
    use crate::model::{Secret, ServiceName};

    /// A certificate that is its own authority, and its key, in PEM.
    fn pem() -> [Arc<[u8]>; 2] {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        [cert, key].map(|pem| pem.into_bytes().into())
    }

    fn read_with(secret: Option<Secret>, annotations: &[(&str, &str)]) -> Annotated {
        let mut shelf = Shelf::default();
        if let Some(secret) = secret {
            shelf.secrets.insert(secret.name.clone(), secret);
        }
        super::super::read(&ingress(annotations), &Defaults::default(), &shelf)
    }

    fn secret() -> Secret {
        let [certificate, key] = pem();
        Secret {
            name: ServiceName::new("default", "tls"),
            certificate: Some(certificate.clone()),
            key: Some(key),
            authority: Some(certificate),
            auth: None,
            others: Default::default(),
        }
    }

    const NAMED: (&str, &str) = (SECRET, "default/tls");

    #[test]
    fn a_secret_and_what_is_done_with_it() {
        let all = [
            NAMED,
            ("proxy-ssl-name", "a.example"),
            ("proxy-ssl-server-name", "on"),
            ("proxy-ssl-verify", "on"),
            ("proxy-ssl-verify-depth", "2"),
            ("proxy-ssl-protocols", "TLSv1.2 TLSv1.3"),
            ("proxy-ssl-ciphers", "ECDHE-RSA-AES128-GCM-SHA256"),
        ];
        let secret = secret();
        let annotated = read_with(Some(secret.clone()), &all);
        assert_eq!(notes(&annotated), [""; 0]);
        assert_eq!(annotated.plain.denied, None);
        let again = read_with(Some(secret.clone()), &all);
        assert_eq!(annotated, again, "the same again");
        let other = read_with(Some(secret.clone()), &all[..6]);
        assert_ne!(annotated.plain.speech, other.plain.speech);
        assert!(annotated.named.secrets.contains(&secret.name));
        assert!(!format!("{annotated:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_cannot_be_used_closes_the_paths() {
        let broken = Secret {
            key: Some((*b"none").into()),
            ..secret()
        };
        let bare = Secret {
            authority: None,
            ..secret()
        };
        let empty = Secret {
            certificate: None,
            ..bare.clone()
        };
        let verify = ("proxy-ssl-verify", "on");
        for (secret, annotations, why) in [
            (None, &[NAMED][..], "is not there"),
            (Some(broken), &[NAMED], "tls.key holds none"),
            (Some(empty), &[NAMED], "neither"),
            (Some(bare), &[NAMED, verify], "no ca.crt"),
            (Some(secret()), &[(SECRET, "tls")], "must be NAMESPACE/NAME"),
            (Some(secret()), &[(SECRET, "x/tls")], "namespace"),
            (
                Some(secret()),
                &[NAMED, ("proxy-ssl-verify", "yes")],
                "on or off",
            ),
        ] {
            let annotated = read_with(secret, annotations);
            let notes = notes(&annotated);
            assert!(annotated.plain.denied.is_some(), "{why}: {notes:?}");
            assert!(
                notes.iter().any(|note| note.contains(why)),
                "{why}: {notes:?}"
            );
        }
    }

    #[test]
    fn without_a_secret_all_else_means_nothing() {
        let others = OTHERS.map(|name| (name, "on"));
        let annotated = read_with(None, &others);
        assert_eq!(annotated.notes.len(), OTHERS.len());
        assert_eq!(
            (&annotated.plain.speech, &annotated.plain.denied),
            (&None, &None)
        );
    }

    #[test]
    fn wrong_values_are_told() {
        let all = [
            NAMED,
            ("proxy-ssl-name", "$host"),
            ("proxy-ssl-protocols", "TLSv1.1"),
            ("proxy-ssl-ciphers", "AES128-SHA"),
            ("proxy-ssl-server-name", "yes"),
            ("proxy-ssl-verify-depth", "deep"),
        ];
        let annotated = read_with(Some(secret()), &all);
        assert_eq!(annotated.notes.len(), 5, "{:?}", annotated.notes);
        assert!(annotated.plain.speech.is_some() && annotated.plain.denied.is_none());
    }
}
