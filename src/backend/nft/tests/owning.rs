// SPDX-License-Identifier: Apache-2.0
//! A table of ours alone: nobody else can change it, it outlives us, and the next takes it over.

use std::process::Command;

use super::{has_nft, nft};
use crate::backend::nft::{Kernel, Owner};
use crate::backend::{Nftables, testing};
use crate::model::IpFamily::V4;
use crate::plan::nft::{Op, text};

/// Runs a test's body with a kernel that owns its table.
fn owning(body: impl FnOnce(Kernel) + Send + 'static) {
    testing::in_namespace(|| {
        let mut kernel = Kernel::open().expect("a socket").owning(true);
        kernel.commit(V4, &[Op::AddTable]).expect("a table");
        match kernel.owner(V4).expect("a table") {
            Owner::Nobody => testing::skip("the kernel is older than Linux 6.9"),
            _ if has_nft() => body(kernel),
            _ => {}
        }
    });
}

/// What nft says to a command that it has to be refused.
fn refused(arguments: &str) -> String {
    let output = Command::new("nft").args(arguments.split(' ')).output();
    let output = output.expect("nft runs");
    assert!(!output.status.success(), "nft {arguments}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn nobody_else_can_change_it() {
    owning(|mut kernel| {
        for arguments in ["delete table ip ferrule", "add chain ip ferrule theirs"] {
            assert!(refused(arguments).contains("Operation not permitted"));
        }
        nft("nft", &["flush", "ruleset"], "");
        assert!(kernel.read_table(V4).expect("an answer").is_some());
        kernel
            .commit(V4, &[Op::DeleteTable, Op::AddTable])
            .expect("ours");
        let own = Owner::Socket(kernel.port().expect("a port"));
        assert_eq!(kernel.owner(V4).expect("a table"), own);
    });
}

#[test]
fn it_outlives_us_and_the_next_takes_it_over() {
    owning(|kernel| {
        drop(kernel);
        let mut next = Kernel::open().expect("a socket").owning(true);
        assert_eq!(next.owner(V4).expect("a table"), Owner::Orphan);
        next.adopt(V4).expect("an orphan");
        assert_eq!(
            next.owner(V4).expect("a table"),
            Owner::Socket(next.port().expect("a port"))
        );
        next.adopt(V4).expect("ours already");
        assert!(refused("delete table ip ferrule").contains("Operation not permitted"));
    });
}

#[test]
fn a_second_process_is_told_who_has_it() {
    owning(|kernel| {
        let mut second = Kernel::open().expect("a socket").owning(true);
        let error = second.adopt(V4).expect_err("not ours").to_string();
        let port = kernel.port().expect("a port").to_string();
        assert!(
            error.contains(&port) && error.contains(text::family_word(V4)),
            "{error}"
        );
        let mut humble = Kernel::open().expect("a socket");
        humble.adopt(V4).expect("it wants nothing");
        assert!(humble.commit(V4, &[Op::DeleteTable]).is_err());
    });
}

#[test]
fn an_ordinary_table_stays_one() {
    testing::in_namespace(|| {
        let mut plain = Kernel::open().expect("a socket");
        plain.commit(V4, &[Op::AddTable]).expect("a table");
        let mut next = Kernel::open().expect("a socket").owning(true);
        next.adopt(V4).expect("nothing to do");
        assert_eq!(next.owner(V4).expect("a table"), Owner::Nobody);
    });
}
