// SPDX-License-Identifier: Apache-2.0
//! One kind: its list, then its changes, for ever.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use kube::Api;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event as Watched};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info};

use super::held::{Held, PATIENCE};
pub(super) use super::kind::Follow;
use super::kind::Thin;
use super::trouble::{Severity, Trouble, reason, severity};
use super::{Closed, Shared};
use crate::watch::client::CONNECT;
use crate::watch::known::Known;

/// How many objects a page of a list has: client-go's number.
const PAGE: u32 = 500;

/// A watch that was opened again says nothing until something changes. One that has kept quiet for
/// longer than a connection may take to fail works again.
const QUIET: Duration = Duration::from_secs(CONNECT.as_secs() + 5);

/// A streaming list that has kept quiet for so long will not come to its end.
const STUCK: Duration = Duration::from_secs(30);

/// As good as for ever.
const EVER: Duration = Duration::from_secs(1 << 30);

/// When to look again for a kind that the server does not have or show.
const WITHHELD_PAUSE: Duration = Duration::from_secs(600);

/// How a list comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strategy {
    /// As the beginning of the watch, object by object.
    Streaming,
    /// In pages, with a watch after them.
    Pages,
}

impl Strategy {
    fn config(self, labels: &str, fields: &str) -> watcher::Config {
        let config = watcher::Config::default().page_size(PAGE);
        let config = if labels.is_empty() {
            config
        } else {
            config.labels(labels)
        };
        let config = if fields.is_empty() {
            config
        } else {
            config.fields(fields)
        };
        match self {
            Strategy::Streaming => config.streaming_lists(),
            Strategy::Pages => config,
        }
    }
}

/// What goes on after an error.
enum Next {
    SameWatch,
    NewList,
    InPages,
}

/// Follows one kind until nobody receives events any more.
pub(super) async fn follow<K: Follow>(
    api: Api<Thin<K>>,
    labels: &str,
    fields: &str,
    mut strategy: Strategy,
    shared: &Shared,
) -> Closed {
    let mut follower = Follower::<K>::new(shared);
    loop {
        let config = strategy.config(labels, fields);
        match follower.watch(api.clone(), config, strategy).await {
            Ok(Next::InPages) => strategy = Strategy::Pages,
            Ok(Next::NewList | Next::SameWatch) => {}
            Err(closed) => return closed,
        }
    }
}

struct Follower<'a, K: Follow> {
    shared: &'a Shared,
    known: Known<K::Name>,
    trouble: Trouble,
    pauses: DefaultBackoff,
    withheld: bool,
    listed: bool,
    /// What a list lacks and is not yet believed to be gone.
    held: Held<K::Name>,
    /// A list has not come to its end.
    listing: bool,
    /// When the last known state is recalled.
    recall: Option<Instant>,
}

