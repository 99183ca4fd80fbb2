// SPDX-License-Identifier: Apache-2.0
//! The endpoints of a Service's port as an Ingress wants them: what it says of TLS, of how one is
//! chosen and of sessions makes them another upstream than those of an Ingress that says nothing.

use std::collections::HashMap;
use std::sync::Arc;

use super::upstream::Answer;
use crate::ingress::balance::{Hashed, Mode, Sessions};
use crate::ingress::table::{
    Balance, Choice, How, RouteSettings, Speech, Upstream, UpstreamId, UpstreamProtocol,
};
use crate::model::Target;

/// What an Ingress wants of an upstream.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wish<'a> {
    pub(super) choice: Option<&'a Choice>,
    pub(super) speech: Option<&'a Speech>,
    pub(super) sessions: Option<Mode>,
}

impl<'a> Wish<'a> {
    pub(super) fn of(settings: &'a RouteSettings) -> Self {
        Self {
            choice: settings.choice.as_deref(),
            speech: settings.speech.as_deref(),
            sessions: settings.affinity.as_ref().map(|affinity| affinity.mode),
        }
    }

    /// Tells upstreams of the same port apart; empty for that of an Ingress that says nothing.
    fn variant(&self) -> String {
        let mut parts = Vec::new();
        match self.choice.map(|choice| &choice.how) {
            None | Some(How::RoundRobin) => {}
            Some(How::PeakEwma) => parts.push("ewma".to_owned()),
            Some(How::Hash { text, subset, .. }) => {
                let size = subset.map_or(0, usize::from);
                parts.push(format!("hash {size} {text}"));
            }
        }
        if self.choice.is_some_and(|choice| choice.by_service) {
            parts.push("service".to_owned());
        }
        if let Some(tls) = self.speech.and_then(|speech| speech.tls.as_ref()) {
            parts.push(format!("tls {:x}", tls.digest()));
        }
        if let Some(mode) = self.sessions {
            parts.push(format!("{mode:?}"));
        }
        parts.join(", ")
    }

    fn protocol(&self) -> Option<UpstreamProtocol> {
        self.speech?.protocol
    }
}

/// Upstreams that have been made since the last change of endpoints: many routes share one, which
/// matters as a ring takes 1.25 KiB for each endpoint.
#[derive(Debug, Default)]
pub(super) struct Variants(HashMap<UpstreamId, Arc<Upstream>>);

impl Variants {
    /// An upstream as it is wanted, and what is wrong with that.
    pub(super) fn make(
        &mut self,
        answer: &Answer,
        wish: Wish<'_>,
    ) -> (Arc<Upstream>, Option<String>) {
        let plain = &answer.upstream;
        let by_service = wish.choice.is_some_and(|choice| choice.by_service);
        let lacks = by_service && answer.cluster.is_none() && answer.reason.is_none();
        let reason = lacks.then(|| {
            let service = &plain.id.service;
            format!("Service {service} has no ClusterIP: its endpoints are asked themselves")
        });
        let id = UpstreamId {
            protocol: wish.protocol().unwrap_or(plain.protocol),
            variant: wish.variant().into(),
            ..plain.id.clone()
        };
        if id == plain.id {
            return (plain.clone(), reason);
        }
        let made = self.0.entry(id).or_insert_with_key(|id| {
            let cluster = answer.cluster.filter(|_| by_service);
            Arc::new(upstream(id, plain, wish, cluster))
        });
        (made.clone(), reason)
    }
}

fn upstream(
    id: &UpstreamId,
    plain: &Upstream,
    wish: Wish<'_>,
    cluster: Option<Target>,
) -> Upstream {
    let endpoints = match cluster {
        Some(cluster) => Arc::from([cluster]),
        None => plain.endpoints.clone(),
    };
    let balance = match wish.choice.map(|choice| &choice.how) {
        // The kernel chooses, by its own rules.
        _ if cluster.is_some() => Balance::RoundRobin,
        None | Some(How::RoundRobin) => Balance::RoundRobin,
        Some(How::PeakEwma) => Balance::PeakEwma,
        Some(How::Hash { by, subset, .. }) => {
            let hashed = Hashed::new(&endpoints, *subset);
            Balance::Hash(by.clone(), Arc::new(hashed))
        }
    };
    let sessions = wish.sessions.filter(|_| cluster.is_none());
    let sessions = sessions.map(|mode| Sessions::new(mode, &id.nginx_name(), &endpoints));
    Upstream {
        id: id.clone(),
        protocol: id.protocol,
        balance,
        sessions: sessions.map(Arc::new),
        tls: wish.speech.and_then(|speech| speech.tls.clone()),
        endpoints,
    }
}
