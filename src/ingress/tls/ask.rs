// SPDX-License-Identifier: Apache-2.0
//! Asks clients for a certificate. Whatever they show, the handshake goes on: who is refused gets an
//! answer to a request, as nginx gives it, and not an alert.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::ingress::action::client_certificate::ClientCertificate;
use crate::ingress::action::handshake::Handshake;

/// What clients are served with otherwise, and asked for a certificate of these authorities.
///
/// # Errors
///
/// The cryptography has no version of TLS.
pub(crate) fn asking(
    base: &ServerConfig,
    handshake: &Handshake,
    asked: &ClientCertificate,
) -> Result<Arc<ServerConfig>, Error> {
    let provider = base.crypto_provider().clone();
    let verifier = Asking {
        algorithms: provider.signature_verification_algorithms,
        hints: hints(asked),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(super::versions(handshake))?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(base.cert_resolver.clone());
    config.alpn_protocols.clone_from(&base.alpn_protocols);
    config.ignore_client_order = base.ignore_client_order;
    // Each connection shows its certificate anew: one that was made before it was asked for, or
    // before it was revoked, is of no use.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// By these names clients choose what to show.
fn hints(asked: &ClientCertificate) -> Vec<DistinguishedName> {
    let names = asked.authorities.iter().filter_map(|der| {
        let der = CertificateDer::from(&**der);
        let anchor = webpki::anchor_from_trusted_cert(&der).ok()?;
        Some(DistinguishedName::in_sequence(&anchor.subject))
    });
    names.collect()
}

/// Takes any certificate whose key the client has.
#[derive(Debug)]
struct Asking {
    algorithms: WebPkiSupportedAlgorithms,
    hints: Vec<DistinguishedName>,
}

impl ClientCertVerifier for Asking {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
