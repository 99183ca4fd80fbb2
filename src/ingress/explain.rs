// SPDX-License-Identifier: Apache-2.0
//! What `ferrule debug` shows of the sidecar: which route a request takes, and why not another; all
//! routes, and all certificates.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::header::HeaderValue;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::pattern::Pattern;
use super::action::rewrite::Rewritten;
use super::action::template::{Context, Place};
use super::catalog::{Catalog, Verdict};
use super::filter::{self, Action};
use super::route::PathRoute;
use super::table::{Backend, Route, Upstream};
use super::tls::Certificates;
use crate::model::Protocol;

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteView {
    /// Namespace and name of the Ingress.
    pub ingress: String,
    /// The rule's host, empty for all.
    pub host: String,
    /// The path as written; empty for a default backend.
    pub path: String,
    /// `pathType`, `pattern`, or `default`.
    pub kind: String,
    /// The Service and its port, or a status.
    pub backend: String,
    /// Addresses and ports.
    pub endpoints: Vec<String>,
    /// What endpoints are asked for in place of the path; empty for the same.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rewrite: String,
    /// The status and where clients are sent; empty for nowhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub redirect: String,
    /// Of a request: why it does not take this route; empty for the one that it takes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub lost: String,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// The host that was asked for.
    pub host: String,
    /// The path that was asked for.
    pub path: String,
    /// The route that is taken; none: the default backend or 404.
    pub taken: Option<RouteView>,
    /// What answers.
    pub answer: String,
    /// What the endpoint is asked for, if it is another path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewritten: Option<String>,
    /// The status and where the client is sent, if it asks over plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirected: Option<String>,
    /// Those of the host, its wildcard and no host that are not taken.
    pub others: Vec<RouteView>,
    /// The certificate for the host.
    pub certificate: Option<CertificateView>,
}

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateView {
    /// The host that it is shown for; `*` for all others.
    pub host: String,
    /// Its names.
    pub names: Vec<String>,
    /// When it ends to be valid, RFC 3339.
    pub expires: String,
    /// Whether one of its names is the host.
    pub covers: bool,
}

/// One Ingress of any class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressView {
    /// Namespace and name.
    pub name: String,
    /// Whether it is served, or why not.
    pub verdict: String,
    /// How it is read if it is served: `spec` or `ingress-nginx`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub behaviour: String,
    /// What of it is not served, and why.
    pub notes: Vec<String>,
}

/// All that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Everything {
    /// All Ingresses.
    pub ingresses: Vec<IngressView>,
    /// All routes, by host; of a host those that are tried first in front.
    pub routes: Vec<RouteView>,
    /// What answers where no route fits.
    pub default_backend: String,
    /// All certificates, by host.
    pub certificates: Vec<CertificateView>,
    /// All ports that are passed on byte by byte.
    #[serde(default)]
    pub ports: Vec<PortView>,
    /// What is not served of ConfigMaps.
    #[serde(default)]
    pub config_maps: Vec<ConfigMapView>,
}

/// A port that is passed on byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortView {
    /// `TCP 5432`.
    pub port: String,
    /// The Service and its port.
    pub backend: String,
    /// Addresses and ports.
    pub endpoints: Vec<String>,
}

/// One ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapView {
    /// Namespace and name.
    pub name: String,
    /// What of it is not served, and why.
    pub notes: Vec<String>,
}

/// Which route a request for a host and a path takes.
pub fn explain(
    catalog: &Catalog,
    certificates: &Certificates,
    host: &str,
    path: &str,
) -> Explained {
    let router = &catalog.table().router;
    let taken = router.find(host, path);
    let mut found = None;
    let mut others = Vec::new();
    for place in router.places(host) {
        let paths = place.paths();
        let plain = paths.iter().map(|entry| (entry, None));
        let patterns = place.patterns();
        let patterns = patterns.map(|route| (&route.entry, Some(&*route.pattern)));
        for (entry, pattern) in plain.chain(patterns) {
            let mut view = entry_view(entry, pattern);
            if taken.is_some_and(|taken| Arc::ptr_eq(taken, &entry.route)) {
                found = Some(view);
                continue;
            }
            view.lost = lost((entry, pattern), path, taken);
            others.push(view);
        }
        if let Some(default) = &place.default {
            let mut view = view(default, "default");
            if taken.is_some_and(|taken| Arc::ptr_eq(taken, default)) {
                found = Some(view);
            } else {
                view.lost = "a path fits, or a host that goes first has a default".into();
                others.push(view);
            }
        }
    }
    let (rewritten, redirected) = taken.map(|route| becomes(route, host, path)).unzip();
    let answer = match &found {
        Some(view) if view.backend == DEFAULT => default_backend(catalog),
        Some(view) if view.endpoints.is_empty() => format!("{}: status 503", view.backend),
        Some(view) => view.backend.clone(),
        None => default_backend(catalog),
    };
    let shown = certificates.find(Some(host));
    Explained {
        host: host.to_owned(),
        path: path.to_owned(),
        taken: found,
        answer,
        rewritten: rewritten.flatten(),
        redirected: redirected.flatten(),
        others,
        certificate: shown.map(|key| certificate(host, key)),
    }
}

fn lost(
    (entry, pattern): (&PathRoute, Option<&Pattern>),
    path: &str,
    taken: Option<&Arc<Route>>,
) -> String {
    let fits = pattern.map_or_else(
        || entry.fits(path),
        |pattern| pattern.is_match(path.as_bytes()),
    );
    match (fits, taken) {
        (false, _) if pattern.is_some() => "the pattern does not match".to_owned(),
        (false, _) => "the path does not fit".to_owned(),
        (true, Some(taken)) if taken.host != entry.route.host => {
            format!("host {:?} goes first", taken.host)
        }
        (true, Some(taken)) if pattern.is_some() => {
            format!("{:?} is tried before, and matches", taken.path)
        }
        (true, Some(taken)) => format!("{:?} is longer, Exact, or a pattern", taken.path),
        (true, None) => "a host that goes first answers".to_owned(),
    }
}

