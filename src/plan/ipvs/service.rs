// SPDX-License-Identifier: Apache-2.0
//! What a frontend becomes in IPVS mode, beside its elements.

use std::sync::Arc;

use super::servers::Planned;
use super::{Settings, VirtualServer};
use crate::model::{Protocol, Target};
use crate::plan::frontend::Frontend;
use crate::plan::service::PortBuilder;

impl PortBuilder<'_> {
    /// Gives a frontend a virtual server, even without endpoints: old connections may still be in
    /// need of it.
    pub(in crate::plan) fn virtual_server(&mut self, frontend: &Frontend, list: &Arc<[Target]>) {
        if self.options.mode.ipvs().is_none() {
            return;
        }
        let known = self.shared.iter().find(|(of, _)| Arc::ptr_eq(of, list));
        let server = match known {
            Some((_, server)) => server.clone(),
            None => {
                let server = Arc::new(self.server(list));
                self.shared.push((list.clone(), server.clone()));
                server
            }
        };
        self.out.servers.push(Planned {
            address: frontend.address,
            protocol: frontend.protocol,
            port: frontend.port,
            server,
        });
    }

    fn server(&self, list: &[Target]) -> VirtualServer {
        let wishes = self.service.ipvs.as_deref();
        let weight = |target: &Target| {
            let of = |w: &crate::model::IpvsWishes| w.weight(target.address, self.node_of(target));
            (*target, wishes.map_or(1, of))
        };
        let wished = wishes.and_then(|w| w.scheduler.clone());
        let usual = || self.options.mode.ipvs().map(|o| o.scheduler.clone());
        let udp = self.plan.protocol == Protocol::Udp;
        VirtualServer {
            settings: Settings {
                scheduler: wished.or_else(usual).unwrap_or_else(|| "rr".into()),
                persistence: self.service.affinity,
                one_packet: udp && wishes.is_some_and(|w| w.one_packet),
            },
            destinations: list.iter().map(weight).collect(),
        }
    }

    fn node_of(&self, target: &Target) -> Option<&str> {
        let candidate = self.candidates.iter().find(|c| c.target == *target)?;
        candidate.endpoint.node.as_deref()
    }
}
