// SPDX-License-Identifier: Apache-2.0
//! Ingresses that are no routes of their own, but take requests of another's.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Catalog;
use super::host::kind;
use super::variant::{Variants, Wish};
use crate::ingress::route::PathRoute;
use crate::ingress::table::{Backend, Canary, Route, RouteSettings};
use crate::model::ingress::{IngressBackend, IngressPath};
use crate::model::{Ingress, ServiceName};

/// Reasons by Ingress.
type Reasons = BTreeMap<ServiceName, Vec<String>>;

impl Catalog {
    /// Whether an Ingress is one.
    pub(super) fn is_canary(&self, ingress: &Ingress) -> bool {
        self.annotated(&ingress.name).plain.canary.is_some()
    }

    /// Gives the canaries of a host to the routes that they are for, by age: the first has it.
    pub(super) fn add_canaries(
        &self,
        host: &str,
        routes: &mut [PathRoute],
        variants: &mut Variants,
        reasons: &mut Reasons,
    ) {
        let all = self
            .index
            .of_host(host)
            .filter_map(|name| self.served.get(name));
        for ingress in all.filter(|ingress| self.is_canary(ingress)) {
            let told = reasons.entry(ingress.name.clone()).or_default();
            let rules = ingress.rules.iter().enumerate();
            for (i, rule) in rules.filter(|(_, rule)| *rule.host == *host) {
                for (j, path) in rule.paths.iter().enumerate() {
                    let added = self.add_canary(ingress, path, routes, variants);
                    let reason = added.unwrap_or_else(Some);
                    let place = format!("spec.rules[{i}].http.paths[{j}]");
                    told.extend(reason.map(|reason| format!("{place}: {reason}")));
                }
            }
            if ingress.default_backend.is_some() {
                told.push("spec.defaultBackend: a canary takes requests of paths only".to_owned());
            }
        }
    }

    /// What is wrong with it all the same, or why it is not added.
    fn add_canary(
        &self,
        ingress: &Ingress,
        path: &IngressPath,
        routes: &mut [PathRoute],
        variants: &mut Variants,
    ) -> Result<Option<String>, String> {
        let same = |entry: &&mut PathRoute| {
            entry.kind == kind(path.kind, entry.behaviour) && entry.path == path.path
        };
        let Some(entry) = routes.iter_mut().find(same) else {
            return Err(
                "a canary of a path that no other Ingress has: nothing is served".to_owned(),
            );
        };
        if let Some(other) = &entry.route.canary {
            return Err(format!(
                "the older Ingress {} is the canary here",
                other.ingress
            ));
        }
        let (canary, wrong) = self.canary(ingress, &path.backend, &entry.route, variants)?;
        if let Some(canary) = canary {
            entry.route = Arc::new(Route {
                canary: Some(Arc::new(canary)),
                ..(*entry.route).clone()
            });
        }
        Ok(wrong)
    }

    /// None if it has no endpoints: then it takes nothing. And what is wrong with it.
    fn canary(
        &self,
        ingress: &Ingress,
        backend: &IngressBackend,
        route: &Route,
        variants: &mut Variants,
    ) -> Result<(Option<Canary>, Option<String>), String> {
        let own: &RouteSettings = &self.annotated(&ingress.name).plain;
        let (Backend::Upstream(primary), Some(rules)) = (&route.backend, &own.canary) else {
            return Err(format!(
                "the Ingress {} has no endpoints here",
                route.ingress
            ));
        };
        let IngressBackend::Service { name, port } = backend else {
            // Conversion has said why.
            return Ok((None, None));
        };
        let service = ServiceName::new(ingress.name.namespace.clone(), name.clone());
        let Some(answer) = self.upstreams.answer(&service, &Some(port.clone())) else {
            return Ok((None, None));
        };
        let (id, other) = (&primary.id, &answer.upstream.id);
        if (&id.service, &id.port) == (&other.service, &other.port) {
            return Err(format!(
                "{id} is what the Ingress {} has, too",
                route.ingress
            ));
        }
        // All but these it has from the route.
        let of_route = Wish::of(&route.settings);
        let wish = Wish {
            choice: own.choice.as_deref(),
            speech: of_route.speech,
            sessions: of_route.sessions.filter(|_| rules.sticky),
        };
        let (upstream, wrong) = variants.make(answer, wish);
        let wrong = answer.reason.clone().or(wrong);
        let wrong = wrong.map(|reason| format!("backend: {reason}"));
        let canary = || Canary {
            ingress: ingress.name.clone(),
            rules: rules.clone(),
            upstream: upstream.clone(),
        };
        Ok(((!upstream.endpoints.is_empty()).then(canary), wrong))
    }
}
