// SPDX-License-Identifier: Apache-2.0
//! Certificates that clients are shown: chosen by SNI, swapped as a whole while connections go on.

mod ask;
mod certificate;
pub(crate) mod cipher;
mod client;
mod shown;
#[cfg(test)]
mod tests;
pub(crate) mod upstream;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::CipherSuite;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign;

pub(crate) use self::ask::asking;
pub use self::certificate::{CertifiedKey, Error, parse, self_signed};
pub(crate) use self::client::client_config;
pub(crate) use self::shown::shown;
pub use self::upstream::UpstreamTls;
use super::action::handshake::{Handshake, Versions};

/// Which certificate is shown for which name.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    /// By host in lower case: a name, or `*.` and a name for all names with one label more.
    pub by_host: BTreeMap<Arc<str>, Arc<CertifiedKey>>,
    /// For all other names and for clients that send none; none for the self-signed one.
    pub default: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    /// The certificate for a name in lower case: that of the name itself, else of the wildcard
    /// that covers it, else the default.
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let of_name = name.and_then(|name| {
            let wildcard = || {
                let (_, parent) = name.split_once('.')?;
                self.by_host.get(format!("*.{parent}").as_str())
            };
            self.by_host.get(name).or_else(wildcard)
        });
        of_name.or(self.default.as_ref())
    }
}

/// The certificates in use. Swapping them changes new handshakes only.
pub struct Store {
    certificates: ArcSwap<Certificates>,
    own: Arc<CertifiedKey>,
}

impl Store {
    /// A store without certificates. What shows until there is a default one is made here, signed
    /// by itself.
    ///
    /// # Errors
    ///
    /// The machine gives no random numbers.
    pub fn new() -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self {
            certificates: ArcSwap::default(),
            own: Arc::new(self_signed(&["ingress.local"])?),
        }))
    }

    /// Shows these from now on.
    pub fn replace(&self, certificates: Certificates) {
        self.certificates.store(Arc::new(certificates));
    }

    /// What is shown now.
    pub fn certificates(&self) -> Arc<Certificates> {
        self.certificates.load_full()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Store {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<sign::CertifiedKey>> {
        let certificates = self.certificates.load();
        let found = certificates.find(hello.server_name());
        Some(found.unwrap_or(&self.own).key.clone())
    }
}

/// The cryptography of all TLS here.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// TLS 1.2 and 1.3 for clients, HTTP/2 or HTTP/1.1, with resumption by tickets, whose keys change
/// every six hours.
///
/// # Errors
///
/// The machine gives no random numbers.
pub(crate) fn server_config(store: Arc<Store>) -> Result<Arc<rustls::ServerConfig>, Error> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(store);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// The same for hosts with whose clients TLS begins in another way. Tickets are shared: a session is
/// resumed only with a version and a suite that its host has.
///
/// # Errors
///
/// The cryptography has no version of TLS that is left.
pub(crate) fn host_config(
    base: &rustls::ServerConfig,
    handshake: &Handshake,
) -> Result<Arc<rustls::ServerConfig>, rustls::Error> {
    let mut provider = (**base.crypto_provider()).clone();
    if let Some(suites) = &handshake.suites {
        let suites: Vec<_> = suites.iter().copied().map(CipherSuite::from).collect();
        cipher::keep(&mut provider, &suites);
    }
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions(handshake))?
        .with_no_client_auth()
        .with_cert_resolver(base.cert_resolver.clone());
    config.alpn_protocols.clone_from(&base.alpn_protocols);
    config.ticketer = base.ticketer.clone();
    config.ignore_client_order = handshake.own_order.unwrap_or(handshake.suites.is_some());
    Ok(Arc::new(config))
}

/// The versions that a host's clients are spoken to with.
fn versions(handshake: &Handshake) -> &'static [&'static rustls::SupportedProtocolVersion] {
    use rustls::version::{TLS12, TLS13};
    static BOTH: [&rustls::SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match handshake.versions.unwrap_or(Versions::Both) {
        Versions::Both => &BOTH,
        Versions::Only12 => &BOTH[1..],
        Versions::Only13 => &BOTH[..1],
    }
}
