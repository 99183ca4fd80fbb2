// SPDX-License-Identifier: Apache-2.0
//! Kubernetes Events: what people should see in `kubectl describe` rather than in a log.
//!
//! Whoever has something to tell calls [`Recorder::record`], which never waits. One task
//! ([`send`]) decides what is worth a request (`book`) and writes it to the API server (`api`).
//! Events are a courtesy: what does not fit is dropped and counted, and nothing else depends on
//! them. Whoever records an Event also logs it: without an API server there is only the log.
//!
//! Reporter, reasons and actions of the Events that kube-proxy has are its own, so that filters
//! go on working. kube's recorder is not used: it writes at every repetition, and does not survive
//! an Event that the server has forgotten meanwhile.

mod api;
mod book;
mod send;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

pub use send::send;

use crate::model::{ObjectRef, ServiceName};

/// Notices that may wait while a request is under way; more are dropped.
const WAITING: usize = 256;

/// `reportingController` of the agent, kube-proxy's own.
const PROXY: &str = "kube-proxy";

/// kube-proxy's action for everything that it does at the start.
pub const START: &str = "StartKubeProxy";

/// Reason: fields of an object cannot be used and are skipped.
pub const FIELDS_SKIPPED: &str = "FieldsSkipped";
/// Reason: an address and port, or a NodePort, belongs to an older Service.
pub const ADDRESS_CONFLICT: &str = "AddressConflict";

/// Reason: another process changes our rules again and again.
pub const RULES_CONTESTED: &str = "RulesContested";

/// Type of an Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing to worry about.
    Normal,
    /// Something does not work as somebody wants it to.
    Warning,
}

/// What an Event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The object that it is about.
    pub regarding: ObjectRef,
    /// Its type.
    pub kind: Kind,
    /// Why, in CamelCase, at most 128 characters.
    pub reason: &'static str,
    /// What was being done, in CamelCase, at most 128 characters.
    pub action: &'static str,
    /// The whole story for people; what exceeds 1,024 bytes is cut off.
    pub note: String,
    /// Every node finds the same, so one Event for all of them is enough.
    pub shared: bool,
}

impl Notice {
    /// Something that is as it should be.
    pub fn normal(
        regarding: ObjectRef,
        reason: &'static str,
        action: &'static str,
        note: impl Into<String>,
    ) -> Self {
        Self {
            regarding,
            kind: Kind::Normal,
            reason,
            action,
            note: note.into(),
            shared: false,
        }
    }

    /// Something that somebody should look at.
    pub fn warning(
        regarding: ObjectRef,
        reason: &'static str,
        action: &'static str,
        note: impl Into<String>,
    ) -> Self {
        Self {
            kind: Kind::Warning,
            ..Self::normal(regarding, reason, action, note)
        }
    }

    /// The same, as something that every node finds.
    pub fn shared(self) -> Self {
        Self {
            shared: true,
            ..self
        }
    }
}

/// How many Events there were since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// The server has them.
    pub written: u64,
    /// Too many at a time, or the server does not allow any.
    pub dropped: u64,
    /// The server refused them or could not be reached.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

enum Message {
    Notice(Notice),
    /// Answered by dropping it, once all before it has been dealt with.
    Flush(oneshot::Sender<()>),
}

/// Where Events are handed in. Cheap to clone; the default one leads nowhere.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Option<Arc<Outbox>>);

#[derive(Debug)]
struct Outbox {
    node: Arc<str>,
    messages: mpsc::Sender<Message>,
    counters: Arc<Counters>,
}

/// What [`send`] reads from. Dropping it makes its recorders lead nowhere.
pub struct Inbox {
    controller: &'static str,
    messages: mpsc::Receiver<Message>,
    counters: Arc<Counters>,
}

