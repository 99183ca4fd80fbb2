// SPDX-License-Identifier: Apache-2.0
//! A certificate with its key, from the PEM of a Secret.

use std::fmt;
use std::sync::Arc;

use rustls::sign;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificate's PEM is wrong.
    #[error("the certificate is not PEM: {0}")]
    CertificatePem(pem::Error),
    /// There is PEM, or nothing, but no certificate.
    #[error("there is no certificate")]
    NoCertificate,
    /// The PEM holds what is no X.509 certificate.
    #[error("the certificate is not X.509: {0}")]
    Certificate(String),
    /// The key's PEM is wrong.
    #[error("the private key is not PEM: {0}")]
    KeyPem(pem::Error),
    /// There is no private key.
    #[error("there is no private key")]
    NoKey,
    /// The key is of a kind that cannot be used, or belongs to another certificate.
    #[error("the private key cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// A chain of certificates with the key of the first, and what the first says of itself.
pub struct CertifiedKey {
    pub(super) key: Arc<sign::CertifiedKey>,
    names: Vec<Box<str>>,
    not_before: i64,
    not_after: i64,
}

impl CertifiedKey {
    /// The DNS names in lower case; wildcards begin with `*.`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// Whether one of the names is the host, or is the wildcard that covers it. A host that is a
    /// wildcard is covered by the same wildcard only.
    pub fn covers(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let parent = host.split_once('.').map(|(_, parent)| parent);
        self.names().any(|name| {
            *name == *host || (name.strip_prefix("*.").is_some() && name.get(2..) == parent)
        })
    }

    /// When it begins to be valid, seconds since 1970.
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// When it ends to be valid, seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }
}

impl fmt::Debug for CertifiedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertifiedKey")
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Reads `tls.crt` and `tls.key`: a chain that begins with the server's certificate, and its key
/// in PKCS #8, PKCS #1 or SEC 1.
///
/// # Errors
///
/// Names which of the two is wrong, and how. A certificate that is expired or has other names
/// than it is wanted for is no error: see [`CertifiedKey::not_after`] and [`CertifiedKey::covers`].
pub fn parse(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, Error> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(Error::CertificatePem)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        pem::Error::NoItemsFound => Error::NoKey,
        error => Error::KeyPem(error),
    })?;
    certified(chain, key)
}

/// A certificate for these names that nobody vouches for.
///
/// # Errors
///
/// A name is no DNS name, or the machine gives no random numbers.
pub fn self_signed(names: &[&str]) -> Result<CertifiedKey, Error> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    certified(vec![made.cert.der().clone()], key)
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, Error> {
    let first = chain.first().ok_or(Error::NoCertificate)?;
    let (_, parsed) =
        X509Certificate::from_der(first).map_err(|error| Error::Certificate(error.to_string()))?;
    let names = names(&parsed);
    let (not_before, not_after) = (
        parsed.validity().not_before.timestamp(),
        parsed.validity().not_after.timestamp(),
    );
    drop(parsed);
    let key = sign::CertifiedKey::from_der(chain, key, &super::provider())?;
    Ok(CertifiedKey {
        key: Arc::new(key),
        names,
        not_before,
        not_after,
    })
}

/// The subject's alternative names; clients look at nothing else.
fn names(certificate: &X509Certificate<'_>) -> Vec<Box<str>> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into_boxed_str()),
        _ => None,
    };
    let names = extension.value.general_names.iter();
    names.filter_map(name).collect()
}
