// SPDX-License-Identifier: Apache-2.0
//! The whole loop on a kernel in memory that says no, or that somebody else disturbs, while time
//! is stopped: what is said of it, and when it is tried again.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use nix::libc::{EBUSY, EEXIST, ENFILE, ENOENT, ENOMEM, ENOSPC};
use tokio::sync::mpsc::{self, Sender};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::{empty_state, held, start};
use crate::backend::fake::servers::FakeServers;
use crate::backend::nft::monitor::Interference;
use crate::backend::{Error, Nftables, Sent, TableState, fake::Fake};
use crate::model::fixture::{ip, service, slice};
use crate::model::{Event, IpFamily, Observed, State};
use crate::observe::events::{self, RULES_CONTESTED};
use crate::observe::{Moment, Status};
use crate::plan::Options;
use crate::plan::fixture::{ipvs_options, options};
use crate::plan::nft::{Element, Key, Op, SetId, SetName};
use crate::plan::resync::Doubt;
use crate::sync::{Engine, Loop};

const V4: IpFamily = IpFamily::V4;
/// How long a change may wait until /healthz says so.
const LATE: Duration = Duration::from_secs(5);
/// The longest wait between two attempts (`sync::pace`, `sync::heal`), and some more.
const LONGEST: Duration = Duration::from_secs(11);

/// A kernel that the test can look at while the loop works on it.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Fake>>);

impl Shared {
    fn kernel(&self) -> MutexGuard<'_, Fake> {
        self.0.lock().expect("no panic")
    }

    /// Whether it holds what a start from this state gives.
    fn is_like(&self, state: &State) -> bool {
        let (mut scratch, _) = start(Fake::default(), state.clone());
        let mut kernel = self.kernel();
        let mut same = |family| held(&mut *kernel, family) == held(scratch.kernel(), family);
        IpFamily::ALL.into_iter().all(&mut same)
    }
}

impl Nftables for Shared {
    fn read_table(&mut self, family: IpFamily) -> Result<Option<TableState>, Error> {
        self.kernel().read_table(family)
    }

    fn read_elements(&mut self, family: IpFamily, set: SetId) -> Result<Vec<Element>, Error> {
        self.kernel().read_elements(family, set)
    }

    fn read_clients(
        &mut self,
        family: IpFamily,
        set: &SetName,
    ) -> Result<Vec<(Key, std::net::IpAddr)>, Error> {
        self.kernel().read_clients(family, set)
    }

    fn commit(&mut self, family: IpFamily, ops: &[Op]) -> Result<Sent, Error> {
        self.kernel().commit(family, ops)
    }
}

/// A loop that runs, with its ends.
struct Running {
    kernel: Shared,
    status: Status,
    events: Sender<Event>,
    broken: Sender<Interference>,
    inbox: events::Inbox,
    /// What the loop was told.
    state: State,
    task: JoinHandle<()>,
    _asker: mpsc::Sender<crate::observe::AdminRequest>,
}

impl Running {
    fn start(options: Options, ipvs: Option<FakeServers>) -> Self {
        let kernel = Shared::default();
        let (recorder, inbox) = events::channel("n1");
        let begun = Instant::now();
        let clock = move || Moment {
            wall: jiff::Timestamp::now(),
            elapsed: begun.elapsed(),
        };
        let status = Status::with_clock(LATE, clock).with_events(recorder);
        let state = empty_state();
        let engine = Engine::new(kernel.clone(), options, state.clone(), &IpFamily::ALL);
        let engine = engine.with_ipvs(ipvs.map(|s| Box::new(s) as _));
        let mut proxy = Loop::new(engine, None, status.clone());
        let (broken, interference) = mpsc::channel(8);
        proxy.interference = interference;
        let (events, seen) = mpsc::channel(64);
        let (asker, questions) = mpsc::channel(1);
        let task = tokio::spawn(proxy.run(seen, questions, std::future::pending()));
        Self {
            kernel,
            status,
            events,
            broken,
            inbox,
            state,
            task,
            _asker: asker,
        }
    }

    async fn tell(&mut self, event: Event) {
        drop(self.state.apply(event.clone()));
        self.events.send(event).await.expect("a loop");
    }

    async fn web(&mut self, endpoints: &[&str]) {
        let web = service("web", "10.96.0.10");
        let of = slice("web-1", "web", 8080, endpoints);
        self.tell(Event::Service(web.name.clone(), Observed::new(web)))
            .await;
        self.tell(Event::Slice(of.name.clone(), Observed::new(of)))
            .await;
    }
}

