// SPDX-License-Identifier: Apache-2.0
//! Judges objects: [`wire`](super::wire) types in, [`model`](crate::model) types out. PURE.
//!
//! One bad field costs only itself. It is skipped, and named with its path, value and what is
//! wrong, as `spec.clusterIPs[1]: not an IP address: "foo"`. What does not concern a proxy at all
//! is [gone](Observed::gone) without a word. The rules are kube-proxy's unless said otherwise.

mod endpoints;
mod field;
mod ingress;
#[cfg(test)]
mod ingress_tests;
mod node;
mod service;
mod slice;
#[cfg(test)]
mod tests;
mod upstream;

pub use endpoints::endpoints;
pub(in crate::watch) use endpoints::mirror_name;
pub use ingress::{ingress, ingress_class};
pub use node::{node, other_node, service_cidr};
pub use service::service;
pub use slice::{any_slice, slice};
pub use upstream::{config_map, secret, upstream};

use std::fmt::Display;
use std::sync::Arc;

use super::wire::Meta;
use crate::model::{Observed, ServiceName, SliceName};

/// The most reasons that are given for one object. A thousand bad endpoints are one problem.
const MOST_REASONS: usize = 20;

/// The namespace of an object that names none, as in kubectl.
const DEFAULT_NAMESPACE: &str = "default";

/// Namespace (or `default`) and name of a Service, Ingress or Secret. None if the object has no name.
pub fn service_name<A>(meta: &Meta<A>) -> Option<ServiceName> {
    Some(ServiceName::new(namespace(meta), name(meta)?))
}

/// Namespace (or `default`) and name of an EndpointSlice or Endpoints. None if it has no name.
pub fn slice_name<A>(meta: &Meta<A>) -> Option<SliceName> {
    Some(SliceName::new(namespace(meta), name(meta)?))
}

/// Name of a cluster-wide object. None if it has no name.
pub fn cluster_name<A>(meta: &Meta<A>) -> Option<Arc<str>> {
    name(meta).map(Arc::from)
}

fn namespace<A>(meta: &Meta<A>) -> &str {
    meta.namespace
        .as_deref()
        .filter(|n| !n.is_empty())
        .unwrap_or(DEFAULT_NAMESPACE)
}

fn name<A>(meta: &Meta<A>) -> Option<&str> {
    meta.name.as_deref().filter(|n| !n.is_empty())
}

/// Seconds since 1970; an object that does not tell counts as youngest.
fn created<A>(meta: &Meta<A>, skipped: &mut Skipped) -> i64 {
    let text = meta.creation_timestamp.as_deref().filter(|t| !t.is_empty());
    text.and_then(|t| skipped.keep("metadata.creationTimestamp", field::timestamp(t)))
        .map_or(i64::MAX, |t| t.as_second())
}

/// Collects what had to be skipped of an object.
#[derive(Debug, Default)]
struct Skipped {
    reasons: Vec<String>,
    unnamed: usize,
}

impl Skipped {
    /// Notes that a field is skipped.
    fn note(&mut self, path: impl Display, reason: impl Display) {
        if self.reasons.len() < MOST_REASONS {
            self.reasons.push(format!("{path}: {reason}"));
        } else {
            self.unnamed += 1;
        }
    }

    /// The value, or nothing and a note.
    fn keep<T>(&mut self, path: impl Display, result: Result<T, String>) -> Option<T> {
        result.map_err(|reason| self.note(path, reason)).ok()
    }

    fn into_reasons(mut self) -> Vec<String> {
        if self.unnamed > 0 {
            self.reasons
                .push(format!("and {} more fields", self.unnamed));
        }
        self.reasons
    }

    fn observed<T>(self, object: T) -> Observed<T> {
        Observed {
            object: Some(object),
            skipped: self.into_reasons(),
        }
    }
}
