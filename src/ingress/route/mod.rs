// SPDX-License-Identifier: Apache-2.0
//! Finds the route of a host and a path, as the Kubernetes documentation of Ingress says: a host
//! before a wildcard before none; in a host the longest path, then Exact before Prefix. PURE.
//!
//! A request whose host has no route for its path goes on to the wildcard, and then to the rules
//! without host: these hold for all hosts. The default backend of an Ingress with rules stands
//! behind all paths of its hosts, and before the wildcard.
//!
//! | module | does |
//! |---|---|
//! | [`aliases`] | other names of hosts |
//! | [`host`] | the routes of one host |
//! | `hosts` | from a name to that, over generations of tables |
//! | `paths` | the longest of many prefixes |
//! | `patterns` | the first of many regular expressions |

pub mod aliases;
mod host;
mod hosts;
mod paths;
mod patterns;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use host::{HostRoutes, PathRoute};
pub use patterns::PatternRoute;

use self::aliases::Aliases;
use self::hosts::Hosts;
use super::table::{Behaviour, Route};

/// `pathType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathType {
    /// Equal, byte by byte.
    Exact,
    /// Element by element; a slash at the end counts for nothing.
    Prefix,
    /// As ingress-nginx does it: a prefix of bytes.
    ImplementationSpecific,
}

impl std::fmt::Display for PathType {
    /// As Kubernetes spells it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PathType::Exact => "Exact",
            PathType::Prefix => "Prefix",
            PathType::ImplementationSpecific => "ImplementationSpecific",
        })
    }
}

/// All routes. A clone costs a few hundred pointers, and a change of one host in it as many.
#[derive(Debug, Clone, Default)]
pub struct Router {
    exact: Hosts,
    /// By what follows `*.`.
    wildcard: Hosts,
    any: Option<Arc<HostRoutes>>,
    aliases: Option<Arc<Aliases>>,
}

impl Router {
    /// Replaces all other names of hosts.
    pub fn set_aliases(&mut self, aliases: Option<Arc<Aliases>>) {
        self.aliases = aliases;
    }

    /// Adds a route. Of two with the same host, path and type the one that came first stays.
    ///
    /// Takes as long as the host has paths: for many at once, see [`Router::replace`].
    pub fn add(&mut self, host: &str, path: &str, kind: PathType, route: Arc<Route>) {
        let mut routes = self.host(host).map_or_else(Vec::new, HostRoutes::paths);
        let default = self.host(host).and_then(|host| host.default.clone());
        let patterns = self.host(host).into_iter().flat_map(HostRoutes::patterns);
        let patterns = patterns.cloned().collect();
        routes.push(PathRoute {
            kind,
            path: path.into(),
            route,
            behaviour: Behaviour::default(),
        });
        let routes = HostRoutes::new(routes, default).with_patterns(patterns);
        self.replace(host, Some(Arc::new(routes)));
    }

    /// Replaces all that one host has: a name, `*.` and a name, or nothing for all hosts.
    pub fn replace(&mut self, host: &str, routes: Option<Arc<HostRoutes>>) {
        match host.strip_prefix("*.") {
            Some(suffix) => self.wildcard.replace(suffix, routes),
            None if host.is_empty() => self.any = routes,
            None => self.exact.replace(host, routes),
        }
    }

    /// The routes of a host as it was written: a wildcard stands for itself only.
    pub fn host(&self, host: &str) -> Option<&HostRoutes> {
        match host.strip_prefix("*.") {
            Some(suffix) => self.wildcard.get(suffix),
            None if host.is_empty() => self.any.as_deref(),
            None => self.exact.get(host),
        }
    }

    /// Where a request for a host looks, in this order: the host, or the one that it is another
    /// name of; that of which it has a part; its wildcard; that whose pattern finds it; no host.
    pub fn places(&self, host: &str) -> impl Iterator<Item = &HostRoutes> {
        let exact = (!host.is_empty()).then(|| self.exact.get(host)).flatten();
        // Exactly one label, so the wildcard is looked up by the rest.
        let rest = host.split_once('.').filter(|(label, _)| !label.is_empty());
        let wildcard = rest.and_then(|(_, rest)| self.wildcard.get(rest));
        let places = match self.aliases.as_deref().filter(|_| !host.is_empty()) {
            None => [exact, None, wildcard, None, self.any.as_deref()],
            Some(aliases) => {
                let real = |name: Option<&str>| name.and_then(|name| self.host(name));
                [
                    exact.or_else(|| real(aliases.name(host))),
                    real(aliases.part(host)),
                    wildcard,
                    real(aliases.pattern(host)),
                    self.any.as_deref(),
                ]
            }
        };
        places.into_iter().flatten()
    }

    /// The route of a request. `host` is lower case and without a port, `path` is normalised.
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        self.places(host).find_map(|place| place.find(path))
    }

    /// All hosts with their routes, in no particular order; wildcards with their `*.`.
    pub fn hosts(&self) -> impl Iterator<Item = (String, &HostRoutes)> {
        let exact = self.exact.iter().map(|(name, host)| (name.into(), host));
        let wildcard = self.wildcard.iter();
        let wildcard = wildcard.map(|(name, host)| (format!("*.{name}"), host));
        let any = self.any.as_deref().map(|host| (String::new(), host));
        exact.chain(wildcard).chain(any)
    }
}
