// SPDX-License-Identifier: Apache-2.0
//! Finds the route of a host and a path, as the Kubernetes documentation of Ingress says: a host
//! before a wildcard before none; in a host the longest path, then Exact before Prefix. PURE.

use std::sync::Arc;

use super::table::Route;

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

/// All routes.
#[derive(Debug, Clone, Default)]
pub struct Router {
    routes: Vec<(Arc<str>, Arc<str>, PathType, Arc<Route>)>,
}

impl Router {
    /// Adds a route. Of two with the same host, path and type the one that came first stays.
    pub fn add(&mut self, host: &str, path: &str, kind: PathType, route: Arc<Route>) {
        self.routes.push((host.into(), path.into(), kind, route));
    }

    /// The route of a request. `host` is lower case and without a port, `path` is normalised.
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        let fits = |(h, p, kind, _): &&(Arc<str>, Arc<str>, PathType, Arc<Route>)| {
            (h.is_empty() || **h == *host)
                && match kind {
                    PathType::Exact => **p == *path,
                    _ => path.starts_with(&**p),
                }
        };
        self.routes.iter().find(fits).map(|(.., route)| route)
    }
}
