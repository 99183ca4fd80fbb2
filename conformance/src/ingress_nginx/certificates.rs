// SPDX-License-Identifier: Apache-2.0
//! Who is who, for TLS: certificates made anew for each run.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// The name that endpoints have in their certificate.
pub const ENDPOINT: &str = "endpoint.test";

/// A certificate with its key, as PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// All of them.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// For the hosts of all cases.
    pub server: Pair,
    /// For hosts without one.
    pub default: Pair,
    /// What endpoints show.
    pub endpoint: Pair,
    /// Who has signed that of endpoints.
    pub endpoint_ca: String,
    /// Who has signed those of clients.
    pub client_ca: String,
    /// Somebody else.
    pub strange_ca: String,
    /// `good`, `other-name`, `stranger` and `proxy`.
    pub clients: BTreeMap<&'static str, Pair>,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Result<Authority> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn pair(
    authority: &Authority,
    name: &str,
    hosts: &[String],
    usage: ExtendedKeyUsagePurpose,
) -> Result<Pair> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate()?;
    Ok(Pair {
        certificate: params.signed_by(&key, authority)?.pem(),
        key: key.serialize_pem(),
    })
}

impl Certificates {
    /// Makes all.
    ///
    /// # Errors
    /// If a host is no name.
    pub fn new(hosts: &[String]) -> Result<Self> {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        let server = authority("servers")?;
        let endpoints = authority("endpoints")?;
        let clients = authority("clients")?;
        let strangers = authority("strangers")?;
        let client = |of: &Authority, name| pair(of, name, &[], ClientAuth);
        let named = |name: &str, of: &Authority| {
            let hosts = [name.to_owned()];
            pair(of, name, &hosts, ServerAuth)
        };
        Ok(Self {
            server: pair(&server, "server", hosts, ServerAuth).context("hosts")?,
            default: named("default.test", &server)?,
            endpoint: named(ENDPOINT, &endpoints)?,
            endpoint_ca: endpoints.pem(),
            client_ca: clients.pem(),
            strange_ca: strangers.pem(),
            clients: BTreeMap::from([
                ("good", client(&clients, "good")?),
                ("other-name", client(&clients, "other-name")?),
                ("proxy", client(&clients, "proxy")?),
                ("stranger", client(&strangers, "good")?),
            ]),
        })
    }

    /// What a Secret of this name in a case holds.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let with = |entries: &[(&str, &str)]| {
            let entries = entries.iter();
            let owned = entries.map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
            Some(owned.collect())
        };
        let tls = |pair: &Pair| with(&[("tls.crt", &pair.certificate), ("tls.key", &pair.key)]);
        match name {
            "server" => tls(&self.server),
            "client-ca" => with(&[("ca.crt", &self.client_ca)]),
            "endpoint-ca" => with(&[("ca.crt", &self.endpoint_ca)]),
            "strange-ca" => with(&[("ca.crt", &self.strange_ca)]),
            // For the proxy as a client of endpoints.
            "endpoint-pair" => {
                let pair = &self.clients["proxy"];
                with(&[
                    ("ca.crt", &self.endpoint_ca),
                    ("tls.crt", &pair.certificate),
                    ("tls.key", &pair.key),
                ])
            }
            _ => None,
        }
    }
}
