// SPDX-License-Identifier: Apache-2.0
//! A node, and one namespace behind it that has all endpoints' addresses.
//!
//! That namespace takes every ClusterIP for its own, too, and nobody listens there at a Service's
//! port: so whoever asks for a Service that the node has no rules for is refused at once.

use anyhow::Result;
use ferrule::model::IpFamily;

use super::dial::Server;
use super::objects::ENDPOINT_CIDR;
use crate::netns::{Namespace, SERVICE_CIDRS, node_address};

/// The node and its endpoints. Dropping it removes both.
#[derive(Debug)]
pub struct Machine {
    _server: Server,
    _endpoints: Namespace,
    /// Where the proxy runs, and connections start.
    pub node: Namespace,
}

impl Machine {
    /// Builds it.
    ///
    /// # Errors
    /// Without root, or without the programs `ip`, `setpriv` and `nsenter`.
    pub fn build() -> Result<Self> {
        let node = Namespace::new("node")?;
        let endpoints = Namespace::new("endpoints")?;
        for namespace in [&node, &endpoints] {
            namespace.sysctl(&[
                ("net/ipv4/conf/all/rp_filter", "0"),
                ("net/ipv4/conf/default/rp_filter", "0"),
                ("net/ipv4/ip_forward", "1"),
                ("net/ipv4/ip_local_port_range", "1024 65535"),
            ])?;
        }
        let [four, six] = IpFamily::ALL.map(|f| node_address(f, 1));
        node.ip(&format!(
            "link set lo up
link add eth0 type veth peer name eth0 netns {}
link set eth0 up
addr add {four}/16 dev eth0
addr add {six}/64 dev eth0 nodad",
            endpoints.path()
        ))?;
        endpoints.ip(&format!(
            "link set lo up
link set eth0 up
addr add 172.30.0.1/16 dev eth0
route add local {ENDPOINT_CIDR} dev lo
route add local {} dev lo",
            SERVICE_CIDRS[0]
        ))?;
        node.ip("route add default via 172.30.0.1")?;
        let server = Server::start(&endpoints)?;
        Ok(Self {
            _server: server,
            _endpoints: endpoints,
            node,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::scale::dial::dial;
    use crate::scale::objects::{Size, TARGET, cluster_ip};

    #[test]
    fn endpoints_answer_with_their_address_and_services_refuse_at_once() {
        if !crate::privileged().unwrap() {
            return;
        }
        let machine = Machine::build().unwrap();
        let size = Size {
            services: 10_000,
            endpoints: 10,
        };
        let limit = Duration::from_secs(1);
        let ask = || {
            for (i, e) in [(0, 0), (9_999, 9)] {
                let address = size.endpoint(i, 3, e);
                assert_eq!(
                    dial(SocketAddrV4::new(address, TARGET), limit),
                    Some(address)
                );
            }
            let begun = Instant::now();
            assert_eq!(dial(cluster_ip(9_999), limit), None);
            assert!(begun.elapsed().as_millis() < 200, "{:?}", begun.elapsed());
            Ok(())
        };
        machine.node.enter(ask).unwrap();
    }
}
