// SPDX-License-Identifier: Apache-2.0
//! One kind of object, listed and watched for ever.

use std::fmt::Debug;
use std::hash::Hash;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use kube::core::Status;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::client::{CONNECT, one_line};
use super::listing::Listing;
use crate::model::Event;

/// Objects in one answer, where the API server can't stream the list. 500 are client-go's; slices
/// of 100 endpoints take some 40 KB each.
const PAGE: u32 = 200;
/// A streamed list that has given nothing for so long is stuck (an API server whose store can't
/// tell how far it is never sends the end of the list).
const STUCK: Duration = Duration::from_secs(30);
/// A watch that was resumed after an error, and has none for so long, works again: with nothing to
/// tell, nothing comes. Longer than a connection may take to fail.
const SETTLED: Duration = Duration::from_secs(CONNECT.as_secs() + 5);
/// How long to leave an API alone that does not exist or is forbidden. Both can change.
const ABSENT: Duration = Duration::from_secs(300);
/// As good as for ever.
const FOREVER: Duration = Duration::from_secs(1 << 30);

/// A kind of object, and what becomes of it.
pub(super) trait Kind:
    Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static
{
    /// The name of an object.
    type Key: Clone + Eq + Hash + Send;
    /// The kind in reports.
    const NAME: &'static str;
    /// Whether the proxy is complete without it.
    const OPTIONAL: bool = false;
    /// The object's name.
    fn key(&self) -> Self::Key;
    /// The object appeared or changed.
    fn event(&self) -> Event;
    /// The object of this name vanished.
    fn gone(key: Self::Key) -> Event;
}

/// Nobody receives events any more.
#[derive(Debug)]
pub(super) struct Closed;

/// How to go on after a watch that can't.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// The same watch resumes.
    Resume,
    /// List and watch anew.
    List,
    /// List and watch anew, in pages.
    Pages,
    /// Try again much later.
    Later,
}

/// The list and watch of one kind.
pub(super) struct Source<'a, K: Kind> {
    api: Api<K>,
    config: watcher::Config,
    events: &'a Sender<Event>,
    /// How many kinds have not been listed yet.
    pending: &'a AtomicUsize,
    listing: Listing<K::Key>,
    /// A listing is under way.
    listing_open: bool,
    /// This kind has been listed once.
    listed: bool,
    trouble: Option<String>,
    backoff: DefaultBackoff,
}

impl<'a, K: Kind> Source<'a, K> {
    /// Watches what the selectors of `config` choose. `pending` counts down when the first list is
    /// complete; who takes it to zero sends [`Event::Synced`].
    pub(super) fn new(
        api: Api<K>,
        config: watcher::Config,
        events: &'a Sender<Event>,
        pending: &'a AtomicUsize,
    ) -> Self {
        Self {
            api,
            config: config.streaming_lists(),
            events,
            pending,
            listing: Listing::default(),
            listing_open: false,
            listed: false,
            trouble: None,
            backoff: DefaultBackoff::default(),
        }
    }

    /// Goes on until nobody receives events any more.
    pub(super) async fn run(mut self) -> Closed {
        loop {
            match self.follow().await {
                Err(closed) => return closed,
                Ok(Next::Later) => sleep(ABSENT).await,
                Ok(Next::Pages) => {
                    info!(
                        "{}: the API server can't stream lists, taking pages",
                        K::NAME
                    );
                    self.config.initial_list_strategy = watcher::InitialListStrategy::ListWatch;
                    self.config.page_size = Some(PAGE);
                }
                Ok(Next::List | Next::Resume) => {}
            }
        }
    }

    /// One list and its watch, until it takes a new list to go on.
    async fn follow(&mut self) -> Result<Next, Closed> {
        self.listing_open = true;
        let mut stream = pin!(watcher(self.api.clone(), self.config.clone()));
        loop {
            match timeout(self.patience(), stream.next()).await {
                Ok(Some(Ok(event))) => self.take(event).await?,
                Ok(Some(Err(error))) => match self.failed(&error).await? {
                    Next::Resume => {}
                    next => return Ok(next),
                },
                Ok(None) => return Ok(Next::List),
                Err(_) if self.listing_open => return Ok(Next::Pages),
                Err(_) => self.works().await?,
            }
        }
    }

    fn streams_lists(&self) -> bool {
        self.config.initial_list_strategy == watcher::InitialListStrategy::StreamingList
    }

    /// How long silence means nothing.
    fn patience(&self) -> Duration {
        match (self.listing_open, &self.trouble) {
            (true, _) if self.streams_lists() => STUCK,
            (false, Some(_)) => SETTLED,
            _ => FOREVER,
        }
    }

