// SPDX-License-Identifier: Apache-2.0
//! What IPVS mode is told.

use super::address::cidr;
use super::check::Field;
use super::resolve::Resolver;
use crate::backend::ipvs::Timeouts;
use crate::cli::Period;
use crate::plan::IpvsOptions;

const SCHEDULER: Field = Field("ipvs.scheduler", "--ipvs-scheduler");
/// The longest name of a scheduler, bytes (Linux: `IP_VS_SCHEDNAME_MAXLEN`, with a NUL byte).
const LONGEST: usize = 15;

/// Settings of IPVS mode. They are complete in every mode: what kube-proxy's IPVS mode left is
/// taken over by the same ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipvs {
    /// What virtual servers are made of.
    pub options: IpvsOptions,
    /// Whether ARP is answered only for addresses of the interface that was asked.
    pub strict_arp: bool,
    /// How long connections may be idle, seconds; 0 leaves the kernel's.
    pub timeouts: Timeouts,
}

impl Resolver<'_> {
    /// The section `ipvs`, and our flags for it.
    pub(super) fn ipvs(&mut self) -> Ipvs {
        let (file, own) = (&self.file.ipvs, &self.cli.own);
        let default = IpvsOptions::default();
        let scheduler = Some(file.scheduler.as_str()).filter(|name| !name.is_empty());
        let drain = own.ipvs_drain_timeout.map(Period::to_duration);
        let prefixes = file.exclude_cidrs.iter().flatten();
        let seconds = |period: Period| {
            let seconds = period.to_duration().map_or(0, |d| d.as_secs());
            u32::try_from(seconds).unwrap_or(u32::MAX)
        };
        let ipvs = Ipvs {
            options: IpvsOptions {
                scheduler: scheduler.map_or(default.scheduler, Into::into),
                local_fallback: own.ipvs_local_fallback.unwrap_or_default(),
                drain: drain.flatten().unwrap_or(default.drain),
                // What is no prefix is reported where the mode is IPVS.
                exclude_cidrs: prefixes.filter_map(|text| cidr(text)).collect(),
            },
            strict_arp: file.strict_arp,
            timeouts: Timeouts {
                tcp: seconds(file.tcp_timeout),
                tcp_fin: seconds(file.tcp_fin_timeout),
                udp: seconds(file.udp_timeout),
            },
        };
        if drain == Some(None) {
            self.fail_flag("--ipvs-drain-timeout", "must not be negative");
        }
        let name = &self.file.ipvs.scheduler;
        if name.len() > LONGEST || !name.bytes().all(|b| b.is_ascii_graphic()) {
            let reason = format!("{name:?} cannot be a scheduler's name");
            self.checker.fail(SCHEDULER, reason);
        }
        ipvs
    }
}
