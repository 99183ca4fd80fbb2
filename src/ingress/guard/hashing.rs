// SPDX-License-Identifier: Apache-2.0
//! Finds out whether passwords are the ones, on threads of its own: one comparison may take seconds.
//!
//! Few at a time, as cores are for serving; those that wait are bounded, and what is beyond is
//! answered 503. What was found good is remembered by a fingerprint, which is of no use to anybody
//! else, and of the hash too: another hash in the Secret is another question. Who asks the same
//! while it is being found out waits for the same answer.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::ages::Ages;
use super::{Fingerprint, Key};
use crate::ingress::action::password::Hash;

/// Passwords that may wait.
const WAITING: usize = 256;
/// Passwords that are remembered.
const KNOWN: usize = 16_384;

/// Finds out about passwords.
#[derive(Default)]
pub(crate) struct Hashing {
    key: Key,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    queue: VecDeque<Job>,
    /// Who waits for which answer.
    waiting: HashMap<Fingerprint, Vec<oneshot::Sender<bool>>>,
    known: Ages<Fingerprint, ()>,
    threads: usize,
    ended: bool,
}

struct Job {
    fingerprint: Fingerprint,
    hash: Arc<Hash>,
    password: Box<[u8]>,
    /// Whether there is somebody by the name.
    real: bool,
}

/// What is known of a password.
#[derive(Debug)]
pub(crate) enum Checked {
    /// Whether it is the one.
    Known(bool),
    /// It is being found out.
    Wait(oneshot::Receiver<bool>),
    /// Too many wait.
    Full,
}

impl Default for State {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            waiting: HashMap::new(),
            known: Ages::new(KNOWN),
            threads: 0,
            ended: false,
        }
    }
}

impl Hashing {
    /// Whether a password is the one that a hash is of. If there is nobody by that name the hash is
    /// another's: it takes as long, and what comes of it is no.
    pub(crate) fn check(
        &self,
        hash: &Arc<Hash>,
        name: &[u8],
        password: &[u8],
        real: bool,
    ) -> Checked {
        if hash.is_cheap() {
            return Checked::Known(hash.verify(password) && real);
        }
        let parts = [hash.text().as_bytes(), name, password, &[u8::from(real)]];
        let fingerprint = self.key.fingerprint(&parts);
        let mut state = self.inner.lock();
        if state.known.get(&fingerprint).is_some() {
            return Checked::Known(true);
        }
        let (sender, receiver) = oneshot::channel();
        if let Some(waiting) = state.waiting.get_mut(&fingerprint) {
            waiting.push(sender);
            return Checked::Wait(receiver);
        }
        if state.queue.len() >= WAITING {
            state.forget_the_gone();
        }
        if state.queue.len() >= WAITING || !self.has_thread(&mut state) {
            return Checked::Full;
        }
        state.waiting.insert(fingerprint, vec![sender]);
        state.queue.push_back(Job {
            fingerprint,
            hash: hash.clone(),
            password: password.into(),
            real,
        });
        drop(state);
        self.inner.work.notify_one();
        Checked::Wait(receiver)
    }

    /// Starts a thread if there may be one more. Whether there is any.
    fn has_thread(&self, state: &mut State) -> bool {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        if state.threads < (cores / 2).max(1) {
            let inner = self.inner.clone();
            let thread = std::thread::Builder::new().name(format!("hash-{}", state.threads));
            match thread.spawn(move || inner.run()) {
                Ok(_) => state.threads += 1,
                Err(error) => tracing::error!(%error, "a thread for passwords cannot be started"),
            }
        }
        state.threads > 0
    }
}

