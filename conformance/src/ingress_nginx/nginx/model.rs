// SPDX-License-Identifier: Apache-2.0
//! Servers, locations and backends: what ingress-nginx makes of all Ingresses before it renders.

use std::net::SocketAddr;
use std::rc::Rc;

use super::super::case::Case;
use super::annotations::Annotations;

/// The backend of what no Ingress serves.
pub(super) const DEFAULT: &str = "upstream-default-backend";
/// The server of what no Ingress serves.
pub(super) const CATCH_ALL: &str = "_";

/// One host.
#[derive(Debug, Clone)]
pub(super) struct Server<'a> {
    pub(super) host: String,
    pub(super) aliases: Vec<String>,
    pub(super) locations: Vec<Location<'a>>,
    /// It has a certificate: its own or the default one.
    pub(super) certificate: Option<Certificate>,
    pub(super) ciphers: Option<String>,
    pub(super) prefer_ciphers: Option<bool>,
    /// Clients must have a certificate.
    pub(super) clients: Option<Source<'a>>,
    /// All requests answer 403, as what names their certificates cannot be read.
    pub(super) clients_wrong: bool,
    /// How endpoints are believed.
    pub(super) endpoints: Option<Source<'a>>,
    pub(super) snippet: Option<String>,
    pub(super) www: bool,
}

/// Which certificate a server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certificate {
    Own,
    Default,
}

/// An Ingress: its annotations, and the case that it belongs to.
#[derive(Debug, Clone)]
pub(super) struct Source<'a> {
    pub(super) case: &'a Case,
    pub(super) name: String,
    pub(super) annotations: Rc<Annotations>,
}

/// How a path is matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Exact,
    /// ImplementationSpecific, too: k8s/main.go, SetDefaultNGINXPathType.
    Prefix,
}

/// One path of a host.
#[derive(Debug, Clone)]
pub(super) struct Location<'a> {
    pub(super) path: String,
    /// As the Ingress has it.
    pub(super) ingress_path: String,
    pub(super) kind: Kind,
    pub(super) backend: String,
    /// The root that every host has.
    pub(super) default: bool,
    /// None: the catch-all server's own root.
    pub(super) source: Option<Source<'a>>,
    pub(super) service: String,
    pub(super) port: String,
    /// Where error pages come from.
    pub(super) errors: String,
}

/// Endpoints of a Service.
#[derive(Debug, Clone)]
pub(super) struct Backend<'a> {
    pub(super) name: String,
    pub(super) endpoints: Vec<SocketAddr>,
    /// The Ingress that named it first.
    pub(super) source: Source<'a>,
    /// Only as an alternative to others.
    pub(super) canary: bool,
    /// The canary that shares its requests.
    pub(super) alternatives: Vec<String>,
    /// Whose cookie keeps clients at an endpoint.
    pub(super) affinity: Option<Rc<Annotations>>,
    /// Hosts and paths that set the cookie.
    pub(super) cookie_for: Vec<(String, String)>,
}

impl Location<'_> {
    /// Its annotations.
    pub(super) fn annotations(&self) -> Option<&Annotations> {
        self.source.as_ref().map(|source| &*source.annotations)
    }

    /// Whether the whole host is matched by regular expressions because of it.
    pub(super) fn regex(&self) -> bool {
        self.annotations().is_some_and(|a| a.regex(&self.path))
    }
}
