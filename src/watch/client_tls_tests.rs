// SPDX-License-Identifier: Apache-2.0
//! Who is taken for the API server: real sockets, certificates of all kinds.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::client::{self, danger, read};
use super::{Meters, raw};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("a certificate")
}

/// An API server on loopback.
struct Server {
    address: std::net::SocketAddr,
    /// Requests that came through.
    asked: Arc<AtomicUsize>,
}

impl Server {
    /// With a certificate that `by` has signed, for this name.
    async fn start(by: &Issuer, name: &str, change: fn(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let made = params.signed_by(&key, by).expect("a certificate");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.der().clone()], key.into())
            .expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let server = Self {
            address: listener.local_addr().expect("an address"),
            asked: Arc::default(),
        };
        let asked = server.asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, asked) = (acceptor.clone(), asked.clone());
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await?;
                    // Whatever is said: a token would be in it.
                    if stream.read(&mut [0; 4096]).await? > 0 {
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
                    stream.write_all(answer.as_bytes()).await?;
                    stream.shutdown().await
                });
            }
        });
        server
    }

    /// What comes of asking it with a kubeconfig that has this about its cluster; whether it was
    /// told anything.
    async fn ask(&self, cluster: &str) -> (Result<u16, String>, bool) {
        let (_dir, path) = kubeconfig(&format!("https://{}", self.address), cluster);
        let client = client::client(Some(&path), None, &Meters::default()).await;
        let client = client.expect("a client");
        let answer = raw::get(&client, "/version").await;
        let told = self.asked.load(Ordering::Relaxed) > 0;
        (answer.map(|answer| answer.status), told)
    }
}

fn kubeconfig(server: &str, cluster: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("config");
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: c, \
         clusters: [{{name: c, cluster: {{server: '{server}', {cluster}}}}}], \
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
         users: [{{name: u, user: {{token: secret}}}}]}}"
    );
    std::fs::write(&path, text).expect("written");
    (dir, path)
}

fn trusting(issuer: &Issuer) -> String {
    let data = STANDARD.encode(issuer.pem());
    format!("certificate-authority-data: {data}")
}

#[tokio::test]
async fn who_has_a_certificate_of_the_cluster_is_asked() {
    let own = authority("own");
    let server = Server::start(&own, "127.0.0.1", |_| ()).await;
    assert_eq!(server.ask(&trusting(&own)).await, (Ok(200), true));
    let server = Server::start(&own, "api.example", |_| ()).await;
    let named = format!("{}, tls-server-name: api.example", trusting(&own));
    assert_eq!(server.ask(&named).await, (Ok(200), true));
}

#[tokio::test]
async fn nobody_else_is_told_anything() {
    let [own, other, same_name] = ["own", "other", "own"].map(authority);
    let past = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    };
    let future = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(3001, 1, 1);
        params.not_after = date_time_ymd(3002, 1, 1);
    };
    let address = "127.0.0.1";
    for (why, server) in [
        (
            "UnknownIssuer",
            Server::start(&other, address, |_| ()).await,
        ),
        (
            "BadSignature",
            Server::start(&same_name, address, |_| ()).await,
        ),
        ("expired", Server::start(&own, address, past).await),
        ("not valid yet", Server::start(&own, address, future).await),
        (
            "not valid for name",
            Server::start(&own, "127.0.0.2", |_| ()).await,
        ),
        (
            "not valid for name",
            Server::start(&own, "api.example", |_| ()).await,
        ),
    ] {
        let (answer, told) = server.ask(&trusting(&own)).await;
        let refused = answer.expect_err(why);
        assert!(
            refused.contains("certificate") && refused.contains(why),
            "{why}: {refused}"
        );
        assert!(!told, "{why}");
        assert_eq!(refused.lines().count(), 1, "{refused}");
    }
}

#[tokio::test]
async fn without_an_authority_those_of_the_host_decide() {
    let server = Server::start(&authority("own"), "127.0.0.1", |_| ()).await;
    let (answer, told) = server.ask("").await;
    assert!(answer.is_err() && !told, "{answer:?}");
}

#[tokio::test]
async fn who_wants_no_verification_gets_none_and_is_told() {
    let server = Server::start(&authority("own"), "api.example", |_| ()).await;
    let unverified = "insecure-skip-tls-verify: true";
    assert_eq!(server.ask(unverified).await, (Ok(200), true));
    let (no_certificate, no_tls) = (Some("not verified"), Some("without TLS"));
    for (server, cluster, expected) in [
        ("https://192.0.2.1:6443", "", None),
        ("https://192.0.2.1:6443", unverified, no_certificate),
        ("https://127.0.0.1:6443", unverified, no_certificate),
        ("http://192.0.2.1:8080", "", no_tls),
        ("http://localhost.example:8080", "", no_tls),
        ("http://[2001:db8::1]:8080", "", no_tls),
        ("http://127.0.0.1:8001", "", None),
        ("http://[::1]:8001", "", None),
        ("http://localhost:8001", "", None),
    ] {
        let (_dir, path) = kubeconfig(server, cluster);
        let config = read(&path, None).expect("a configuration");
        let danger = danger(&config);
        assert_eq!(danger.is_some(), expected.is_some(), "{server}");
        assert!(
            danger
                .unwrap_or_default()
                .contains(expected.unwrap_or_default()),
            "{danger:?}"
        );
    }
}
