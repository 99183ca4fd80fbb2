// SPDX-License-Identifier: Apache-2.0
//! TLS to endpoints: with whom, and as whom.

use std::sync::Arc;

use super::value::{Wrong, number, words};
use super::{Kind, Reader, backend};
use crate::ingress::table::Behaviour;
use crate::ingress::tls::UpstreamTls;
use crate::ingress::tls::cipher;
use crate::ingress::tls::upstream::{ANY_NAME, Terms};
use crate::model::Secret;

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
/// All of them.
pub(super) const ALL: [&str; 7] = [
    SECRET, OTHERS[0], OTHERS[1], OTHERS[2], OTHERS[3], OTHERS[4], OTHERS[5],
];

/// The values of [`ALL`]. They are taken before one of them makes all others moot, or these would
/// count as unknown.
pub(super) type Texts<'a> = [Option<&'a str>; 7];

/// None if the Ingress says nothing of it, or nothing that can be used.
pub(super) fn read(reader: &mut Reader<'_>, texts: Texts<'_>) -> Option<UpstreamTls> {
    let [secret, others @ ..] = texts;
    let Some(secret) = secret else {
        let there = OTHERS.into_iter().zip(others);
        for (name, _) in there.filter(|(_, text)| text.is_some()) {
            let text = "means nothing without proxy-ssl-secret, as in ingress-nginx";
            reader.note(name, Kind::Refused, text);
        }
        return None;
    };
    let terms = terms(reader, secret, others)?;
    match UpstreamTls::new(terms) {
        Ok(tls) => Some(tls),
        Err(error) => {
            reader.deny(SECRET, error.to_string());
            None
        }
    }
}

/// A value in its shape. One that has another is noted, and counts as not there.
fn value<T>(
    reader: &mut Reader<'_>,
    name: &str,
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, Wrong>,
) -> Option<T> {
    match parse(text?) {
        Ok(value) => Some(value),
        Err(wrong) => {
            let text = format!("{wrong}; the default holds");
            reader.note(name, Kind::Invalid, text);
            None
        }
    }
}

fn terms(reader: &mut Reader<'_>, secret: &str, others: [Option<&str>; 6]) -> Option<Terms> {
    let [ciphers, name, protocols, tells_name, verify, depth] = others;
    let secret = found(reader, secret)?;
    let verifies = match verify.map(backend::on_off).transpose() {
        Ok(verifies) => verifies.unwrap_or(false),
        // In ingress-nginx it is off then, and what it says for others is what has been running.
        Err(wrong) if reader.behaviour() == Behaviour::IngressNginx => {
            let text = format!("{wrong}; endpoints' certificates are not verified");
            reader.note("proxy-ssl-verify", Kind::Invalid, text);
            false
        }
        Err(wrong) => {
            reader.deny("proxy-ssl-verify", wrong);
            return None;
        }
    };
    if verifies && secret.authority.is_none() {
        let why = format!("Secret {} has no ca.crt to verify with", secret.name);
        reader.deny("proxy-ssl-verify", why);
        return None;
    }
    let name = value(reader, "proxy-ssl-name", name, server_name);
    let depth = value(reader, "proxy-ssl-verify-depth", depth, |v| number(0, v));
    let versions = value(reader, "proxy-ssl-protocols", protocols, versions);
    let (tls12, tls13) = versions.unwrap_or((true, false));
    let tells = value(reader, "proxy-ssl-server-name", tells_name, backend::on_off);
    Some(Terms {
        authority: secret.authority.clone(),
        client: secret.certificate.clone().zip(secret.key.clone()),
        name: name.unwrap_or_else(|| ANY_NAME.into()),
        tells_name: tells.unwrap_or(false),
        verifies,
        depth: depth.filter(|depth| *depth > 0).unwrap_or(1) as usize,
        tls12,
        tls13,
        ciphers: suites(reader, ciphers),
    })
}

/// The Secret, if it is one that can be used.
fn found<'a>(reader: &mut Reader<'a>, text: &str) -> Option<&'a Secret> {
    if !text.contains('/') {
        reader.deny(SECRET, "must be NAMESPACE/NAME");
        return None;
    }
    let name = reader.object_name(text);
    if name.namespace != reader.ingress().name.namespace {
        reader.deny(SECRET, "must be a Secret of the Ingress's namespace");
        return None;
    }
    let Some(secret) = reader.secret(&name) else {
        reader.deny(SECRET, format!("Secret {name} is not there"));
        return None;
    };
    let client = secret.certificate.is_some() && secret.key.is_some();
    if !client && secret.authority.is_none() {
        let why = format!("Secret {name} has neither ca.crt nor tls.crt with tls.key");
        reader.deny(SECRET, why);
        return None;
    }
    Some(secret)
}

fn server_name(value: &str) -> Result<Arc<str>, Wrong> {
    let name = rustls_pki_types::ServerName::try_from(value);
    name.map_err(|_| format!("must be the name of a server, is {value:?}"))?;
    Ok(value.into())
}

/// Of TLS 1.2 and of TLS 1.3.
fn versions(value: &str) -> Result<(bool, bool), Wrong> {
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

fn suites(reader: &mut Reader<'_>, text: Option<&str>) -> Arc<str> {
    let text = text.unwrap_or("DEFAULT");
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
    use crate::model::ServiceName;

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
        // What a Secret that is missing makes moot is not unknown.
        let all = [&[NAMED][..], &others].concat();
        assert_eq!(read_with(None, &all).notes.len(), 1);
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
