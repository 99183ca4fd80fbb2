// SPDX-License-Identifier: Apache-2.0
//! Chooses an endpoint of an upstream. PURE: time and randomness are arguments.
//!
//! Each serving thread has a [`Balancer`] of its own for each upstream, so that nothing is shared
//! between cores; what it knows outlives a change of the endpoints.

mod ewma;
mod hash;
mod ring;
mod sessions;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use self::ewma::Ewma;
use super::table::Balance;
use crate::model::Target;

pub use self::hash::Hashed;
pub use self::ring::{Ring, hash};
pub use self::sessions::{Mode, Sessions};

/// What one request brings to the choice.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Endpoints that this request has failed on.
    pub tried: &'a [Target],
    /// [`hash`] of what [`Balance::Hash`] makes of the request; 0 for all else.
    pub key: u32,
    /// A random number.
    pub random: u64,
    /// Since any fixed moment.
    pub now: Duration,
}

/// What is known of the endpoints of one upstream.
#[derive(Debug, Clone, Default)]
pub struct Balancer {
    turn: usize,
    loads: HashMap<Target, Load>,
}

/// What is known of one endpoint.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    /// Requests under way.
    requests: usize,
    time: Option<Ewma>,
}

impl Balancer {
    /// A balancer that begins its turns somewhere, so that those of several threads differ.
    pub fn new(random: u64) -> Self {
        Self {
            turn: (random % 1_000_003) as usize,
            loads: HashMap::new(),
        }
    }

    /// One of the endpoints that have not been tried, none if there is none.
    pub fn pick(
        &mut self,
        balance: &Balance,
        endpoints: &[Target],
        request: &Request<'_>,
    ) -> Option<Target> {
        match balance {
            Balance::LeastConnections => self.fewest(endpoints, request),
            Balance::PeakEwma => self.fastest(endpoints, request),
            Balance::Hash(_, hashed) => hashed.pick(request.tried, request.key, request.random),
            Balance::RoundRobin => self.in_turn(endpoints, request),
        }
    }

    /// Whether [`Balancer::begin`] and [`Balancer::end`] matter to the choice.
    pub fn measures(balance: &Balance) -> bool {
        matches!(balance, Balance::LeastConnections | Balance::PeakEwma)
    }

    /// A request goes to an endpoint.
    pub fn begin(&mut self, endpoint: Target) {
        self.loads.entry(endpoint).or_default().requests += 1;
    }

    /// A request to an endpoint is over; `took` is how long the head of its response took to
    /// come, none if none came.
    pub fn end(&mut self, endpoint: Target, took: Option<Duration>, now: Duration) {
        let Some(load) = self.loads.get_mut(&endpoint) else {
            return;
        };
        load.requests = load.requests.saturating_sub(1);
        if let Some(took) = took {
            load.time = Some(Ewma::after(load.time, took, now));
        }
    }

    /// Forgets endpoints that are gone and have no request under way.
    pub fn retain(&mut self, endpoints: &[Target]) {
        self.loads
            .retain(|target, load| load.requests > 0 || endpoints.contains(target));
    }

    fn in_turn(&mut self, endpoints: &[Target], request: &Request<'_>) -> Option<Target> {
        let count = endpoints.len();
        let found = (0..count)
            .map(|step| (self.turn + step) % count)
            .find(|&index| !request.tried.contains(&endpoints[index]))?;
        self.turn = (found + 1) % count;
        Some(endpoints[found])
    }

    fn fewest(&mut self, endpoints: &[Target], request: &Request<'_>) -> Option<Target> {
        let count = endpoints.len();
        // In turn among equals, or the first would get all that comes one by one.
        let order = (0..count).map(|step| (self.turn + step) % count);
        let found = order
            .filter(|&index| !request.tried.contains(&endpoints[index]))
            .min_by_key(|&index| self.requests(endpoints[index]))?;
        self.turn = (found + 1) % count;
        Some(endpoints[found])
    }

    fn requests(&self, target: Target) -> usize {
        self.loads.get(&target).map_or(0, |load| load.requests)
    }

    /// The better of two at random.
    fn fastest(&self, endpoints: &[Target], request: &Request<'_>) -> Option<Target> {
        let left = |target: &Target| !request.tried.contains(target);
        let open: Vec<Target> = endpoints.iter().copied().filter(left).collect();
        let count = open.len() as u64;
        if count < 2 {
            return open.first().copied();
        }
        let one = request.random % count;
        let step = (request.random >> 32) % (count - 1) + 1;
        let pair = [one, (one + step) % count].map(|index| open[index as usize]);
        let mean = self.mean(&open, request.now);
        let [a, b] = pair.map(|target| self.cost(target, mean, request.now));
        Some(if b < a { pair[1] } else { pair[0] })
    }

    /// Expected seconds for a request, more with those that are under way.
    fn cost(&self, target: Target, mean: f64, now: Duration) -> f64 {
        let load = self.loads.get(&target).copied().unwrap_or_default();
        let time = load.time.map_or(mean, |time| time.at(now));
        time * (load.requests as f64 + 1.0)
    }

    /// What an endpoint that has not answered yet is taken for.
    fn mean(&self, endpoints: &[Target], now: Duration) -> f64 {
        let known: Vec<f64> = endpoints
            .iter()
            .filter_map(|target| Some(self.loads.get(target)?.time?.at(now)))
            .collect();
        if known.is_empty() {
            return 1.0;
        }
        known.iter().sum::<f64>() / known.len() as f64
    }
}
