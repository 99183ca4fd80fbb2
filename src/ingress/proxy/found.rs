// SPDX-License-Identifier: Apache-2.0
//! Where a request goes.

use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use super::check::{self, Raw, Subject};
use super::choose::Session;
use crate::ingress::errors::Refusal;
use crate::ingress::serve::worker::Worker;
use crate::ingress::table::{
    Backend, Balance, Route, RouteSettings, Settings, Table, Upstream, UpstreamId, UpstreamProtocol,
};
use crate::model::ServiceName;

/// How a request came to where it goes.
#[derive(Clone)]
pub(super) enum Way {
    Route(Arc<Route>),
    /// To the default backend, in this way.
    Default(Arc<RouteSettings>),
}

/// Where a request goes.
pub(super) struct Found {
    pub(super) worker: Rc<Worker>,
    pub(super) settings: Arc<Settings>,
    pub(super) way: Way,
    pub(super) upstream: Arc<Upstream>,
    /// What answers when nothing else has, in place of the upstream.
    pub(super) refusal: Option<Refusal>,
    pub(super) key: u32,
    pub(super) session: Option<Box<Session>>,
}

/// The upstream of routes that have none.
static NOBODY: LazyLock<Arc<Upstream>> = LazyLock::new(|| {
    Arc::new(Upstream {
        id: UpstreamId {
            service: ServiceName::new("", ""),
            port: "".into(),
            protocol: UpstreamProtocol::default(),
            variant: "".into(),
        },
        endpoints: Arc::default(),
        protocol: UpstreamProtocol::default(),
        balance: Balance::default(),
        sessions: None,
        tls: None,
    })
});

/// Checks a request and finds where it goes.
pub(super) fn find(
    worker: &Rc<Worker>,
    request: &Request<Incoming>,
    raw: Option<Raw>,
) -> Result<Found, Refusal> {
    let subject = check::subject(request, raw)?;
    seek(worker, &subject)
}

/// Finds where a request goes.
pub(super) fn seek(worker: &Rc<Worker>, subject: &Subject<'_>) -> Result<Found, Refusal> {
    worker.table(|table| {
        let route = table.router.find(&subject.host, &subject.path).cloned();
        if is_health(&table.settings, route.as_deref(), subject) {
            return Err(Refusal::new(StatusCode::OK));
        }
        let (upstream, refusal) = match upstream(table, route.as_deref()) {
            Ok(upstream) => (upstream.clone(), None),
            Err(refusal) if route.is_some() => (NOBODY.clone(), Some(refusal)),
            Err(refusal) => return Err(refusal),
        };
        Ok(Found {
            worker: worker.clone(),
            settings: table.settings.clone(),
            way: match route {
                Some(route) => Way::Route(route),
                None => Way::Default(table.defaults.clone()),
            },
            upstream,
            refusal,
            key: 0,
            session: None,
        })
    })
}

/// Whether somebody looks whether we are alive. As in ingress-nginx's server for all other names, a
/// longer path of an Ingress goes before.
fn is_health(settings: &Settings, route: Option<&Route>, subject: &Subject<'_>) -> bool {
    settings.health.as_deref().is_some_and(|health| {
        let own = |route: &Route| !route.host.is_empty() || route.path.starts_with(health);
        subject.path.starts_with(health) && !route.is_some_and(own)
    })
}

fn upstream<'a>(table: &'a Table, route: Option<&'a Route>) -> Result<&'a Arc<Upstream>, Refusal> {
    match route.map(|route| &route.backend) {
        Some(Backend::Upstream(upstream)) => Ok(upstream),
        Some(Backend::Status(status)) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            Err(Refusal::new(status))
        }
        None if table.defaults.denied.is_some() && !table.defaults.left_out => {
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE))
        }
        Some(Backend::Default) | None => table
            .default_backend
            .as_ref()
            .ok_or(Refusal::new(StatusCode::NOT_FOUND)),
    }
}

impl Found {
    pub(super) fn route_settings(&self) -> &RouteSettings {
        match &self.way {
            Way::Route(route) => &route.settings,
            Way::Default(settings) => settings,
        }
    }

    pub(super) fn route(&self) -> Option<&Arc<Route>> {
        match &self.way {
            Way::Route(route) => Some(route),
            Way::Default(_) => None,
        }
    }

    pub(super) fn speaks_h2(&self) -> bool {
        use UpstreamProtocol::{H2Tls, H2c};
        matches!(self.upstream.protocol, H2c | H2Tls)
    }
}
