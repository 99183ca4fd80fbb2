// SPDX-License-Identifier: Apache-2.0
//! What variables in settings stand for, of a request.

use hyper::header::{HeaderMap, HeaderName};
use hyper::http::request::Parts;

use super::check::Subject;
use super::headers::{
    X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO, X_REQUEST_ID, real,
};
use crate::ingress::action::template::{Context, Place};
use crate::ingress::serve::Client;
use crate::ingress::table::{Route, Settings};

/// Of a request as it came: what a proxy says counts only if it is trusted.
pub(super) fn context<'a>(
    client: &Client,
    settings: &Settings,
    route: Option<&'a Route>,
    (parts, subject): (&'a Parts, &'a Subject<'_>),
) -> Context<'a> {
    let mut context = Context::of(parts);
    context.scheme = client.scheme();
    context.access_scheme = client.scheme();
    context.host = &subject.host;
    context.path = &subject.path;
    context.remote_addr = client.address;
    let port = client.port_value.to_str().ok();
    let port = port.and_then(|port| port.parse().ok()).unwrap_or_default();
    context.server_port = port;
    context.access_port = port;
    context.https_port = settings.https_port;
    context.request_id = text(&parts.headers, X_REQUEST_ID).unwrap_or_default();
    context.place = route.map(Place::of).unwrap_or_default();
    if client.trusted {
        believe(&mut context, settings, &parts.headers);
    }
    context
}

fn believe<'a>(context: &mut Context<'a>, settings: &Settings, headers: &'a HeaderMap) {
    if let Some(scheme) = text(headers, X_FORWARDED_PROTO) {
        context.access_scheme = scheme;
    }
    if let Some(host) = text(headers, X_FORWARDED_HOST) {
        context.best_http_host = host.split(',').next().unwrap_or_default().trim();
    }
    let port = text(headers, X_FORWARDED_PORT).and_then(|port| port.parse().ok());
    context.access_port = port.unwrap_or(context.access_port);
    let chain: Vec<&str> = headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let real = real(settings, &chain.join(", "));
    context.remote_addr = real.unwrap_or(context.remote_addr);
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
