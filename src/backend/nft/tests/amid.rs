// SPDX-License-Identifier: Apache-2.0
//! Commits of others amid our reading: none goes unnoticed, and the reading starts over.

use std::cell::Cell;

use super::{has_nft, nft};
use crate::backend::netlink::NLM_F_DUMP;
use crate::backend::nft::Kernel;
use crate::backend::nft::uapi::msg;
use crate::backend::{Error, Nftables, testing};
use crate::model::IpFamily::V4;
use crate::plan::nft::{Data, Element, Key, Op, SetId};

const SET: SetId = SetId::NodeAddresses;

fn address(number: u32) -> Element {
    Element {
        set: SET,
        key: Key::EMPTY.address(std::net::Ipv4Addr::from(0x0a00_0000 + number).into()),
        end: None,
        data: Data::None,
    }
}

/// A kernel that holds so many elements that a list of them comes in several parts.
fn filled() -> Kernel {
    let mut kernel = Kernel::open().expect("a socket");
    let set = std::sync::Arc::new(SET.spec());
    let all = (0..5_000).map(|n| Op::AddElement(address(n)));
    let ops: Vec<Op> = [Op::AddTable, Op::AddSet(set)]
        .into_iter()
        .chain(all)
        .collect();
    kernel.commit(V4, &ops).expect("a table");
    kernel
}

/// The kernel marks lists of chains, rules and sets so; of elements it marks none.
#[test]
fn a_commit_amid_a_list_is_noticed() {
    testing::in_namespace(|| {
        if !has_nft() {
            return;
        }
        let (mut kernel, mut other) = (filled(), Kernel::open().expect("a socket"));
        let chains = (0..2_000).map(|n| format!("add chain ip ferrule theirs-{n}\n"));
        nft("nft", &["-f", "-"], &chains.collect::<String>());
        let mut list = |mut disturb: bool| {
            let mut chains = 0;
            let done = kernel.request(
                Some(V4),
                msg::GETCHAIN,
                NLM_F_DUMP,
                |_| (),
                |_, _| {
                    chains += 1;
                    if std::mem::take(&mut disturb) {
                        let gone = [Op::DeleteElement(address(4_999))];
                        other.commit(V4, &gone).expect("a commit");
                    }
                },
            );
            done.map(|()| chains)
        };
        let disturbed = list(true);
        assert!(
            matches!(disturbed, Err(Error::Interrupted)),
            "{disturbed:?}"
        );
        assert_eq!(list(false).expect("nobody disturbs it"), 2_000);
    });
}

#[test]
fn a_reading_starts_over_when_it_was_disturbed() {
    testing::in_namespace(|| {
        let (mut kernel, other) = (filled(), Kernel::open().expect("a socket"));
        let (other, calls) = (std::cell::RefCell::new(other), Cell::new(0));
        let read = kernel.consistent(|kernel| {
            calls.set(calls.get() + 1);
            let all = kernel.read_elements(V4, SET)?;
            match calls.get() {
                1 => Err(Error::Interrupted),
                n @ 2..4 => {
                    let gone = [Op::DeleteElement(address(n))];
                    other.borrow_mut().commit(V4, &gone)?;
                    Ok(all.len())
                }
                _ => Ok(all.len()),
            }
        });
        assert_eq!(read.expect("a quiet moment"), 4_998);
        assert_eq!(calls.get(), 4);
    });
}
