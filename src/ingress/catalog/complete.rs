// SPDX-License-Identifier: Apache-2.0
//! What a route's settings take from more than its Ingress: what the oldest Ingress of the host says
//! for all of it, and the endpoints that answer in place of errors.

use std::sync::Arc;

use super::Catalog;
use crate::ingress::action::errors::Errors;
use crate::ingress::action::snippet::Snippet;
use crate::ingress::annotation::errors::{DEFAULT_BACKEND, service_name};
use crate::ingress::table::RouteSettings;
use crate::model::{Ingress, ServiceName};

/// The Service that an Ingress names for errors.
pub(super) fn default_backend(ingress: &Ingress) -> Option<ServiceName> {
    let name = ingress.annotations.get(DEFAULT_BACKEND)?.trim();
    let name = service_name(name).ok()?;
    let namespace = ingress.name.namespace.clone();
    Some(ServiceName::new(namespace, name))
}

impl Catalog {
    /// Settings with all that they take from elsewhere.
    pub(super) fn complete(
        &self,
        ingress: &Ingress,
        host: &str,
        mut settings: Arc<RouteSettings>,
    ) -> Arc<RouteSettings> {
        if let Some(snippet) = self.server_snippet(host) {
            let settings = Arc::make_mut(&mut settings);
            let headers = settings.headers.get_or_insert_default();
            Arc::make_mut(headers).host = snippet.changes.clone();
            let steps = Some(Arc::from(snippet.steps.clone()));
            settings.host_steps = steps.filter(|steps: &Arc<[_]>| !steps.is_empty());
        }
        if let Some(errors) = &settings.errors
            && let Some(service) = &errors.service
        {
            let namespace = ingress.name.namespace.clone();
            let service = ServiceName::new(namespace, service.clone());
            let answer = self.upstreams.answer(&service, &None);
            let errors = Errors {
                backend: answer.map(|answer| answer.upstream.clone()),
                ..Errors::clone(errors)
            };
            Arc::make_mut(&mut settings).errors = Some(Arc::new(errors));
        }
        settings
    }

    /// What the oldest Ingress says that says something for the host.
    fn server_snippet(&self, host: &str) -> Option<&Snippet> {
        let first = self.first_with_snippet(host)?;
        self.annotated(first).plain.server_snippet.as_deref()
    }

    fn first_with_snippet(&self, host: &str) -> Option<&ServiceName> {
        let all = self.annotations.server_snippets();
        if all.is_empty() {
            return None;
        }
        self.index.of_host(host).find(|name| all.contains(name))
    }

    /// What of an Ingress does not hold for a host.
    pub(super) fn incomplete(&self, ingress: &Ingress, host: &str) -> Vec<String> {
        let mut reasons = Vec::new();
        let says = self.annotated(&ingress.name).plain.server_snippet.is_some();
        let first = self.first_with_snippet(host);
        if let Some(first) = first.filter(|first| says && **first != ingress.name) {
            reasons.push(format!(
                "annotation server-snippet: host {host:?} has that of the older Ingress {first}"
            ));
        }
        let answer = default_backend(ingress)
            .and_then(|service| self.upstreams.answer(&service, &None))
            .and_then(|answer| answer.reason.as_ref());
        reasons.extend(answer.map(|reason| format!("annotation {DEFAULT_BACKEND}: {reason}")));
        reasons
    }
}
