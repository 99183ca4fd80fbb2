// SPDX-License-Identifier: Apache-2.0
//! What the kernel lacks, and the right to use it.

use super::{Facts, Finding, Report};
use crate::debug::doctor::Kind;

/// Something that the rules need is not in the kernel.
pub(super) fn features(facts: &Facts, report: &mut Report) {
    match &facts.node.missing {
        Ok(None) => {}
        Ok(Some(missing)) => report.add(Finding::new(
            Kind::KernelFeature,
            missing,
            "the kernel refused a trial of it, which changes nothing",
            "load the module on the node (modprobe nf_tables nft_numgen nft_nat nft_masq nft_fib \
             nft_reject), or take a kernel that has the option; Linux 5.9 is the oldest",
        )),
        Err(unread) => report.unread("features of the kernel", unread),
    }
}

/// Nothing can be programmed without CAP_NET_ADMIN.
pub(super) fn capability(facts: &Facts, report: &mut Report) {
    match &facts.node.net_admin {
        Ok(true) => {}
        Ok(false) => report.add(Finding::new(
            Kind::Capability,
            "this process lacks CAP_NET_ADMIN, and so does an agent in the same container",
            "bit 12 of CapEff in /proc/self/status is not set",
            "give the container securityContext.capabilities.add: [NET_ADMIN] (or privileged), or \
             run this command as root",
        )),
        Err(unread) => report.unread("capabilities", unread),
    }
}
