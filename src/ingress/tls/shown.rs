// SPDX-License-Identifier: Apache-2.0
//! What a client's certificate is worth, and what it says, in OpenSSL's words: endpoints may have
//! learnt them from ingress-nginx.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, Error, ExpirationPolicy,
    KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use crate::ingress::action::client_certificate::{ClientCertificate, Outcome, Shown};

const UNKNOWN: &str = "unable to verify the first certificate";
const SELF_SIGNED: &str = "self-signed certificate";
const TOO_LONG: &str = "certificate chain too long";

/// Looks at the certificates that a client has shown, of which the first is its own.
pub(crate) fn shown(
    asked: &ClientCertificate,
    chain: &[CertificateDer<'_>],
    now: UnixTime,
) -> Option<Shown> {
    let (first, rest) = chain.split_first()?;
    let mut shown = Shown {
        outcome: Outcome::Bad("it is not X.509".to_owned()),
        subject: String::new(),
        issuer: String::new(),
        certificate: escaped(&pem(first)),
    };
    let Ok((_, parsed)) = X509Certificate::from_der(first) else {
        return Some(shown);
    };
    shown.subject = distinguished(parsed.subject());
    shown.issuer = distinguished(parsed.issuer());
    shown.outcome = match is_pinned(asked, first) {
        true => dates(&parsed, now),
        false => verified(asked, first, rest, now).unwrap_or_else(|error| {
            let own = parsed.subject().as_raw() == parsed.issuer().as_raw();
            judged(&error, own)
        }),
    };
    Some(shown)
}

/// Whether the certificate itself is among those of the authorities.
fn is_pinned(asked: &ClientCertificate, certificate: &CertificateDer<'_>) -> bool {
    let mut all = asked.authorities.iter();
    all.any(|authority| **authority == **certificate)
}

fn dates(certificate: &X509Certificate<'_>, now: UnixTime) -> Outcome {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    if validity.not_after.timestamp() < now {
        Outcome::Bad("certificate has expired".to_owned())
    } else if validity.not_before.timestamp() > now {
        Outcome::Bad("certificate is not yet valid".to_owned())
    } else {
        Outcome::Good
    }
}

fn verified(
    asked: &ClientCertificate,
    first: &CertificateDer<'_>,
    rest: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<Outcome, Error> {
    let authorities: Vec<CertificateDer<'_>> = asked
        .authorities
        .iter()
        .map(|der| CertificateDer::from(&**der))
        .collect();
    let anchors = authorities.iter().map(webpki::anchor_from_trusted_cert);
    let anchors = anchors.collect::<Result<Vec<_>, _>>()?;
    let lists = asked.revoked.iter().map(|der| {
        let list = BorrowedCertRevocationList::from_der(der)?;
        Ok(CertRevocationList::from(list))
    });
    let lists = lists.collect::<Result<Vec<_>, Error>>()?;
    let lists: Vec<&CertRevocationList<'_>> = lists.iter().collect();
    // As OpenSSL does it for all certificates of a chain.
    let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
        options
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Deny)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build()
    });
    let algorithms = super::provider().signature_verification_algorithms.all;
    let certificate = EndEntityCert::try_from(first)?;
    let usage = KeyUsage::client_auth();
    let path =
        certificate.verify_for_usage(algorithms, &anchors, rest, now, usage, revocation, None)?;
    Ok(
        match path.intermediate_certificates().count() > asked.depth {
            true => Outcome::Bad(TOO_LONG.to_owned()),
            false => Outcome::Good,
        },
    )
}

/// What OpenSSL would say, of a certificate that its own key has signed or another's.
fn judged(error: &Error, own: bool) -> Outcome {
    let bad = match error {
        // What may sign others is no client's to us; to OpenSSL it is nobody's.
        Error::UnknownIssuer | Error::CaUsedAsEndEntity => {
            let why = if own { SELF_SIGNED } else { UNKNOWN };
            return Outcome::Stranger(why.to_owned());
        }
        Error::CertExpired { .. } => "certificate has expired",
        Error::CertNotValidYet { .. } => "certificate is not yet valid",
        Error::CertRevoked => "certificate revoked",
        Error::CrlExpired { .. } => "CRL has expired",
        Error::UnknownRevocationStatus => "unable to get certificate CRL",
        Error::InvalidSignatureForPublicKey => "certificate signature failure",
        Error::RequiredEkuNotFoundContext(_) => "unsuitable certificate purpose",
        Error::MaximumPathDepthExceeded | Error::PathLenConstraintViolated => TOO_LONG,
        other => return Outcome::Bad(other.to_string()),
    };
    Outcome::Bad(bad.to_owned())
}

/// A name as RFC 2253 writes it, as nginx's `$ssl_client_s_dn`.
fn distinguished(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let all: Vec<_> = name.iter().collect();
    for (i, relative) in all.into_iter().rev().enumerate() {
        if i > 0 {
            text.push(',');
        }
        for (j, attribute) in relative.iter().enumerate() {
            if j > 0 {
                text.push('+');
            }
            let oid = attribute.attr_type().to_id_string();
            let short = SHORT.iter().find(|(id, _)| *id == oid);
            text.push_str(short.map_or(&oid, |(_, short)| short));
            text.push('=');
            match attribute.as_str() {
                Ok(value) => push_value(&mut text, value),
                Err(_) => push_hex(&mut text, attribute.as_slice()),
            }
        }
    }
    text
}

/// Attributes by OpenSSL's names.
const SHORT: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "GN"),
    ("2.5.4.46", "dnQualifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

fn push_value(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        let odd = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';');
        let at_end = (c == ' ' && (i == 0 || i == last)) || (c == '#' && i == 0);
        if c.is_ascii_control() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\{:02X}", c as u32);
            continue;
        }
        if odd || at_end {
            text.push('\\');
        }
        text.push(c);
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    text.push('#');
    for byte in bytes {
        let _ = write!(text, "{byte:02X}");
    }
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let encoded = STANDARD.encode(certificate);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in encoded.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// As nginx's `$ssl_client_escaped_cert`.
fn escaped(plain: &str) -> String {
    let mut text = String::with_capacity(plain.len() * 5 / 4);
    for byte in plain.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => text.push(byte.into()),
            byte => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
#[path = "shown_tests.rs"]
mod tests;
