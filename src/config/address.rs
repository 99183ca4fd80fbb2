// SPDX-License-Identifier: Apache-2.0
//! Addresses as kube-proxy reads them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::model::IpFamily;

/// An IP address; leading zeros of IPv4 octets are decimal (upstream: `ParseIPSloppy`).
pub(super) fn ip(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text
            .parse::<Ipv6Addr>()
            .ok()
            .map(|ip| IpAddr::V6(ip).to_canonical());
    }
    let octets: Vec<&str> = text.split('.').map(without_zeros).collect();
    octets.join(".").parse().ok()
}

fn without_zeros(octet: &str) -> &str {
    let short = octet.trim_start_matches('0');
    if short.is_empty() && !octet.is_empty() {
        "0"
    } else {
        short
    }
}

/// A prefix; host bits are cleared. `10.0.0.1/8` is `10.0.0.0/8`.
pub(super) fn cidr(text: &str) -> Option<IpNet> {
    let (address, length) = text.trim().split_once('/')?;
    if !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    IpNet::new(ip(address)?, length.parse().ok()?)
        .ok()
        .map(|net| net.trunc())
}

/// The family of a prefix.
pub(super) fn family(net: &IpNet) -> IpFamily {
    IpFamily::of(net.addr())
}

/// `IP:port`.
///
/// # Errors
/// What is wrong, as the end of a sentence.
pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    let (host, port) = text
        .rsplit_once(':')
        .filter(|(host, _)| !host.contains(':') || (host.starts_with('[') && host.ends_with(']')))
        .ok_or_else(|| format!("must be IP:port, is {text:?}"))?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let ip = ip(host).ok_or_else(|| format!("{host:?} is no IP address"))?;
    match port.parse() {
        Ok(port) if port != 0 => Ok(SocketAddr::new(ip, port)),
        _ => Err(format!("port must be 1 to 65535, is {port:?}")),
    }
}

/// Whether a text is an IP address without a port, so that a default one is put in.
pub(super) fn lacks_port(text: &str) -> bool {
    ip(text).is_some()
}