impl<'a, K: Follow> Follower<'a, K> {
    fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            known: Known::default(),
            trouble: Trouble::default(),
            pauses: DefaultBackoff::default(),
            withheld: false,
            listed: false,
            held: Held::default(),
            listing: true,
            recall: (shared.memory.serves::<K>()).then(|| shared.memory.due()),
        }
    }

    /// Watches until the watch has to be made anew.
    async fn watch(
        &mut self,
        api: Api<Thin<K>>,
        config: watcher::Config,
        strategy: Strategy,
    ) -> Result<Next, Closed> {
        self.listing = true;
        let mut stream = pin!(watcher::watcher(api, config));
        loop {
            let due = self.held.until().map(Instant::from_std);
            let due = async { sleep_until(due.unwrap_or_else(Instant::now)).await };
            let recall = self.recall;
            let recall_due = async { sleep_until(recall.unwrap_or_else(Instant::now)).await };
            let next = tokio::select! {
                () = recall_due, if recall.is_some() => {
                    self.recall().await?;
                    continue;
                }
                () = due, if self.held.until().is_some() => {
                    self.let_go().await?;
                    continue;
                }
                next = timeout(self.patience(strategy), stream.next()) => next,
            };
            match next {
                Ok(Some(Ok(event))) => self.take(event).await?,
                Ok(Some(Err(error))) => match self.failed(&error, strategy).await? {
                    Next::SameWatch => {}
                    next => return Ok(next),
                },
                Ok(None) => return Ok(Next::NewList),
                Err(_) if self.listing => {
                    self.shared.meters.restarted(K::PLURAL);
                    return Ok(Next::InPages);
                }
                Err(_) => self.recovered().await?,
            }
        }
    }

    /// How long silence means nothing.
    fn patience(&self, strategy: Strategy) -> Duration {
        match (self.listing, strategy) {
            (true, Strategy::Streaming) => STUCK,
            (false, _) if self.trouble.is_open() => QUIET,
            _ => EVER,
        }
    }

    async fn take(&mut self, event: Watched<Thin<K>>) -> Result<(), Closed> {
        match event {
            // Sent before anything was asked of the server in pages, so it proves nothing.
            Watched::Init => {
                self.known.begin();
                self.listing = true;
                return Ok(());
            }
            Watched::InitApply(thin) | Watched::Apply(thin) => self.found(thin.object).await?,
            Watched::Delete(thin) => {
                if let Some(name) = thin.object.name() {
                    self.known.forget(&name);
                    self.held.settle(&name);
                    self.gone(name).await?;
                }
            }
            Watched::InitDone => {
                self.finish().await?;
                self.listing = false;
                self.recall = None;
                self.listed().await?;
                if let Some(event) = self.shared.memory.listed::<K>() {
                    self.shared.send(event).await?;
                }
            }
        }
        self.recovered().await
    }

    /// A list is complete. What it does not show is gone, unless that is hard to believe.
    async fn finish(&mut self) -> Result<(), Closed> {
        let known = self.known.len();
        let missing = self.known.finish();
        let gone = self.held.judge(missing, known, Instant::now().into_std());
        for name in gone {
            self.gone(name).await?;
        }
        if self.held.len() > 0 {
            let reason = format!(
                "a new list lacks {} of {known}; they are served for another {} minutes, \
                 unless they are deleted one by one",
                self.held.len(),
                PATIENCE.as_secs() / 60,
            );
            self.tell_held(Some(reason)).await?;
        }
        Ok(())
    }

    /// The time of those that were held is over.
    async fn let_go(&mut self) -> Result<(), Closed> {
        for name in self.held.overdue(Instant::now().into_std()) {
            self.gone(name).await?;
        }
        self.tell_held(None).await
    }

    async fn tell_held(&mut self, reason: Option<String>) -> Result<(), Closed> {
        self.shared.meters.held(K::PLURAL, self.held.len());
        let event = match reason {
            Some(reason) => self.trouble.failed(K::PLURAL, reason),
            None => self.trouble.ended(K::PLURAL),
        };
        match event {
            Some(event) => self.shared.send(event).await,
            None => Ok(()),
        }
    }

    async fn found(&mut self, object: K) -> Result<(), Closed> {
        let Some(name) = object.name() else {
            return Ok(());
        };
        self.known.seen(&name);
        self.held.settle(&name);
        let event = object.found(name.clone());
        self.shared.memory.keep(&name, object);
        self.shared.send(event).await
    }

    async fn gone(&self, name: K::Name) -> Result<(), Closed> {
        self.shared.memory.forget::<K>(&name);
        self.shared.send(K::gone(name)).await
    }

    /// The server has not listed the kind in time: what it said before is served.
    async fn recall(&mut self) -> Result<(), Closed> {
        self.recall = None;
        let Some(recalled) = self.shared.memory.recall::<K>().await else {
            return Ok(());
        };
        for object in recalled.objects {
            if let Some(name) = object.name()
                && self.known.remember(&name)
            {
                self.shared.send(object.found(name)).await?;
            }
        }
        if let Some(notice) = recalled.notice {
            self.shared.send(notice).await?;
        }
        self.listed().await
    }

    async fn listed(&mut self) -> Result<(), Closed> {
        match std::mem::replace(&mut self.listed, true) {
            false => self.shared.listed().await,
            true => Ok(()),
        }
    }

    async fn recovered(&mut self) -> Result<(), Closed> {
        self.withheld = false;
        if self.held.len() > 0 {
            return Ok(());
        }
        self.shared.meters.held(K::PLURAL, 0);
        match self.trouble.ended(K::PLURAL) {
            Some(event) => {
                self.pauses.reset();
                self.shared.send(event).await
            }
            None => Ok(()),
        }
    }

    async fn failed(&mut self, error: &watcher::Error, strategy: Strategy) -> Result<Next, Closed> {
        self.shared.meters.restarted(K::PLURAL);
        match severity(error, self.listing && strategy == Strategy::Streaming) {
            Severity::NoStreaming => {
                debug!("{}: lists come in pages: {}", K::PLURAL, reason(error));
                return Ok(Next::InPages);
            }
            // If it came in place of a watch, kube would ask for the same again, and at once.
            Severity::Expected => {
                self.pause().await?;
                return Ok(Next::NewList);
            }
            Severity::Withheld if K::OPTIONAL => {
                if !std::mem::replace(&mut self.withheld, true) {
                    info!("{}: going on without them: {}", K::PLURAL, reason(error));
                }
                self.listed().await?;
                sleep(WITHHELD_PAUSE).await;
                return Ok(Next::SameWatch);
            }
            // Said like any other trouble, but it does not hold up the rest.
            Severity::Withheld if !K::HOLDS_UP => self.listed().await?,
            Severity::Withheld | Severity::Trouble => {}
        }
        if let Some(event) = self.trouble.failed(K::PLURAL, reason(error)) {
            self.shared.send(event).await?;
        }
        self.pause().await?;
        Ok(Next::SameWatch)
    }

    /// Waits before the next attempt; the last known state does not wait for that.
    async fn pause(&mut self) -> Result<(), Closed> {
        // What is random comes on top there, up to as much again: 30 s become 60.
        let end = Instant::now() + self.pauses.next().unwrap_or(QUIET) / 2;
        if let Some(due) = self.recall.filter(|due| *due < end) {
            sleep_until(due).await;
            self.recall().await?;
        }
        sleep_until(end).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
