// SPDX-License-Identifier: Apache-2.0
//! Whether and for how long what was remembered is served.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{info, warn};

use super::file::{self, Header, Newest};
use super::{Follow, Memory, lock};
use crate::model::Event;

/// How long the API server has to list everything, before what was remembered is served.
const PATIENCE: Duration = Duration::from_secs(5);
/// The name of this source in what users see.
const SOURCE: &str = "last known state";

/// Kinds of which the file is served, as the API server has not listed them yet.
#[derive(Debug, Default)]
pub(super) struct Serving {
    kinds: HashSet<&'static str>,
    saved: Option<SystemTime>,
}

impl Serving {
    pub(super) fn is_on(&self) -> bool {
        !self.kinds.is_empty()
    }

    fn age(&self, now: SystemTime) -> Option<Duration> {
        let saved = self.saved.filter(|_| self.is_on())?;
        // A clock that was wrong when the file was written says nothing.
        Some(now.duration_since(saved).unwrap_or_default())
    }
}

impl Memory {
    /// Whether there may be something to recall.
    pub(in crate::watch::cluster) fn serves<K: Follow>(&self) -> bool {
        let serves = self.file.as_ref().is_some_and(|file| file.serve);
        serves && !K::REMEMBERED.is_empty()
    }

    /// When what was remembered is served, unless the API server has listed everything.
    pub(in crate::watch::cluster) fn due(&self) -> Instant {
        self.began + PATIENCE
    }

    /// How old what is served is; none if it is the API server's.
    pub(super) fn age(&self) -> Option<Duration> {
        lock(&self.serving).age(Timestamp::now().into())
    }

    /// What was remembered of a kind; none if there is no file that can be used.
    pub(in crate::watch::cluster) async fn recall<K: Follow>(&self) -> Option<Recalled<K>> {
        let mut newest = self.newest.lock().await;
        let newest = match &mut *newest {
            Some(newest) => newest,
            unread => unread.insert(self.read().await),
        };
        let saved = newest.saved?;
        let lines = newest
            .lines
            .extract_if(|(kind, _), _| kind == K::REMEMBERED);
        let objects: Vec<K> = lines.filter_map(|(_, line)| line.object()).collect();
        let told = {
            let mut serving = lock(&self.serving);
            let first = !serving.is_on();
            serving.kinds.insert(K::REMEMBERED);
            serving.saved = Some(saved);
            first
        };
        let notice = told.then(|| self.notice());
        Some(Recalled { objects, notice })
    }

    /// The API server has listed a kind. The event, if nothing from the file is served any more.
    pub(in crate::watch::cluster) fn listed<K: Follow>(&self) -> Option<Event> {
        let mut serving = lock(&self.serving);
        let last = serving.kinds.remove(K::REMEMBERED) && !serving.is_on();
        last.then(|| {
            info!("the API server has listed everything: the last known state is no longer served");
            self.meters.remembered(None);
            Event::Source {
                name: SOURCE.to_owned(),
                reason: String::new(),
            }
        })
    }

    fn notice(&self) -> Event {
        let age = self.age().unwrap_or_default();
        self.meters.remembered(Some(age));
        let reason = format!(
            "the API server has not answered yet; what it said {} s ago is served",
            age.as_secs()
        );
        Event::Source {
            name: SOURCE.to_owned(),
            reason,
        }
    }

    async fn read(&self) -> Newest {
        let Some(file) = self.file.clone() else {
            return Newest::default();
        };
        let path = file.path.clone();
        let read = move || file::newest(&file.path, &Header::new(&file.node));
        let read = spawn_blocking(read).await;
        let path = path.display();
        match read {
            Ok(Ok(newest)) => {
                if newest.unreadable > 0 {
                    warn!("{path}: {} lines cannot be read", newest.unreadable);
                }
                newest
            }
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Newest::default(),
            Ok(Err(error)) => {
                warn!("{path}: nothing is served from it: {error}");
                Newest::default()
            }
            Err(_) => Newest::default(),
        }
    }
}

/// What was remembered of a kind.
pub(in crate::watch::cluster) struct Recalled<K> {
    pub(in crate::watch::cluster) objects: Vec<K>,
    /// What has to be told.
    pub(in crate::watch::cluster) notice: Option<Event>,
}
