// SPDX-License-Identifier: Apache-2.0
//! What the clients of an Ingress's hosts have to show when TLS begins.

use std::sync::Arc;

use hyper::header::HeaderValue;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use super::auth::{gate_allows_others, may_name, without};
use super::value::{Wrong, number, switch};
use super::{Draft, Kind, Reader, gate};
use crate::ingress::action::client_certificate::{ClientCertificate, Demand};
use crate::ingress::action::search::Search;
use crate::model::Secret;

const SECRET: &str = "auth-tls-secret";

/// What means nothing without a Secret.
const NEEDS_SECRET: &[&str] = &[
    "auth-tls-verify-client",
    "auth-tls-verify-depth",
    "auth-tls-error-page",
    "auth-tls-pass-certificate-to-upstream",
    "auth-tls-match-cn",
];

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    if !reader.ingress().annotations.contains_key(SECRET) {
        NEEDS_SECRET
            .iter()
            .for_each(|name| without(reader, name, SECRET));
        return;
    }
    let cross = gate_allows_others(draft);
    let asked = certificate(reader, cross).unwrap_or_else(|(name, why)| {
        for name in NEEDS_SECRET {
            // Not unknown, for all that.
            let _ = reader.text(name);
        }
        let text = format!("{why}; its hosts answer 403");
        reader.note(name, Kind::Invalid, text);
        ClientCertificate::closed()
    });
    gate(&mut draft.route).certificate = Some(Arc::new(asked));
}

/// The error names the annotation that is wrong.
fn certificate(
    reader: &mut Reader<'_>,
    cross: bool,
) -> Result<ClientCertificate, (&'static str, Wrong)> {
    let secret = secret(reader, cross).map_err(|why| (SECRET, why))?;
    let (authorities, revoked) = authorities(secret).map_err(|why| (SECRET, why))?;
    let demand = reader.value("auth-tls-verify-client", demand);
    let depth = reader.value("auth-tls-verify-depth", |text| number(1, text));
    let pass = reader.value("auth-tls-pass-certificate-to-upstream", switch);
    let error_page = reader.text("auth-tls-error-page");
    let error_page = error_page.and_then(|page| error_page_of(reader, page));
    let subject = match reader.text("auth-tls-match-cn") {
        Some(text) => Some(subject(text).map_err(|why| ("auth-tls-match-cn", why))?),
        None => None,
    };
    Ok(ClientCertificate {
        demand: demand.unwrap_or(Demand::On),
        authorities,
        revoked,
        depth: depth.map_or(1, |depth| depth as usize),
        error_page,
        pass: pass.unwrap_or(false),
        subject,
    })
}

fn secret<'a>(reader: &mut Reader<'a>, cross: bool) -> Result<&'a Secret, Wrong> {
    let text = reader.text(SECRET).ok_or("must name a Secret, is empty")?;
    let name = reader.object_name(text);
    may_name(reader, &name, cross)?;
    let found = reader.secret(&name);
    found.ok_or_else(|| format!("Secret {name} is not there"))
}

type Ders = Vec<Box<[u8]>>;

/// The certificates of authorities, and the lists of what they have revoked.
fn authorities(secret: &Secret) -> Result<(Ders, Ders), Wrong> {
    let name = &secret.name;
    let pem = secret.authority.as_deref();
    let pem = pem.ok_or_else(|| format!("Secret {name} has no entry ca.crt"))?;
    let mut authorities = Ders::new();
    for der in CertificateDer::pem_slice_iter(pem) {
        let der = der.map_err(|error| format!("ca.crt of Secret {name}: {error}"))?;
        webpki::anchor_from_trusted_cert(&der)
            .map_err(|error| format!("ca.crt of Secret {name} is not X.509: {error}"))?;
        authorities.push(der.as_ref().into());
    }
    if authorities.is_empty() {
        return Err(format!("ca.crt of Secret {name} has no certificate"));
    }
    let mut revoked = Ders::new();
    if let Some(pem) = secret.others.get("ca.crl") {
        for der in CertificateRevocationListDer::pem_slice_iter(pem) {
            let der = der.map_err(|error| format!("ca.crl of Secret {name}: {error}"))?;
            webpki::BorrowedCertRevocationList::from_der(&der)
                .map_err(|error| format!("ca.crl of Secret {name}: {error}"))?;
            revoked.push(der.as_ref().into());
        }
    }
    Ok((authorities, revoked))
}

fn demand(text: &str) -> Result<Demand, Wrong> {
    match text {
        "on" => Ok(Demand::On),
        "off" => Ok(Demand::Off),
        "optional" => Ok(Demand::Optional),
        "optional_no_ca" => Ok(Demand::OptionalOfAnybody),
        _ => Err(format!(
            "must be on, off, optional or optional_no_ca, is {text:?}"
        )),
    }
}

fn subject(text: &str) -> Result<Search, Wrong> {
    match text.starts_with("CN=") {
        true => Search::new(text),
        false => Err(format!("must begin with CN=, is {text:?}")),
    }
}

/// Where clients are sent; a page of the host's own would be asked for with the same certificate.
fn error_page_of(reader: &mut Reader<'_>, page: &str) -> Option<HeaderValue> {
    const NAME: &str = "auth-tls-error-page";
    let absolute = page.starts_with("http://") || page.starts_with("https://");
    let value = HeaderValue::from_str(page).ok().filter(|_| absolute);
    if value.is_none() {
        let text = format!("only a redirect to http:// or https:// is served, not {page:?}");
        reader.note(
            NAME,
            Kind::Refused,
            format!("{text}; status 400 is answered"),
        );
    }
    value
}

#[cfg(test)]
#[path = "client_certificate_tests.rs"]
mod tests;
