// SPDX-License-Identifier: Apache-2.0
//! From the words of a command line to a packet.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, anyhow, bail};

use crate::debug::kernel::{self, Held, Snapshot};
use crate::model::{IpFamily, Protocol};
use crate::observe::view::ServiceView;
use crate::plan::nft::element::address_from;
use crate::plan::nft::{Field, Match, SetId};
use crate::plan::trace::Packet;

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
        let fits = |f: &&crate::observe::view::FrontendView| {
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

/// An interface that is nobody's.
const SOME: &str = "(some)";

/// How the rules tell pods.
enum Pods {
    Unknown,
    Prefix(ipnet::IpNet),
    Interface(String),
}

fn pods(held: &Held) -> Pods {
    let chains = held.ruleset.chains.values();
    let conditions = chains
        .flat_map(|chain| &chain.rules)
        .flat_map(|rule| &rule.matches);
    conditions
        .filter_map(|condition| match condition {
            Match::Prefix(Field::Source, net, _) => Some(Pods::Prefix(*net)),
            Match::Interface(name, _) => Some(Pods::Interface(name.to_string())),
            _ => None,
        })
        .next()
        .unwrap_or(Pods::Unknown)
}

/// The packet, who sends it in words, and what to know about that.
pub fn packet(
    snapshot: &Snapshot,
    from: From,
    interface: Option<&str>,
    to: SocketAddr,
    protocol: Protocol,
) -> Result<(Packet, String, Vec<String>)> {
    let family = IpFamily::of(to.ip());
    let none = Held::default();
    let held = snapshot.families.get(&family).unwrap_or(&none);
    if let From::Address(address) = from
        && IpFamily::of(address) != family
    {
        bail!(
            "{address} can't connect to {}: the families differ",
            to.ip()
        );
    }
    let sender = Sender {
        snapshot,
        held,
        family,
        to: to.ip(),
    };
    let (source, by, who, notes) = sender.of(from)?;
    let by = interface.map(str::to_owned).or(by);
    let packet = Packet {
        source,
        destination: to.ip(),
        protocol,
        port: to.port(),
        interface: by.map(Into::into),
    };
    Ok((packet, who, notes))
}

struct Sender<'a> {
    snapshot: &'a Snapshot,
    held: &'a Held,
    family: IpFamily,
    to: IpAddr,
}

/// Source, interface, who it is, and notes.
type Origin = (IpAddr, Option<String>, String, Vec<String>);

impl Sender<'_> {
    fn of(&self, from: From) -> Result<Origin> {
        match from {
            From::Node => self.node(),
            From::Pod => Ok(self.pod()),
            From::Outside => {
                let example = match self.family {
                    IpFamily::V4 => "198.51.100.1".parse()?,
                    IpFamily::V6 => "2001:db8::1".parse()?,
                };
                let who = "outside the cluster (an example)".to_owned();
                Ok((example, Some(SOME.to_owned()), who, Vec::new()))
            }
            From::Address(address) => Ok(self.address(address)),
        }
    }

    fn node(&self) -> Result<Origin> {
        let who = "this node".to_owned();
        let local = &self.snapshot.local;
        if self.to.is_loopback() || local.contains(&self.to) {
            return Ok((self.to, None, who, Vec::new()));
        }
        let routed = kernel::source_to(self.to).filter(|address| local.contains(address));
        if let Some(source) = routed {
            return Ok((source, None, who, Vec::new()));
        }
        let served = self.held.ruleset.elements_of(SetId::NodeAddresses);
        let mut served = served.filter_map(|e| address_from(e.key.as_bytes()));
        let own = served.find(|address| local.contains(address));
        let any = || {
            local
                .iter()
                .copied()
                .find(|a| IpFamily::of(*a) == self.family)
        };
        let source = own.or_else(any);
        let source = source.ok_or_else(|| anyhow!("this node has no {} address", self.family))?;
        Ok((source, None, who, Vec::new()))
    }

    fn pod(&self) -> Origin {
        let some = |text: &str| {
            let who = "a pod (an example)".to_owned();
            (text.parse().unwrap_or(self.to), who)
        };
        let anywhere = match self.family {
            IpFamily::V4 => "198.51.100.2",
            IpFamily::V6 => "2001:db8::2",
        };
        match pods(self.held) {
            Pods::Prefix(net) => {
                // The last one that is an address, as the first ones are gateways.
                let last = match net {
                    ipnet::IpNet::V4(net) => net.hosts().next_back().map(IpAddr::V4),
                    ipnet::IpNet::V6(net) => Some(IpAddr::V6(net.broadcast())),
                };
                let (_, who) = some("");
                let source = last.unwrap_or(net.addr());
                (source, Some(SOME.to_owned()), who, Vec::new())
            }
            Pods::Interface(pattern) => {
                let (source, who) = some(anywhere);
                let name = match pattern.strip_suffix('*') {
                    Some(prefix) => format!("{prefix}0"),
                    None => pattern,
                };
                let note = format!(
                    "pods are told by the interface that their packets come in by; {name} stands \
                     for one"
                );
                (source, Some(name), who, vec![note])
            }
            Pods::Unknown => {
                let (source, who) = some(anywhere);
                let note = "the rules can't tell pods from others (no --cluster-cidr, or another \
                            --detect-local-mode without what it needs)";
                (source, Some(SOME.to_owned()), who, vec![note.to_owned()])
            }
        }
    }

    fn address(&self, address: IpAddr) -> Origin {
        if address.is_loopback() || self.snapshot.local.contains(&address) {
            return (address, None, "this node".to_owned(), Vec::new());
        }
        let by = Some(SOME.to_owned());
        match pods(self.held) {
            Pods::Prefix(net) if net.contains(&address) => {
                (address, by, format!("a pod (in {net})"), Vec::new())
            }
            Pods::Prefix(net) => {
                let who = format!("outside the pods' {net}");
                (address, by, who, Vec::new())
            }
            Pods::Interface(pattern) => {
                let note = format!(
                    "pods are told by the interface {pattern:?}; without --interface it is taken \
                     for no pod's"
                );
                (address, by, "another host".to_owned(), vec![note])
            }
            Pods::Unknown => (address, by, "another host".to_owned(), Vec::new()),
        }
    }
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
