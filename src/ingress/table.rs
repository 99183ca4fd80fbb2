// SPDX-License-Identifier: Apache-2.0
//! What serving threads know. Built whole, swapped whole, never changed. PURE.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;

use super::action::affinity::Affinity;
use super::action::canary::Rules;
use super::action::client_certificate::ClientCertificate;
use super::action::compress::Compress;
use super::action::cors::Cors;
use super::action::errors::Errors;
use super::action::gate::{Blocks, Gate};
use super::action::handshake::Handshake;
use super::action::headers::{Headers, Text};
use super::action::mirror::Mirror;
use super::action::origin::Origin;
use super::action::rate::Rate;
use super::action::redirect::Redirect;
use super::action::retry::Retry;
use super::action::rewrite::Rewrite;
use super::action::snippet::{Snippet, Step};
use super::action::template::Template;
use super::balance::{Hashed, Sessions};
use super::route::Router;
use super::tls::UpstreamTls;
pub use crate::model::Behaviour;
use crate::model::{Protocol, ServiceName, Target};

/// Everything that serving a request needs to know.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// From host and path to a route.
    pub router: Router,
    /// What answers where no route fits; none answers 404.
    pub default_backend: Option<Arc<Upstream>>,
    /// How requests go to the default backend.
    pub defaults: Arc<RouteSettings>,
    /// What holds for all routes.
    pub settings: Arc<Settings>,
    /// What TLS asks of clients, by host: a name, or `*.` and a name.
    pub clients: BTreeMap<Arc<str>, Arc<ClientCertificate>>,
    /// How TLS begins with the clients of a host, in the same way.
    pub handshakes: BTreeMap<Arc<str>, Arc<Handshake>>,
}

impl Table {
    /// What TLS asks of the clients of a host, in lower case.
    pub fn asks(&self, host: &str) -> Option<&Arc<ClientCertificate>> {
        by_name(&self.clients, host)
    }

    /// How TLS begins with a client that names a host, in lower case, or none.
    pub fn handshake(&self, host: Option<&str>) -> Handshake {
        let own = host.and_then(|host| by_name(&self.handshakes, host));
        let own = own.map(|own| (**own).clone()).unwrap_or_default();
        own.or(&self.settings.handshake)
    }

    /// Whether TLS begins in the same way with all clients.
    pub fn greets_all_alike(&self) -> bool {
        let usual = self.settings.handshake.is_usual();
        usual && self.clients.is_empty() && self.handshakes.is_empty()
    }
}

/// What a host has, or else the wildcard that covers it.
fn by_name<'a, T>(map: &'a BTreeMap<Arc<str>, T>, host: &str) -> Option<&'a T> {
    let wildcard = || {
        let (_, parent) = host.split_once('.')?;
        map.get(format!("*.{parent}").as_str())
    };
    map.get(host).or_else(wildcard)
}

/// One path of one Ingress rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Namespace and name of the Ingress.
    pub ingress: ServiceName,
    /// The rule's host as written, empty for all hosts.
    pub host: Arc<str>,
    /// The path as written.
    pub path: Arc<str>,
    /// What answers.
    pub backend: Backend,
    /// How requests are handed on.
    pub settings: Arc<RouteSettings>,
    /// What answers some of the requests instead.
    pub canary: Option<Arc<Canary>>,
}

/// What answers some requests of a route.
#[derive(Debug, Clone, PartialEq)]
pub struct Canary {
    /// Namespace and name of the Ingress that says so.
    pub ingress: ServiceName,
    /// Which requests.
    pub rules: Arc<Rules>,
    /// What answers them; never without endpoints.
    pub upstream: Arc<Upstream>,
}

/// What answers on a route.
#[derive(Debug, Clone, PartialEq)]
pub enum Backend {
    /// The endpoints of a service port.
    Upstream(Arc<Upstream>),
    /// Nothing can: this status (503 for a Service that is missing, 404 for no backend).
    Status(u16),
    /// What answers where no route fits.
    Default,
}

/// The endpoints of one service port.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Tells upstreams apart over generations of tables: connections and balancer state outlive a
    /// table that has the same upstream.
    pub id: UpstreamId,
    /// In no particular order; empty answers 503.
    pub endpoints: Arc<[Target]>,
    /// What is spoken to them.
    pub protocol: UpstreamProtocol,
    /// How one is chosen.
    pub balance: Balance,
    /// Where sessions are, if requests of a session go to the same endpoint.
    pub sessions: Option<Arc<Sessions>>,
    /// TLS to its endpoints, where it is not [`UpstreamProtocol::Tls`]'s own.
    pub tls: Option<Arc<UpstreamTls>>,
}

/// A service port as an upstream, with all that makes its connections different from another's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId {
    /// The Service.
    pub service: ServiceName,
    /// The port, by number or name, as the Ingress has it.
    pub port: Arc<str>,
    /// What is spoken: two Ingresses may disagree.
    pub protocol: UpstreamProtocol,
    /// What else they may disagree on: how an endpoint is chosen, and TLS. Empty for what holds
    /// without annotations.
    pub variant: Arc<str>,
}

