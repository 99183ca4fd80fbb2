// SPDX-License-Identifier: Apache-2.0
//! What others break is put back: by the loop, on the real kernel, with nft as the one who breaks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::sync::mpsc;

use crate::backend::nft::tests::{has_nft, nft};
use crate::backend::nft::{Kernel, monitor::Monitor};
use crate::backend::{Error, Nftables, Sent, TableState, fake::Fake, testing};
use crate::model::fixture::{node, service, slice};
use crate::model::{Event, IpFamily, Observed, Protocol};
use crate::observe::Status;
use crate::plan::fixture::options;
use crate::plan::nft::{Element, Key, Op, SetId, SetName};
use crate::plan::resync::Doubt;
use crate::sync::{Engine, Loop};

use super::{any_history, play_disturbed};

/// How long a repair may take on a machine that has other things to do as well.
const PATIENCE: Duration = Duration::from_secs(20);

/// The loop with its listener, in this network namespace, until the test is over.
fn run_proxy(services: usize) -> Status {
    let status = Status::new(Duration::from_secs(60));
    let shown = status.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async move {
            let (sender, events) = mpsc::channel(64);
            let (_asker, questions) = mpsc::channel(1);
            let kernel = Kernel::open().expect("a socket");
            let mut monitor = Monitor::start(kernel.port().expect("a port")).expect("a listener");
            let state = super::empty_state();
            let engine = Engine::new(kernel, options(), state, &IpFamily::ALL);
            let mut proxy = Loop::new(engine, None, status);
            let (heard, interference) = mpsc::channel(8);
            proxy.interference = interference;
            let listen = async {
                while heard
                    .send(monitor.next().await.expect("messages"))
                    .await
                    .is_ok()
                {}
            };
            tokio::join!(
                proxy.run(events, questions, std::future::pending()),
                listen,
                fill(sender, services),
            )
        })
    });
    shown
}

/// So many Services with their endpoints.
fn events(services: usize) -> Vec<Event> {
    let mut events = vec![Event::Node(Observed::new(node()))];
    for number in 0..services {
        let name = format!("s{number}");
        let mut s = service(
            &name,
            &format!("10.96.{}.{}", number / 200, 1 + number % 200),
        );
        s.ports[0].node_port = None;
        let e = slice(
            &format!("{name}-1"),
            &name,
            8080,
            &["10.244.1.5@n1", "10.244.2.5@n2"],
        );
        events.push(Event::Service(s.name.clone(), Observed::new(s)));
        events.push(Event::Slice(e.name.clone(), Observed::new(e)));
    }
    events.push(Event::Synced);
    events
}

/// Sends so many Services, and then nothing more.
async fn fill(sender: mpsc::Sender<Event>, services: usize) {
    for event in events(services) {
        sender.send(event).await.expect("a loop");
    }
    std::future::pending().await
}

/// Both tables and what else there is, in an order that does not depend on what was made first: by
/// the names of tables, and in them by those of chains and sets.
fn ruleset() -> String {
    let all = nft("nft", &["-s", "list", "ruleset"], "");
    let mut tables: Vec<String> = all.split_inclusive("\n}\n").map(sorted).collect();
    tables.sort_unstable();
    tables.concat()
}

fn sorted(table: &str) -> String {
    let (head, rest) = table.split_once('\n').unwrap_or((table, ""));
    let mut parts: Vec<&str> = rest
        .split_inclusive("\n\t}\n")
        .map(str::trim_start)
        .collect();
    parts.sort_unstable();
    format!("{head}\n{}", parts.concat())
}

/// The ruleset once it holds the last Service and rests.
fn settled(last: &str) -> String {
    let begun = Instant::now();
    loop {
        let now = ruleset();
        if now.contains(last) && now.contains("type nat hook postrouting") {
            std::thread::sleep(Duration::from_millis(50));
            if ruleset() == now {
                return now;
            }
        }
        assert!(begun.elapsed() < PATIENCE, "no start");
    }
}

/// Breaks something, and waits until all is as before. Returns how long it took.
fn repaired(before: &str, what: &str) -> Duration {
    nft("nft", &["-f", "-"], what);
    let begun = Instant::now();
    loop {
        let now = ruleset();
        if now == before {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < PATIENCE, "{what} is not put right: {now}");
    }
}

