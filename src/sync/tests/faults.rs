// SPDX-License-Identifier: Apache-2.0
//! The kernel says no: whatever call fails, and whether or not it was carried out, the next
//! attempts lead to where the state wants to be, and no change is forgotten.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;

use nix::libc::{EEXIST, EINTR, ENOBUFS, ENOENT, ENOMEM, ENOSPC};
use proptest::prelude::*;

use super::{any_history, empty_state, held, start};
use crate::backend::{Error, Nftables, Sent, TableState, fake::Fake};
use crate::model::{Event, IpFamily};
use crate::plan::nft::{Element, Key, Op, SetId, SetName};
use crate::sync::Engine;

/// What happens to one call.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Nothing.
    None,
    /// It is carried out, but the answer is lost.
    AnswerLost,
    /// It is not carried out.
    Refused(i32),
    /// What it read changed meanwhile.
    Interrupted,
    /// Somebody else has deleted the table just before.
    Deleted,
}

fn any_fault() -> impl Strategy<Value = Fault> {
    let errno = prop_oneof![
        Just(EINTR),
        Just(EEXIST),
        Just(ENOENT),
        Just(ENOSPC),
        Just(ENOMEM)
    ];
    prop_oneof![
        3 => Just(Fault::None),
        1 => Just(Fault::AnswerLost),
        1 => errno.prop_map(Fault::Refused),
        1 => Just(Fault::Interrupted),
        1 => Just(Fault::Deleted),
    ]
}

/// An in-memory kernel that fails by a plan, and works once that is at its end.
#[derive(Default)]
struct Faulty {
    kernel: Fake,
    plan: VecDeque<Fault>,
    failed: usize,
}

impl Faulty {
    fn call<T>(
        &mut self,
        family: IpFamily,
        call: impl FnOnce(&mut Fake) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let fault = self.plan.pop_front().unwrap_or(Fault::None);
        self.failed += usize::from(!matches!(fault, Fault::None | Fault::Deleted));
        match fault {
            Fault::None => call(&mut self.kernel),
            Fault::AnswerLost => {
                call(&mut self.kernel)?;
                let source = io::Error::from_raw_os_error(ENOBUFS);
                Err(Error::Socket {
                    operation: "receive",
                    source,
                })
            }
            Fault::Refused(errno) => Err(Error::Refused {
                operation: "commit",
                object: "anything".into(),
                errno,
                message: String::new(),
            }),
            Fault::Interrupted => Err(Error::Interrupted),
            Fault::Deleted => {
                // It may not be there.
                let _ = self.kernel.commit(family, &[Op::DeleteTable]);
                call(&mut self.kernel)
            }
        }
    }
}

impl Nftables for Faulty {
    fn read_table(&mut self, family: IpFamily) -> Result<Option<TableState>, Error> {
        self.call(family, |k| k.read_table(family))
    }

    fn read_elements(&mut self, family: IpFamily, set: SetId) -> Result<Vec<Element>, Error> {
        self.call(family, |k| k.read_elements(family, set))
    }

    fn read_clients(
        &mut self,
        family: IpFamily,
        set: &SetName,
    ) -> Result<Vec<(Key, IpAddr)>, Error> {
        self.call(family, |k| k.read_clients(family, set))
    }

    fn commit(&mut self, family: IpFamily, ops: &[Op]) -> Result<Sent, Error> {
        self.call(family, |k| k.commit(family, ops))
    }
}

/// Commits until it works, which it must once the plan of faults is at its end.
fn persist(engine: &mut Engine<Faulty>) {
    let left = engine.kernel().plan.len();
    for _ in 0..left + 2 {
        let done = engine.commit();
        // A table that was deleted behind our back is told by the listener, which there is none of.
        IpFamily::ALL
            .into_iter()
            .filter(|_| !done.failed())
            .for_each(|family| engine.suspect([(family, crate::plan::resync::Doubt::All)].into()));
        if !done.failed() && engine.kernel().plan.is_empty() {
            let last = engine.commit();
            assert!(!last.failed(), "{last:?}");
            return;
        }
    }
    panic!("never committed");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_change_is_forgotten(
        history in any_history(4),
        faults in proptest::collection::vec(any_fault(), 0..60),
    ) {
        let mut engine = Engine::new(
            Faulty::default(),
            crate::plan::fixture::options(),
            empty_state(),
            &IpFamily::ALL,
        );
        let batches = history.len().max(1);
        for (number, batch) in history.into_iter().enumerate() {
            batch.into_iter().for_each(|event: Event| engine.observe(event));
            let share = faults.iter().skip(number).step_by(batches);
            engine.kernel().plan.extend(share);
            persist(&mut engine);
            let state = engine.state().clone();
            let (mut scratch, _) = start(Fake::default(), state.clone());
            for family in IpFamily::ALL {
                let expected = held(scratch.kernel(), family);
                held(&mut engine.kernel().kernel, family).check(&expected, family);
            }
            let (_, sent) = start(&mut engine.kernel().kernel, state);
            prop_assert_eq!(sent, Sent::default(), "a restart writes nothing");
        }
    }
}

/// The faults of the property do what they say.
#[test]
fn the_plan_of_faults_is_followed() {
    let mut kernel = Faulty {
        plan: [
            Fault::AnswerLost,
            Fault::Refused(ENOSPC),
            Fault::Interrupted,
            Fault::Deleted,
        ]
        .into(),
        ..Faulty::default()
    };
    let v4 = IpFamily::V4;
    assert!(kernel.commit(v4, &[Op::AddTable]).is_err());
    assert!(
        kernel.kernel.read_table(v4).is_ok_and(|t| t.is_some()),
        "it was carried out"
    );
    let refused = kernel.commit(v4, &[Op::DeleteTable]);
    assert_eq!(refused.expect_err("a refusal").errno(), Some(ENOSPC));
    assert!(matches!(kernel.read_table(v4), Err(Error::Interrupted)));
    assert!(
        kernel.read_table(v4).is_ok_and(|t| t.is_none()),
        "deleted by another"
    );
    assert_eq!(kernel.failed, 3);
}
