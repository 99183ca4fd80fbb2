// SPDX-License-Identifier: Apache-2.0
//! What the process may do besides being the user that it is: capabilities(7).
//!
//! Capabilities belong to a thread and are inherited by those that it starts, so [`keep_only`] has
//! to come before the first of them.

use rustix::io::{Errno, Result};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

/// The agent's: rules, virtual servers, conntrack, links and `/proc/sys/net` take CAP_NET_ADMIN.
/// CAP_NET_BIND_SERVICE is for who gives NodePorts below 1024, whose health checks, and whose
/// NodePorts on loopback, are ports of ours; nothing else asks for it.
pub(super) const AGENT: CapabilitySet =
    CapabilitySet::NET_ADMIN.union(CapabilitySet::NET_BIND_SERVICE);
/// The sidecar's: ports 80 and 443.
pub(super) const INGRESS: CapabilitySet = CapabilitySet::NET_BIND_SERVICE;

/// Gives up all capabilities but these, for good, and takes none that are missing: not even a new
/// program that this process executes gets others. What cannot be given up is told in the log.
pub(super) fn keep_only(wanted: CapabilitySet) {
    match drop_all_but(wanted) {
        Ok(kept) => tracing::debug!(kept = %names(kept), "other capabilities are given up"),
        Err(error) => tracing::warn!(%error, "capabilities stay as they are"),
    }
}

/// Returns what is left, of which `wanted` may have more.
fn drop_all_but(wanted: CapabilitySet) -> Result<CapabilitySet> {
    let present = capabilities(None)?;
    // A program that root executes would have all of them again.
    if present.effective.contains(CapabilitySet::SETPCAP) {
        bound(wanted)?;
    }
    let kept = present.permitted & wanted;
    // Whoever runs as another user has them from the ambient set, which follows the inheritable
    // one, and has them only from there after a new start.
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: present.inheritable & wanted,
        },
    )?;
    set_no_new_privs(true)?;
    Ok(kept)
}

/// Takes all but these from the bounding set.
fn bound(wanted: CapabilitySet) -> Result<()> {
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(one) {
            Ok(true) if !wanted.contains(one) => remove_capability_from_bounding_set(one)?,
            Ok(_) => {}
            // The kernel has no more.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `NET_ADMIN NET_BIND_SERVICE`, or `none`.
fn names(set: CapabilitySet) -> String {
    let names: Vec<&str> = set.iter_names().map(|(name, _)| name).collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;
    use std::thread;

    use super::*;

    /// A line of this thread's `/proc/thread-self/status`, or of another process's.
    fn line(status: &str, name: &str) -> u64 {
        let mut lines = status.lines().filter_map(|line| line.split_once(":\t"));
        let (_, value) = lines.find(|(key, _)| *key == name).expect("a line");
        u64::from_str_radix(value, 16).expect("a number")
    }

    #[test]
    fn what_is_not_wanted_is_gone_for_this_thread_and_what_it_executes() {
        thread::spawn(|| {
            let before = fs::read_to_string("/proc/thread-self/status").expect("status");
            let wanted = AGENT.bits();
            keep_only(AGENT);
            let own = fs::read_to_string("/proc/thread-self/status").expect("status");
            let cat = Command::new("cat").arg("/proc/self/status").output();
            let child = String::from_utf8(cat.expect("cat").stdout).expect("text");
            for (status, who) in [(&own, "thread"), (&child, "program")] {
                let kept = line(&before, "CapPrm") & wanted;
                assert_eq!(line(status, "CapPrm"), kept, "{who}");
                assert_eq!(line(status, "CapEff"), kept, "{who}");
                assert_eq!(line(status, "CapInh") & !wanted, 0, "{who}");
                assert_eq!(line(status, "CapAmb") & !wanted, 0, "{who}");
                assert_eq!(line(status, "NoNewPrivs"), 1, "{who}");
            }
            if line(&before, "CapEff") & CapabilitySet::SETPCAP.bits() != 0 {
                assert_eq!(line(&own, "CapBnd"), line(&before, "CapBnd") & wanted);
            }
        })
        .join()
        .expect("a thread");
    }

    #[test]
    fn a_second_time_changes_nothing() {
        thread::spawn(|| {
            let first = drop_all_but(INGRESS).expect("given up");
            assert_eq!(drop_all_but(INGRESS).expect("given up"), first);
            assert_eq!(
                drop_all_but(CapabilitySet::all()),
                Ok(first),
                "nothing comes back"
            );
            keep_only(CapabilitySet::empty());
            assert_eq!(drop_all_but(INGRESS), Ok(CapabilitySet::empty()));
        })
        .join()
        .expect("a thread");
    }

    #[test]
    fn they_are_named() {
        assert_eq!(names(AGENT), "NET_BIND_SERVICE NET_ADMIN");
        assert_eq!(names(CapabilitySet::empty()), "none");
    }
}
