// SPDX-License-Identifier: Apache-2.0
//! What is worth a request to the API server, and when. No I/O; time is an argument.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use tokio::time::Instant;

use super::Notice;
use crate::model::ObjectRef;

/// The least time between two requests about the same object and reason.
pub(super) const INTERVAL: Duration = Duration::from_secs(300);
/// How many requests may come at once, whatever they are about.
pub(super) const BURST: u32 = 20;
/// Time after which one more may come.
pub(super) const REFILL: Duration = Duration::from_secs(15);
/// Of [`BURST`], what is kept for what concerns this node alone: a thousand bad objects must not
/// silence it.
pub(super) const RESERVE: u32 = 5;
/// The API server keeps Events for an hour (`--event-ttl`), so what comes after that is new.
const FORGET: Duration = Duration::from_secs(3600);

/// What Events are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Topic {
    regarding: ObjectRef,
    reason: &'static str,
}

impl Topic {
    fn of(notice: &Notice) -> Self {
        Self {
            regarding: notice.regarding.clone(),
            reason: notice.reason,
        }
    }
}

/// A request to be made.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Job {
    /// A new Event.
    Create(Notice),
    /// The Event was seen so many times by now.
    Repeat(Arc<Event>, i32),
}

#[derive(Debug)]
struct Entry {
    /// What was said last.
    notice: Notice,
    /// The server's copy of it, and when it was written.
    written: Option<(Arc<Event>, Instant)>,
    /// How often it was said.
    count: i32,
    /// How often the server knows it to have been said.
    told: i32,
    /// Not to be written before.
    due: Instant,
    /// Whether the request has been paid for.
    paid: bool,
}

impl Entry {
    fn is_open(&self) -> bool {
        self.told < self.count
    }
}

/// A bucket of tokens, each of which buys a request.
#[derive(Debug)]
struct Bucket {
    tokens: u32,
    since: Instant,
}

impl Bucket {
    fn take(&mut self, shared: bool, now: Instant) -> bool {
        let new = now.duration_since(self.since).as_secs() / REFILL.as_secs();
        let new = u32::try_from(new).unwrap_or(BURST);
        if new > 0 {
            self.tokens = self.tokens.saturating_add(new).min(BURST);
            self.since += REFILL * new;
        }
        let kept = if shared { RESERVE } else { 0 };
        let enough = self.tokens > kept;
        self.tokens -= u32::from(enough);
        enough
    }
}

/// Everything that was said in the last hour. The bucket bounds how much that is: 260 topics.
#[derive(Debug)]
pub(super) struct Book {
    entries: HashMap<Topic, Entry>,
    bucket: Bucket,
}

