// SPDX-License-Identifier: Apache-2.0
//! Endpoints, a server for external authentication and one for mirrored requests: they do as a
//! request's header tells them, and remember what they saw.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::certificates::Certificates;
use super::request::Values;
use crate::netns::Namespace;

/// Endpoints, by HTTP/1.1 and by HTTP/2 without TLS.
pub const PLAIN: u16 = 8080;
/// Endpoints with TLS.
pub const TLS: u16 = 8443;
/// The server for external authentication.
pub const AUTH: u16 = 8090;
/// Where mirrored requests go.
pub const MIRROR: u16 = 8091;
/// Tells endpoints what to do, as JSON.
pub const TOLD: &str = "x-echo";
/// The same for the server for authentication.
pub const AUTH_TOLD: &str = "x-auth";
/// What all requests have that come of one.
pub const PROBE: &str = "x-probe";
/// Which service has answered.
pub const BY: &str = "x-by";

/// What a server answers. Nothing said: 200, with its name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// The status.
    pub status: Option<u16>,
    /// Headers.
    pub headers: BTreeMap<String, Values>,
    /// The body.
    pub body: Option<String>,
    /// A body of so many bytes.
    pub size: Option<usize>,
    /// The type of the body.
    pub r#type: Option<String>,
    /// Milliseconds before the answer.
    pub sleep: u64,
    /// Closes the connection without an answer.
    pub close: bool,
    /// A header of so many bytes.
    pub pad: usize,
}

/// A request that a server saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The service, `auth` or `mirror`.
    pub by: String,
    /// Which of its endpoints, from 0.
    pub endpoint: usize,
    /// Method.
    pub method: String,
    /// Path and query, as they came.
    pub uri: String,
    /// `HTTP/1.1`.
    pub version: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; a long one only by its length.
    pub body: String,
    /// The name that TLS asked for, and whether there was a client's certificate.
    pub tls: Option<(String, bool)>,
}

/// A known address.
#[derive(Debug, Clone)]
pub struct Known {
    /// The service.
    pub service: String,
    /// Which of its endpoints.
    pub endpoint: usize,
    /// What it does, whatever it is told.
    pub behaviour: Behaviour,
}

/// All servers.
#[derive(Debug, Default)]
pub struct Echo {
    known: HashMap<IpAddr, Known>,
    seen: Mutex<HashMap<String, Vec<Seen>>>,
}

impl Echo {
    /// Starts to serve in a namespace, until the process ends.
    ///
    /// # Errors
    /// If a port cannot be listened on.
    pub fn start(
        namespace: &Namespace,
        known: HashMap<IpAddr, Known>,
        certificates: &Certificates,
    ) -> Result<Arc<Self>> {
        let listen = || {
            let ports = [PLAIN, TLS, AUTH, MIRROR].into_iter();
            let listeners = ports.map(|port| {
                let listener = std::net::TcpListener::bind(("0.0.0.0", port))?;
                listener.set_nonblocking(true)?;
                Ok((port, listener))
            });
            listeners.collect::<Result<Vec<_>>>()
        };
        let listeners = namespace.enter(listen)?;
        let tls = TlsAcceptor::from(Arc::new(server_config(certificates)?));
        let echo = Arc::new(Self {
            known,
            seen: Mutex::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let serving = echo.clone();
        std::thread::Builder::new()
            .name("endpoints".to_owned())
            .spawn(move || {
                let tasks = tokio::task::LocalSet::new();
                for (port, listener) in listeners {
                    let tls = (port == TLS).then(|| tls.clone());
                    tasks.spawn_local(accept(serving.clone(), listener, port, tls));
                }
                runtime.block_on(tasks);
            })?;
        Ok(echo)
    }

    /// What was seen of a probe, in this order.
    #[must_use]
    pub fn seen(&self, probe: &str) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(probe).cloned().unwrap_or_default()
    }

    fn who(&self, address: SocketAddr) -> Known {
        let other = match address.port() {
            AUTH => "auth",
            MIRROR => "mirror",
            _ => "unknown",
        };
        let found = match address.port() {
            AUTH | MIRROR => None,
            _ => self.known.get(&address.ip()).cloned(),
        };
        found.unwrap_or_else(|| Known {
            service: other.to_owned(),
            endpoint: 0,
            behaviour: Behaviour::default(),
        })
    }

    fn remember(&self, headers: &HeaderMap, seen: Seen) {
        let Some(probe) = headers.get(PROBE).and_then(|value| value.to_str().ok()) else {
            return;
        };
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(probe.to_owned()).or_default().push(seen);
    }
}

fn server_config(certificates: &Certificates) -> Result<ServerConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(
        certificates.client_ca.as_bytes(),
    )?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()?;
    let pair = &certificates.endpoint;
    let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes())?];
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?)
        .context("the certificate of endpoints")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

