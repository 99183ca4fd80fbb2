// SPDX-License-Identifier: Apache-2.0
//! Many connections at once.

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Result;
use nix::poll::{PollFd, PollFlags, poll};

use super::flow::Flow;
use super::{Answer, Attempt};
use crate::netns::Namespace;

/// Connections under way at a time.
const WINDOW: usize = 64;

/// Makes all connections from the namespace and waits up to `limit` for each. The answers are in
/// the order of the attempts.
///
/// # Errors
/// If the namespace cannot be entered.
pub fn dial(namespace: &Namespace, attempts: &[Attempt], limit: Duration) -> Result<Vec<Answer>> {
    dial_at_once(namespace, attempts, limit, WINDOW)
}

/// The same with so many connections under way at a time: more, where many may time out.
///
/// # Errors
/// If the namespace cannot be entered.
pub fn dial_at_once(
    namespace: &Namespace,
    attempts: &[Attempt],
    limit: Duration,
    window: usize,
) -> Result<Vec<Answer>> {
    namespace.enter(|| {
        let mut answers = vec![Answer::Timeout; attempts.len()];
        let mut waiting = attempts.iter().copied().enumerate();
        let mut flows: Vec<(usize, Flow)> = Vec::with_capacity(window);
        loop {
            while flows.len() < window {
                let Some((index, attempt)) = waiting.next() else {
                    break;
                };
                match Flow::start(attempt) {
                    Ok(flow) => flows.push((index, flow)),
                    Err(answer) => answers[index] = answer,
                }
            }
            if flows.is_empty() {
                return Ok(answers);
            }
            wait(&mut flows, &mut answers);
            flows.iter_mut().for_each(|(_, flow)| flow.remind());
            flows.retain(|(_, flow)| !flow.expired(limit));
        }
    })
}

/// Waits for news and takes the flows out that have come to an end.
fn wait(flows: &mut Vec<(usize, Flow)>, answers: &mut [Answer]) {
    // Servers speak first, and errors wake unasked.
    let mut fds: Vec<_> = flows
        .iter()
        .map(|(_, f)| PollFd::new(f.fd.as_fd(), PollFlags::POLLIN))
        .collect();
    let _ = poll(&mut fds, 5u8);
    let news: Vec<bool> = fds.iter().map(|fd| fd.any() == Some(true)).collect();
    let mut news = news.into_iter();
    flows.retain_mut(|(index, flow)| {
        let end = if news.next() == Some(true) {
            flow.advance()
        } else {
            None
        };
        end.map(|answer| answers[*index] = answer).is_none()
    });
}
