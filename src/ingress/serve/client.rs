// SPDX-License-Identifier: Apache-2.0
//! Who is at the other end of a connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::header::HeaderValue;

use super::state::State;
use super::worker::Place;
use crate::ingress::action::client_certificate::Shown;
use crate::ingress::table::Settings;

/// The client of a connection, with what every request of it is sent on with.
#[derive(Debug)]
pub(crate) struct Client {
    /// The connection's marks.
    pub(crate) state: Arc<State>,
    /// The client, as the PROXY protocol says it if there is such a header.
    pub(crate) address: IpAddr,
    /// Whether its `X-Forwarded-*` are believed.
    pub(crate) trusted: bool,
    /// Whether it speaks TLS.
    pub(crate) tls: bool,
    /// Whether it speaks HTTP/2.
    pub(crate) h2: bool,
    /// The address as a header's value.
    pub(crate) address_value: HeaderValue,
    /// The port as a header's value.
    pub(crate) port_value: HeaderValue,
    /// What it said of itself when TLS began.
    pub(crate) greeting: Greeting,
    /// Held for as long as there is the connection or a tunnel that it became.
    _place: Place,
}

/// What a client says of itself when TLS begins.
#[derive(Debug, Default)]
pub(crate) struct Greeting {
    /// The host that it wants to speak with, in lower case.
    pub(crate) host: Option<Box<str>>,
    /// Its certificate, if it was asked for one.
    pub(crate) shown: Option<Box<Shown>>,
}

/// How a connection came to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// The other end of the TCP connection.
    pub(super) peer: SocketAddr,
    /// What the PROXY protocol says.
    pub(super) told: Option<SocketAddr>,
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) h2: bool,
}

impl Client {
    pub(super) fn new(
        origin: Origin,
        settings: &Settings,
        state: Arc<State>,
        (place, greeting): (Place, Greeting),
    ) -> Self {
        let address = origin.told.unwrap_or(origin.peer).ip().to_canonical();
        Self {
            state,
            address,
            trusted: settings.use_forwarded_headers && trusted(settings, origin.peer.ip()),
            tls: origin.tls,
            h2: origin.h2,
            address_value: value(&address.to_string()),
            port_value: origin.port.into(),
            greeting,
            _place: place,
        }
    }

    /// `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// Whether an address is in the list of proxies that are believed.
pub(crate) fn trusted(settings: &Settings, address: IpAddr) -> bool {
    let address = address.to_canonical();
    settings.trusted.iter().any(|net| net.contains(&address))
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
