// SPDX-License-Identifier: Apache-2.0
//! Which endpoints a request may go to: those of its route or of the canary, and of a session the one
//! that it keeps to.

use std::cell::RefCell;
use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderValue, SET_COOKIE, USER_AGENT};
use hyper::http::request::Parts;
use jiff::Timestamp;

use super::exchange::Exchange;
use super::{Found, check, headers};
use crate::ingress::action::affinity::{Affinity, Begun, Kept};
use crate::ingress::action::template::{Context, Place};
use crate::ingress::balance::{self, Sessions};
use crate::ingress::serve::Client;
use crate::ingress::table::{Balance, Canary, Upstream};
use crate::model::Target;

/// The session that a request belongs to, or begins.
pub(super) struct Session {
    affinity: Arc<Affinity>,
    sessions: Arc<Sessions>,
    /// The endpoint that its cookie stands for, if it is still there.
    kept: Option<Target>,
    /// What its cookie is to be from now on.
    begun: RefCell<Option<String>>,
    agent: Option<HeaderValue>,
}

impl Session {
    /// Whether each attempt goes to the same endpoint.
    pub(super) fn stays(&self) -> bool {
        self.kept.is_some() && !self.affinity.change_on_failure
    }

    /// The endpoint for a request that has failed on these.
    pub(super) fn pick(&self, tried: &[Target]) -> Option<Target> {
        let kept = self.kept.filter(|_| self.stays() || tried.is_empty());
        kept.or_else(|| {
            let (target, key) = self.sessions.begin(tried, || fastrand::u64(..))?;
            self.begun.replace(Some(key));
            Some(target)
        })
    }
}

impl Found {
    /// Chooses. Until then it is the route's own endpoints.
    pub(super) fn choose(&mut self, client: &Client, parts: &Parts, exchange: &mut Exchange) {
        let settings = self.route_settings();
        let affinity = settings.affinity.clone();
        let kept = affinity.as_ref().and_then(|a| a.kept(&parts.headers));
        let canary = self.route().and_then(|route| route.canary.clone());
        if let Some(canary) = canary
            && goes(&self.upstream, &canary, kept, &parts.headers)
        {
            self.upstream = canary.upstream.clone();
            exchange.diverted(&self.upstream);
        }
        if let (Some(affinity), Some(sessions)) = (affinity, &self.upstream.sessions) {
            self.session = Some(Box::new(Session {
                kept: kept.and_then(|kept| sessions.find(kept.key)),
                sessions: sessions.clone(),
                affinity,
                begun: RefCell::default(),
                agent: parts.headers.get(USER_AGENT).cloned(),
            }));
        }
        self.key = self.hash(client, parts);
    }

    /// Of what the endpoints are balanced by.
    fn hash(&self, client: &Client, parts: &Parts) -> u32 {
        let Balance::Hash(by, _) = &self.upstream.balance else {
            return 0;
        };
        let Ok(subject) = check::subject_of(parts) else {
            return 0;
        };
        let context = Context {
            scheme: client.scheme(),
            host: &subject.host,
            path: &subject.path,
            remote_addr: headers::address(client, &self.settings, &parts.headers),
            place: self
                .route()
                .map(|route| Place::of(route))
                .unwrap_or_default(),
            ..Context::of(parts)
        };
        balance::hash(by.render(&context).as_bytes())
    }

    /// Tells the client of a session that has begun.
    pub(super) fn remember(&self, client: &Client, headers: &mut HeaderMap) {
        let Some(session) = &self.session else {
            return;
        };
        let Some(key) = session.begun.take() else {
            return;
        };
        let path = self.route().map_or("", |route| &route.path);
        let begun = Begun {
            kept: Kept {
                key: &key,
                upstream: Some(session.sessions.upstream()),
            },
            path: if path.is_empty() { "/" } else { path },
            tls: client.tls,
            agent: session.agent.as_ref(),
            now: Timestamp::now(),
        };
        if let Some(cookie) = session.affinity.cookie(begun) {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

/// Whether a request goes to the canary. Without endpoints of its own a route answers 503, canary
/// or not, as in ingress-nginx.
fn goes(own: &Upstream, canary: &Canary, kept: Option<Kept<'_>>, headers: &HeaderMap) -> bool {
    let named = kept.and_then(|kept| kept.upstream);
    let keeps = |upstream: &Upstream| {
        let sessions = upstream.sessions.as_ref();
        sessions.is_some_and(|sessions| named == Some(sessions.upstream()))
    };
    if own.endpoints.is_empty() || keeps(own) {
        return false;
    }
    keeps(&canary.upstream) || canary.rules.take(headers, fastrand::u64(..))
}
