// SPDX-License-Identifier: Apache-2.0
//! Kubernetes objects to our own types. Never panics: a bad field is skipped with its path and the
//! reason, and the rest of the object is used.

mod endpoints;
mod node;
mod service;
mod slice;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use endpoints::endpoints;
pub use node::{node, service_cidr};
pub use service::service;
pub use slice::slice;

use crate::model::{Protocol, ServiceName};

/// Names end up in the names of chains, which the kernel limits to 255 bytes; Kubernetes itself
/// allows no Service or namespace name over 63 (RFC 1123).
const LONGEST_NAME: usize = 63;

/// What was skipped of an object.
#[derive(Debug, Default)]
struct Skipped(Vec<String>);

impl Skipped {
    /// Notes a field by its path.
    fn field(&mut self, path: impl Display, reason: impl Display) {
        self.0.push(format!("{path}: {reason}"));
    }
}

/// Namespace and name of an object; `default` if it gives no namespace.
pub(super) fn name_of(meta: &ObjectMeta) -> ServiceName {
    let namespace = meta
        .namespace
        .as_deref()
        .filter(|n| !n.is_empty())
        .unwrap_or("default");
    ServiceName::new(namespace, meta.name.as_deref().unwrap_or_default())
}

/// Why the name can't be used, if it can't.
fn bad_name(what: &str, name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match name.len() {
        0 => Some(format!("{what}: is empty")),
        n if n > LONGEST_NAME => Some(format!(
            "{what}: has {n} bytes, {LONGEST_NAME} are the most"
        )),
        _ if !name.chars().all(plain) => {
            Some(format!("{what}: {name:?} has characters that no name has"))
        }
        _ => None,
    }
}

/// A port number from 1 to 65,535.
fn port_number(number: i32) -> Result<u16, String> {
    match u16::try_from(number) {
        Ok(port @ 1..) => Ok(port),
        _ => Err(format!("must be 1 to 65535, is {number}")),
    }
}

/// A protocol; TCP if none is given.
fn protocol(name: Option<&str>) -> Result<Protocol, String> {
    match name {
        None | Some("" | "TCP") => Ok(Protocol::Tcp),
        Some("UDP") => Ok(Protocol::Udp),
        Some("SCTP") => Ok(Protocol::Sctp),
        Some(other) => Err(format!("unknown protocol {other:?} (TCP, UDP or SCTP)")),
    }
}

/// An address that can be a Service's or an endpoint's.
fn address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text
        .parse()
        .map_err(|_| format!("not an IP address: {text:?}"))?;
    match address {
        a if a.is_unspecified() => Err(format!("{a} is the unspecified address")),
        a if a.is_loopback() => Err(format!("{a} is a loopback address")),
        a if a.is_multicast() => Err(format!("{a} is a multicast address")),
        IpAddr::V6(a) if a.to_ipv4_mapped().is_some() => {
            Err(format!("{a} is an IPv4 address written as IPv6"))
        }
        a => Ok(a),
    }
}

fn shared(text: &Option<String>) -> Option<Arc<str>> {
    text.as_deref().filter(|t| !t.is_empty()).map(Into::into)
}
