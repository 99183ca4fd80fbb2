// SPDX-License-Identifier: Apache-2.0
//! From one state of the virtual servers to another, and from what the kernel holds.
//!
//! The kernel applies each step by itself, so their order matters: [`Steps::first`] comes before
//! the table is changed, [`Steps::last`] after.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{ServerKey, Settings, VirtualServer};
use crate::model::Target;
use crate::plan::change::Servers;

/// A change of one virtual server or real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Adds a virtual server without real servers.
    Add(ServerKey, Settings),
    /// Changes how it chooses. Connections stay.
    Edit(ServerKey, Settings),
    /// Deletes it with its real servers.
    Delete(ServerKey),
    /// Adds a real server with a weight.
    AddDestination(ServerKey, Target, u32),
    /// Changes a real server's weight.
    EditDestination(ServerKey, Target, u32),
    /// Deletes a real server.
    DeleteDestination(ServerKey, Target),
}

impl Step {
    /// The virtual server that it is about.
    pub fn key(&self) -> &ServerKey {
        match self {
            Step::Add(key, _)
            | Step::Edit(key, _)
            | Step::Delete(key)
            | Step::AddDestination(key, ..)
            | Step::EditDestination(key, ..)
            | Step::DeleteDestination(key, _) => key,
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Steps {
    /// Before the table: what comes, changes, or gets no new connections.
    pub first: Vec<Step>,
    /// After the table: what goes.
    pub last: Vec<Step>,
    /// Real servers that keep their old connections for a while: they have weight 0 and are to be
    /// watched.
    pub drains: Vec<(ServerKey, Target)>,
    /// Those that no longer have to be.
    pub kept: Vec<(ServerKey, Target)>,
    /// Virtual servers that go, with whatever drained there.
    pub gone: Vec<ServerKey>,
}

impl Steps {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.last.is_empty()
    }

    fn delete(&mut self, key: ServerKey) {
        self.last.push(Step::Delete(key));
        self.gone.push(key);
    }

    fn add(&mut self, key: ServerKey, server: &VirtualServer) {
        self.first.push(Step::Add(key, server.settings.clone()));
        let add = |(target, weight): (&Target, &u32)| Step::AddDestination(key, *target, *weight);
        self.first.extend(server.destinations.iter().map(add));
    }

    /// Takes a real server away: at once, or by and by.
    fn retire(&mut self, key: ServerKey, target: Target, weight: u32) {
        if !key.drains() {
            return self.last.push(Step::DeleteDestination(key, target));
        }
        if weight != 0 {
            self.first.push(Step::EditDestination(key, target, 0));
        }
        self.drains.push((key, target));
    }
}

/// What leads from one state of the sum to another. `draining` says which real servers are still in
/// the kernel although nobody wants them.
pub fn between(changes: &Servers, draining: &dyn Fn(&ServerKey, &Target) -> bool) -> Steps {
    let mut steps = Steps::default();
    for (key, pair) in changes {
        match pair {
            (None, Some(after)) => steps.add(*key, after),
            (Some(_), None) => steps.delete(*key),
            (Some(before), Some(after)) => change(*key, before, after, draining, &mut steps),
            (None, None) => {}
        }
    }
    steps
}

fn change(
    key: ServerKey,
    before: &VirtualServer,
    after: &VirtualServer,
    draining: &dyn Fn(&ServerKey, &Target) -> bool,
    steps: &mut Steps,
) {
    if before.settings != after.settings {
        steps.first.push(Step::Edit(key, after.settings.clone()));
    }
    for (target, weight) in &after.destinations {
        let step = match before.destinations.get(target) {
            Some(former) if former == weight => continue,
            Some(_) => Step::EditDestination(key, *target, *weight),
            None if draining(&key, target) => {
                steps.kept.push((key, *target));
                Step::EditDestination(key, *target, *weight)
            }
            None => Step::AddDestination(key, *target, *weight),
        };
        steps.first.push(step);
    }
    for (target, weight) in &before.destinations {
        if !after.destinations.contains_key(target) {
            steps.retire(key, *target, *weight);
        }
    }
}

/// A virtual server as the kernel holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// How it chooses; none if in a way that is none of ours.
    pub settings: Option<Settings>,
    /// Real servers with their weights; no weight for one that is not reached as ours are.
    pub destinations: BTreeMap<Target, Option<u32>>,
}

/// What leads from what the kernel holds to what is wanted. `ours` are the virtual servers found
/// that may be deleted; others that nobody wants are not touched.
pub fn from_found<'a>(
    wanted: impl Iterator<Item = (&'a ServerKey, &'a Arc<VirtualServer>)>,
    found: &BTreeMap<ServerKey, Found>,
    ours: &BTreeSet<ServerKey>,
) -> Steps {
    let mut steps = Steps::default();
    let mut met = BTreeSet::new();
    for (key, server) in wanted {
        met.insert(*key);
        match found.get(key) {
            None => steps.add(*key, server),
            Some(found) => correct(*key, found, server, &mut steps),
        }
    }
    for key in found
        .keys()
        .filter(|k| !met.contains(k) && ours.contains(k))
    {
        steps.delete(*key);
    }
    steps
}

fn correct(key: ServerKey, found: &Found, wanted: &VirtualServer, steps: &mut Steps) {
    if found.settings.as_ref() != Some(&wanted.settings) {
        steps.first.push(Step::Edit(key, wanted.settings.clone()));
    }
    for (target, weight) in &wanted.destinations {
        match found.destinations.get(target) {
            Some(Some(there)) if there == weight => {}
            Some(_) => steps
                .first
                .push(Step::EditDestination(key, *target, *weight)),
            None => steps
                .first
                .push(Step::AddDestination(key, *target, *weight)),
        }
    }
    for (target, weight) in &found.destinations {
        if !wanted.destinations.contains_key(target) {
            steps.retire(key, *target, weight.unwrap_or(1));
        }
    }
}
