// SPDX-License-Identifier: Apache-2.0
//! From an Ingress's annotations, by ingress-nginx's names, to typed settings. PURE.
//!
//! They are read once, when an Ingress, the ConfigMap or an object that they name changes; requests
//! see what came of it only. Each group of annotations has a file of its own, with one function
//! that takes them off the [`Reader`] and puts them into a [`Draft`]. What nobody took is unknown,
//! and is told as everything else that is not served as it is written.
//!
//! | module | does |
//! |---|---|
//! | `reader` | hands out values by name, and notes what is wrong with them |
//! | `value` | the shapes that values have: switches, numbers, times, sizes, lists |
//! | `affinity` | cookies that keep a session at its endpoint |
//! | `backend`, `backend_tls` | what is spoken to endpoints, and when a request is tried again |
//! | `balance` | how endpoints are chosen |
//! | `canary` | an Ingress that takes part of another's requests |
//! | `proxy` | how requests are handed on: time-outs, sizes, tries |
//! | `tls` | redirects to HTTPS |

mod affinity;
pub(crate) mod backend;
mod backend_tls;
pub(crate) mod balance;
mod canary;
mod note;
mod proxy;
mod reader;
#[cfg(test)]
mod tests;
mod tls;
pub(crate) mod value;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use self::note::{Kind, Note};
use self::reader::Reader;
use super::table::RouteSettings;
use crate::model::{ConfigMap, Ingress, Secret, ServiceName};

/// What holds where no annotation says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defaults {
    /// How requests are handed on, without a redirect to HTTPS.
    pub route: RouteSettings,
    /// Redirects to HTTPS.
    pub https: Https,
}

/// When requests are redirected to HTTPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Https {
    /// Those for hosts that an Ingress lists under `tls`.
    pub secured: bool,
    /// All.
    pub forced: bool,
    /// With this status.
    pub status: u16,
}

impl Default for Https {
    fn default() -> Self {
        Self {
            secured: false,
            forced: false,
            status: 308,
        }
    }
}

/// The objects that annotations may name.
pub trait Objects {
    /// A Secret, if it is there.
    fn secret(&self, name: &ServiceName) -> Option<&Secret>;
    /// A ConfigMap, if it is there.
    fn config_map(&self, name: &ServiceName) -> Option<&ConfigMap>;
}

/// Objects that annotations name, found or not: when one of them changes, they are read again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// Secrets.
    pub secrets: BTreeSet<ServiceName>,
    /// ConfigMaps.
    pub config_maps: BTreeSet<ServiceName>,
}

/// What the annotations of one Ingress come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Annotated {
    /// For hosts without a certificate.
    pub plain: Arc<RouteSettings>,
    /// For hosts that the Ingress lists under `tls`.
    pub secured: Arc<RouteSettings>,
    /// What is not served as it is written.
    pub notes: Vec<Note>,
    /// What has to be watched.
    pub named: Named,
}

/// Settings in the making.
#[derive(Debug)]
struct Draft {
    route: RouteSettings,
    https: Https,
}

impl Annotated {
    /// What holds for an Ingress without annotations.
    pub fn bare(defaults: &Defaults) -> Self {
        let draft = Draft {
            route: defaults.route.clone(),
            https: defaults.https,
        };
        draft.finish()
    }
}

impl Draft {
    fn finish(self) -> Annotated {
        let Self { route, https } = self;
        let with = |redirects: bool| {
            let https_redirect = redirects.then_some(https.status).or(route.https_redirect);
            Arc::new(RouteSettings {
                https_redirect,
                ..route.clone()
            })
        };
        let plain = with(https.forced);
        Annotated {
            secured: match https.secured && !https.forced {
                true => with(true),
                false => plain.clone(),
            },
            plain,
            ..Annotated::default()
        }
    }
}

/// Reads all annotations of an Ingress.
pub fn read(ingress: &Ingress, defaults: &Defaults, objects: &dyn Objects) -> Annotated {
    let mut reader = Reader::new(ingress, objects);
    let mut draft = Draft {
        route: defaults.route.clone(),
        https: defaults.https,
    };
    proxy::read(&mut reader, &mut draft);
    tls::read(&mut reader, &mut draft);
    affinity::read(&mut reader, &mut draft);
    backend::read(&mut reader, &mut draft);
    balance::read(&mut reader, &mut draft);
    canary::read(&mut reader, &mut draft);
    let (notes, named, denied) = reader.finish();
    draft.route.denied = denied;
    Annotated {
        notes,
        named,
        ..draft.finish()
    }
}
