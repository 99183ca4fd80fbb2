// SPDX-License-Identifier: Apache-2.0
//! Commits of others amid our reading: none goes unnoticed, and the reading starts over.

use std::cell::Cell;

use crate::backend::netlink::NLM_F_DUMP;
use crate::backend::nft::Kernel;
use crate::backend::nft::uapi::{elem, msg};
use crate::backend::{Error, Nftables, testing};
use crate::model::IpFamily::V4;
use crate::plan::nft::{Data, Element, Key, Op, SetId, TABLE};

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

#[test]
fn a_commit_amid_a_list_is_noticed() {
    testing::in_namespace(|| {
        let (mut kernel, mut other) = (filled(), Kernel::open().expect("a socket"));
        let (mut parts, mut disturb) = (0, true);
        let mut list = |disturb: &mut bool| {
            kernel.request(
                Some(V4),
                msg::GETSETELEM,
                NLM_F_DUMP,
                |w| {
                    w.attr_str(elem::LIST_TABLE, TABLE);
                    w.attr_str(elem::LIST_SET, SET.name());
                },
                |_, _| {
                    parts += 1;
                    if std::mem::take(disturb) {
                        let gone = [Op::DeleteElement(address(4_999))];
                        other.commit(V4, &gone).expect("a commit");
                    }
                },
            )
        };
        let disturbed = list(&mut disturb);
        assert!(
            matches!(disturbed, Err(Error::Interrupted)),
            "{disturbed:?}"
        );
        list(&mut disturb).expect("nobody disturbs it");
        assert!(parts > 2, "the kernel answers in {parts} parts");
        let all = kernel.read_elements(V4, SET).expect("elements");
        assert_eq!(all.len(), 4_999);
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
