// SPDX-License-Identifier: Apache-2.0
//! IPVS mode against a kernel that has IPVS: `make test-ipvs`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::Command;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::{any_history, commit, empty_state, held, start as start_nftables};
use crate::backend::fake::Fake;
use crate::backend::ipvs::virtuals::{self, Virtuals};
use crate::backend::{Error, Sent, VirtualServers, nft::Kernel, testing};
use crate::model::{Event, IpFamily, State};
use crate::plan::fixture::ipvs_options;
use crate::plan::ipvs::{Settings, VirtualServer};
use crate::sync::Engine;

fn start(kernel: &mut Kernel, state: State) -> (Engine<&mut Kernel>, Sent) {
    let virtuals = Virtuals::open().expect("IPVS and dummy links");
    let engine = Engine::new(kernel, ipvs_options(), state, &IpFamily::ALL);
    let mut engine = engine.with_ipvs(Some(Box::new(virtuals)));
    let sent = commit(&mut engine);
    (engine, sent)
}

/// Runs a body in a network namespace with IPVS. `REQUIRE_IPVS=1` forbids to skip it.
fn with_ipvs(body: impl FnOnce(&mut Kernel) + Send + 'static) {
    testing::in_namespace(|| {
        match Virtuals::open() {
            Err(Error::Missing(reason)) => {
                assert!(std::env::var_os("REQUIRE_IPVS").is_none(), "{reason}");
                return eprintln!("SKIP: {reason}");
            }
            opened => drop(opened.expect("IPVS")),
        }
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.expect("ip").success());
        body(&mut Kernel::open().expect("a netlink socket"));
    });
}

/// What the kernel holds: virtual servers with the real ones that take connections, and addresses.
type Found = (
    BTreeMap<String, (Settings, BTreeMap<String, u32>)>,
    BTreeSet<IpAddr>,
);

fn found(virtuals: &mut Virtuals, family: IpFamily) -> Found {
    let mut servers = BTreeMap::new();
    for (key, settings) in virtuals.servers(family).expect("virtual servers") {
        let all = virtuals
            .destinations(&key)
            .expect("real servers")
            .into_iter();
        let weights = all.map(|d| (d.target.to_string(), d.weight.expect("one of ours")));
        let weights = weights.filter(|(_, weight)| *weight > 0).collect();
        servers.insert(key.to_string(), (settings.expect("one of ours"), weights));
    }
    (servers, virtuals.bound(family).expect("addresses"))
}

fn wanted(engine: &Engine<Fake>, family: IpFamily) -> Found {
    let table = engine.tables().iter().find(|t| t.family() == family);
    let ledger = table.expect("a table").ledger();
    let server = |server: &VirtualServer| {
        let ends = server.destinations.iter();
        let weights = ends.map(|(target, weight)| (target.to_string(), *weight));
        (server.settings.clone(), weights.collect())
    };
    let servers = ledger.servers().iter();
    let servers = servers.map(|(key, s)| (key.to_string(), server(s)));
    let vips = ledger.elements_of(crate::plan::nft::SetId::ServiceAddresses);
    let vips = vips
        .iter()
        .filter_map(|e| crate::plan::nft::element::address_from(e.key.as_bytes()))
        // Nobody takes an address away from a host.
        .filter(|a| !engine.state().local_addresses().contains(a))
        .filter(|a| !engine.state().elsewhere().contains(a));
    (servers.collect(), vips.collect())
}

fn play(kernel: &mut Kernel, history: Vec<Vec<Event>>) {
    let mut virtuals = Virtuals::open().expect("IPVS");
    let (mut engine, _) = start(kernel, empty_state());
    for batch in history {
        batch.into_iter().for_each(|event| engine.observe(event));
        commit(&mut engine);
        let state = engine.state().clone();
        let scratch = Engine::new(
            Fake::default(),
            ipvs_options(),
            state.clone(),
            &IpFamily::ALL,
        );
        let fake = crate::backend::fake::servers::FakeServers::default();
        let mut scratch = scratch.with_ipvs(Some(Box::new(fake)));
        commit(&mut scratch);
        for family in IpFamily::ALL {
            assert_eq!(found(&mut virtuals, family), wanted(&scratch, family));
            let expected = held(scratch.kernel(), family);
            held(*engine.kernel(), family).check(&expected, family);
        }
        let shown = virtuals::listing().expect("a listing").into_keys();
        let tables = scratch.tables().iter();
        let planned = tables.flat_map(|t| t.ledger().servers().iter().map(|(key, _)| *key));
        assert!(shown.eq(planned), "what debug rules shows");
        let (_, sent) = start(engine.kernel(), state);
        assert_eq!(sent, Sent::default(), "a restart writes nothing");
    }
    let state = engine.state().clone();
    // The other mode takes the table over, and back.
    start_nftables(&mut **engine.kernel(), state.clone());
    let (_, sent) = start(engine.kernel(), state);
    assert!(sent.messages > 0);
}

#[test]
#[ignore = "needs a kernel with IPVS: make test-ipvs"]
fn incremental_equals_from_scratch_in_the_real_kernel() {
    let mut runner = TestRunner::deterministic();
    for _ in 0..25 {
        let tree = any_history(4).new_tree(&mut runner).expect("a history");
        let history = tree.current();
        with_ipvs(move |kernel| play(kernel, history));
    }
}
