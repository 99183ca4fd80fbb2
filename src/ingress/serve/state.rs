// SPDX-License-Identifier: Apache-2.0
//! What is known of one client connection, and whether it has been quiet for too long.
//!
//! Requests set marks here and arm no timers: one timer of the connection looks at the marks when
//! the earliest of the limits can have passed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

/// The longest request head that is looked at as it came.
pub(crate) const HEAD_LIMIT: usize = 32 * 1024;
/// What a connection keeps for the next head.
const HEAD_KEPT: usize = 2 * 1024;
/// How long a connection that was asked to end may take.
const PARTING: u64 = 5_000;
/// The same for one that has never made a request.
const PARTING_UNUSED: u64 = 1_000;
/// No mark.
const NEVER: u64 = 0;

/// Limits of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Until a head has come.
    pub(crate) header: Duration,
    /// Between two requests.
    pub(crate) keep_alive: Duration,
    /// Between two writes to the client.
    pub(crate) send: Duration,
    /// Requests on one connection.
    pub(crate) requests: u32,
}

/// What the timer finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All is well; look again after this long.
    Wait(Duration),
    /// It has been idle, or has served enough: no more requests.
    Part,
    /// It keeps us waiting: end it.
    End,
}

/// Marks of one connection. Times are milliseconds since `start`, plus one.
#[derive(Debug)]
pub(crate) struct State {
    start: Instant,
    limits: Limits,
    requests: AtomicU32,
    served: AtomicU32,
    idle: AtomicU64,
    head: AtomicU64,
    blocked: AtomicU64,
    parting: AtomicU64,
    linger: AtomicBool,
    bytes: Option<Mutex<Vec<u8>>>,
    stalled: Mutex<Vec<(u64, u64)>>,
    /// Wakes the connection's task.
    pub(crate) waker: AtomicWaker,
}

