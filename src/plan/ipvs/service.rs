// SPDX-License-Identifier: Apache-2.0
//! What a frontend becomes in IPVS mode, beside its elements.

use std::net::IpAddr;
use std::sync::Arc;

use super::servers::Planned;
use super::{Settings, VirtualServer};
use crate::model::{Protocol, Target, TrafficPolicy};
use crate::plan::balance::Place;
use crate::plan::frontend::{Frontend, Kind};
use crate::plan::nft::{Data, SetId};
use crate::plan::service::PortBuilder;

impl PortBuilder<'_> {
    /// Whether only endpoints on this node are asked, at least for traffic from outside.
    pub(in crate::plan) fn is_local(&self, frontend: &Frontend) -> bool {
        let ipvs = self.options.mode.ipvs();
        let falls_back = ipvs.is_some_and(|o| o.local_fallback) && self.plan.local.is_empty();
        frontend.policy(self.service) == TrafficPolicy::Local && !falls_back
    }

    /// Whether the table itself translates some of the frontend's traffic.
    pub(in crate::plan) fn translates(&self, frontend: &Frontend) -> bool {
        let some = self.is_local(frontend) && frontend.kind != Kind::ClusterIp;
        some || self.translates_all(frontend)
    }

    /// Whether it translates all of it: in nftables mode, and where the address is another node's
    /// own. That one cannot be bound here, or this host would never reach that node again.
    fn translates_all(&self, frontend: &Frontend) -> bool {
        let elsewhere = |address: IpAddr| {
            frontend.kind != Kind::ClusterIp && self.state.elsewhere().contains(&address)
        };
        self.options.mode.ipvs().is_none() || frontend.address.is_some_and(elsewhere)
    }

    /// Has a frontend's traffic balanced over a list: by the table, or by a virtual server.
    pub(in crate::plan) fn balance(
        &mut self,
        frontend: &Frontend,
        map: SetId,
        list: &Arc<[Target]>,
        local: bool,
        place: Place,
    ) {
        if self.translates_all(frontend) {
            return self.send(frontend, map, list, local, place);
        }
        self.virtual_server(frontend, list);
        if list.is_empty() {
            return self.drop_for_want_of_local(frontend);
        }
        let chain = self.out.chain(super::skeleton::passed_on());
        let verdict = self.permitted(frontend, chain);
        self.out
            .element(map, frontend.key(), Data::Verdict(verdict));
    }

    /// Gives a frontend a virtual server, even without endpoints: old connections may still be in
    /// need of it.
    pub(in crate::plan) fn virtual_server(&mut self, frontend: &Frontend, list: &Arc<[Target]>) {
        if self.translates_all(frontend) {
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
