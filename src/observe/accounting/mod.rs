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
//! | [`metrics`] | shows sums as metrics |

pub mod book;
pub mod metrics;

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub use self::book::{AccountingView, Book, Frontend, Use};
use crate::backend::conntrack::flow::{Ends, Flow, live};
use crate::backend::sysctl::{self, Setting};
use crate::model::{IpFamily, ServiceName};

/// How often events are taken. At 16 flows a millisecond the buffer just lasts.
const PERIOD: Duration = Duration::from_millis(250);
/// Metrics count living flows at most this often: reading them costs about a microsecond each.
const FRESH: Duration = Duration::from_secs(60);
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
    pub fn start(endpoints: usize) -> anyhow::Result<Self> {
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
        let mut work = Work {
            ends: Ends::listen()?,
            book: Book::new(endpoints),
            earlier: HashSet::new(),
            shared: shared.clone(),
            refreshed: Instant::now(),
            failed: false,
        };
        // Of these no end is told that could be told from a later flow's.
        for family in IpFamily::ALL {
            live(family, |flow| {
                work.earlier.insert(flow.id);
            })?;
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

    /// The sums of the last time; living flows are at most [`FRESH`] old while somebody asks.
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

struct Work {
    ends: Ends,
    book: Book,
    /// Flows that are older than this; their bytes have not been counted from the start.
    earlier: HashSet<u32>,
    shared: Arc<Mutex<Shown>>,
    refreshed: Instant,
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
            self.take(|_| ());
            let asked = lock(&self.shared).asked;
            let scraped = asked.is_some_and(|at| at.elapsed() < SCRAPED);
            if !waiting.is_empty() || scraped && self.refreshed.elapsed() >= FRESH {
                self.refresh();
            }
            for done in waiting {
                let _ = done.send(());
            }
        }
    }

    /// Takes what has ended; each flow's number is passed on.
    fn take(&mut self, mut each: impl FnMut(u32)) {
        let (book, earlier) = (&mut self.book, &mut self.earlier);
        let taken = self.ends.take(|flow| {
            each(flow.id);
            if earlier.is_empty() || !earlier.remove(&flow.id) {
                book.ended(&flow);
            }
        });
        match taken {
            Ok(lost) => self.book.lost(lost),
            Err(error) if !self.failed => {
                self.failed = true;
                tracing::warn!("accounting: {error}");
            }
            Err(_) => {}
        }
    }

    /// Counts what lives, so that sums hold each flow once.
    fn refresh(&mut self) {
        let mut flows: Vec<Flow> = Vec::new();
        for family in IpFamily::ALL {
            let (book, earlier) = (&self.book, &self.earlier);
            let read = live(family, |flow| {
                if book.concerns(&flow) && !earlier.contains(&flow.id) {
                    flows.push(flow);
                }
            });
            if let Err(error) = read {
                tracing::debug!("accounting: {error}");
            }
        }
        let mut ended = HashSet::new();
        self.take(|id| {
            ended.insert(id);
        });
        flows.retain(|flow| !ended.contains(&flow.id));
        let view = self.book.view(&flows);
        lock(&self.shared).view = view;
        self.refreshed = Instant::now();
    }
}
