// SPDX-License-Identifier: Apache-2.0
//! The routes of one host.

use std::sync::Arc;

use super::PathType;
use super::paths::{End, Paths};
use super::patterns::{PatternRoute, Patterns};
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
    /// What decides whether two paths are the same: Prefix ignores slashes at the end, but for
    /// ingress-nginx.
    pub fn key(&self) -> (PathType, &str) {
        match self.behaviour {
            Behaviour::Spec => (self.kind, self.stem()),
            Behaviour::IngressNginx => (self.kind, &self.path),
        }
    }

    /// What is compared: Prefix is compared by elements, so that slashes at its end count for
    /// nothing.
    fn stem(&self) -> &str {
        match self.kind {
            PathType::Prefix => self.path.trim_end_matches('/'),
            PathType::Exact | PathType::ImplementationSpecific => &self.path,
        }
    }

    /// Whether a request for a path may take this one.
    pub fn fits(&self, path: &str) -> bool {
        match (self.kind, path.strip_prefix(self.stem())) {
            (PathType::Exact, rest) => rest == Some(""),
            (PathType::Prefix, Some(rest)) => rest.is_empty() || rest.starts_with('/'),
            (_, rest) => rest.is_some(),
        }
    }
}

/// All paths of one host, never changed once it is there.
#[derive(Debug, Clone, Default)]
pub struct HostRoutes {
    exact: Paths<PathRoute>,
    /// Each with a slash at its end, so that whole elements are compared.
    prefix: Paths<PathRoute>,
    literal: Paths<PathRoute>,
    patterns: Option<Box<Patterns>>,
    /// What answers where no path fits.
    pub default: Option<Arc<Route>>,
}

impl HostRoutes {
    /// Of two paths that are the same the one that comes first counts.
    pub fn new(routes: Vec<PathRoute>, default: Option<Arc<Route>>) -> Self {
        let (mut exact, mut prefix, mut literal) = (Vec::new(), Vec::new(), Vec::new());
        for entry in routes {
            let path = entry.stem();
            match entry.kind {
                PathType::Exact => exact.push((path.into(), entry)),
                PathType::Prefix => prefix.push((format!("{path}/").into(), entry)),
                PathType::ImplementationSpecific => literal.push((path.into(), entry)),
            }
        }
        Self {
            exact: Paths::new(exact),
            prefix: Paths::new(prefix),
            literal: Paths::new(literal),
            patterns: None,
            default,
        }
    }

    /// Adds paths that are patterns, in the order in which they are tried.
    #[must_use]
    pub fn with_patterns(mut self, patterns: Vec<PatternRoute>) -> Self {
        let some = !patterns.is_empty();
        self.patterns = some.then(|| Box::new(Patterns::new(patterns)));
        self
    }

    /// The route of a path: the longest, and of equally long ones Exact before Prefix before
    /// ImplementationSpecific. A slash at the end of a Prefix does not make it longer. A pattern is
    /// as long as what all that it matches begins with, and of equally long ones it goes first, but
    /// for Exact ones.
    pub fn find(&self, path: &str) -> Option<&Arc<Route>> {
        // It matches all of the path, so nothing is longer.
        if let Some(found) = self.exact.get(path) {
            return Some(&found.route);
        }
        let plain = self.plain(path);
        let pattern = self.patterns.as_ref().and_then(|all| all.find(path));
        let found = match (pattern, plain) {
            (Some(pattern), Some((length, plain))) => {
                let longer = length > pattern.pattern.prefix().len();
                Some(if longer { plain } else { &pattern.entry })
            }
            (Some(pattern), None) => Some(&pattern.entry),
            (None, plain) => plain.map(|(_, plain)| plain),
        };
        found.map(|found| &found.route).or(self.default.as_ref())
    }

    /// The longest path that is neither Exact nor a pattern, with its length.
    fn plain(&self, path: &str) -> Option<(usize, &PathRoute)> {
        let path = path.as_bytes();
        let prefix = self.prefix.longest(path, End::Slash);
        let prefix = prefix.map(|(length, found)| ((length - 1).max(1), found));
        let literal = self.literal.longest(path, End::Open);
        let literal = literal.map(|(length, found)| (length.max(1), found));
        match (prefix, literal) {
            (Some(prefix), Some(literal)) => Some(if literal.0 > prefix.0 {
                literal
            } else {
                prefix
            }),
            (prefix, literal) => prefix.or(literal),
        }
    }

    /// All paths that are no patterns, those that are tried first in front.
    pub fn paths(&self) -> Vec<PathRoute> {
        let (prefix, literal) = (self.prefix.iter(), self.literal.iter());
        let mut paths: Vec<PathRoute> = prefix.chain(literal).cloned().collect();
        let length = |entry: &PathRoute| entry.stem().len().max(1);
        paths.sort_by_key(|entry| (std::cmp::Reverse(length(entry)), entry.kind));
        self.exact.iter().cloned().chain(paths).collect()
    }

    /// All paths that are patterns, in the order in which they are tried.
    pub fn patterns(&self) -> impl Iterator<Item = &PatternRoute> {
        let patterns = self.patterns.iter();
        patterns.flat_map(|patterns| patterns.iter())
    }

    /// How many paths there are.
    pub fn len(&self) -> usize {
        let patterns = self.patterns.as_ref().map_or(0, |patterns| patterns.len());
        self.exact.len() + self.prefix.len() + self.literal.len() + patterns
    }

    /// Whether nothing is served, not even by default.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.default.is_none()
    }
}