impl State {
    /// A connection that begins now; `heads` if heads are to be kept as they come (HTTP/1).
    pub(crate) fn new(limits: Limits, heads: bool) -> Self {
        Self {
            start: Instant::now(),
            limits,
            requests: AtomicU32::new(0),
            served: AtomicU32::new(0),
            idle: AtomicU64::new(1),
            head: AtomicU64::new(NEVER),
            blocked: AtomicU64::new(NEVER),
            parting: AtomicU64::new(NEVER),
            linger: AtomicBool::new(false),
            bytes: heads.then(Mutex::default),
            stalled: Mutex::default(),
            waker: AtomicWaker::new(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Bytes have come.
    pub(crate) fn read(&self, bytes: &[u8]) {
        if self.requests.load(Relaxed) > 0 {
            return;
        }
        let Some(kept) = &self.bytes else { return };
        if self.head.load(Relaxed) == NEVER {
            self.head.store(self.now(), Relaxed);
        }
        if let Ok(mut kept) = kept.lock() {
            let room = HEAD_LIMIT.saturating_sub(kept.len()).min(bytes.len());
            kept.extend_from_slice(&bytes[..room]);
        }
    }

    /// A write went through, or has to wait.
    pub(crate) fn wrote(&self, through: bool) {
        if through {
            self.blocked.store(NEVER, Relaxed);
        } else if self.blocked.load(Relaxed) == NEVER {
            self.blocked.store(self.now(), Relaxed);
        }
    }

    /// A request begins: `look` sees its head as it came, if that is known. The second value is
    /// whether the connection has to end with this request.
    pub(crate) fn begin<T>(&self, look: impl FnOnce(Option<&[u8]>) -> T) -> (T, bool) {
        let served = self.served.fetch_add(1, Relaxed) + 1;
        self.requests.fetch_add(1, Relaxed);
        self.head.store(NEVER, Relaxed);
        let seen = match self.bytes.as_ref().and_then(|bytes| bytes.lock().ok()) {
            Some(mut bytes) => {
                let seen = look((!bytes.is_empty()).then_some(&bytes[..]));
                bytes.clear();
                bytes.shrink_to(HEAD_KEPT);
                seen
            }
            None => look(None),
        };
        (seen, served >= self.limits.requests)
    }

    /// A request is over.
    pub(crate) fn end(&self) {
        if self.requests.fetch_sub(1, Relaxed) == 1 {
            self.idle.store(self.now(), Relaxed);
        }
        if self.served.load(Relaxed) >= self.limits.requests {
            self.waker.wake();
        }
    }

    /// An answer was given though the client may still be sending.
    pub(crate) fn set_linger(&self) {
        self.linger.store(true, Relaxed);
    }

    /// Whether the client may have sent what nobody reads: closing would then reset the
    /// connection, and the client might never see its answer.
    pub(crate) fn lingers(&self) -> bool {
        self.linger.load(Relaxed) || self.head.load(Relaxed) != NEVER
    }

    /// Asks the connection to end once the requests under way are over.
    pub(crate) fn part(&self) {
        let unset = self
            .parting
            .compare_exchange(NEVER, self.now(), Relaxed, Relaxed);
        if unset.is_ok() {
            self.waker.wake();
        }
    }

    /// Whether [`State::part`] was called.
    pub(crate) fn parts(&self) -> bool {
        self.parting.load(Relaxed) != NEVER
    }

    /// Part of a stream's response was handed over, and nobody has asked for more yet.
    pub(crate) fn stalls(&self, stream: u64) {
        if let Ok(mut stalled) = self.stalled.lock() {
            stalled.push((stream, self.now()));
        }
    }

    /// More of it was asked for.
    pub(crate) fn flows(&self, stream: u64) {
        if let Ok(mut stalled) = self.stalled.lock() {
            stalled.retain(|(other, _)| *other != stream);
        }
    }

    /// What to do with the connection now.
    pub(crate) fn verdict(&self) -> Verdict {
        let now = self.now();
        let mut wait = self.shortest();
        let mut over = |since: u64, limit: Duration| {
            let left = (since + millis(limit)).saturating_sub(now);
            wait = wait.min(left);
            since != NEVER && left == 0
        };
        let stalled = self.oldest_stall();
        if over(self.blocked.load(Relaxed), self.limits.send) || over(stalled, self.limits.send) {
            return Verdict::End;
        }
        if self.requests.load(Relaxed) > 0 {
            return self.enough().unwrap_or(Verdict::Wait(pause(wait)));
        }
        let parting = self.parting.load(Relaxed);
        if over(parting, Duration::from_millis(self.longest_parting())) {
            return Verdict::End;
        }
        if over(self.head.load(Relaxed), self.limits.header) {
            return Verdict::End;
        }
        let idle = match self.served.load(Relaxed) {
            0 => self.limits.header,
            _ => self.limits.keep_alive,
        };
        if parting == NEVER && over(self.idle.load(Relaxed), idle) {
            return Verdict::Part;
        }
        self.enough().unwrap_or(Verdict::Wait(pause(wait)))
    }

    fn longest_parting(&self) -> u64 {
        match self.served.load(Relaxed) {
            0 => PARTING_UNUSED,
            _ => PARTING,
        }
    }

    fn enough(&self) -> Option<Verdict> {
        let enough = self.served.load(Relaxed) >= self.limits.requests && !self.parts();
        enough.then_some(Verdict::Part)
    }

    fn oldest_stall(&self) -> u64 {
        let Ok(stalled) = self.stalled.lock() else {
            return NEVER;
        };
        stalled.iter().map(|(_, at)| *at).min().unwrap_or(NEVER)
    }

    /// No mark that is set from now on can matter earlier, in milliseconds.
    fn shortest(&self) -> u64 {
        let Limits {
            header,
            keep_alive,
            send,
            ..
        } = self.limits;
        let shortest = millis(header.min(keep_alive).min(send));
        if self.parts() {
            shortest.min(self.longest_parting())
        } else {
            shortest
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}

fn pause(millis: u64) -> Duration {
    Duration::from_millis(millis.max(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(millis: u64) -> State {
        let limit = Duration::from_millis(millis);
        let limits = Limits {
            header: limit,
            keep_alive: limit * 3,
            send: limit,
            requests: 2,
        };
        State::new(limits, true)
    }

    fn sleep(millis: u64) {
        std::thread::sleep(Duration::from_millis(millis));
    }

    #[test]
    fn a_head_that_does_not_come_ends_the_connection() {
        let state = state(30);
        assert!(matches!(state.verdict(), Verdict::Wait(_)));
        state.read(b"GET / HT");
        sleep(40);
        assert_eq!(state.verdict(), Verdict::End);
    }

    #[test]
    fn an_idle_connection_parts() {
        let state = state(300);
        sleep(350);
        assert_eq!(state.verdict(), Verdict::Part);
        state.begin(|_| ());
        assert!(matches!(state.verdict(), Verdict::Wait(_)));
        state.end();
        sleep(350);
        assert!(
            matches!(state.verdict(), Verdict::Wait(_)),
            "keep-alive is longer"
        );
        sleep(700);
        assert_eq!(state.verdict(), Verdict::Part);
    }

    #[test]
    fn a_connection_that_was_never_used_parts_soon() {
        let (unused, used) = (state(30), state(30));
        used.begin(|_| ());
        used.end();
        unused.part();
        used.part();
        sleep(PARTING_UNUSED + 50);
        assert_eq!(unused.verdict(), Verdict::End);
        assert!(matches!(used.verdict(), Verdict::Wait(_)));
    }

    #[test]
    fn a_client_that_does_not_read_ends_the_connection() {
        let state = state(30);
        state.begin(|_| ());
        state.wrote(false);
        sleep(20);
        state.wrote(true);
        sleep(20);
        assert!(matches!(state.verdict(), Verdict::Wait(_)));
        state.wrote(false);
        sleep(40);
        assert_eq!(state.verdict(), Verdict::End);
        state.wrote(true);
        state.stalls(7);
        sleep(40);
        assert_eq!(state.verdict(), Verdict::End);
        state.flows(7);
        assert!(matches!(state.verdict(), Verdict::Wait(_)));
    }

    #[test]
    fn a_head_is_seen_as_it_came_and_bounded() {
        let state = state(1_000);
        state.read(&[b'a'; 20_000]);
        state.read(&[b'a'; 20_000]);
        let (seen, last) = state.begin(|head| head.map(<[u8]>::len));
        assert_eq!((seen, last), (Some(HEAD_LIMIT), false));
        state.read(b"of the body");
        state.end();
        let (seen, last) = state.begin(|head| head.map(<[u8]>::len));
        assert_eq!((seen, last), (None, true));
    }
}