/// What does not work is tried again although nothing more happens, whatever it was; /healthz says
/// so when it lasts, and no longer than it does.
#[tokio::test(start_paused = true)]
async fn what_the_kernel_refuses_is_tried_again_and_healthz_tells_the_truth() {
    let mut running = Running::start(options(), None);
    running.web(&["10.244.1.5@n1"]).await;
    sleep(Duration::from_secs(1)).await;
    assert!(running.kernel.is_like(&running.state) && running.status.healthy());
    let before = running.state.clone();
    for errno in [
        EEXIST, ENOENT, ENOSPC, ENFILE, ENOMEM, EBUSY, EEXIST, ENOENT, EBUSY,
    ] {
        running.kernel.kernel().refuse(errno);
    }
    running.web(&["10.244.1.6@n1", "10.244.1.7@n1"]).await;
    sleep(LATE - Duration::from_secs(1)).await;
    assert!(running.status.healthy(), "it may still come");
    assert!(running.kernel.is_like(&before), "all of it or nothing");
    // Nine attempts, with 50 ms before the second and twice as long before each further one.
    sleep(Duration::from_secs(7)).await;
    assert!(!running.status.healthy(), "too late");
    assert!(running.kernel.is_like(&before), "all of it or nothing");
    let metrics = running.status.metrics();
    let failed = "kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family=\"IPv4\"} 8";
    assert!(metrics.lines().any(|l| l == failed), "{metrics}");
    sleep(2 * LONGEST).await;
    assert!(running.kernel.is_like(&running.state), "not forgotten");
    assert!(running.status.healthy());
    running.task.abort();
}

/// Somebody deletes the table a thousand times a second for a minute.
#[tokio::test(start_paused = true)]
async fn who_insists_is_met_with_growing_waits_and_one_event() {
    let mut running = Running::start(options(), None);
    running.web(&["10.244.1.5@n1"]).await;
    sleep(Duration::from_secs(1)).await;
    let generation = || running.kernel.kernel().generation();
    let (before, mut deleted) = (generation(), 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        let gone = running.kernel.kernel().commit(V4, &[Op::DeleteTable]);
        if gone.is_ok() {
            deleted += 1;
            let found = Interference {
                families: [(V4, Doubt::All)].into(),
                objects: 1,
                process: Some(("fire".into(), 4711)),
                lost: false,
            };
            running.broken.send(found).await.expect("a loop");
        }
        sleep(Duration::from_millis(1)).await;
    }
    // 5 at once, then after 0.1 + 0.2 + 0.4 ... 10 + 10 s.
    assert!((12..=20).contains(&deleted), "{deleted} repairs");
    assert!(generation() - before <= deleted * 10, "no busy loop");
    let notices = running.inbox.take();
    let mut contested = notices.iter().filter(|n| n.reason == RULES_CONTESTED);
    let one = contested.next().expect("an Event");
    assert!(one.note.contains("fire (process 4711)"), "{}", one.note);
    assert_eq!(contested.count(), 0, "said once");
    sleep(LONGEST).await;
    assert!(
        running.kernel.is_like(&running.state),
        "put right in the end"
    );
    running.task.abort();
}

/// What was broken while commits fail is put right once they work.
#[tokio::test(start_paused = true)]
async fn damage_during_refusals_is_not_forgotten() {
    let mut running = Running::start(options(), None);
    running.web(&["10.244.1.5@n1"]).await;
    sleep(Duration::from_secs(1)).await;
    let element = {
        let mut kernel = running.kernel.kernel();
        let all = kernel.read_elements(V4, SetId::Services);
        all.expect("elements").remove(0)
    };
    let deletion = [Op::DeleteElement(element.clone())];
    running.kernel.kernel().commit(V4, &deletion).expect("gone");
    (0..8).for_each(|_| running.kernel.kernel().refuse(EBUSY));
    let found = Interference {
        families: [(V4, Doubt::element(element.set, element.key))].into(),
        objects: 1,
        ..Interference::default()
    };
    running.broken.send(found).await.expect("a loop");
    // Eight attempts take 12.75 s.
    sleep(Duration::from_secs(8)).await;
    assert!(!running.kernel.is_like(&running.state), "refused so far");
    assert!(
        !running.status.healthy(),
        "the rules are not as they should be"
    );
    sleep(LONGEST).await;
    assert!(running.kernel.is_like(&running.state));
    assert!(running.status.healthy());
    running.task.abort();
}

/// The kernel tells nobody of a change of IPVS: the loop looks of its own accord.
#[tokio::test(start_paused = true)]
async fn virtual_servers_that_others_delete_come_back_within_a_minute() {
    let servers = FakeServers::default();
    let mut running = Running::start(ipvs_options(), Some(servers.clone()));
    running.web(&["10.244.1.5@n1"]).await;
    sleep(Duration::from_secs(1)).await;
    let before = servers.held().clone();
    assert!(before.bound.contains(&ip("10.96.0.10")));
    for minute in 0..3 {
        servers.held().servers.clear();
        servers.held().bound.clear();
        sleep(Duration::from_secs(62)).await;
        let after = servers.held().clone();
        let same = (after.servers, after.bound) == (before.servers.clone(), before.bound.clone());
        assert!(same, "minute {minute}");
    }
    running.task.abort();
}
