// SPDX-License-Identifier: Apache-2.0
//! Ports that are passed on byte by byte: `PORT: namespace/name:port[:PROXY[:PROXY]]`, as in
//! ingress-nginx's ConfigMaps of TCP and UDP services. PURE.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::settings::Data;
use super::upstream::Upstreams;
use crate::ingress::table::{Stream, Streams};
use crate::model::ingress::PortRef;
use crate::model::{Protocol, ServiceName};

/// Where one port leads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Aim {
    service: ServiceName,
    port: PortRef,
    takes_proxy: bool,
    sends_proxy: bool,
}

/// All of them, and what is wrong with the others.
#[derive(Debug, Default)]
pub(super) struct Aims {
    by_port: BTreeMap<(Protocol, u16), Aim>,
    wrong: BTreeMap<Protocol, Vec<String>>,
}

impl Aims {
    /// Replaces those of one protocol.
    pub(super) fn replace(&mut self, protocol: Protocol, data: &Data, reserved: &BTreeSet<u16>) {
        self.by_port.retain(|(old, _), _| *old != protocol);
        let mut wrong = Vec::new();
        for (port, text) in data {
            match aim(protocol, port, text.trim(), reserved) {
                Ok((port, aim)) => {
                    self.by_port.insert((protocol, port), aim);
                }
                Err(reason) => wrong.push(format!("data[{port}]: {reason}")),
            }
        }
        self.wrong.insert(protocol, wrong);
    }

    /// The ports of Services that are needed.
    pub(super) fn wanted(&self) -> BTreeMap<ServiceName, BTreeSet<(Protocol, PortRef)>> {
        let mut wanted: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for ((protocol, _), aim) in &self.by_port {
            let ports = wanted.entry(aim.service.clone()).or_default();
            ports.insert((*protocol, aim.port.clone()));
        }
        wanted
    }

    /// All ports, and what is wrong with those of each protocol.
    pub(super) fn build(
        &self,
        upstreams: &Upstreams,
    ) -> (Streams, BTreeMap<Protocol, Vec<String>>) {
        let (mut streams, mut wrong) = (Streams::new(), self.wrong.clone());
        for ((protocol, port), aim) in &self.by_port {
            let answer = upstreams.stream(&aim.service, &(*protocol, aim.port.clone()));
            let (endpoints, reason) = answer.cloned().unwrap_or_default();
            let reasons = wrong.entry(*protocol).or_default();
            reasons.extend(reason.map(|reason| format!("data[{port}]: {reason}")));
            let stream = Stream {
                service: format!("{}:{}", aim.service, aim.port).into(),
                endpoints,
                takes_proxy: aim.takes_proxy,
                sends_proxy: aim.sends_proxy,
            };
            streams.insert((*protocol, *port), Arc::new(stream));
        }
        (streams, wrong)
    }
}

fn aim(
    protocol: Protocol,
    port: &str,
    text: &str,
    reserved: &BTreeSet<u16>,
) -> Result<(u16, Aim), String> {
    let wrong = || format!("must be namespace/name:port[:PROXY[:PROXY]], is {text:?}");
    let number = port.parse().ok().filter(|port: &u16| *port > 0);
    let number = number.ok_or("must be a port, 1 to 65535")?;
    if protocol == Protocol::Tcp && reserved.contains(&number) {
        return Err("is a port of the sidecar's own".to_owned());
    }
    let mut words = text.split(':');
    let (namespace, name) = words
        .next()
        .and_then(|service| service.split_once('/'))
        .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())
        .ok_or_else(wrong)?;
    let target = words
        .next()
        .filter(|target| !target.is_empty())
        .ok_or_else(wrong)?;
    let target = match target.parse::<u16>() {
        Ok(0) => return Err(wrong()),
        Ok(number) => PortRef::Number(number),
        Err(_) => PortRef::Name(target.into()),
    };
    let mut proxy = || match words.next() {
        None | Some("") => Ok(false),
        Some(word) if word.eq_ignore_ascii_case("proxy") => Ok(true),
        Some(_) => Err(wrong()),
    };
    let (takes_proxy, sends_proxy) = (proxy()?, proxy()?);
    if words.next().is_some() {
        return Err(wrong());
    }
    if protocol == Protocol::Udp && (takes_proxy || sends_proxy) {
        return Err("PROXY is for TCP only".to_owned());
    }
    let aim = Aim {
        service: ServiceName::new(namespace, name),
        port: target,
        takes_proxy,
        sends_proxy,
    };
    Ok((number, aim))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_as_ingress_nginx_writes_them() {
        let read = |protocol, port, text| aim(protocol, port, text, &BTreeSet::from([80]));
        let (port, one) = read(Protocol::Tcp, "9000", "default/db:8080").expect("good");
        assert_eq!((port, one.port), (9000, PortRef::Number(8080)));
        assert_eq!(one.service, ServiceName::new("default", "db"));
        for (text, expected) in [
            ("a/b:http", (false, false)),
            ("a/b:http:PROXY", (true, false)),
            ("a/b:http::PROXY", (false, true)),
            ("a/b:http:PROXY:proxy", (true, true)),
        ] {
            let (_, aim) = read(Protocol::Tcp, "1", text).expect(text);
            assert_eq!((aim.takes_proxy, aim.sends_proxy), expected, "{text}");
        }
        for (port, text) in [
            ("0", "a/b:1"),
            ("x", "a/b:1"),
            ("70000", "a/b:1"),
            ("80", "a/b:1"),
            ("1", "b:1"),
            ("1", "a/b"),
            ("1", "a/b:0"),
            ("1", "a/b:"),
            ("1", "/b:1"),
            ("1", "a/b:1:PROXY:PROXY:PROXY"),
            ("1", "a/b:1:SSL"),
        ] {
            assert!(read(Protocol::Tcp, port, text).is_err(), "{port} {text}");
        }
        assert!(read(Protocol::Udp, "80", "a/b:1").is_ok());
        assert!(read(Protocol::Udp, "1", "a/b:1:PROXY").is_err());
    }
}
