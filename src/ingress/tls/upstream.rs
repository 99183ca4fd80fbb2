// SPDX-License-Identifier: Apache-2.0
//! TLS to the endpoints of a route that says how: with whom, and as whom.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{ASN1Time, FromDer};

use super::cipher;

/// What ingress-nginx calls all endpoints: the name that is verified if no other is given.
pub(crate) const ANY_NAME: &str = "upstream_balancer";

/// Why TLS to endpoints cannot be as it is wanted.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamTlsError {
    /// A certificate or key is not PEM.
    #[error("{0} is not PEM: {1}")]
    Pem(&'static str, pem::Error),
    /// It is PEM, or empty, without what is needed.
    #[error("{0} holds none")]
    Nothing(&'static str),
    /// The name is neither one of DNS nor an address.
    #[error("{0:?} is no name of a server")]
    Name(Arc<str>),
    /// An authority, certificate or key cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// No authority can be used.
    #[error("{0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// Certificates or a key, as text.
pub(crate) type Pem = Arc<[u8]>;

/// How TLS to endpoints is to be.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Terms {
    /// Who may have signed their certificates: certificates in PEM.
    pub authority: Option<Pem>,
    /// What they are shown if they ask: certificates and key in PEM.
    pub client: Option<(Pem, Pem)>,
    /// The name that their certificates must have.
    pub name: Arc<str>,
    /// Whether they are told the name.
    pub tells_name: bool,
    /// Whether certificates are verified.
    pub verifies: bool,
    /// Of certificates that stand between an endpoint's and an authority, at most.
    pub depth: usize,
    /// TLS 1.2 may be spoken.
    pub tls12: bool,
    /// TLS 1.3 may be spoken.
    pub tls13: bool,
    /// Suites of TLS 1.2 in OpenSSL's words.
    pub ciphers: Arc<str>,
}

impl fmt::Debug for Terms {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms")
            .field("name", &self.name)
            .field("verifies", &self.verifies)
            .finish_non_exhaustive()
    }
}

/// TLS to endpoints, made ready.
#[derive(Clone)]
pub struct UpstreamTls {
    terms: Terms,
    /// Of the terms: telling two apart costs no comparison of certificates.
    digest: u64,
    pub(crate) name: ServerName<'static>,
    http1: Arc<ClientConfig>,
    h2: Arc<ClientConfig>,
}

impl UpstreamTls {
    /// # Errors
    ///
    /// Names the part of the terms that cannot be used.
    pub fn new(terms: Terms) -> Result<Self, UpstreamTlsError> {
        let name = ServerName::try_from(terms.name.to_string());
        let name = name.map_err(|_| UpstreamTlsError::Name(terms.name.clone()))?;
        let mut hasher = DefaultHasher::new();
        terms.hash(&mut hasher);
        let mut http1 = config(&terms)?;
        let mut h2 = http1.clone();
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        h2.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            terms,
            digest: hasher.finish(),
            name,
            http1: Arc::new(http1),
            h2: Arc::new(h2),
        })
    }

    /// Tells it from others.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// For HTTP/1.1 or HTTP/2.
    pub(crate) fn config(&self, h2: bool) -> &Arc<ClientConfig> {
        if h2 { &self.h2 } else { &self.http1 }
    }
}

impl PartialEq for UpstreamTls {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && (std::ptr::eq(self, other) || self.terms == other.terms)
    }
}

impl Eq for UpstreamTls {}

impl Hash for UpstreamTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UpstreamTls").field(&self.terms).finish()
    }
}

fn config(terms: &Terms) -> Result<ClientConfig, UpstreamTlsError> {
    let mut provider = (*super::provider()).clone();
    cipher::restrict(&mut provider, &terms.ciphers);
    let provider = Arc::new(provider);
    let versions: Vec<&'static SupportedProtocolVersion> = [
        (terms.tls13, &rustls::version::TLS13),
        (terms.tls12, &rustls::version::TLS12),
    ]
    .into_iter()
    .filter_map(|(wanted, version)| wanted.then_some(version))
    .collect();
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions)?;
    let builder = builder.dangerous();
    let builder = match terms.verifies {
        true => builder.with_custom_certificate_verifier(Arc::new(Verified::new(terms, provider)?)),
        false => builder.with_custom_certificate_verifier(super::client::unverified(provider)),
    };
    let mut config = match &terms.client {
        Some((certificate, key)) => {
            let chain = certificates("tls.crt", certificate)?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
                pem::Error::NoItemsFound => UpstreamTlsError::Nothing("tls.key"),
                error => UpstreamTlsError::Pem("tls.key", error),
            })?;
            builder.with_client_auth_cert(chain, key)?
        }
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = terms.tells_name;
    Ok(config)
}

fn certificates(
    what: &'static str,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, UpstreamTlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| UpstreamTlsError::Pem(what, error))?;
    match all.is_empty() {
        true => Err(UpstreamTlsError::Nothing(what)),
        false => Ok(all),
    }
}

/// Takes certificates that an authority has signed, and those that are one themselves.
#[derive(Debug)]
struct Verified {
    inner: Arc<WebPkiServerVerifier>,
    authorities: Vec<CertificateDer<'static>>,
    depth: usize,
}

impl Verified {
    fn new(terms: &Terms, provider: Arc<CryptoProvider>) -> Result<Self, UpstreamTlsError> {
        let pem = terms.authority.as_deref().unwrap_or_default();
        let authorities = certificates("ca.crt", pem)?;
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            roots.add(authority.clone())?;
        }
        Ok(Self {
            inner: WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build()?,
            authorities,
            depth: terms.depth,
        })
    }

    /// Many a server has a certificate that it signed itself, and clients have that as authority.
    /// OpenSSL takes it, webpki wants the two to be apart.
    fn is_authority(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
        let known = self.authorities.iter().any(|own| **own == **certificate);
        let parsed = X509Certificate::from_der(certificate).ok();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let now = ASN1Time::from_timestamp(now).ok();
        let valid = parsed.zip(now);
        known && valid.is_some_and(|((_, parsed), now)| parsed.validity().is_valid_at(now))
    }
}

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if self.is_authority(certificate, now) {
            verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
            return Ok(ServerCertVerified::assertion());
        }
        // Those that stand further away cannot be part of a chain that is short enough.
        let between = &between[..between.len().min(self.depth)];
        self.inner
            .verify_server_cert(certificate, between, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