#[test]
fn whatever_others_break_is_put_back() {
    testing::in_namespace(|| {
        if !has_nft() {
            return;
        }
        let status = run_proxy(20);
        let before = settled("10.96.0.20");
        let breaks = [
            "flush ruleset",
            "delete table ip6 ferrule",
            "flush chain ip ferrule prerouting",
            "flush map ip ferrule services",
            "delete element ip ferrule services { 10.96.0.7 . tcp . 80 }",
            "insert rule ip ferrule postrouting accept",
            "add element ip ferrule services { 10.96.9.9 . tcp . 80 : drop }",
            "add chain ip ferrule theirs { type filter hook input priority 0; policy accept; }",
            "delete element ip ferrule endpoints { 10.96.0.7 . tcp . 80 . 1 }; \
             add element ip ferrule endpoints { 10.96.0.7 . tcp . 80 . 1 : 192.0.2.66 . 666 }",
        ];
        for what in breaks {
            println!("{what}: {:?}", repaired(&before, what));
            // Not so many in a row that the loop takes it for a quarrel.
            std::thread::sleep(Duration::from_millis(10));
        }
        let metrics = status.metrics();
        let of = |name: &str| {
            let line = metrics.lines().find_map(|l| l.strip_prefix(name));
            line.map(|count| count.trim().parse::<u32>().expect("a number"))
        };
        let heard = of("ferrule_interference_total{ip_family=\"IPv4\"}");
        assert!(heard >= Some(7), "{heard:?}");
        let repaired = of("ferrule_drift_repaired_total{ip_family=\"IPv4\"}");
        assert!(repaired >= Some(7), "{repaired:?}");
    });
}

/// The handle of a chain's last rule.
fn last_rule(chain: &str) -> String {
    let text = nft("nft", &["-a", "list", "chain", "ip", "ferrule", chain], "");
    let mut handles = text.lines().filter_map(|line| line.split_once("# handle "));
    handles.next_back().expect("a rule").1.trim().to_owned()
}

/// A hook, a chain, a set, a rule: each deleted as such.
#[test]
fn whole_objects_that_others_delete_are_put_back() {
    testing::in_namespace(|| {
        if !has_nft() {
            return;
        }
        run_proxy(20);
        let before = settled("10.96.0.20");
        let rule = last_rule("postrouting");
        let breaks = [
            "flush chain ip ferrule prerouting; delete chain ip ferrule prerouting".to_owned(),
            "flush map ip ferrule services; flush chain ip ferrule lb-2; \
             delete chain ip ferrule lb-2"
                .to_owned(),
            format!("delete rule ip ferrule postrouting handle {rule}"),
            "flush chain ip ferrule refused; delete map ip ferrule refused-services".to_owned(),
        ];
        for what in &breaks {
            println!("{what}: {:?}", repaired(&before, what));
        }
    });
}

/// A UDP client that sent while the rules were broken would go past the endpoints for ever.
#[test]
fn flows_that_began_during_the_damage_are_ended() {
    let (mut engine, _) = super::start(Fake::default(), super::empty_state());
    let mut dns = service("dns", "10.96.0.53");
    dns.ports[0].protocol = Protocol::Udp;
    let mut of = slice("dns-1", "dns", 5353, &["10.244.1.5@n1"]);
    of.ports[0].protocol = Protocol::Udp;
    engine.observe(Event::Service(dns.name.clone(), Observed::new(dns)));
    engine.observe(Event::Slice(of.name.clone(), Observed::new(of)));
    super::commit(&mut engine);
    let suspect = |engine: &mut Engine<Fake>| {
        engine.suspect([(IpFamily::V4, Doubt::All)].into());
        let done = engine.commit();
        assert!(!done.failed());
        done.stale_flows.len()
    };
    assert_eq!(suspect(&mut engine), 0, "nothing was broken");
    let element = engine.tables()[0].ledger().elements_of(SetId::Services)[0].clone();
    let deletion = [Op::DeleteElement(element)];
    engine
        .kernel()
        .commit(IpFamily::V4, &deletion)
        .expect("gone");
    assert_eq!(suspect(&mut engine), 1);
}

/// A hook is put back by itself: the elements, of which nobody has said anything, stay.
#[test]
fn a_hook_that_is_missing_costs_no_elements() {
    let (mut engine, _) = super::start(Fake::default(), super::empty_state());
    let all = events(300).into_iter();
    all.filter(|e| !matches!(e, Event::Synced))
        .for_each(|event| engine.observe(event));
    super::commit(&mut engine);
    let ledger = engine.tables()[0].ledger();
    let hook = ledger.chains().find(|c| c.base.is_some()).expect("a hook");
    let mut empty = crate::plan::nft::ChainSpec::clone(hook);
    empty.rules.clear();
    let gone = [
        Op::SetRules(std::sync::Arc::new(empty)),
        Op::DeleteChain(hook.name.clone()),
    ];
    let before = super::held(engine.kernel(), IpFamily::V4);
    engine.kernel().commit(IpFamily::V4, &gone).expect("gone");
    engine.suspect([(IpFamily::V4, Doubt::none())].into());
    let sent = super::commit(&mut engine);
    assert!(sent.messages < 20 && sent.elements == 0, "{sent:?}");
    super::held(engine.kernel(), IpFamily::V4).check(&before, IpFamily::V4);
}

