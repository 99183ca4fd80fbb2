// SPDX-License-Identifier: Apache-2.0
//! Connections to services that are asked who may come in. Each serving thread has its own.
//!
//! Names are looked up off the thread and remembered; certificates are not verified, as in
//! ingress-nginx.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::action::external::KeepAlive;
use super::stream::Stream;

/// How long addresses of a name are used without asking again.
const FRESH: Duration = Duration::from_secs(30);
/// The same for a name that has none.
const UNKNOWN: Duration = Duration::from_secs(1);
/// How long one look-up may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most names that are remembered: some are made of what clients send.
const NAMES: usize = 1024;
/// The most look-ups at a time.
const LOOKUPS: usize = 16;
/// The most of an answer's body that is read so that its connection can be used again, bytes.
const BODY: usize = 64 * 1024;
/// The longest head of an answer, and how much is read ahead.
const BUFFER: usize = 64 * 1024;

type Sender = http1::SendRequest<Empty<Bytes>>;

/// All of them.
pub(crate) struct Services {
    names: RefCell<HashMap<Box<str>, Rc<Name>>>,
    idle: Rc<RefCell<HashMap<Place, Vec<Idle>>>>,
    tls: OnceCell<Arc<ClientConfig>>,
    lookups: Semaphore,
}

/// What is asked.
pub(crate) struct Question<'a> {
    pub(crate) url: &'a str,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) limits: Limits,
    pub(crate) keep_alive: KeepAlive,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Until there is a connection.
    pub(crate) connect: Duration,
    /// Until the head of the answer has come.
    pub(crate) answer: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The URL cannot be asked.
    #[error("the URL cannot be asked")]
    Url,
    /// The name has no address.
    #[error("the host has no address")]
    Unknown,
    /// It took too long.
    #[error("timed out")]
    TimedOut,
    /// No connection.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No HTTP.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// What makes two connections fit for the same question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    tls: bool,
    host: Box<str>,
    port: u16,
}

struct Idle {
    sender: Sender,
    until: Instant,
    /// Questions that it may still be asked.
    left: u32,
}

/// The addresses of a host.
#[derive(Default)]
struct Name {
    /// Held by who looks them up.
    busy: tokio::sync::Mutex<()>,
    known: RefCell<Vec<IpAddr>>,
    until: RefCell<Option<Instant>>,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            names: RefCell::default(),
            idle: Rc::default(),
            tls: OnceCell::new(),
            lookups: Semaphore::new(LOOKUPS),
        }
    }
}

