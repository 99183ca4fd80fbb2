// SPDX-License-Identifier: Apache-2.0
//! Runs a row with real packets and compares.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Result;
use ferrule::model::{IpFamily, Protocol};

use crate::case::{Case, Expect, Reach, Row, Seen};
use crate::client::{Answer, Attempt, dial};
use crate::netns::{Place, Topology};
use crate::object::node_of;
use crate::pace::pace;
use crate::socket;
use crate::stats;

/// The combinations that rows hold in. A share of them, see [`pace`](mod@crate::pace), takes all
/// protocols and both families in turn.
pub const COMBINATIONS: [(IpFamily, Protocol); 6] = [
    (IpFamily::V4, Protocol::Tcp),
    (IpFamily::V4, Protocol::Udp),
    (IpFamily::V4, Protocol::Sctp),
    (IpFamily::V6, Protocol::Sctp),
    (IpFamily::V6, Protocol::Tcp),
    (IpFamily::V6, Protocol::Udp),
];

/// Connections after which a pod that has not answered never will: among three it is missed once
/// in 10^70 times.
const ENOUGH: usize = 400;

/// One row in one combination of family and protocol.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'a> {
    /// The case.
    pub case: &'a Case,
    /// The row.
    pub row: &'a Row,
    /// Family.
    pub family: IpFamily,
    /// Protocol.
    pub protocol: Protocol,
}

impl std::fmt::Display for Trial<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (from, case) = (self.row.from, self.case.name);
        write!(f, "{case}: {} {} ", self.family, self.protocol)?;
        match from.place {
            Place::Pod(name) => write!(f, "pod {name}")?,
            Place::Node(n) => write!(f, "host {n}")?,
            Place::Outside => write!(f, "outside by node {}", from.via)?,
        }
        if let Some(k) = from.alias {
            write!(f, " from alias {k}")?;
        }
        write!(f, " to {:?}", self.row.to)
    }
}

impl Trial<'_> {
    /// Connects and compares. The error text says what was wrong.
    ///
    /// # Errors
    /// If the table is wrong or a namespace cannot be entered; not for wrong answers.
    pub fn run(&self, topology: &Topology) -> Result<Result<(), String>> {
        let Some(attempt) = self.row.attempt(self.case, self.family, self.protocol) else {
            anyhow::bail!("{self}: the Service has no such frontend");
        };
        let namespace = topology.namespace(self.row.from.place)?;
        let within = |limit, n| dial(namespace, &vec![attempt; n], limit);
        let answered = |n| within(pace().answer, n);
        let silent = |n| within(pace().silence, n);
        Ok(match &self.row.expect {
            Expect::Reach(reach) => self.reaches(topology, reach, &answered)?,
            Expect::Refused => refused(&answered(4)?),
            Expect::Closed if self.hears_itself(topology, attempt) => unanswered(&silent(2)?),
            Expect::Closed => refused(&answered(4)?),
            Expect::Dropped | Expect::Lost => timed_out(&silent(3)?),
        })
    }

    /// A raw client gets its own packet, if that is for its own host: nobody refuses it then.
    fn hears_itself(&self, topology: &Topology, attempt: Attempt) -> bool {
        let Place::Node(n) = self.row.from.place else {
            return false;
        };
        let own = topology.addresses_of_node(self.family, n);
        let to = attempt.to.ip();
        socket::is_raw(self.protocol) && (to.is_loopback() || own.contains(&to))
    }

    fn reaches(
        &self,
        topology: &Topology,
        reach: &Reach,
        ask: &dyn Fn(usize) -> Result<Vec<Answer>>,
    ) -> Result<Result<(), String>> {
        let first = if reach.even {
            pace().many
        } else {
            10 * reach.pods.len()
        };
        let mut counts: BTreeMap<&str, usize> = reach.pods.iter().map(|p| (*p, 0)).collect();
        let (mut batch, mut asked) = (first, 0);
        while batch > 0 {
            for answer in ask(batch)? {
                match self.right(topology, reach, &answer) {
                    Ok(pod) => *counts.entry(pod).or_default() += 1,
                    Err(wrong) => return Ok(Err(wrong)),
                }
            }
            asked += batch;
            let missing = counts.values().any(|n| *n == 0);
            batch = if missing && asked < ENOUGH { 60 } else { 0 };
        }
        let missing: Vec<_> = counts
            .iter()
            .filter(|(_, n)| **n == 0)
            .map(|(p, _)| *p)
            .collect();
        if !missing.is_empty() {
            return Ok(Err(format!(
                "{missing:?} never answered in {asked} connections"
            )));
        }
        let numbers: Vec<_> = counts.values().copied().collect();
        if reach.even && !stats::even(&numbers) {
            return Ok(Err(format!("uneven: {counts:?}")));
        }
        Ok(Ok(()))
    }

    /// The pod that answered, if that is one of those that may, and saw what it should see.
    fn right<'a>(
        &self,
        topology: &Topology,
        reach: &'a Reach,
        answer: &Answer,
    ) -> Result<&'a str, String> {
        let Answer::From {
            endpoint,
            port,
            source,
        } = answer
        else {
            return Err(format!("{answer}, but {:?} should answer", reach.pods));
        };
        let Some(pod) = reach.pods.iter().find(|p| *p == endpoint) else {
            return Err(format!("{answer}, but only {:?} should answer", reach.pods));
        };
        let service = self.case.service(self.row.to);
        let mut endpoints = service.into_iter().flat_map(|s| &s.endpoints);
        if !endpoints.any(|e| e.pod == *pod && e.port == *port) {
            return Err(format!("{answer} at port {port}, which is not its own"));
        }
        let expected = self.sources(topology, reach, pod);
        if !expected.contains(source) {
            return Err(format!("{answer}, but should see {expected:?}"));
        }
        Ok(pod)
    }

    fn sources(&self, topology: &Topology, reach: &Reach, answering: &str) -> Vec<IpAddr> {
        let node = |n| topology.addresses_of_node(self.family, n);
        match (reach.seen, self.row.from.place) {
            (_, Place::Pod(name)) if name == answering => node(node_of(name)),
            (Seen::Node(n), _) => node(n),
            (Seen::Own, Place::Node(n)) => node(n),
            (Seen::Own, Place::Pod(name)) => vec![crate::object::pod_address(self.family, name)],
            (Seen::Own, Place::Outside) => self.row.from.source(self.family).into_iter().collect(),
        }
    }
}

fn refused(answers: &[Answer]) -> Result<(), String> {
    let others = answers.iter().find(|a| !matches!(a, Answer::Refused(..)));
    match others {
        Some(other) => Err(format!("{other}, but should be refused")),
        None if answers.iter().any(Answer::refused_at_once) => Ok(()),
        None => Err(format!("refused late: {answers:?}")),
    }
}

fn unanswered(answers: &[Answer]) -> Result<(), String> {
    let answered = answers
        .iter()
        .find(|a| !matches!(a, Answer::Refused(..) | Answer::Timeout));
    answered.map_or(Ok(()), |a| Err(format!("{a}, but nobody should answer")))
}

fn timed_out(answers: &[Answer]) -> Result<(), String> {
    let other = answers.iter().find(|a| **a != Answer::Timeout);
    other.map_or(Ok(()), |a| Err(format!("{a}, but should time out")))
}