#[test]
fn somebody_who_insists_keeps_nobody_busy() {
    testing::in_namespace(|| {
        if !has_nft() {
            return;
        }
        run_proxy(3);
        let before = settled("10.96.0.3");
        let mut kernel = Kernel::open().expect("a socket");
        let first = kernel.generation().expect("a number");
        let (mut deleted, begun) = (0, Instant::now());
        while begun.elapsed() < Duration::from_secs(3) {
            deleted += u32::from(kernel.commit(IpFamily::V4, &[Op::DeleteTable]).is_ok());
            std::thread::sleep(Duration::from_millis(1));
        }
        // There are six repairs until a wait exceeds 3 s. One that is disturbed is tried again.
        let commits = kernel.generation().expect("a number") - first - deleted;
        assert!((5..=40).contains(&deleted), "{deleted} deletions");
        assert!(commits <= deleted * 6, "{commits} commits of repairs");
        let begun = Instant::now();
        while ruleset() != before {
            assert!(begun.elapsed() < PATIENCE, "never put right");
            std::thread::sleep(Duration::from_millis(10));
        }
    });
}

/// Deletes the elements that the numbers pick, as somebody else does, and tells the engine.
fn delete(engine: &mut Engine<&mut Fake>, picks: &[usize]) {
    let mut broken = BTreeMap::new();
    for pick in picks {
        let family = IpFamily::ALL[pick % 2];
        let table = engine.tables().iter().find(|t| t.family() == family);
        let ledger = table.expect("a table").ledger();
        let all = SetId::ALL
            .into_iter()
            .flat_map(|set| ledger.elements_of(set));
        let all: Vec<Element> = all.cloned().collect();
        let Some(element) = (!all.is_empty()).then(|| &all[pick / 2 % all.len()]) else {
            continue;
        };
        let doubt = broken.entry(family).or_insert_with(Doubt::none);
        doubt.add(Doubt::element(element.set, element.key));
        // It may have been deleted already, and a chain in use is not let go.
        let _ = engine
            .kernel()
            .commit(family, &[Op::DeleteElement(element.clone())]);
    }
    engine.suspect(broken);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Only what was told is looked at, while other things change in the same commit.
    #[test]
    fn damage_and_changes_are_put_right_together(
        history in any_history(5),
        picks in proptest::collection::vec(0..10_000usize, 0..50),
    ) {
        let mut kernel = Fake::default();
        play_disturbed(&mut kernel, history, |engine| delete(engine, &picks));
    }
}

/// What a repair of one element reads and sends, among so many Services.
fn cost_of_one(services: usize) -> (usize, Sent) {
    let mut kernel = Counting::default();
    let (mut engine, _) = super::start(&mut kernel, super::empty_state());
    let history = events(services)
        .into_iter()
        .filter(|e| !matches!(e, Event::Synced));
    history.for_each(|event| engine.observe(event));
    super::commit(&mut engine);
    let ledger = engine.tables()[0].ledger();
    let element = ledger.elements_of(SetId::Services)[0].clone();
    let doubt = Doubt::element(element.set, element.key);
    let deleted = engine
        .kernel()
        .commit(IpFamily::V4, &[Op::DeleteElement(element)]);
    deleted.expect("a deletion");
    engine.suspect([(IpFamily::V4, doubt)].into());
    engine.kernel().read = 0;
    let sent = super::commit(&mut engine);
    (engine.kernel().read, sent)
}

#[test]
fn the_repair_of_an_element_costs_the_same_at_any_size() {
    let (few, many) = (cost_of_one(5), cost_of_one(500));
    assert_eq!(few, many);
    assert_eq!((many.0, many.1.messages, many.1.elements), (1, 1, 1));
}

/// Counts the elements that are read.
#[derive(Default)]
struct Counting {
    fake: Fake,
    read: usize,
}

impl Nftables for Counting {
    fn read_table(&mut self, family: IpFamily) -> Result<Option<TableState>, Error> {
        self.fake.read_table(family)
    }

    fn read_elements(&mut self, family: IpFamily, set: SetId) -> Result<Vec<Element>, Error> {
        let all = self.fake.read_elements(family, set)?;
        self.read += all.len();
        Ok(all)
    }

    fn read_element(
        &mut self,
        family: IpFamily,
        set: SetId,
        key: &Key,
    ) -> Result<Option<Element>, Error> {
        self.read += 1;
        self.fake.read_element(family, set, key)
    }

    fn read_clients(
        &mut self,
        family: IpFamily,
        set: &SetName,
    ) -> Result<Vec<(Key, IpAddr)>, Error> {
        self.fake.read_clients(family, set)
    }

    fn commit(&mut self, family: IpFamily, ops: &[Op]) -> Result<Sent, Error> {
        self.fake.commit(family, ops)
    }
}
