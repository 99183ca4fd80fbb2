// SPDX-License-Identifier: Apache-2.0
//! What other services have answered, for requests that are alike by `auth-cache-key`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ages::Ages;
use super::{Fingerprint, Key};
use crate::ingress::action::external::Answer;

/// The most answers; each is of 8 KiB at most.
const ANSWERS: usize = 16_384;

/// Answers of services.
#[derive(Debug)]
pub(crate) struct Answers {
    key: Key,
    known: Mutex<Ages<Fingerprint, Kept>>,
}

#[derive(Debug, Clone)]
struct Kept {
    answer: Arc<Answer>,
    until: Instant,
}

/// Stands for what was asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question(Fingerprint);

impl Default for Answers {
    fn default() -> Self {
        Self {
            key: Key::default(),
            known: Mutex::new(Ages::new(ANSWERS)),
        }
    }
}

impl Answers {
    /// What is asked on a path of a host, by its key.
    pub(crate) fn question(&self, host: &str, path: &str, url: &str, key: &str) -> Question {
        let parts = [host, path, url, key].map(str::as_bytes);
        Question(self.key.fingerprint(&parts))
    }

    /// The answer, if it is still good.
    pub(crate) fn find(&self, question: &Question, now: Instant) -> Option<Arc<Answer>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = known.get(&question.0)?;
        if kept.until > now {
            return Some(kept.answer.clone());
        }
        known.remove(&question.0);
        None
    }

    /// Keeps an answer for so long.
    pub(crate) fn keep(
        &self,
        question: &Question,
        answer: Arc<Answer>,
        (now, time): (Instant, Duration),
    ) {
        let Some(until) = now.checked_add(time) else {
            return;
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(question.0, Kept { answer, until });
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    #[test]
    fn answers_are_those_of_the_same_question_and_for_a_time() {
        let answers = Answers::default();
        let now = Instant::now();
        let question = answers.question("a", "/", "http://auth/", "key");
        assert_eq!(answers.find(&question, now), None);
        let answer = Arc::new(Answer {
            status: StatusCode::OK,
            copied: Vec::new(),
            challenges: Vec::new(),
            cookies: Vec::new(),
        });
        let second = Duration::from_secs(1);
        answers.keep(&question, answer.clone(), (now, second));
        assert_eq!(answers.find(&question, now), Some(answer));
        for other in [
            answers.question("b", "/", "http://auth/", "key"),
            answers.question("a", "/b", "http://auth/", "key"),
            answers.question("a", "/", "http://auth/", "other"),
            answers.question("a", "/", "http://other/", "key"),
        ] {
            assert_eq!(answers.find(&other, now), None);
        }
        assert_eq!(answers.find(&question, now + second), None);
        assert_eq!(answers.find(&question, now), None, "it is gone");
    }
}
