// SPDX-License-Identifier: Apache-2.0
//! What IPVS does with a packet.

use std::net::IpAddr;

use super::{Fate, Fates, Packet, Step, Walk};
use crate::plan::ipvs::ServerKey;
use crate::plan::nft::{Key, SetId};

impl Walk<'_> {
    /// The packet with the source that the kernel takes: a VIP on `kube-ipvs0` is the host's own
    /// address, and that is what the host talks to itself with.
    pub(super) fn with_source_of_kernel(&self) -> Option<Packet> {
        let chosen = self.packet.interface.is_none() && self.is_bound(&self.packet.destination);
        chosen.then(|| Packet {
            source: self.packet.destination,
            ..self.packet.clone()
        })
    }

    /// What becomes of a packet that the table has let pass. IPVS looks at packets for this host,
    /// and at those that it sends.
    pub(super) fn virtual_server(&self) -> Fates {
        let Packet {
            destination,
            protocol,
            port,
            ..
        } = *self.packet;
        let key = ServerKey {
            address: destination,
            protocol,
            port,
        };
        let comes = self.packet.interface.is_none() || self.is_local(&destination);
        let server = self.ruleset.servers.get(&key).filter(|_| comes);
        if !self.ruleset.servers.is_empty() {
            self.note(|| Step::Server(key, server.cloned()));
        }
        let Some(server) = server else {
            return Fates::from([(Fate::Untouched, Vec::new())]);
        };
        let open = server
            .destinations
            .iter()
            .filter(|(_, weight)| **weight > 0);
        let fates: Fates = open.map(|(target, _)| self.to(*target, true)).collect();
        // `ip_vs_leave`: ICMP port unreachable.
        match fates.is_empty() {
            true => Fates::from([(Fate::Rejected, Vec::new())]),
            false => fates,
        }
    }

    /// Whether an address is this host's only because it is bound to `kube-ipvs0`.
    fn is_bound(&self, address: &IpAddr) -> bool {
        let key = Key::EMPTY.address(*address);
        let vip = || self.ruleset.lookup(SetId::ServiceAddresses, &key).is_some();
        let others = [&self.world.local, &self.world.elsewhere];
        !self.ruleset.servers.is_empty()
            && !others.into_iter().any(|known| known.contains(address))
            && vip()
    }

    pub(super) fn is_local(&self, address: &IpAddr) -> bool {
        address.is_loopback() || self.world.local.contains(address) || self.is_bound(address)
    }
}