impl UpstreamId {
    /// As ingress-nginx names it: `default-web-80`.
    pub fn nginx_name(&self) -> String {
        let ServiceName { namespace, name } = &self.service;
        format!("{namespace}-{name}-{}", self.port)
    }
}

impl fmt::Display for UpstreamId {
    /// `default/web:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service, self.port)
    }
}

/// What is spoken to endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
    /// HTTP/1.1 over TLS; certificates are not verified, as in ingress-nginx.
    Tls,
    /// HTTP/2 over TLS.
    H2Tls,
    /// [`UpstreamProtocol::Tls`] for clients that speak TLS, else [`UpstreamProtocol::Http1`].
    Auto,
}

impl UpstreamProtocol {
    /// What is spoken for a client that speaks TLS, or not.
    pub fn for_client(self, tls: bool) -> Self {
        match self {
            Self::Auto if tls => Self::Tls,
            Self::Auto => Self::Http1,
            other => other,
        }
    }
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Balance {
    /// In turn.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way.
    LeastConnections,
    /// Peak EWMA of response times, the better of two.
    PeakEwma,
    /// Consistent hash of a text that is made of each request.
    Hash(Arc<Template>, Arc<Hashed>),
}

/// How a route's endpoints are chosen, before it is known which there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    /// How one is chosen.
    pub how: How,
    /// The Service's ClusterIP is the only one.
    pub by_service: bool,
}

/// How an endpoint is chosen among those that there will be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum How {
    /// [`Balance::RoundRobin`].
    #[default]
    RoundRobin,
    /// [`Balance::PeakEwma`].
    PeakEwma,
    /// [`Balance::Hash`].
    Hash {
        /// As it was written.
        text: Arc<str>,
        /// Of what.
        by: Arc<Template>,
        /// Among sets of so many endpoints, of which any may be taken.
        subset: Option<NonZero<usize>>,
    },
}

/// What is spoken to endpoints, where it is not what the Service says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Speech {
    /// Instead of what the Service's `appProtocol` says.
    pub protocol: Option<UpstreamProtocol>,
    /// Over TLS: with whom, and as whom.
    pub tls: Option<Arc<UpstreamTls>>,
}

/// A port that is passed on to a Service byte by byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The Service and its port, as `default/db:5432`.
    pub service: Arc<str>,
    /// In no particular order.
    pub endpoints: Arc<[Target]>,
    /// Whether connections begin with a PROXY protocol header.
    pub takes_proxy: bool,
    /// Whether endpoints are sent one, of version 1.
    pub sends_proxy: bool,
}

/// All of them, by protocol (TCP or UDP) and port.
pub type Streams = BTreeMap<(Protocol, u16), Arc<Stream>>;

/// How requests of a route are handed on. Defaults are ingress-nginx's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSettings {
    /// To an endpoint, until it is connected.
    pub connect_timeout: Duration,
    /// Between two reads from the endpoint.
    pub read_timeout: Duration,
    /// Between two writes to the endpoint.
    pub send_timeout: Duration,
    /// The most bytes of a request body; 0 for any. More answers 413.
    pub body_limit: u64,
    /// The most endpoints that are tried for one request; 0 for all.
    pub tries: usize,
    /// Whether a request that is not idempotent (POST, LOCK, PATCH) may be tried again once it
    /// was sent.
    pub retry_non_idempotent: bool,
    /// What else makes a request be tried again, and for how long.
    pub retry: Retry,
    /// How endpoints are chosen; none: in turn.
    pub choice: Option<Arc<Choice>>,
    /// What is spoken to endpoints; none: what the Service says.
    pub speech: Option<Arc<Speech>>,
    /// Bodies of requests are waited for before an endpoint is asked, if they are not too long.
    pub keeps_bodies: bool,
    /// Requests go to endpoints as HTTP/1.0.
    pub http10: bool,
    /// The most bytes of the head of a response; more answers 502. None: as much as is ever taken.
    pub response_head: Option<u64>,
    /// Requests of a session go to the same endpoint.
    pub affinity: Option<Arc<Affinity>>,
    /// The Ingress is no route of its own but takes requests of another's.
    pub canary: Option<Arc<Rules>>,
    /// The Host that the endpoint is given in place of the client's.
    pub upstream_host: Option<Arc<Text>>,
    /// How its Ingress is read.
    pub behaviour: Behaviour,
    /// Redirects plain HTTP to HTTPS with this status.
    pub https_redirect: Option<u16>,
    /// Whether a slash at the end outlives a redirect to HTTPS; none: as the behaviour has it.
    pub keeps_slash: Option<bool>,
    /// Redirects everything.
    pub redirect: Option<Arc<Redirect>>,
    /// Whether a redirect to a path of the same host stays a path.
    pub relative_redirects: bool,
    /// Whether redirects name a port that is not the usual one, and always that of HTTPS.
    pub port_in_redirects: bool,
    /// Another path for the endpoint.
    pub rewrite: Option<Arc<Rewrite>>,
    /// `Strict-Transport-Security` of answers over TLS, in place of the endpoint's.
    pub hsts: Option<HeaderValue>,
    /// What endpoints say of where they are is put into the clients' terms.
    pub origin: Option<Arc<Origin>>,
    /// Idle connections kept to each endpoint, on each thread; none: as in [`Settings`].
    pub idle_upstream_connections: Option<usize>,
    /// Who may read answers from other origins.
    pub cors: Option<Arc<Cors>>,
    /// Changes of headers.
    pub headers: Option<Arc<Headers>>,
    /// `rewrite` and `return` of snippets.
    pub steps: Option<Arc<[Step]>>,
    /// Those of the host, from the oldest Ingress that has some, when routes are made.
    pub host_steps: Option<Arc<[Step]>>,
    /// What the Ingress says for its hosts.
    pub server_snippet: Option<Arc<Snippet>>,
    /// Answers in place of errors.
    pub errors: Option<Arc<Errors>>,
    /// Copies of requests.
    pub mirror: Option<Arc<Mirror>>,
    /// Compression of answers.
    pub compress: Option<Arc<Compress>>,
    /// How fast answers are sent.
    pub rate: Option<Rate>,
    /// Whether requests are logged.
    pub access_log: bool,
    /// What requests have to pass; none: nothing.
    pub gate: Option<Arc<Gate>>,
    /// The annotation that closes the route, as it cannot be read: everything is answered 503.
    pub denied: Option<Arc<str>>,
    /// The Ingress of a route that is closed is not taken at all, as in ingress-nginx: what answers
    /// where there is no route does instead.
    pub left_out: bool,
}

