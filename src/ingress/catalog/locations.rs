// SPDX-License-Identifier: Apache-2.0
//! The paths of one host as ingress-nginx makes locations of them (`getBackendServers`,
//! `updateServerLocations`, `buildLocation`), and as nginx finds one.
//!
//! - A host has a location `/`, which leads to the default backend with the settings of the oldest
//!   Ingress, until an Ingress has one.
//! - Longer paths go before shorter ones, and equally long ones in reverse order of their text.
//! - Prefix `/foo` is the location `/foo/` and the exact one `/foo`, unless it is rewritten.
//! - Where one Ingress has patterns or rewrites, all locations of the host are patterns without
//!   case, with an open end, and the first that matches counts.
//! - Else a path whose location has one more slash at the end is redirected there.

use std::collections::HashSet;
use std::sync::Arc;

use super::arrange::{Arranger, is_challenge, target};
use crate::ingress::action::redirect::Redirect;
use crate::ingress::route::{HostRoutes, PathRoute, PathType};
use crate::ingress::table::Route;

/// One of them; the path in the entry is the location's.
struct Location {
    exact: bool,
    entry: PathRoute,
}

impl Arranger<'_> {
    /// As ingress-nginx does it. `root` is the location that a host has anyway.
    pub(super) fn nginx(&mut self, entries: Vec<PathRoute>, root: Option<PathRoute>) -> HostRoutes {
        let mut first = Vec::new();
        let mut others = Vec::new();
        let mut default = root;
        for mut entry in entries {
            if entry.path.is_empty() {
                entry.path = "/".into();
            }
            match (entry.kind, &*entry.path) {
                (_, path) if is_challenge(path) => first.push(PathRoute {
                    kind: PathType::Exact,
                    route: self.bind(&entry.route, &entry.path, None),
                    ..entry
                }),
                (PathType::Prefix, "/") => {
                    default = None;
                    others.push(entry);
                }
                _ => others.push(entry),
            }
        }
        let is_default = default.is_some();
        others.splice(0..0, default);
        let locations = self.locations(others);
        let root = self.root(locations.iter().map(|location| &location.entry));
        first.splice(0..0, root);
        let all = locations.iter().map(|location| &location.entry);
        let mut all = all.map(|entry| (self.routing(&entry.route), &entry.path));
        match all.any(|(routing, path)| routing.use_regex || target(routing, path).is_some()) {
            true => self.all_patterns(locations, is_default, first),
            false => self.no_patterns(locations, is_default, first),
        }
    }

    /// In nginx's order, each as many times as it is there.
    fn locations(&self, mut entries: Vec<PathRoute>) -> Vec<Location> {
        entries.sort_by(|a, b| {
            let longer = b.path.len().cmp(&a.path.len());
            longer.then_with(|| b.path.cmp(&a.path))
        });
        let exact = entries.iter().filter(|entry| entry.kind == PathType::Exact);
        let exact: HashSet<Arc<str>> = exact.map(|entry| entry.path.clone()).collect();
        let mut locations = Vec::with_capacity(entries.len());
        for entry in entries {
            let routing = self.routing(&entry.route);
            let is_pattern = routing.use_regex || target(routing, &entry.path).is_some();
            if entry.kind == PathType::Exact || &*entry.path == "/" || is_pattern {
                let exact = entry.kind == PathType::Exact;
                locations.push(Location { exact, entry });
                continue;
            }
            let whole = PathRoute {
                path: with_slash(&entry.path),
                ..entry.clone()
            };
            locations.push(Location {
                exact: false,
                entry: whole,
            });
            if !exact.contains(&entry.path) {
                locations.push(Location { exact: true, entry });
            }
        }
        locations
    }

    fn all_patterns(
        &mut self,
        locations: Vec<Location>,
        is_default: bool,
        first: Vec<PathRoute>,
    ) -> HostRoutes {
        let mut default: Option<Arc<Route>> = None;
        let mut patterns = Vec::with_capacity(locations.len());
        for Location { entry, .. } in locations {
            if is_default && entry.kind == PathType::Prefix && &*entry.path == "/" {
                default = Some(self.bind(&entry.route, &entry.path, None));
                continue;
            }
            let text = entry.path.to_string();
            patterns.push(self.pattern(&text, entry));
        }
        HostRoutes::new(first, default).with_patterns(patterns)
    }

    fn no_patterns(
        &mut self,
        locations: Vec<Location>,
        is_default: bool,
        first: Vec<PathRoute>,
    ) -> HostRoutes {
        let mut default: Option<Arc<Route>> = None;
        let mut routes = first;
        let exact = locations.iter().filter(|location| location.exact);
        let exact: HashSet<Arc<str>> = exact.map(|l| l.entry.path.clone()).collect();
        for Location {
            exact: is_exact,
            mut entry,
        } in locations
        {
            entry.route = self.bind(&entry.route, &entry.path, None);
            let shorter = entry.path.strip_suffix('/').filter(|path| !path.is_empty());
            let shorter = shorter.filter(|_| entry.route.settings.denied.is_none());
            if let Some(shorter) = shorter.filter(|path| !exact.contains(*path)) {
                let redirect = Arc::new(Redirect::to_path(&entry.path));
                routes.push(self.redirecting(&entry, shorter, redirect));
            }
            if is_default && !is_exact && &*entry.path == "/" {
                default = Some(entry.route);
            } else if !is_exact || entry.kind == PathType::Exact {
                // Else it is the exact half of a prefix, which covers it.
                routes.push(entry);
            }
        }
        HostRoutes::new(routes, default)
    }
}

fn with_slash(path: &Arc<str>) -> Arc<str> {
    match path.ends_with('/') {
        true => path.clone(),
        false => format!("{path}/").into(),
    }
}