/// A recorder of a node, and what it leads to.
pub fn channel(node: impl Into<Arc<str>>) -> (Recorder, Inbox) {
    let (sender, messages) = mpsc::channel(WAITING);
    let counters = Arc::new(Counters::default());
    let outbox = Outbox {
        node: node.into(),
        messages: sender,
        counters: counters.clone(),
    };
    let inbox = Inbox {
        controller: PROXY,
        messages,
        counters,
    };
    (Recorder(Some(Arc::new(outbox))), inbox)
}

impl Inbox {
    /// The same, with Events that are reported by another program than the agent. At most 60
    /// characters.
    #[must_use]
    pub fn reported_by(self, controller: &'static str) -> Self {
        Self { controller, ..self }
    }
}

#[cfg(test)]
impl Inbox {
    /// What was handed in by now.
    pub(crate) fn take(&mut self) -> Vec<Notice> {
        let messages = std::iter::from_fn(|| self.messages.try_recv().ok());
        let notice = |message| match message {
            Message::Notice(notice) => Some(notice),
            Message::Flush(_) => None,
        };
        messages.filter_map(notice).collect()
    }
}

impl Recorder {
    /// Hands in a notice. Never waits: one too many is dropped and counted. What names no object is
    /// left out, as nobody would find it.
    pub fn record(&self, notice: Notice) {
        let Some(outbox) = self
            .0
            .as_ref()
            .filter(|_| !notice.regarding.name.is_empty())
        else {
            return;
        };
        let sent = outbox.messages.try_send(Message::Notice(notice));
        if let Err(mpsc::error::TrySendError::Full(_)) = sent {
            count(&outbox.counters.dropped);
        }
    }

    /// Waits until all that was handed in has been dealt with, but not longer than `patience`.
    pub async fn flush(&self, patience: Duration) {
        let Some(outbox) = &self.0 else { return };
        let (reply, done) = oneshot::channel();
        let asked = async {
            if outbox.messages.send(Message::Flush(reply)).await.is_ok() {
                let _ = done.await;
            }
        };
        let _ = tokio::time::timeout(patience, asked).await;
    }

    /// The own Node, to be used in [`Notice::regarding`].
    pub fn node(&self) -> ObjectRef {
        ObjectRef {
            kind: "Node",
            namespace: "".into(),
            name: self.0.as_ref().map_or("".into(), |o| o.node.clone()),
        }
    }

    /// Something about the own Node that somebody should look at.
    pub fn of_node(&self, reason: &'static str, action: &'static str, note: String) {
        self.record(Notice::warning(self.node(), reason, action, note));
    }

    /// The proxy starts to work (kube-proxy: `birthCry`).
    pub fn starting(&self) {
        self.record(Notice::normal(self.node(), "Starting", START, ""));
    }

    /// The program ends because it cannot answer health checks, or else requests for metrics.
    pub fn not_listening(&self, healthz: bool, note: String) {
        let reason = if healthz {
            "FailedToStartProxierHealthcheck"
        } else {
            "FailedToStartMetricServer"
        };
        self.record(Notice::warning(self.node(), reason, START, note));
    }

    /// A listener for load balancers cannot be opened, said in kube-proxy's words (upstream:
    /// `service_health.go`).
    pub fn health_check_failed(&self, service: &ServiceName, port: u16, error: &std::io::Error) {
        let node = self.node().name;
        let note = format!(
            "node {node} failed to start healthcheck \"{service}\" on port {port}: {error}"
        );
        let regarding = ObjectRef {
            kind: "Service",
            namespace: service.namespace.clone(),
            name: service.name.clone(),
        };
        self.record(Notice::warning(
            regarding,
            "FailedToStartServiceHealthcheck",
            "Listen",
            note,
        ));
    }

    /// How many there were.
    pub fn counts(&self) -> Counts {
        let Some(outbox) = &self.0 else {
            return Counts::default();
        };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            written: read(&outbox.counters.written),
            dropped: read(&outbox.counters.dropped),
            failed: read(&outbox.counters.failed),
        }
    }
}
