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
//! | `defaults` | what holds without annotations, by behaviour and ConfigMap |
//! | `origin` | what endpoints say of where they are |
//! | `affinity` | cookies that keep a session at its endpoint |
//! | `backend`, `backend_tls` | what is spoken to endpoints, and when a request is tried again |
//! | `balance` | how endpoints are chosen |
//! | `canary` | an Ingress that takes part of another's requests |
//! | `proxy` | how requests are handed on: time-outs, sizes, tries |
//! | `redirect` | redirects to other places |
//! | `rewrite` | how paths and hosts are compared, and what endpoints are asked for |
//! | `tls` | redirects to HTTPS |
//! | [`known`] | all annotations of ingress-nginx, and what becomes of each |
//! | `keys` | all keys of its ConfigMap |
//! | `risk` | annotations that the ConfigMap does not allow |
//! | `handshake` | which TLS the clients of a host are spoken to with |
//! | `server` | what ingress-nginx has for a whole server, or in its ConfigMap only |
//! | `cors` | who may read answers from other origins |
//! | `headers` | headers of answers, and logs |
//! | `snippet` | snippets of nginx's configuration |
//! | `errors` | answers in place of errors |
//! | `mirror` | copies of requests |
//! | `compress` | compression |
//! | `rate` | how fast answers are sent |
//! | `access` | who may come in by address |
//! | `auth` | who may by name and password, and whether one of all is enough |
//! | `client_certificate` | what clients have to show when TLS begins |
//! | `external` | which service is asked who may come in |
//! | `limit` | how often clients may ask |

pub(crate) mod access;
mod affinity;
mod auth;
pub(crate) mod backend;
mod backend_tls;
pub(crate) mod balance;
mod canary;
mod client_certificate;
pub(crate) mod compress;
mod cors;
mod defaults;
pub(crate) mod errors;
pub(crate) mod external;
pub(crate) mod handshake;
mod headers;
pub(crate) mod keys;
pub mod known;
#[cfg(test)]
mod known_tests;
mod limit;
mod mirror;
mod note;
mod origin;
mod proxy;
mod rate;
mod reader;
mod redirect;
mod rewrite;
mod risk;
mod server;
mod snippet;
#[cfg(test)]
mod tests;
mod tls;
pub(crate) mod value;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use self::defaults::{ByBehaviour, Defaults, Hsts, Https, PlainPaths, Policy};
pub use self::note::{Kind, Note};
use self::reader::Reader;
pub use self::rewrite::Routing;
use super::action::gate::Gate;
use super::table::RouteSettings;
use crate::model::{ConfigMap, Ingress, Secret, ServiceName};

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
    /// What concerns its paths and hosts.
    pub routing: Routing,
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
    routing: Routing,
    hsts: Hsts,
    policy: Policy,
}

impl Annotated {
    /// What holds for an Ingress without annotations.
    pub fn bare(defaults: &Defaults) -> Self {
        Draft::new(defaults).finish()
    }
}

impl Draft {
    fn new(defaults: &Defaults) -> Self {
        Self {
            route: defaults.route.clone(),
            https: defaults.https,
            routing: Routing::default(),
            hsts: defaults.hsts,
            policy: defaults.policy.clone(),
        }
    }

    fn finish(self) -> Annotated {
        let Self {
            mut route,
            https,
            routing,
            hsts,
            ..
        } = self;
        route.hsts = hsts.header();
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
            routing,
            ..Annotated::default()
        }
    }
}

/// Reads all annotations of an Ingress.
pub fn read(ingress: &Ingress, defaults: &Defaults, objects: &dyn Objects) -> Annotated {
    let mut reader = Reader::new(ingress, objects, defaults.behaviour);
    let mut draft = Draft::new(defaults);
    groups(&mut reader, &mut draft);
    risk::check(&mut reader, &draft.policy);
    let (notes, named, closed) = reader.finish();
    if closed.left_out {
        leave_out(&mut draft, defaults);
    }
    draft.route.denied = closed.denied;
    draft.route.left_out = closed.left_out;
    Annotated {
        notes,
        named,
        ..draft.finish()
    }
}

/// What answers in place of an Ingress that is not taken is asked as if that was not there; only its
/// paths and names stay what they are.
fn leave_out(draft: &mut Draft, defaults: &Defaults) {
    draft.route = defaults.route.clone();
    let routing = &mut draft.routing;
    routing.use_regex |= routing.target.take().is_some();
    routing.root = None;
    routing.www = false;
}

/// All groups of annotations.
fn groups(reader: &mut Reader<'_>, draft: &mut Draft) {
    origin::read(reader, draft);
    proxy::read(reader, draft);
    redirect::read(reader, draft);
    rewrite::read(reader, draft);
    tls::read(reader, draft);
    server::read(reader, draft);
    handshake::read(reader, draft);
    cors::read(reader, draft);
    // Its headers come before those of ConfigMaps, as in ingress-nginx's template.
    snippet::read(reader, draft);
    headers::read(reader, draft);
    errors::read(reader, draft);
    mirror::read(reader, draft);
    compress::read(reader, draft);
    rate::read(reader, draft);
    access::read(reader, draft);
    auth::read(reader, draft);
    external::read(reader, draft);
    client_certificate::read(reader, draft);
    limit::read(reader, draft);
    affinity::read(reader, draft);
    backend::read(reader, draft);
    balance::read(reader, draft);
    canary::read(reader, draft);
}

/// What requests have to pass, to be changed.
pub(crate) fn gate(route: &mut RouteSettings) -> &mut Gate {
    Arc::make_mut(route.gate.get_or_insert_default())
}
