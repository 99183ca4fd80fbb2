// SPDX-License-Identifier: Apache-2.0
//! Bodies of requests that are waited for before an endpoint is asked: nginx's
//! `proxy_request_buffering`. Slow clients keep no endpoint busy, and what has come whole can be sent
//! to another endpoint if the first one fails.

use std::rc::Rc;

use hyper::body::{Body as _, Incoming};

use super::forward::client_at_fault;
use super::{End, Exchange, Found};
use crate::ingress::body::{Progress, RequestBody};
use crate::ingress::errors::Refusal;

impl Found {
    /// The body of a request, and how far it has come. Nothing of it is read yet.
    pub(super) fn body(
        &self,
        incoming: Incoming,
        limit: u64,
        exchange: &mut Exchange,
    ) -> (RequestBody, Option<Rc<Progress>>) {
        if incoming.is_end_stream() {
            return (RequestBody::empty(), None);
        }
        let (body, progress) = RequestBody::new(incoming, limit, self.settings.body_timeout);
        exchange.has_body(&progress);
        (body, Some(progress))
    }

    /// Whether bodies are waited for. Never those of HTTP/2 to endpoints, where calls of gRPC may
    /// go both ways at once.
    pub(super) fn waits(&self) -> bool {
        self.route_settings().keeps_bodies && !self.speaks_h2()
    }

    /// Waits for a body.
    pub(super) async fn whole(&self, body: RequestBody) -> Result<RequestBody, End> {
        let kept = body.keep(self.worker.bodies()).await;
        kept.map_err(|broken| Refusal::last(client_at_fault(broken)).into())
    }
}
