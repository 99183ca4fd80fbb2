// SPDX-License-Identifier: Apache-2.0
//! TLS of a client that believes everybody: who has which certificate is not what is compared.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::{Certificates, Request};

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What a request says about TLS.
pub(super) fn config(certificates: &Certificates, request: &Request) -> Result<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(only) = &request.cipher {
        let known = |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite()) == *only;
        provider.cipher_suites.retain(known);
        if provider.cipher_suites.is_empty() {
            bail!("the client does not know the cipher suite {only}");
        }
    }
    let provider = Arc::new(provider);
    let versions = match request.tls.as_deref() {
        None => rustls::DEFAULT_VERSIONS,
        Some("1.2") => &[&rustls::version::TLS12],
        Some("1.3") => &[&rustls::version::TLS13],
        Some(other) => bail!("the client does not know TLS {other}"),
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    let mut config = match &request.certificate {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let pair = certificates.clients.get(&**name);
            let pair = pair.with_context(|| format!("no certificate {name}"))?;
            let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes())?];
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?;
            builder.with_client_auth_cert(chain, key)?
        }
    };
    let protocol: &[u8] = if request.http2 { b"h2" } else { b"http/1.1" };
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}
