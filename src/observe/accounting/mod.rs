// SPDX-License-Identifier: Apache-2.0
//! Opt-in accounting: new connections and bytes per Service and endpoint (docs/accounting.md).
//!
//! Connection tracking counts bytes (`nf_conntrack_acct`) and tells of each flow that ends; a
//! thread takes these events every [`PERIOD`], so that none wakes it up. What still lives is
//! counted when somebody asks: the table is read, and flows that end while it is being read are
//! left out there.
//!
//! | module | does |
//! |---|---|
//! | [`book`] | adds up. PURE |
//! | [`sample`] | how many are counted, and what each stands for. PURE |
//! | [`metrics`] | shows sums as metrics |

pub mod book;
pub mod metrics;
pub mod sample;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub use self::book::{AccountingView, Book, Frontend, Use};
use self::sample::{Pace, Weights};
use crate::backend::conntrack::flow::{Ends, Flow, live};
use crate::backend::nft::sampling::Sampling;
use crate::backend::sysctl::{self, Setting};
use crate::config::{Accounted, Sample};
use crate::model::{IpFamily, ServiceName};

/// How often events are taken. At 16 flows a millisecond the buffer just lasts.
const PERIOD: Duration = Duration::from_millis(250);
/// Metrics count living flows at most this often.
const FRESH: Duration = Duration::from_secs(60);
/// And so seldom that reading them takes at most a thousandth of the time: connections that have
/// ended are among them for two minutes.
const SELDOM: u32 = 1_000;
const SELDOM_AT_MOST: Duration = Duration::from_secs(600);
/// Whoever has not asked for metrics for so long does not scrape them.
const SCRAPED: Duration = Duration::from_secs(300);

/// Counts while it is there. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Accounting {
    messages: Sender<Message>,
    shared: Arc<Mutex<Shown>>,
}

/// What others see.
#[derive(Debug, Default)]
struct Shown {
    view: AccountingView,
    /// When metrics were last asked for.
    asked: Option<Instant>,
}

#[derive(Debug)]
enum Message {
    /// A Service with its frontends; none: it is gone.
    Service(ServiceName, Vec<Frontend>),
    /// Count what lives, and say when that is done.
    Refresh(oneshot::Sender<()>),
}

impl Accounting {
    /// Switches the kernel's counters on and starts the thread. It ends with the last clone.
    ///
    /// # Errors
    /// The kernel does not tell of flows, or there can be no further thread.
    pub fn start(wanted: Accounted) -> anyhow::Result<Self> {
        let Accounted { endpoints, sample } = wanted;
        for (path, at_least) in [
            ("net/netfilter/nf_conntrack_acct", false),
            ("net/netfilter/nf_conntrack_events", true),
        ] {
            let setting = Setting {
                path,
                value: 1,
                at_least,
            };
            if let Err(error) = sysctl::apply(&setting) {
                tracing::warn!(
                    "{} stays as it is, so bytes may be missing: {error}",
                    setting.name()
                );
            }
        }
        let (messages, inbox) = channel();
        let shared = Arc::<Mutex<Shown>>::default();
        let ends = Ends::listen()?;
        let seed = RandomState::new().hash_one(std::process::id()) as u32;
        // Of these no end is told that could be told from a later flow's.
        let mut earlier = Vec::new();
        for family in IpFamily::ALL {
            live(family, |flow| earlier.push(flow.id))?;
        }
        let mut work = Work {
            ends,
            book: Book::new(endpoints),
            weights: Weights::new(seed, earlier.into_iter()),
            sampling: sampling(sample, seed),
            pace: (sample == Sample::Auto).then(Pace::default),
            taken: Instant::now(),
            shared: shared.clone(),
            refreshed: Instant::now(),
            fresh: FRESH,
            failed: false,
        };
        if let Sample::OneIn(number) = sample {
            work.one_in(number.get());
        }
        thread::Builder::new()
            .name("accounting".into())
            .spawn(move || work.run(&inbox))?;
        Ok(Self { messages, shared })
    }

    /// What a Service answers on from now on; nothing if it is gone. What it has used stays.
    pub fn service(&self, name: ServiceName, frontends: Vec<Frontend>) {
        let _ = self.messages.send(Message::Service(name, frontends));
    }

    /// All sums as of now.
    pub async fn view(&self) -> AccountingView {
        let (done, ready) = oneshot::channel();
        let _ = self.messages.send(Message::Refresh(done));
        let _ = ready.await;
        lock(&self.shared).view.clone()
    }

    /// The sums of the last time; living flows are as old as [`Work::fresh`] says while somebody asks.
    fn recent(&self) -> AccountingView {
        let mut shown = lock(&self.shared);
        shown.asked = Some(Instant::now());
        shown.view.clone()
    }
}