impl State {
    /// Lets go of what nobody waits for any more.
    fn forget_the_gone(&mut self) {
        let waiting = &mut self.waiting;
        self.queue.retain(|job| {
            let all = waiting.get(&job.fingerprint);
            let awaited = all.is_some_and(|all| all.iter().any(|one| !one.is_closed()));
            if !awaited {
                waiting.remove(&job.fingerprint);
            }
            awaited
        });
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread, until its owner is gone.
    fn run(&self) {
        let mut state = self.lock();
        while !state.ended {
            let Some(job) = state.queue.pop_front() else {
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            // Nobody may be waiting any more.
            let awaited = state.waiting.get(&job.fingerprint);
            let awaited = awaited.is_some_and(|all| all.iter().any(|one| !one.is_closed()));
            if !awaited {
                state.waiting.remove(&job.fingerprint);
                continue;
            }
            drop(state);
            let good = job.hash.verify(&job.password) && job.real;
            state = self.lock();
            if good {
                state.known.insert(job.fingerprint, ());
            }
            for one in state.waiting.remove(&job.fingerprint).into_iter().flatten() {
                // Its client may have gone.
                let _ = one.send(good);
            }
        }
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        self.inner.lock().ended = true;
        self.inner.work.notify_all();
    }
}

impl fmt::Debug for Hashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashing").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// bcrypt of `password` at the lowest cost.
    fn hash(password: &str) -> Arc<Hash> {
        let text = bcrypt::hash(password, 4).expect("a hash");
        Arc::new(Hash::parse(text.as_bytes()).expect("a hash"))
    }

    fn wait(checked: Checked) -> bool {
        match checked {
            Checked::Known(good) => good,
            Checked::Wait(receiver) => receiver.blocking_recv().expect("an answer"),
            Checked::Full => panic!("too many wait"),
        }
    }

    #[test]
    fn what_was_found_good_is_remembered_until_the_hash_is_another() {
        let hashing = Hashing::default();
        let first = hash("secret");
        let check = |hash: &Arc<Hash>, name: &str, password: &str, real| {
            hashing.check(hash, name.as_bytes(), password.as_bytes(), real)
        };
        assert!(!wait(check(&first, "anna", "wrong", true)));
        assert!(matches!(
            check(&first, "anna", "secret", true),
            Checked::Wait(_)
        ));
        assert!(wait(check(&first, "anna", "secret", true)));
        assert!(matches!(
            check(&first, "anna", "secret", true),
            Checked::Known(true)
        ));
        for (name, password, real) in [
            ("bert", "secret", true),
            ("anna", "Secret", true),
            ("anna", "secret", false),
        ] {
            let again = check(&first, name, password, real);
            assert!(
                matches!(again, Checked::Wait(_)),
                "{name} {password} {real}"
            );
        }
        let other = hash("secret");
        assert!(matches!(
            check(&other, "anna", "secret", true),
            Checked::Wait(_)
        ));
    }

    #[test]
    fn nobody_comes_in_by_another_s_hash() {
        let hashing = Hashing::default();
        let own = hash("secret");
        assert!(!wait(hashing.check(&own, b"eve", b"secret", false)));
        assert!(!wait(hashing.check(&own, b"eve", b"secret", false)));
        assert!(wait(hashing.check(&own, b"eve", b"secret", true)));
    }

    #[test]
    fn cheap_ones_do_not_wait() {
        let hashing = Hashing::default();
        let plain = Arc::new(Hash::parse(b"{PLAIN}secret").expect("a hash"));
        let known = |password: &[u8], real| match hashing.check(&plain, b"anna", password, real) {
            Checked::Known(good) => good,
            other => panic!("{other:?}"),
        };
        assert!(known(b"secret", true) && !known(b"wrong", true) && !known(b"secret", false));
    }

    #[test]
    fn those_who_ask_the_same_wait_together_and_others_are_bounded() {
        let hashing = Hashing::default();
        let slow = bcrypt::hash("secret", 10).expect("a hash");
        let slow = Arc::new(Hash::parse(slow.as_bytes()).expect("a hash"));
        let mut receivers = Vec::new();
        for _ in 0..2000 {
            match hashing.check(&slow, b"anna", b"wrong", true) {
                Checked::Wait(receiver) => receivers.push(receiver),
                other => panic!("{other:?}"),
            }
        }
        let mut full = 0;
        for n in 0..2 * WAITING {
            let password = n.to_string();
            match hashing.check(&slow, b"anna", password.as_bytes(), true) {
                Checked::Wait(receiver) => receivers.push(receiver),
                Checked::Full => full += 1,
                known @ Checked::Known(_) => panic!("{known:?}"),
            }
        }
        assert!(full > 0, "{WAITING} may wait");
        // What nobody waits for any more is not worked on.
        drop(receivers);
        assert!(wait(hashing.check(&slow, b"anna", b"secret", true)));
    }
}
