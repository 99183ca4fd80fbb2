// SPDX-License-Identifier: Apache-2.0
//! Connections for probes: where they come from, and all of them at the same time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow};
use ferrule::model::IpFamily;

use super::probe::{From, Probe};
use super::render::node_of;
use super::world::{ALIASES, World, alias};
use crate::client::{Answer, Attempt, dial_at_once};
use crate::netns::{client_address, client_alias};

/// Connections under way at a time from one place: thousands time out at the same time, and all
/// places of two worlds together stay below 20,000 open files.
const WINDOW: usize = 512;
/// Clients of a sticky probe. One endpoint of three is missed by all once in 16,000 times, and such
/// a difference is looked at again.
const CLIENTS: u16 = 24;

/// The next client address outside that no sticky probe had.
static NEXT: AtomicU16 = AtomicU16::new(100);

/// A connection, and what it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    /// Index of the world.
    pub(super) world: usize,
    /// Index of the probe.
    pub(super) probe: usize,
    /// Number of its client.
    pub(super) client: usize,
    /// What to connect to and from where.
    pub(super) attempt: Attempt,
}

/// The attempt of a probe, from the source if there is one, else from the probe's.
pub(super) fn attempt(probe: &Probe, source: Option<IpAddr>) -> Attempt {
    let family = IpFamily::of(probe.to.ip());
    let (via, usual) = match probe.from {
        From::Outside(n) => (n, Some(client_address(family))),
        _ => (0, None),
    };
    Attempt {
        protocol: probe.protocol(),
        to: probe.to,
        source: source.or(probe.source).or(usual),
        via,
    }
}

/// The addresses that a sticky probe comes from; a node has only its own, which it does not choose.
pub(super) fn clients(probe: &Probe) -> Vec<Option<IpAddr>> {
    let family = IpFamily::of(probe.to.ip());
    match &probe.from {
        From::Node(_) => vec![None],
        From::Pod(name) => {
            let slot = probe.sticky.unwrap_or(0);
            let number = |k| (slot * CLIENTS + k) % ALIASES;
            (0..CLIENTS)
                .map(|k| Some(alias(family, node_of(name), number(k))))
                .collect()
        }
        From::Outside(_) => {
            let first = NEXT.fetch_add(CLIENTS, Ordering::Relaxed).max(100);
            (0..CLIENTS)
                .map(|k| Some(client_alias(family, first.wrapping_add(k).max(100))))
                .collect()
        }
    }
}

/// Makes connections from all places of all worlds at the same time.
///
/// # Errors
/// If a namespace cannot be entered.
pub(super) fn dial_all(
    worlds: &[&World],
    probes: &[Probe],
    tasks: Vec<Task>,
    limit: Duration,
) -> Result<Vec<(Task, Answer)>> {
    let mut places: BTreeMap<(usize, String), Vec<Task>> = BTreeMap::new();
    for task in tasks {
        let place = match &probes[task.probe].from {
            From::Outside(_) => "outside".to_owned(),
            other => format!("{other:?}"),
        };
        places.entry((task.world, place)).or_default().push(task);
    }
    let (done, failed) = (Mutex::new(Vec::new()), Mutex::new(None));
    std::thread::scope(|scope| {
        for tasks in places.into_values() {
            let (done, failed) = (&done, &failed);
            scope.spawn(move || {
                let attempts: Vec<_> = tasks.iter().map(|t| t.attempt).collect();
                let answers = worlds[tasks[0].world]
                    .namespace(&probes[tasks[0].probe].from)
                    .and_then(|n| dial_at_once(n, &attempts, limit, WINDOW));
                match answers {
                    Ok(answers) => {
                        let mut done = done.lock().unwrap_or_else(|e| e.into_inner());
                        done.extend(tasks.into_iter().zip(answers));
                    }
                    Err(e) => *failed.lock().unwrap_or_else(|e| e.into_inner()) = Some(e),
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(|e| e.into_inner()) {
        Some(e) => Err(anyhow!(e)),
        None => Ok(done.into_inner().unwrap_or_else(|e| e.into_inner())),
    }
}
