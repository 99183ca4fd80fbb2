// SPDX-License-Identifier: Apache-2.0
//! Where a connection goes and who connects, from the words of a command line.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, anyhow, bail};

use crate::model::Protocol;
use crate::observe::view::{FrontendView, ServiceView};

/// Where a connection goes, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Who answers there.
    pub host: Host,
    /// A number, or the name of a Service's port.
    pub port: String,
    /// Protocol.
    pub protocol: Protocol,
}

/// A host as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A Service by namespace and name.
    Service(String, String),
}

/// Who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Some pod.
    Pod,
    /// This node.
    Node,
    /// Somebody who is neither.
    Outside,
    /// Who has this address.
    Address(IpAddr),
}

impl std::str::FromStr for From {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "pod" => From::Pod,
            "node" => From::Node,
            "outside" => From::Outside,
            _ => {
                From::Address(text.parse().map_err(|_| {
                    anyhow!("{text:?} is none of pod, node, outside and no address")
                })?)
            }
        })
    }
}

impl Destination {
    /// From `HOST:PORT[/PROTO]`.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str, namespace: &str) -> Result<Self> {
        let wrong = || anyhow!("{text:?} is no HOST:PORT[/PROTO]");
        let service = text.strip_prefix("svc/").or(text.strip_prefix("service/"));
        let rest = service.unwrap_or(text);
        let (rest, protocol) = match rest.rsplit_once('/') {
            Some((rest, protocol)) => (rest, self::protocol(protocol)?),
            None => (rest, Protocol::Tcp),
        };
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let valid = |word: &str| {
            let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            !word.is_empty() && word.chars().all(known)
        };
        let host = match bare.unwrap_or(host).parse() {
            Ok(IpAddr::V6(_)) if bare.is_none() => bail!("{text:?}: write IPv6 as [{host}]:PORT"),
            Ok(address) if service.is_none() => Host::Address(address),
            _ => {
                let mut labels = host.split('.');
                let name = labels.next().unwrap_or_default();
                let namespace = labels.next().unwrap_or(namespace);
                let cluster = labels.next().is_none_or(|label| label == "svc");
                if !valid(name) || !valid(namespace) || !cluster {
                    return Err(wrong());
                }
                Host::Service(namespace.to_owned(), name.to_owned())
            }
        };
        let port = port.to_owned();
        if !valid(&port) || matches!(host, Host::Address(_)) && port.parse::<u16>().is_err() {
            return Err(wrong());
        }
        Ok(Self {
            host,
            port,
            protocol,
        })
    }

    /// The address and port, from what the agent tells of the Service.
    ///
    /// # Errors
    /// If the Service has no such port.
    pub fn resolve(&self, services: &[ServiceView]) -> Result<SocketAddr> {
        let (namespace, name) = match &self.host {
            Host::Address(address) => {
                let port = self.port.parse()?;
                return Ok(SocketAddr::new(*address, port));
            }
            Host::Service(namespace, name) => (namespace, name),
        };
        let protocol = self.protocol.into();
        let service = services
            .iter()
            .find(|s| s.namespace == *namespace && s.name == *name)
            .ok_or_else(|| anyhow!("the agent serves no Service {namespace}/{name}"))?;
        let fits = |f: &&FrontendView| {
            let named = !f.port_name.is_empty() && f.port_name == self.port;
            f.protocol == protocol && (named || f.port.to_string() == self.port)
        };
        let frontend = service.frontends.iter().filter(fits);
        let at = frontend.filter_map(|f| Some(SocketAddr::new(f.address?, f.port)));
        at.into_iter().next().ok_or_else(|| {
            let (port, protocol) = (&self.port, self.protocol);
            anyhow!("Service {namespace}/{name} has no port {port}/{protocol} at an address")
        })
    }
}

fn protocol(word: &str) -> Result<Protocol> {
    let all = Protocol::ALL.into_iter();
    all.into_iter()
        .find(|p| p.word().eq_ignore_ascii_case(word))
        .ok_or_else(|| anyhow!("{word:?} is none of tcp, udp and sctp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        let of = |text: &str| Destination::parse(text, "ns").map_err(|e| e.to_string());
        let address = |text: &str| Host::Address(text.parse().unwrap());
        let service = |ns: &str, name: &str| Host::Service(ns.to_owned(), name.to_owned());
        for (text, host, port, protocol) in [
            ("10.96.0.10:80", address("10.96.0.10"), "80", Protocol::Tcp),
            (
                "10.96.0.10:53/udp",
                address("10.96.0.10"),
                "53",
                Protocol::Udp,
            ),
            (
                "[fd00::1]:80/SCTP",
                address("fd00::1"),
                "80",
                Protocol::Sctp,
            ),
            (
                "web.shop:http",
                service("shop", "web"),
                "http",
                Protocol::Tcp,
            ),
            ("web:80", service("ns", "web"), "80", Protocol::Tcp),
            ("svc/web:80/udp", service("ns", "web"), "80", Protocol::Udp),
            (
                "a.b.svc.cluster.local:1",
                service("b", "a"),
                "1",
                Protocol::Tcp,
            ),
        ] {
            let port = port.to_owned();
            let wanted = Destination {
                host,
                port,
                protocol,
            };
            assert_eq!(of(text), Ok(wanted), "{text}");
        }
        for text in [
            "",
            "80",
            ":80",
            "10.0.0.1",
            "10.0.0.1:",
            "10.0.0.1:http",
            "10.0.0.1:80/icmp",
            "fd00::1:80",
            "a.b.c:80",
            "A:80",
            "svc/:80",
            "web:a&b",
            "10.0.0.1:70000",
        ] {
            assert!(of(text).is_err(), "{text}");
        }
        assert!(of("fd00::1:80").unwrap_err().contains("[fd00::1]"));
    }

    #[test]
    fn senders() {
        assert!(matches!("node".parse(), Ok(From::Node)));
        assert!(matches!("10.0.0.1".parse(), Ok(From::Address(_))));
        assert!("me".parse::<From>().is_err());
    }
}