/// What the endpoint is asked for, and where the client is sent that asks over plain HTTP.
fn becomes(route: &Route, host: &str, path: &str) -> (Option<String>, Option<String>) {
    let request = hyper::Request::builder().uri(path).header("host", host);
    let Ok(request) = request.body(()) else {
        return (None, None);
    };
    let parts = request.into_parts().0;
    let mut context = Context::of(&parts);
    context.place = Place::of(route);
    let settings = &route.settings;
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let rewritten = settings.rewrite.as_ref();
    let rewritten = rewritten.map(|rewrite| rewrite.apply(path.as_bytes(), &context));
    let rewritten = rewritten.and_then(|rewritten| match rewritten {
        Rewritten::Same(_) => None,
        Rewritten::Path(path, _) => Some(path.to_string()),
        Rewritten::Redirect(to) => Some(format!("302 {}", text(&to))),
        Rewritten::Broken => Some("nothing: status 500".to_owned()),
    });
    let redirected = match filter::acts(settings).then(|| filter::before(settings, &context)) {
        Some(Action::Redirect(status, to)) => Some(format!("{} {}", status.as_u16(), text(&to))),
        _ => None,
    };
    (rewritten, redirected)
}

/// Everything that is served.
pub fn everything(catalog: &Catalog, certificates: &Certificates) -> Everything {
    let mut routes: BTreeMap<String, Vec<RouteView>> = BTreeMap::new();
    for (host, place) in catalog.table().router.hosts() {
        let paths = place.paths();
        let paths = paths.iter().map(|entry| entry_view(entry, None));
        let patterns = place.patterns();
        let patterns = patterns.map(|route| entry_view(&route.entry, Some(&route.pattern)));
        let paths = paths.chain(patterns);
        let default = place.default.iter().map(|route| view(route, "default"));
        routes.insert(host, paths.chain(default).collect());
    }
    let ingresses = catalog.verdicts().map(|(ingress, verdict)| IngressView {
        name: ingress.name.to_string(),
        behaviour: match verdict {
            Verdict::Served => catalog.behaviour(ingress).to_string(),
            Verdict::Other(_) => String::new(),
        },
        notes: match verdict {
            Verdict::Served => catalog.notes(&ingress.name),
            Verdict::Other(_) => Vec::new(),
        },
        verdict: verdict.to_string(),
    });
    let by_host = certificates.by_host.iter();
    let by_host = by_host.map(|(host, key)| certificate(host, key));
    let default = certificates.default.iter().map(|key| certificate("*", key));
    let config_maps = catalog.config_maps().map(|(name, notes)| ConfigMapView {
        name: name.to_string(),
        notes,
    });
    Everything {
        ingresses: ingresses.collect(),
        routes: routes.into_values().flatten().collect(),
        default_backend: default_backend(catalog),
        certificates: by_host.chain(default).collect(),
        ports: ports(catalog),
        config_maps: config_maps.collect(),
    }
}

fn ports(catalog: &Catalog) -> Vec<PortView> {
    let each = catalog.streams().iter();
    let each = each.map(|((protocol, port), stream)| PortView {
        port: match protocol {
            Protocol::Udp => format!("UDP {port}"),
            _ => format!("TCP {port}"),
        },
        backend: stream.service.to_string(),
        endpoints: stream.endpoints.iter().map(ToString::to_string).collect(),
    });
    each.collect()
}

fn default_backend(catalog: &Catalog) -> String {
    match &catalog.table().default_backend {
        Some(upstream) => format!("default backend {}", upstream.id),
        None => "status 404".to_owned(),
    }
}

fn entry_view(entry: &PathRoute, pattern: Option<&Pattern>) -> RouteView {
    match pattern {
        None => view(&entry.route, &entry.kind.to_string()),
        Some(_) => RouteView {
            path: entry.path.to_string(),
            ..view(&entry.route, "pattern")
        },
    }
}

/// What is shown as the backend of a route that leads to the default one.
const DEFAULT: &str = "default backend";

fn view(route: &Route, kind: &str) -> RouteView {
    let endpoints =
        |upstream: &Upstream| upstream.endpoints.iter().map(ToString::to_string).collect();
    let (backend, endpoints) = match &route.backend {
        Backend::Upstream(upstream) => (upstream.id.to_string(), endpoints(upstream)),
        Backend::Status(status) => (format!("status {status}"), Vec::new()),
        Backend::Default => (DEFAULT.to_owned(), Vec::new()),
    };
    let settings = &route.settings;
    let redirect = settings.redirect.as_ref();
    let https = settings.https_redirect;
    let https = || https.map(|status| format!("{status} https"));
    RouteView {
        ingress: route.ingress.to_string(),
        host: route.host.to_string(),
        path: route.path.to_string(),
        kind: kind.to_owned(),
        backend,
        endpoints,
        rewrite: settings
            .rewrite
            .as_ref()
            .map_or_else(String::new, |r| r.target().to_owned()),
        redirect: redirect
            .map(|r| r.describe())
            .or_else(https)
            .unwrap_or_default(),
        lost: String::new(),
    }
}

fn certificate(host: &str, key: &super::tls::CertifiedKey) -> CertificateView {
    let expires = Timestamp::from_second(key.not_after());
    CertificateView {
        host: host.to_owned(),
        names: key.names().map(str::to_owned).collect(),
        expires: expires.map_or_else(|error| error.to_string(), |time| time.to_string()),
        covers: key.covers(host),
    }
}
