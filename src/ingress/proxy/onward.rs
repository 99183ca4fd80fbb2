// SPDX-License-Identifier: Apache-2.0
//! The head that the endpoint is sent.

use hyper::header::{HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::{self, Authority, Scheme};
use hyper::{StatusCode, Uri, Version};

use super::headers::{self, Onward};
use super::reply::Reply;
use super::{End, Found};
use crate::ingress::serve::Client;
use crate::ingress::table::{Behaviour, UpstreamProtocol};

impl Found {
    /// Makes it of the client's, for an upgrade to this protocol if there is one. `reply`: with
    /// whether the request goes to another upstream than its own.
    pub(super) fn head(
        &self,
        client: &Client,
        mut parts: Parts,
        upgrade: Option<HeaderValue>,
        reply: Option<(&Reply, bool)>,
    ) -> Result<Parts, End> {
        let upgrades = upgrade.is_some();
        let named = self.named(client, &parts);
        self.rewrite(client, &mut parts)?;
        let mut parts = self.onward(client, parts, (upgrade, named));
        if let Some((reply, falls_back)) = reply {
            reply.onward(&mut parts, upgrades, self.speaks_h2());
            if falls_back {
                self.tell(StatusCode::SERVICE_UNAVAILABLE, None, &mut parts.headers);
            }
        }
        Ok(parts)
    }

    /// The same of a request that is not rewritten.
    pub(super) fn onward(
        &self,
        client: &Client,
        mut parts: Parts,
        (upgrade, named): (Option<HeaderValue>, Option<HeaderValue>),
    ) -> Parts {
        let host = parts.headers.get(HOST).cloned();
        let host = host.or_else(|| HeaderValue::from_str(parts.uri.authority()?.as_str()).ok());
        let host = match self.route_settings().behaviour {
            Behaviour::IngressNginx => headers::best_host(client, &parts.headers).or(host),
            Behaviour::Spec => host,
        };
        let upstream_host = named.or_else(|| host.clone());
        let h2 = self.speaks_h2();
        if h2 || parts.uri.authority().is_some() {
            parts.uri = self.uri(&parts.uri, upstream_host.as_ref().filter(|_| h2));
        }
        parts.version = match self.route_settings().http10 {
            _ if h2 => Version::HTTP_2,
            true => Version::HTTP_10,
            false => Version::HTTP_11,
        };
        parts.extensions.clear();
        let onward = Onward {
            client,
            settings: &self.settings,
            host,
            upstream_host: upstream_host.or(Some(HeaderValue::from_static("_"))),
            upgrade,
            h2,
        };
        onward.edit(&mut parts.headers);
        parts
    }

    /// The path with the query, and for HTTP/2 scheme and authority too.
    fn uri(&self, uri: &Uri, authority: Option<&HeaderValue>) -> Uri {
        let mut parts = uri::Parts::default();
        parts.path_and_query = uri.path_and_query().cloned();
        if self.speaks_h2() {
            let tls = self.upstream.protocol == UpstreamProtocol::H2Tls;
            let authority = authority.and_then(|host| Authority::try_from(host.as_bytes()).ok());
            parts.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
            parts.authority = authority.or(Some(Authority::from_static("_")));
        }
        Uri::from_parts(parts).unwrap_or_default()
    }
}
