// SPDX-License-Identifier: Apache-2.0
//! What others do to our tables is heard, and what we do is not.

use std::time::Duration;

use super::{has_nft, nft};
use crate::backend::nft::Kernel;
use crate::backend::nft::monitor::{Interference, Monitor};
use crate::backend::{Nftables, testing};
use crate::model::IpFamily::{self, V4, V6};
use crate::plan::nft::Op;

/// Runs a test's body with a kernel that holds our tables, and a listener.
fn listening(
    body: impl FnOnce(&mut Kernel, &mut dyn FnMut() -> Option<Interference>) + Send + 'static,
) {
    testing::in_namespace(|| {
        if !has_nft() {
            return;
        }
        let mut kernel = Kernel::open().expect("a socket");
        for family in IpFamily::ALL {
            kernel.commit(family, &[Op::AddTable]).expect("a table");
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let _inside = runtime.enter();
        let mut monitor = Monitor::start(kernel.port().expect("a port")).expect("a listener");
        let mut heard = || {
            let patience = Duration::from_millis(300);
            let next = async { tokio::time::timeout(patience, monitor.next()).await };
            runtime
                .block_on(next)
                .ok()
                .map(|found| found.expect("messages"))
        };
        body(&mut kernel, &mut heard);
    });
}

#[test]
fn what_others_do_to_our_tables_is_heard() {
    listening(|_, heard| {
        let mut told = |line: &str| {
            nft("nft", &["-f", "-"], line);
            let found = heard().unwrap_or_else(|| panic!("{line} is not heard"));
            let (name, number) = found.process.expect("a process");
            assert!(name == "nft" && number > 0 && !found.lost);
            (
                found.families.into_keys().collect::<Vec<_>>(),
                found.objects,
            )
        };
        assert_eq!(told("add chain ip ferrule theirs"), (vec![V4], 1));
        assert_eq!(told("add rule ip ferrule theirs accept"), (vec![V4], 1));
        let set = "add set ip6 ferrule theirs { type inet_service; elements = { 1, 2 } }";
        assert_eq!(told(set), (vec![V6], 3));
        assert_eq!(told("flush set ip6 ferrule theirs"), (vec![V6], 2));
        assert_eq!(told("delete table ip ferrule"), (vec![V4], 3));
        assert_eq!(told("flush ruleset"), (vec![V6], 2));
    });
}

#[test]
fn what_we_do_and_tables_of_others_are_not() {
    listening(|kernel, heard| {
        nft("nft", &["add", "table", "ip", "theirs"], "");
        nft("nft", &["add", "table", "inet", "ferrule"], "");
        kernel.commit(V4, &[Op::DeleteTable]).expect("a deletion");
        kernel.commit(V4, &[Op::AddTable]).expect("a table");
        assert_eq!(heard(), None);
    });
}

/// More messages than the socket holds.
#[test]
fn what_was_missed_is_told_as_such() {
    listening(|_, heard| {
        let mut other = Kernel::open().expect("a socket");
        for _ in 0..10_000 {
            let anew = other.commit(V4, &[Op::DeleteTable, Op::AddTable]);
            anew.expect("a table");
        }
        let mut all = Interference::default();
        while let Some(found) = heard() {
            all.add(found);
        }
        assert!(all.lost, "{all:?}");
        assert_eq!(all.families.len(), 2, "nobody knows which");
    });
}
