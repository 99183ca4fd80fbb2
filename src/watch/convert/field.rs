// SPDX-License-Identifier: Apache-2.0
//! Single values. Each error says what the value should be, and shows it.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use jiff::Timestamp;

use crate::model::{Protocol, TrafficPolicy};
use crate::watch::wire::Number;

/// The longest label of a domain name (RFC 1035), and so of a namespace, Service or port name.
const LABEL: usize = 63;
/// The longest domain name that Kubernetes takes for an object's name.
const SUBDOMAIN: usize = 253;

/// The value in quotes, cut to a length that fits a log line.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(64).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// An address as Kubernetes reads it: IPv4 with leading zeros is decimal (old objects have it), and
/// IPv4 in IPv6 is IPv4 (k8s.io/utils/net `ParseIPSloppy`).
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    let parsed = match text.parse::<IpAddr>() {
        Ok(address) => Some(address.to_canonical()),
        Err(_) => without_leading_zeros(text).map(IpAddr::V4),
    };
    parsed.ok_or_else(|| format!("not an IP address: {}", quoted(text)))
}

fn without_leading_zeros(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        let digits = (1..=16).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        *octet = part.parse().ok().filter(|_| digits)?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

/// An address that a Service may answer on.
pub(super) fn frontend(text: &str) -> Result<IpAddr, String> {
    let address = address(text)?;
    match special(address) {
        Some(what) => Err(format!("must not be {what} address: {address}")),
        None => Ok(address),
    }
}

/// An address that an endpoint may have: the API server admits no link-local one either, and a
/// loopback one would open the node's own services to others (CVE-2020-8558).
pub(super) fn endpoint(text: &str) -> Result<IpAddr, String> {
    let address = frontend(text)?;
    if is_link_local(address) {
        return Err(format!("must not be a link-local address: {address}"));
    }
    Ok(address)
}

fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        a if a.is_unspecified() => Some("an unspecified"),
        a if a.is_loopback() => Some("a loopback"),
        a if a.is_multicast() => Some("a multicast"),
        IpAddr::V4(a) if a.is_broadcast() => Some("a broadcast"),
        _ => None,
    }
}

/// Whether the address means something on one link only.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => a.is_link_local(),
        IpAddr::V6(a) => a.is_unicast_link_local(),
    }
}

/// A prefix, with or without white space around it. Bits of the host are cleared.
pub(super) fn cidr(text: &str) -> Result<IpNet, String> {
    let wrong = || format!("not a prefix in CIDR notation: {}", quoted(text));
    let (network, length) = text.trim().split_once('/').ok_or_else(wrong)?;
    let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    let length = length.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
    let network = match network.parse::<IpAddr>() {
        Ok(network) => network,
        Err(_) => address(network).map_err(|_| wrong())?,
    };
    Ok(IpNet::new(network, length).map_err(|_| wrong())?.trunc())
}

/// A port that must be there.
pub(super) fn port(number: Option<&Number>) -> Result<u16, String> {
    match number {
        None => Err("is missing, must be 1 to 65535".into()),
        Some(Number::Whole(n @ 1..=65535)) => Ok(*n as u16),
        Some(number) => Err(format!("must be 1 to 65535, is {number}")),
    }
}

/// A port that may be missing; 0 means so, too.
pub(super) fn optional_port(number: Option<&Number>) -> Result<Option<u16>, String> {
    match number {
        None | Some(Number::Whole(0)) => Ok(None),
        some => port(some).map(Some),
    }
}

/// A protocol; TCP if the object gives none.
pub(super) fn protocol(text: Option<&str>) -> Result<Protocol, String> {
    match text {
        None | Some("" | "TCP") => Ok(Protocol::Tcp),
        Some("UDP") => Ok(Protocol::Udp),
        Some("SCTP") => Ok(Protocol::Sctp),
        Some(other) => Err(format!("must be TCP, UDP or SCTP, is {}", quoted(other))),
    }
}

/// A traffic policy; `Cluster` if the object gives none.
pub(super) fn policy(text: Option<&str>) -> Result<TrafficPolicy, String> {
    match text {
        None | Some("" | "Cluster") => Ok(TrafficPolicy::Cluster),
        Some("Local") => Ok(TrafficPolicy::Local),
        Some(other) => Err(format!("must be Cluster or Local, is {}", quoted(other))),
    }
}

/// Checks a label of a domain name (RFC 1123): the names of namespaces, Services and ports, which
/// become part of names in the kernel.
pub(super) fn label(text: &str) -> Result<(), String> {
    if text.len() > LABEL {
        return Err(format!(
            "must be at most {LABEL} characters, has {}: {}",
            text.len(),
            quoted(text)
        ));
    }
    if !is_label(text) {
        return Err(format!(
            "not a name of a-z, 0-9 and inner hyphens: {}",
            quoted(text)
        ));
    }
    Ok(())
}

/// Checks a domain name (RFC 1123): the names of all other objects.
pub(super) fn subdomain(text: &str) -> Result<(), String> {
    if text.len() > SUBDOMAIN {
        return Err(format!(
            "must be at most {SUBDOMAIN} characters, has {}: {}",
            text.len(),
            quoted(text)
        ));
    }
    if !text.split('.').all(is_label) {
        return Err(format!("not a domain name in lower case: {}", quoted(text)));
    }
    Ok(())
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// A point in time (RFC 3339).
pub(super) fn timestamp(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .map_err(|_| format!("not a time (RFC 3339): {}", quoted(text)))
}