impl Services {
    /// Asks, and gives the head of the answer.
    ///
    /// # Errors
    ///
    /// Says why there is none.
    pub(crate) async fn ask(
        &self,
        question: Question<'_>,
    ) -> Result<(StatusCode, HeaderMap), Error> {
        let (place, target) = place(question.url)?;
        let keeps = question.keep_alive.connections > 0;
        let mut headers = question.headers;
        if !keeps {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let request = || {
            let mut request = Request::new(Empty::new());
            *request.method_mut() = question.method.clone();
            *request.uri_mut() = target.clone();
            *request.headers_mut() = headers.clone();
            request
        };
        let answer = question.limits.answer;
        let mut idle = self.idle(&place);
        if let Some(kept) = &mut idle {
            // The service may have closed it just now: then another one is asked.
            let sent = timeout(answer, kept.sender.send_request(request())).await;
            if let Ok(response) = sent.map_err(|_| Error::TimedOut)? {
                let left = kept.left - 1;
                return Ok(self.finish((place, left), idle, question.keep_alive, response));
            }
        }
        let opened = timeout(question.limits.connect, self.open(&place)).await;
        let sender = opened.map_err(|_| Error::TimedOut)??;
        let mut fresh = Idle {
            sender,
            until: Instant::now(),
            left: question.keep_alive.requests,
        };
        let sent = timeout(answer, fresh.sender.send_request(request())).await;
        let response = sent.map_err(|_| Error::TimedOut)??;
        let left = fresh.left - 1;
        Ok(self.finish((place, left), Some(fresh), question.keep_alive, response))
    }

    /// A connection that waits.
    fn idle(&self, place: &Place) -> Option<Idle> {
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.get_mut(place)?;
        let now = Instant::now();
        std::iter::from_fn(|| waiting.pop()).find(|one| one.until > now && one.sender.is_ready())
    }

    /// Keeps a connection for the next question, once the rest of the answer has been read.
    fn finish(
        &self,
        (place, left): (Place, u32),
        connection: Option<Idle>,
        keep: KeepAlive,
        response: Response<Incoming>,
    ) -> (StatusCode, HeaderMap) {
        let (head, body) = response.into_parts();
        if let Some(mut connection) = connection.filter(|_| keep.connections > 0 && left > 0) {
            let all = self.idle.clone();
            tokio::task::spawn_local(async move {
                let read = timeout(PATIENCE, drain(body)).await;
                if read != Ok(true) || connection.sender.ready().await.is_err() {
                    return;
                }
                connection.left = left;
                connection.until = Instant::now() + keep.idle;
                let mut all = all.borrow_mut();
                let waiting = all.entry(place).or_default();
                if waiting.len() < keep.connections {
                    waiting.push(connection);
                }
            });
        }
        (head.status, head.headers)
    }

    async fn open(&self, place: &Place) -> Result<Sender, Error> {
        let stream = self.connect(place).await?;
        stream.set_nodelay(true)?;
        let stream = match place.tls {
            false => Stream::Plain(stream),
            true => {
                let name = ServerName::try_from(place.host.to_string()).map_err(|_| Error::Url)?;
                let connector = TlsConnector::from(self.tls()?);
                Stream::Tls(Box::new(connector.connect(name, stream).await?))
            }
        };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(async move {
            // Questions learn of errors by themselves.
            let _ = connection.await;
        });
        Ok(sender)
    }

    /// To one of the addresses, and to the others if it does not answer.
    async fn connect(&self, place: &Place) -> Result<TcpStream, Error> {
        let mut addresses = self.addresses(&place.host).await?;
        if !addresses.is_empty() {
            let first = fastrand::usize(..addresses.len());
            addresses.rotate_left(first);
        }
        let mut last = Error::Unknown;
        for address in addresses {
            match TcpStream::connect(SocketAddr::new(address, place.port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, Error> {
        if let Some(config) = self.tls.get() {
            return Ok(config.clone());
        }
        let config = super::tls::client_config(b"http/1.1")?;
        Ok(self.tls.get_or_init(|| config).clone())
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Error> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse() {
            return Ok(vec![address]);
        }
        let name = self.name(host);
        if let Some(known) = name.fresh() {
            return known;
        }
        let _busy = name.busy.lock().await;
        if let Some(known) = name.fresh() {
            return known;
        }
        // Whoever has come after this waits for the lock: it is looked up once.
        let _place = self.lookups.acquire().await;
        // The dot at the end keeps search domains out, as nginx's resolver does.
        let asked = format!("{}.", host.trim_end_matches('.'));
        let found = timeout(PATIENCE, tokio::net::lookup_host((asked, 0))).await;
        let found: Vec<IpAddr> = match found {
            Ok(Ok(found)) => found.map(|a| a.ip().to_canonical()).collect(),
            _ => Vec::new(),
        };
        let fresh = if found.is_empty() { UNKNOWN } else { FRESH };
        *name.until.borrow_mut() = Some(Instant::now() + fresh);
        if !found.is_empty() {
            *name.known.borrow_mut() = found;
        }
        name.fresh().unwrap_or(Err(Error::Unknown))
    }

    fn name(&self, host: &str) -> Rc<Name> {
        let mut names = self.names.borrow_mut();
        if let Some(name) = names.get(host) {
            return name.clone();
        }
        if names.len() >= NAMES {
            names.clear();
        }
        names.entry(host.into()).or_default().clone()
    }

    /// Closes connections that have waited for long enough.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.idle.borrow_mut().retain(|_, waiting| {
            waiting.retain(|one| one.until > now && !one.sender.is_closed());
            !waiting.is_empty()
        });
    }
}

impl Name {
    /// What is known, unless it has to be asked for. A name that no longer resolves keeps its
    /// addresses.
    fn fresh(&self) -> Option<Result<Vec<IpAddr>, Error>> {
        let until = *self.until.borrow();
        until.filter(|until| *until > Instant::now())?;
        let known = self.known.borrow().clone();
        Some(match known.is_empty() {
            true => Err(Error::Unknown),
            false => Ok(known),
        })
    }
}

/// Whether a body was short enough to be read.
async fn drain(mut body: Incoming) -> bool {
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > BODY {
            return false;
        }
    }
    true
}

/// Whom to ask, and for what.
fn place(url: &str) -> Result<(Place, Uri), Error> {
    let url: Uri = url.parse().map_err(|_| Error::Url)?;
    let tls = match url.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(Error::Url),
    };
    let host = url
        .host()
        .filter(|host| !host.is_empty())
        .ok_or(Error::Url)?;
    let place = Place {
        tls,
        host: host.to_ascii_lowercase().into(),
        port: url.port_u16().unwrap_or(if tls { 443 } else { 80 }),
    };
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let slash = if path.starts_with('/') { "" } else { "/" };
    let target = format!("{slash}{path}").parse().map_err(|_| Error::Url)?;
    Ok((place, target))
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_whom_to_ask_and_for_what() {
        for (url, tls, host, port, target) in [
            (
                "http://a.example/check?x=/y",
                false,
                "a.example",
                80,
                "/check?x=/y",
            ),
            ("https://A.example", true, "a.example", 443, "/"),
            ("http://a.example:8080?x", false, "a.example", 8080, "/?x"),
            ("http://[::1]:81/", false, "[::1]", 81, "/"),
        ] {
            let (place, uri) = place(url).expect(url);
            assert_eq!(
                (place.tls, &*place.host, place.port),
                (tls, host, port),
                "{url}"
            );
            assert_eq!(uri.to_string(), target, "{url}");
        }
        for bad in [
            "",
            "/check",
            "a.example",
            "ftp://a.example/",
            "http://",
            "http://a b/",
        ] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }
}