impl RouteSettings {
    /// Whether anything is done to answers: most routes pass them on as they are.
    pub fn shapes_answers(&self) -> bool {
        self.cors.is_some()
            || self.headers.is_some()
            || self.errors.is_some()
            || self.compress.is_some()
            || self.rate.is_some()
    }
}

impl Default for RouteSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(60),
            send_timeout: Duration::from_secs(60),
            body_limit: 1 << 20,
            tries: 3,
            retry_non_idempotent: false,
            retry: Retry::default(),
            choice: None,
            speech: None,
            keeps_bodies: false,
            http10: false,
            response_head: None,
            affinity: None,
            canary: None,
            upstream_host: None,
            behaviour: Behaviour::default(),
            https_redirect: None,
            keeps_slash: None,
            redirect: None,
            relative_redirects: false,
            port_in_redirects: false,
            rewrite: None,
            hsts: None,
            origin: None,
            idle_upstream_connections: None,
            cors: None,
            headers: None,
            steps: None,
            host_steps: None,
            server_snippet: None,
            errors: None,
            mirror: None,
            compress: None,
            rate: None,
            access_log: true,
            gate: None,
            denied: None,
            left_out: false,
        }
    }
}

/// What holds for all routes. Defaults are ingress-nginx's where it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Until a request's head has come.
    pub header_timeout: Duration,
    /// Between two reads of a request body.
    pub body_timeout: Duration,
    /// Between two writes to a client.
    pub send_timeout: Duration,
    /// Between two requests on a connection.
    pub keep_alive: Duration,
    /// Requests on one connection, then it is closed.
    pub keep_alive_requests: u32,
    /// Streams at a time on an HTTP/2 connection.
    pub streams: u32,
    /// Idle connections kept to each endpoint, on each thread.
    pub idle_upstream_connections: usize,
    /// How long one is kept.
    pub idle_upstream_timeout: Duration,
    /// Whether `X-Forwarded-*` of clients in [`Settings::trusted`] is believed.
    pub use_forwarded_headers: bool,
    /// Whether `X-Forwarded-For` is appended to rather than replaced.
    pub full_forwarded_for: bool,
    /// Proxies in front of us; none by default.
    pub trusted: Vec<ipnet::IpNet>,
    /// Whether trusted peers begin connections with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Whether names of headers may have underscores.
    pub underscores: bool,
    /// Whether endpoints are told by `X-Original-URI` what the client asked for.
    pub original_uri: bool,
    /// How TLS begins where a host says nothing else.
    pub handshake: Handshake,
    /// The port for HTTPS, where a redirect names one.
    pub https_port: u16,
    /// What paths begin with that are answered 200 for names that no host has: load balancers look
    /// there whether ingress-nginx is alive.
    pub health: Option<Arc<str>>,
    /// Whom nobody answers.
    pub blocks: Option<Arc<Blocks>>,
    /// Between two reads or writes of a [`Stream`].
    pub stream_timeout: Duration,
    /// How long requests may take to end after SIGTERM, if the command line does not say it.
    pub shutdown_grace: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            send_timeout: Duration::from_secs(60),
            keep_alive: Duration::from_secs(75),
            keep_alive_requests: 1000,
            streams: 128,
            idle_upstream_connections: 320,
            idle_upstream_timeout: Duration::from_secs(60),
            use_forwarded_headers: false,
            full_forwarded_for: false,
            trusted: Vec::new(),
            proxy_protocol: false,
            underscores: false,
            original_uri: false,
            handshake: Handshake::default(),
            https_port: 443,
            health: None,
            blocks: None,
            stream_timeout: Duration::from_secs(600),
            shutdown_grace: None,
        }
    }
}
