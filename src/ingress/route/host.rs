// SPDX-License-Identifier: Apache-2.0
//! The routes of one host.

use std::sync::Arc;

use super::PathType;
use super::paths::{End, Paths};
use crate::ingress::table::{Behaviour, Route};

/// One path of a host.
#[derive(Debug, Clone)]
pub struct PathRoute {
    /// How the path is compared.
    pub kind: PathType,
    /// The path as written.
    pub path: Arc<str>,
    /// Where it leads.
    pub route: Arc<Route>,
    /// How its Ingress is read.
    pub behaviour: Behaviour,
}

impl PathRoute {
    /// What decides whether two paths are the same: Prefix ignores slashes at the end.
    pub fn key(&self) -> (PathType, &str) {
        match self.kind {
            PathType::Prefix => (self.kind, self.path.trim_end_matches('/')),
            kind => (kind, &self.path),
        }
    }

    /// Whether a request for a path may take this one.
    pub fn fits(&self, path: &str) -> bool {
        let (kind, key) = self.key();
        match (kind, path.strip_prefix(key)) {
            (PathType::Exact, rest) => rest == Some(""),
            (PathType::Prefix, Some(rest)) => rest.is_empty() || rest.starts_with('/'),
            (_, rest) => rest.is_some(),
        }
    }
}

/// All paths of one host, never changed once it is there.
#[derive(Debug, Clone, Default)]
pub struct HostRoutes {
    exact: Paths,
    /// Each with a slash at its end, so that whole elements are compared.
    prefix: Paths,
    literal: Paths,
    /// What answers where no path fits.
    pub default: Option<Arc<Route>>,
}

impl HostRoutes {
    /// Of two paths that are the same the one that comes first counts.
    pub fn new(routes: Vec<PathRoute>, default: Option<Arc<Route>>) -> Self {
        let (mut exact, mut prefix, mut literal) = (Vec::new(), Vec::new(), Vec::new());
        for entry in routes {
            let path = entry.key().1;
            match entry.kind {
                PathType::Exact => exact.push((path.to_owned(), entry)),
                PathType::Prefix => prefix.push((format!("{path}/"), entry)),
                PathType::ImplementationSpecific => literal.push((path.to_owned(), entry)),
            }
        }
        Self {
            exact: Paths::new(exact),
            prefix: Paths::new(prefix),
            literal: Paths::new(literal),
            default,
        }
    }

    /// The route of a path: the longest, and of equally long ones Exact before Prefix before
    /// ImplementationSpecific. A slash at the end of a Prefix does not make it longer.
    pub fn find(&self, path: &str) -> Option<&Arc<Route>> {
        // It matches all of the path, so nothing is longer.
        if let Some(found) = self.exact.get(path) {
            return Some(&found.route);
        }
        let length = |length: usize| length.max(1);
        let prefix = self.prefix.longest(path, End::Slash);
        let literal = self.literal.longest(path, End::Open);
        let found = match (prefix, literal) {
            (Some((p, prefix)), Some((l, literal))) => {
                let longer = length(l) > length(p - 1);
                Some(if longer { literal } else { prefix })
            }
            (prefix, literal) => prefix.or(literal).map(|(_, found)| found),
        };
        found.map(|found| &found.route).or(self.default.as_ref())
    }

    /// All paths, those that are tried first in front.
    pub fn paths(&self) -> Vec<PathRoute> {
        let (prefix, literal) = (self.prefix.iter(), self.literal.iter());
        let mut paths: Vec<PathRoute> = prefix.chain(literal).cloned().collect();
        let length = |entry: &PathRoute| entry.key().1.len().max(1);
        paths.sort_by_key(|entry| (std::cmp::Reverse(length(entry)), entry.kind));
        self.exact.iter().cloned().chain(paths).collect()
    }

    /// How many paths there are.
    pub fn len(&self) -> usize {
        self.exact.len() + self.prefix.len() + self.literal.len()
    }

    /// Whether nothing is served, not even by default.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.default.is_none()
    }
}
