// SPDX-License-Identifier: Apache-2.0
//! What was served last, kept in a file: a node that boots without an API server serves the
//! Services that it knew.
//!
//! Each change is a line that is appended within [`PERIOD`], so that writing costs what has
//! changed; the newest line of an object counts. Until the API server has listed everything, lines
//! go to a new file beside the old one, which then takes its place: what has vanished meanwhile
//! stands in no line of it.
//!
//! | module | does |
//! |---|---|
//! | `file` | lines into a file and out of it |
//! | `fuzzing` | what holds for any content of it |
//! | `serve` | whether and for how long what was remembered is served |

mod file;
pub(super) mod fuzzing;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::warn;

use self::file::{Header, Log, Newest};
use self::serve::Serving;
use super::kind::Follow;
use crate::model::Event;
use crate::watch::Meters;

/// How long a change may wait to be written.
const PERIOD: Duration = Duration::from_secs(10);
/// So many changes do not wait.
const MANY: usize = 1_000;

/// Where the last known state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFile {
    /// The file; its directory has to exist.
    pub path: PathBuf,
    /// The own Node: a disk may be moved to another one.
    pub node: String,
    /// Whether what is there may be served. Not if rules of an earlier process are in place, which
    /// may be newer.
    pub serve: bool,
}

/// An object as a line.
trait Line: Send {
    fn to_json(&self) -> Option<Value>;
}

/// An object that has not been written yet.
struct Kept<K>(K);

impl<K: Follow> Line for Kept<K> {
    fn to_json(&self) -> Option<Value> {
        self.0.to_json()
    }
}

/// Kind, and name with namespace.
type Key = (&'static str, String);
type Changed = HashMap<Key, Option<Box<dyn Line>>>;

/// What goes to the file, and what came from it.
pub(super) struct Memory {
    file: Option<StateFile>,
    began: Instant,
    changed: Mutex<Changed>,
    many: Notify,
    /// Everything has been listed.
    complete: AtomicBool,
    /// Kinds whose watch fails.
    troubled: Mutex<HashSet<String>>,
    serving: Mutex<Serving>,
    /// What the file says, as far as nobody has asked for it; none: it is not read yet.
    newest: tokio::sync::Mutex<Option<Newest>>,
    meters: Meters,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// Nothing is read yet. Without a file, nothing is remembered. The API server's time to
    /// answer begins here.
    pub(super) fn new(file: Option<StateFile>, meters: Meters) -> Self {
        Self {
            file,
            began: Instant::now(),
            changed: Mutex::default(),
            many: Notify::new(),
            complete: AtomicBool::new(false),
            troubled: Mutex::default(),
            serving: Mutex::default(),
            newest: tokio::sync::Mutex::default(),
            meters,
        }
    }

    /// An object is there.
    pub(super) fn keep<K: Follow>(&self, name: &K::Name, object: K) {
        self.note::<K>(name, Some(Box::new(Kept(object))));
    }

    /// An object is gone.
    pub(super) fn forget<K: Follow>(&self, name: &K::Name) {
        self.note::<K>(name, None);
    }

    fn note<K: Follow>(&self, name: &K::Name, line: Option<Box<dyn Line>>) {
        if self.file.is_none() || K::REMEMBERED.is_empty() {
            return;
        }
        let mut changed = lock(&self.changed);
        changed.insert((K::REMEMBERED, name.to_string()), line);
        if changed.len() >= MANY {
            self.many.notify_one();
        }
    }

    /// Takes note of what is told of sources.
    pub(super) fn told(&self, event: &Event) {
        match event {
            Event::Source { name, reason } if reason.is_empty() => {
                lock(&self.troubled).remove(name);
            }
            Event::Source { name, .. } => {
                lock(&self.troubled).insert(name.clone());
            }
            Event::Synced => self.complete.store(true, Relaxed),
            _ => {}
        }
    }

    /// Writes what changes, for ever.
    pub(super) async fn write(&self) {
        let Some(file) = self.file.clone() else {
            return std::future::pending().await;
        };
        let mut log = Log::new(file.path, Header::new(&file.node));
        let mut failed = String::new();
        loop {
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {}
                () = self.many.notified() => {}
            }
            self.meters.remembered(self.age());
            let changed = std::mem::take(&mut *lock(&self.changed));
            // What is served from the file is not known to be complete.
            let complete = self.complete.load(Relaxed) && !lock(&self.serving).is_on();
            let current = lock(&self.troubled).is_empty();
            let write = spawn_blocking(move || {
                let result = log.write(&changed, complete, current);
                (log, changed, result)
            });
            let Ok((back, changed, result)) = write.await else {
                return std::future::pending().await;
            };
            log = back;
            let error = result.err().map(|error| error.to_string());
            if let Some(error) = &error {
                self.put_back(changed);
                if *error != failed {
                    warn!("the last known state is not kept: {error}");
                }
            }
            failed = error.unwrap_or_default();
        }
    }

    /// What could not be written is tried again, unless it has changed since.
    fn put_back(&self, unwritten: Changed) {
        let mut changed = lock(&self.changed);
        for (key, line) in unwritten {
            changed.entry(key).or_insert(line);
        }
    }
}
