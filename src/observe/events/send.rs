// SPDX-License-Identifier: Apache-2.0
//! The task that writes Events.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::Client;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::api::{Failure, Server};
use super::book::{Book, Job};
use super::{Inbox, Message, Notice, count};

/// Pauses between the attempts at one request; two minutes together, as in client-go.
const PAUSES: [Duration; 8] = {
    let seconds = [1, 2, 4, 8, 16, 30, 30, 30];
    let mut pauses = [Duration::ZERO; 8];
    let mut i = 0;
    while i < pauses.len() {
        pauses[i] = Duration::from_secs(seconds[i]);
        i += 1;
    }
    pauses
};

/// When to try again after the server has forbidden Events.
const FORBIDDEN_PAUSE: Duration = Duration::from_secs(600);

/// Writes what comes to the API server, until there is no recorder any more.
///
/// Nothing is dropped while the server can't be reached, for two minutes and as far as the queue
/// reaches. If it forbids Events, that is said once, and they are off for ten minutes at a time.
pub async fn send(client: Client, mut inbox: Inbox) {
    let mut task = Task {
        server: Server::new(client, inbox.controller),
        book: Book::new(Instant::now()),
        off_until: None,
        forbidden: false,
    };
    loop {
        let wake = task.book.wake();
        let due = sleep_until(wake.unwrap_or_else(Instant::now));
        tokio::select! {
            message = inbox.messages.recv() => match message {
                None => return,
                Some(Message::Notice(notice)) => task.note(notice, &inbox),
                Some(Message::Flush(reply)) => drop(reply),
            },
            () = due, if wake.is_some() => {}
        }
        task.work(&inbox).await;
    }
}

struct Task {
    server: Server,
    book: Book,
    /// Until then no request is made.
    off_until: Option<Instant>,
    /// Whether it was said that Events are off.
    forbidden: bool,
}

impl Task {
    fn note(&mut self, notice: Notice, inbox: &Inbox) {
        let now = Instant::now();
        self.off_until = self.off_until.filter(|until| *until > now);
        if self.off_until.is_some() || !self.book.note(notice, now) {
            count(&inbox.counters.dropped);
        }
    }

    async fn work(&mut self, inbox: &Inbox) {
        while let Some((topic, job)) = self.book.next(Instant::now()) {
            if self.off_until.is_some_and(|until| until > Instant::now()) {
                count(&inbox.counters.dropped);
                self.book.give_up(&topic);
                continue;
            }
            match self.attempt(job).await {
                Ok(event) => {
                    count(&inbox.counters.written);
                    self.book.done(&topic, Arc::new(event), Instant::now());
                }
                Err(failure) => {
                    count(&inbox.counters.failed);
                    self.book.give_up(&topic);
                    self.failed(failure);
                }
            }
        }
    }

    /// Makes the request, again and again if that may help. Returns what the server has now.
    async fn attempt(&mut self, job: Job) -> Result<Event, Failure> {
        let now = Timestamp::now();
        let mut pauses = PAUSES.into_iter();
        loop {
            let result = match &job {
                Job::Create(notice) => self.server.create(notice, now).await,
                Job::Repeat(event, count) => self.server.repeat(event, *count, now).await,
            };
            match (result, pauses.next()) {
                (Ok(event), _) => {
                    if std::mem::take(&mut self.forbidden) {
                        info!("Events are allowed again");
                    }
                    return Ok(event);
                }
                (Err(Failure::Unreachable(reason)), Some(pause)) => {
                    debug!(reason, "an Event waits");
                    sleep(pause).await;
                }
                (Err(failure), _) => return Err(failure),
            }
        }
    }

    fn failed(&mut self, failure: Failure) {
        match failure {
            Failure::Forbidden(reason) => {
                self.off_until = Some(Instant::now() + FORBIDDEN_PAUSE);
                if !std::mem::replace(&mut self.forbidden, true) {
                    warn!("going on without Events: {reason}");
                }
            }
            Failure::Missing => debug!("an Event has no namespace to be written to"),
            Failure::Refused(reason) => warn!("the server refuses an Event: {reason}"),
            Failure::Unreachable(reason) => warn!("an Event could not be written: {reason}"),
        }
    }
}
