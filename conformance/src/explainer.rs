// SPDX-License-Identifier: Apache-2.0
//! Has `ferrule debug explain` explain a row, from what the kernel of the row's node holds: it must
//! say what the table says and real packets show, with the agent's answer and without.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use ferrule::debug::client;
use ferrule::debug::explain::tell;
use ferrule::debug::explain::view::{Explanation, Verdict};
use ferrule::debug::kernel::{self, Snapshot};
use ferrule::model::Target;
use ferrule::observe::view::ServiceView;
use ferrule::plan::trace::Fate;

use crate::cluster::Cluster;
use crate::judge::Trial;
use crate::object::node_name;
use crate::tracer;

/// What each node's kernel holds and agent answers, by node.
#[derive(Debug)]
pub struct Explainer {
    nodes: Vec<(Snapshot, Vec<ServiceView>)>,
}

impl Explainer {
    /// Reads all nodes.
    ///
    /// # Errors
    /// If a kernel cannot be read or an agent does not answer.
    pub fn read(cluster: &Cluster) -> Result<Self> {
        let node = |(node, n): (_, u16)| -> Result<_> {
            let socket = cluster.directory().join(format!("{}.sock", node_name(n)));
            let node: &crate::netns::Namespace = node;
            let answer = client::get(&socket, "/services").context("the agent's answer")?;
            Ok((node.enter(kernel::read)?, answer))
        };
        let nodes = cluster.topology.nodes.iter().zip(1..).map(node);
        Ok(Self {
            nodes: nodes.collect::<Result<_>>()?,
        })
    }

    /// Whether the explanation of a row says what the table says. If not, the text tells what it
    /// says.
    ///
    /// # Errors
    /// As said.
    pub fn agrees(&self, trial: &Trial<'_>) -> Result<(), String> {
        let n = usize::from(trial.row.decided_by());
        let (snapshot, services) = self.nodes.get(n - 1).ok_or("no such node")?;
        let world = snapshot.world(trial.family);
        let packet = tracer::packet(trial, &world).ok_or("no such frontend")?;
        for agent in [Ok(&services[..]), Err("not asked")] {
            let told = tell::explain(snapshot, agent, &packet);
            let fates = fates(&told);
            let expected = tracer::expected(trial);
            if !tracer::same(trial, &fates, &expected) {
                return Err(format!("explain says {told:?}, the table {expected:?}"));
            }
            if told.because.contains("a rule of chain") {
                return Err(format!("explain knows no reason: {}", told.because));
            }
            if let Some(note) = told.notes.iter().find(|n| n.contains("disagree")) {
                return Err(format!("{note}: {told:?}"));
            }
            if agent.is_ok() {
                named(trial, &told)?;
            }
        }
        Ok(())
    }
}

/// Whether the explanation names the row's Service, and no endpoint of it is left out.
fn named(trial: &Trial<'_>, told: &Explanation) -> Result<(), String> {
    let Some(service) = trial.case.service(trial.row.to) else {
        return Ok(());
    };
    let Some(frontend) = &told.frontend else {
        return match told.verdict {
            Verdict::Forwarded => Err(format!("explain knows no Service: {told:?}")),
            _ => Ok(()),
        };
    };
    let name = format!("{}/{}", service.namespace, service.name);
    if frontend.service.as_deref() != Some(name.as_str()) {
        return Err(format!("explain names {:?}, not {name}", frontend.service));
    }
    let (chosen, not) = (told.endpoints.len(), told.not_chosen.len());
    match chosen + not == service.endpoints.len() {
        true => Ok(()),
        false => Err(format!(
            "explain knows {chosen} + {not} endpoints, but there are {}",
            service.endpoints.len()
        )),
    }
}

fn fates(told: &Explanation) -> BTreeSet<Fate> {
    let to = |(address, port, masqueraded)| Fate::Endpoint(Target { address, port }, masqueraded);
    match told.verdict {
        Verdict::Forwarded => told.reaches().into_iter().map(to).collect(),
        Verdict::Refused => BTreeSet::from([Fate::Rejected]),
        Verdict::Dropped => BTreeSet::from([Fate::Dropped]),
        Verdict::Untouched => BTreeSet::from([Fate::Untouched]),
    }
}
