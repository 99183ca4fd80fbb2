// SPDX-License-Identifier: Apache-2.0
//! From the paths of one host to its routes: which are patterns, in which order they are tried, and
//! what their settings are, of which some depend on the path.
//!
//! As the documentation of Ingress has it, only the paths of an Ingress are patterns that asks for
//! it. As ingress-nginx has it ([`super::locations`]), all of a host are if one Ingress does.

use std::sync::Arc;

use super::Catalog;
use super::host::Reasons;
use super::patterns::PatternCache;
use crate::ingress::action::pattern::Pattern;
use crate::ingress::action::redirect::Redirect;
use crate::ingress::action::rewrite::{Rewrite, Target};
use crate::ingress::annotation::Routing;
use crate::ingress::route::{HostRoutes, PathRoute, PathType, PatternRoute};
use crate::ingress::table::{Backend, Behaviour, Route, RouteSettings};

/// Where ACME's challenges are.
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// Arranges the paths of one host.
pub(super) struct Arranger<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) cache: &'a mut PatternCache,
    pub(super) reasons: &'a mut Reasons,
}

/// Whether a path is that of one challenge, as cert-manager's solvers have it: it goes before all
/// others, whatever its type.
pub(super) fn is_challenge(path: &str) -> bool {
    let token = path.strip_prefix(CHALLENGES);
    token.is_some_and(|token| !token.is_empty() && !token.contains('/'))
}

impl Arranger<'_> {
    /// As the documentation of Ingress has it. Of patterns that begin alike the longest goes first.
    pub(super) fn spec(
        &mut self,
        mut entries: Vec<PathRoute>,
        default: Option<Arc<Route>>,
    ) -> HostRoutes {
        let mut plain: Vec<PathRoute> = self.root(entries.iter()).into_iter().collect();
        let mut patterns = Vec::new();
        for mut entry in entries.drain(..) {
            let routing = self.routing(&entry.route);
            let is_pattern = routing.use_regex || target(routing, &entry.path).is_some();
            if is_challenge(&entry.path) || !is_pattern {
                if is_challenge(&entry.path) {
                    entry.kind = PathType::Exact;
                }
                entry.route = self.bind(&entry.route, &entry.path, None);
                plain.push(entry);
                continue;
            }
            let text = match entry.kind {
                PathType::Exact => format!("{}$", entry.path),
                _ => entry.path.to_string(),
            };
            patterns.push(self.pattern(&text, entry));
        }
        let order = |route: &PatternRoute| {
            let text = route.pattern.text();
            (route.pattern.prefix().len(), text.len(), text.to_owned())
        };
        patterns.sort_by_key(|route| std::cmp::Reverse(order(route)));
        HostRoutes::new(plain, default).with_patterns(patterns)
    }

    /// What concerns the paths of a route's Ingress.
    pub(super) fn routing(&self, route: &Route) -> &Routing {
        &self.catalog.annotated(&route.ingress).routing
    }

    /// A path as a pattern; where it cannot be one, all that begins alike answers 503.
    pub(super) fn pattern(&mut self, text: &str, mut entry: PathRoute) -> PatternRoute {
        let found = self.cache.location(text);
        let pattern = found.unwrap_or_else(|wrong| {
            let reason = format!(
                "path {:?} of host {:?} {wrong}; it answers 503",
                entry.path, entry.route.host
            );
            self.reason(&entry.route, reason);
            entry.route = Arc::new(Route {
                backend: Backend::Status(503),
                ..(*entry.route).clone()
            });
            Arc::new(Pattern::instead_of(text))
        });
        entry.route = self.bind(&entry.route, &entry.path, Some(&pattern));
        PatternRoute { pattern, entry }
    }

    fn reason(&mut self, route: &Route, reason: String) {
        let reasons = self.reasons.entry(route.ingress.clone()).or_default();
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }

    /// A route with the settings that it has at a path: most share those of their Ingress.
    pub(super) fn bind(
        &mut self,
        route: &Arc<Route>,
        path: &Arc<str>,
        pattern: Option<&Arc<Pattern>>,
    ) -> Arc<Route> {
        let settings = &route.settings;
        let rewrite = target(self.routing(route), path).cloned();
        let rewrite = rewrite.and_then(|target| self.rewrite(path, pattern, target));
        let redirect = settings.redirect.as_ref().zip(pattern);
        let redirect = redirect.and_then(|(redirect, pattern)| redirect.with_pattern(pattern));
        let defaults = self.catalog.annotations.defaults();
        let plain_paths = &defaults.of(settings.behaviour).plain_paths;
        let plain = settings.https_redirect.is_some() && plain_paths.cover(path);
        if rewrite.is_none() && redirect.is_none() && !plain {
            return route.clone();
        }
        let mut settings = RouteSettings::clone(settings);
        settings.rewrite = rewrite.map(Arc::new);
        settings.redirect = redirect.map(Arc::new).or(settings.redirect);
        settings.https_redirect = settings.https_redirect.filter(|_| !plain);
        Arc::new(Route {
            settings: Arc::new(settings),
            ..(**route).clone()
        })
    }

    /// What is searched is the path's pattern, of which a location only knows where it begins.
    fn rewrite(
        &mut self,
        path: &str,
        pattern: Option<&Arc<Pattern>>,
        target: Arc<Target>,
    ) -> Option<Rewrite> {
        let same = pattern.filter(|pattern| pattern.text().strip_prefix('^') == Some(path));
        let search = match same.filter(|_| PatternCache::begins_alike(path)) {
            Some(same) => same.clone(),
            None => self.cache.search(path).ok()?,
        };
        Some(Rewrite::new(search, target))
    }

    /// `app-root` of the first that has it: `/` of the host, whoever else has it.
    pub(super) fn root<'b>(
        &self,
        mut entries: impl Iterator<Item = &'b PathRoute>,
    ) -> Option<PathRoute> {
        entries.find_map(|entry| {
            let root = self.routing(&entry.route).root.clone()?;
            let mut root = self.redirecting(entry, "/", root);
            if entry.behaviour == Behaviour::IngressNginx {
                // It is no location's, and only these say so.
                let route = Arc::make_mut(&mut root.route);
                Arc::make_mut(&mut route.settings).hsts = None;
            }
            Some(root)
        })
    }

    /// A path of the same Ingress that does nothing but redirect.
    pub(super) fn redirecting(
        &self,
        entry: &PathRoute,
        path: &str,
        redirect: Arc<Redirect>,
    ) -> PathRoute {
        let settings = RouteSettings {
            redirect: Some(redirect),
            relative_redirects: entry.route.settings.relative_redirects,
            port_in_redirects: entry.route.settings.port_in_redirects,
            https_redirect: None,
            ..RouteSettings::clone(&self.catalog.annotations.bare(entry.behaviour).plain)
        };
        PathRoute {
            kind: PathType::Exact,
            path: path.into(),
            route: Arc::new(Route {
                path: path.into(),
                backend: Backend::Status(404),
                settings: Arc::new(settings),
                ..(*entry.route).clone()
            }),
            ..entry.clone()
        }
    }
}

/// The target of a path, if it is another than the path.
pub(super) fn target<'a>(routing: &'a Routing, path: &str) -> Option<&'a Arc<Target>> {
    let target = routing.target.as_ref();
    target.filter(|target| target.is_active(path))
}