/// Whole values are left behind by a panic elsewhere.
fn lock(shared: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What lets ends of some flows be told alone. Without it, all are counted.
fn sampling(sample: Sample, seed: u32) -> Option<Sampling> {
    if sample == Sample::OneIn(NonZeroU32::MIN) {
        return None;
    }
    let started = Sampling::start(seed);
    let told = |e: &_| tracing::warn!("every connection is counted, which costs more: {e}");
    started.inspect_err(told).ok()
}

struct Work {
    ends: Ends,
    book: Book,
    weights: Weights,
    /// None: every connection is counted.
    sampling: Option<Sampling>,
    /// None: the number stays.
    pace: Option<Pace>,
    /// When ends were last taken.
    taken: Instant,
    shared: Arc<Mutex<Shown>>,
    refreshed: Instant,
    /// How old metrics' count of living flows may be.
    fresh: Duration,
    failed: bool,
}

impl Work {
    fn run(mut self, inbox: &Receiver<Message>) {
        loop {
            let mut waiting = Vec::new();
            match inbox.recv_timeout(PERIOD) {
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
                Ok(first) => {
                    for message in std::iter::once(first).chain(inbox.try_iter()) {
                        match message {
                            Message::Service(name, frontends) => {
                                // What has ended by now was for the frontends of until now.
                                self.take(|_| ());
                                self.book.service(name, frontends);
                            }
                            Message::Refresh(done) => waiting.push(done),
                        }
                    }
                }
            }
            self.turn();
            let asked = lock(&self.shared).asked;
            let scraped = asked.is_some_and(|at| at.elapsed() < SCRAPED);
            if !waiting.is_empty() || scraped && self.refreshed.elapsed() >= self.fresh {
                self.refresh();
            }
            for done in waiting {
                let _ = done.send(());
            }
        }
    }

    /// Takes what has ended, and lets the number of those that are counted follow.
    fn turn(&mut self) {
        let ends = self.take(|_| ());
        let took = self.taken.elapsed();
        self.taken = Instant::now();
        let pace = self.pace.as_mut().filter(|_| self.sampling.is_some());
        if let Some(number) = pace.and_then(|pace| pace.told(ends, took)) {
            self.one_in(number);
        }
    }

    /// From now on one in so many is counted.
    fn one_in(&mut self, number: u32) {
        let Some(sampling) = &mut self.sampling else {
            return;
        };
        if let Err(error) = sampling.one_in(number) {
            tracing::warn!("accounting goes on as it was: {error}");
            self.pace = None;
            return;
        }
        tracing::info!(one_in = number, "accounting");
        let mut ids = HashSet::new();
        let living = self.living(|id| {
            ids.insert(id);
        });
        self.weights.living(&ids);
        self.weights.change(number, &living);
    }

    /// Takes what has ended; each flow's number is passed on. Returns how many were a Service's.
    fn take(&mut self, mut each: impl FnMut(u32)) -> u64 {
        let (book, weights) = (&mut self.book, &mut self.weights);
        let mut count = 0;
        let taken = self.ends.take(|flow| {
            each(flow.id);
            count += u64::from(book.ended(&flow, weights.of_ended(&flow)));
        });
        match taken {
            Ok(lost) => self.book.lost(lost),
            Err(error) if !self.failed => {
                self.failed = true;
                tracing::warn!("accounting: {error}");
            }
            Err(_) => {}
        }
        count
    }

    /// The flows of Services that live; the numbers of all that do are passed on.
    fn living(&self, mut each: impl FnMut(u32)) -> Vec<Flow> {
        let mut flows = Vec::new();
        for family in IpFamily::ALL {
            let read = live(family, |flow| {
                each(flow.id);
                if self.book.concerns(&flow) {
                    flows.push(flow);
                }
            });
            if let Err(error) = read {
                tracing::debug!("accounting: {error}");
            }
        }
        flows
    }

    /// Counts what lives, so that sums hold each flow once.
    fn refresh(&mut self) {
        let begun = Instant::now();
        let mut ids = HashSet::new();
        let remembers = self.weights.remembers();
        let flows = self.living(|id| {
            if remembers {
                ids.insert(id);
            }
        });
        let mut ended = HashSet::new();
        self.take(|id| {
            ended.insert(id);
        });
        let weighed: Vec<(Flow, u64)> = flows
            .into_iter()
            .filter(|flow| !ended.contains(&flow.id))
            .filter_map(|flow| self.weights.of_living(&flow).map(|weight| (flow, weight)))
            .collect();
        if remembers {
            self.weights.living(&ids);
        }
        let view = self.book.view(&weighed, self.weights.one_in());
        lock(&self.shared).view = view;
        self.refreshed = Instant::now();
        self.fresh = (begun.elapsed() * SELDOM).clamp(FRESH, SELDOM_AT_MOST);
    }
}