impl Book {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            entries: HashMap::new(),
            bucket: Bucket {
                tokens: BURST,
                since: now,
            },
        }
    }

    /// Takes in a notice. False if it has to be dropped.
    pub(super) fn note(&mut self, notice: Notice, now: Instant) -> bool {
        let old = |e: &Entry| now.duration_since(e.due) > FORGET;
        self.entries.retain(|_, entry| !old(entry));
        let topic = Topic::of(&notice);
        let Some(entry) = self.entries.get_mut(&topic) else {
            let paid = self.bucket.take(notice.shared, now);
            if paid {
                let entry = Entry {
                    notice,
                    written: None,
                    count: 1,
                    told: 0,
                    due: now,
                    paid,
                };
                self.entries.insert(topic, entry);
            }
            return paid;
        };
        if entry.notice != notice {
            entry.notice = notice;
            entry.written = None;
            (entry.count, entry.told) = (1, 0);
        } else if !notice.shared {
            // Of a shared one others know the number as little as we do.
            entry.count = entry.count.saturating_add(1);
        }
        true
    }

    /// When there will be something to do.
    pub(super) fn wake(&self) -> Option<Instant> {
        let open = self.entries.values().filter(|entry| entry.is_open());
        open.map(|entry| entry.due).min()
    }

    /// Something to be done now, if there is any. What there is no token for waits.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Topic, Job)> {
        for (topic, entry) in &mut self.entries {
            if !entry.is_open() || entry.due > now {
                continue;
            }
            entry.paid = entry.paid || self.bucket.take(entry.notice.shared, now);
            if !entry.paid {
                entry.due = now + REFILL;
                continue;
            }
            let job = match &entry.written {
                Some((event, _)) => Job::Repeat(event.clone(), entry.count),
                None => Job::Create(entry.notice.clone()),
            };
            return Some((topic.clone(), job));
        }
        None
    }

    /// The job is done: this is what the server has now.
    pub(super) fn done(&mut self, topic: &Topic, event: Arc<Event>, now: Instant) {
        if let Some(entry) = self.entries.get_mut(topic) {
            let series = event.series.as_ref();
            entry.told = series.map_or(1, |series| series.count);
            entry.written = Some((event, now));
            entry.due = now + INTERVAL;
            entry.paid = false;
        }
    }

    /// The job can't be done. If the same is said again, it is news.
    pub(super) fn give_up(&mut self, topic: &Topic) {
        self.entries.remove(topic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::events::FIELDS_SKIPPED;

    fn notice(name: &str, note: &str) -> Notice {
        let regarding = ObjectRef {
            kind: "Service",
            namespace: "ns".into(),
            name: name.into(),
        };
        Notice::warning(regarding, FIELDS_SKIPPED, "Convert", note)
    }

    /// Does all that is to be done, and names it.
    fn work(book: &mut Book, now: Instant) -> Vec<String> {
        let mut names = Vec::new();
        while let Some((topic, job)) = book.next(now) {
            let mut event = Event::default();
            match job {
                Job::Create(n) => names.push(format!("{}: {}", n.regarding.name, n.note)),
                Job::Repeat(old, count) => {
                    names.push(format!("again, {count}"));
                    event = (*old).clone();
                    event.series = Some(k8s_openapi::api::events::v1::EventSeries {
                        count,
                        last_observed_time: jiff::Timestamp::UNIX_EPOCH.into(),
                    });
                }
            }
            book.done(&topic, Arc::new(event), now);
        }
        names.sort();
        names
    }

    #[test]
    fn repetitions_are_counted_and_told_later() {
        let start = Instant::now();
        let mut book = Book::new(start);
        assert!(book.note(notice("a", "x"), start));
        assert_eq!(work(&mut book, start), ["a: x"]);
        assert_eq!(book.wake(), None);
        for _ in 0..2 {
            assert!(book.note(notice("a", "x"), start));
        }
        assert_eq!(work(&mut book, start), [""; 0]);
        assert_eq!(book.wake(), Some(start + INTERVAL));
        let then = start + INTERVAL;
        assert_eq!(work(&mut book, then), ["again, 3"]);
        assert!(book.note(notice("a", "x"), then));
        assert_eq!(work(&mut book, then + INTERVAL), ["again, 4"]);
        assert_eq!(book.wake(), None);
        let late = then + INTERVAL * 2 + FORGET + REFILL;
        assert!(book.note(notice("a", "x"), late));
        assert_eq!(work(&mut book, late), ["a: x"], "the server has forgotten");
    }

    #[test]
    fn of_other_notes_only_the_last_is_told() {
        let start = Instant::now();
        let mut book = Book::new(start);
        for note in ["x", "y", "z"] {
            book.note(notice("a", note), start);
            let told = work(&mut book, start);
            assert_eq!(told.len(), usize::from(note == "x"));
        }
        assert_eq!(work(&mut book, start + INTERVAL), ["a: z"]);
    }

    #[test]
    fn what_others_see_as_well_is_not_counted() {
        let start = Instant::now();
        let mut book = Book::new(start);
        for _ in 0..2 {
            book.note(notice("a", "x").shared(), start);
            work(&mut book, start);
        }
        assert_eq!(book.wake(), None);
    }

    #[test]
    fn a_flood_is_cut_off_but_not_for_the_node() {
        let start = Instant::now();
        let mut book = Book::new(start);
        let take = |book: &mut Book, prefix: &str, now| {
            let all = (0..1000).map(|i| notice(&format!("{prefix}{i}"), "x").shared());
            all.filter(|n| book.note(n.clone(), now)).count()
        };
        let free = (BURST - RESERVE) as usize;
        assert_eq!(take(&mut book, "a", start), free);
        for i in 0..RESERVE {
            assert!(book.note(notice(&format!("own{i}"), "x"), start));
        }
        assert!(!book.note(notice("own", "x"), start), "nothing is left");
        assert_eq!(work(&mut book, start).len(), BURST as usize);
        assert_eq!(take(&mut book, "b", start + REFILL * 6), 1);
        assert_eq!(take(&mut book, "c", start + REFILL * 1000), free);
    }

    #[test]
    fn a_change_that_cannot_be_paid_for_waits() {
        let start = Instant::now();
        let mut book = Book::new(start);
        book.note(notice("a", "x"), start);
        work(&mut book, start);
        book.note(notice("a", "y"), start);
        let then = start + INTERVAL;
        for i in 0..BURST {
            assert!(book.note(notice(&format!("b{i}"), "x"), then));
        }
        assert_eq!(work(&mut book, then).len(), BURST as usize);
        assert_eq!(book.wake(), Some(then + REFILL));
        assert_eq!(work(&mut book, then + REFILL), ["a: y"]);
    }

    #[test]
    fn a_failure_is_forgotten() {
        let start = Instant::now();
        let mut book = Book::new(start);
        book.note(notice("a", "x"), start);
        let (topic, _) = book.next(start).expect("a job");
        book.give_up(&topic);
        assert_eq!(book.next(start), None);
        book.note(notice("a", "x"), start);
        assert!(book.next(start).is_some());
    }
}