async fn accept(
    echo: Arc<Echo>,
    listener: std::net::TcpListener,
    port: u16,
    tls: Option<TlsAcceptor>,
) {
    // It was made non-blocking just now, and can be registered.
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    while let Ok((stream, _)) = listener.accept().await {
        let Ok(local) = stream.local_addr() else {
            continue;
        };
        debug_assert_eq!(local.port(), port);
        let _ = stream.set_nodelay(true);
        tokio::task::spawn_local(connection(echo.clone(), stream, local, tls.clone()));
    }
}

async fn connection(
    echo: Arc<Echo>,
    stream: TcpStream,
    local: SocketAddr,
    tls: Option<TlsAcceptor>,
) {
    let Some(tls) = tls else {
        return serve(echo, stream, local, None).await;
    };
    let Ok(stream) = tls.accept(stream).await else {
        return;
    };
    let connection = stream.get_ref().1;
    let name = connection.server_name().unwrap_or_default().to_owned();
    let shown = connection.peer_certificates().is_some();
    serve(echo, stream, local, Some((name, shown))).await;
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    echo: Arc<Echo>,
    stream: S,
    local: SocketAddr,
    tls: Option<(String, bool)>,
) {
    let service = service_fn(move |request| {
        let (echo, tls) = (echo.clone(), tls.clone());
        async move { answer(&echo, request, local, tls).await }
    });
    let mut builder = Builder::new(Local);
    builder.http1().max_buf_size(64 * 1024);
    // A proxy that goes is no error.
    drop(
        builder
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

/// Runs what a connection starts in the same thread.
#[derive(Debug, Clone, Copy)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move { drop(future.await) });
    }
}

/// The connection is to be closed.
#[derive(Debug, thiserror::Error)]
#[error("told to close")]
struct Close;

async fn answer(
    echo: &Echo,
    request: Request<Incoming>,
    local: SocketAddr,
    tls: Option<(String, bool)>,
) -> Result<Response<Full<Bytes>>, Close> {
    let known = echo.who(local);
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_or_else(
        |error| format!("broken off: {error}"),
        |body| shown(&body.to_bytes()),
    );
    let told = match local.port() {
        AUTH => head.headers.get(AUTH_TOLD),
        MIRROR => None,
        _ => head.headers.get(TOLD),
    };
    let told = told.and_then(|value| serde_json::from_slice(value.as_bytes()).ok());
    let mut headers: Vec<_> = head.headers.iter().map(pair).collect();
    if let (Some(host), None) = (head.uri.authority(), head.headers.get("host")) {
        headers.push(("host".to_owned(), host.to_string()));
    }
    let uri = head.uri.path_and_query().map(ToString::to_string);
    echo.remember(
        &head.headers,
        Seen {
            by: known.service.clone(),
            endpoint: known.endpoint,
            method: head.method.to_string(),
            uri: uri.unwrap_or_default(),
            version: format!("{:?}", head.version),
            headers,
            body,
            tls,
        },
    );
    let fixed = known.behaviour.status.is_some() || known.behaviour.close;
    let behaviour: Behaviour = match (fixed, told) {
        (false, Some(told)) => told,
        _ => known.behaviour.clone(),
    };
    tokio::time::sleep(Duration::from_millis(behaviour.sleep)).await;
    if behaviour.close {
        return Err(Close);
    }
    Ok(response(&known.service, &behaviour))
}

fn pair((name, value): (&HeaderName, &HeaderValue)) -> (String, String) {
    let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
    (name.as_str().to_owned(), value)
}

fn shown(body: &[u8]) -> String {
    match body.len() {
        0..=200 => String::from_utf8_lossy(body).into_owned(),
        long => format!("{long} bytes"),
    }
}

fn response(service: &str, behaviour: &Behaviour) -> Response<Full<Bytes>> {
    let body = match (&behaviour.body, behaviour.size) {
        (Some(text), _) => text.clone(),
        (None, Some(size)) => "0123456789abcdef".repeat(size / 16 + 1)[..size].to_owned(),
        (None, None) => service.to_owned(),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    if let Some(Ok(status)) = behaviour.status.map(http::StatusCode::from_u16) {
        *response.status_mut() = status;
    }
    let mut set = |name: &str, value: &str| {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            response.headers_mut().append(name, value);
        }
    };
    set(BY, service);
    set(
        "content-type",
        behaviour.r#type.as_deref().unwrap_or("text/plain"),
    );
    if behaviour.pad > 0 {
        set("x-long", &"p".repeat(behaviour.pad));
    }
    for (name, values) in &behaviour.headers {
        for value in values.all() {
            set(name, value);
        }
    }
    response
}