    async fn take(&mut self, event: watcher::Event<K>) -> Result<(), Closed> {
        match event {
            watcher::Event::Init => {
                self.listing_open = true;
                self.listing.begin();
                Ok(())
            }
            watcher::Event::InitApply(object) => self.saw(&object).await,
            watcher::Event::Apply(object) => {
                self.saw(&object).await?;
                self.works().await
            }
            watcher::Event::Delete(object) => {
                let key = object.key();
                self.listing.gone(&key);
                self.send(K::gone(key)).await?;
                self.works().await
            }
            watcher::Event::InitDone => {
                self.listing_open = false;
                for key in self.listing.end() {
                    self.send(K::gone(key)).await?;
                }
                self.works().await?;
                self.complete().await
            }
        }
    }

    async fn saw(&mut self, object: &K) -> Result<(), Closed> {
        self.listing.seen(object.key());
        self.send(object.event()).await
    }

    /// The kind is as complete as it gets.
    async fn complete(&mut self) -> Result<(), Closed> {
        if std::mem::replace(&mut self.listed, true) {
            return Ok(());
        }
        debug!("{}: listed", K::NAME);
        match self.pending.fetch_sub(1, Ordering::AcqRel) {
            1 => self.send(Event::Synced).await,
            _ => Ok(()),
        }
    }

    /// Reports the error, waits, and decides how to go on.
    async fn failed(&mut self, error: &watcher::Error) -> Result<Next, Closed> {
        let next = next::<K>(error, self.listing_open && self.streams_lists());
        match next {
            // Of no interest to anyone but developers: it is put right at once.
            Next::Pages | Next::List => debug!("{}: {error}", K::NAME),
            Next::Resume | Next::Later => self.trouble(reason(error)).await?,
        }
        match next {
            Next::Later => self.complete().await?,
            Next::Pages => {}
            Next::List | Next::Resume => {
                sleep(self.backoff.next().unwrap_or(SETTLED)).await;
            }
        }
        Ok(next)
    }

    async fn trouble(&mut self, reason: String) -> Result<(), Closed> {
        if self.trouble.as_ref() == Some(&reason) {
            return Ok(());
        }
        self.trouble = Some(reason.clone());
        self.report(reason).await
    }

    async fn works(&mut self) -> Result<(), Closed> {
        if self.trouble.take().is_none() {
            return Ok(());
        }
        self.backoff.reset();
        self.report(String::new()).await
    }

    async fn report(&self, reason: String) -> Result<(), Closed> {
        let name = K::NAME.to_owned();
        self.send(Event::Source { name, reason }).await
    }

    async fn send(&self, event: Event) -> Result<(), Closed> {
        self.events.send(event).await.map_err(|_| Closed)
    }
}

/// What the API server itself says is wrong, if it is the API server that says it.
fn status(error: &watcher::Error) -> Option<&Status> {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status))
        | WatchError(status) => Some(status),
        _ => None,
    }
}

/// The store is behind what was seen of it, say after it was restored from a backup. Waiting may
/// not help, and client-go lists anew as well.
fn from_the_future(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|d| &d.causes);
    causes
        .map(|c| c.reason.as_str())
        .any(|reason| reason == "ResourceVersionTooLarge")
        || status.message.contains("Too large resource version")
}

/// `streaming`: what failed is a list that should have been streamed.
fn next<K: Kind>(error: &watcher::Error, streaming: bool) -> Next {
    let Some(status) = status(error) else {
        return Next::Resume;
    };
    match status.code {
        403 | 404 if K::OPTIONAL => Next::Later,
        410 => Next::List,
        // 422 from servers before 1.34, where it is unknown or switched off, and 500 from one whose
        // etcd is older than 3.4.25: `storage feature RequestWatchProgress is disabled`.
        400 | 422 | 500 if streaming => Next::Pages,
        _ if from_the_future(status) => Next::List,
        _ => Next::Resume,
    }
}

/// One line without kube's own words around it.
fn reason(error: &watcher::Error) -> String {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchFailed, WatchStartFailed};
    if let Some(status) = status(error) {
        return format!("{} ({})", status.message, status.code);
    }
    let text = match error {
        InitialListFailed(e) | WatchStartFailed(e) | WatchFailed(e) => match e {
            kube::Error::Service(e) => one_line(&**e),
            kube::Error::ReadEvents(e) => one_line(e),
            kube::Error::HyperError(e) => one_line(e),
            other => one_line(other),
        },
        NoResourceVersion | watcher::Error::WatchError(_) => one_line(error),
    };
    // A body that breaks off is an error of kube's in an I/O error.
    text.strip_prefix("ServiceError: ")
        .map_or(text.clone(), Into::into)
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
