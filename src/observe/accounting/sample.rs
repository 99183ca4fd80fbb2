// SPDX-License-Identifier: Apache-2.0
//! How many connections are counted, and what each of them stands for. PURE.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::backend::conntrack::flow::Flow;
use crate::backend::conntrack::sample::in_sample;

/// The sample of a busy node: its cost is well below 2 % of a connection's (docs/accounting.md).
pub const BUSY_ONE_IN: u32 = 16;
/// From so many ends of connections a second on a node is busy: until then all of them cost less
/// than half a percent of a processor.
const BUSY: f64 = 1000.0;
/// Below so many it is not.
const QUIET: f64 = 250.0;
/// For how long it must be so.
const BUSY_FOR: Duration = Duration::from_secs(5);
const QUIET_FOR: Duration = Duration::from_secs(60);

/// Chooses between all connections and a sample, by how many there are.
#[derive(Debug)]
pub struct Pace {
    one_in: u32,
    /// How long there have been so many, or so few, that the other one is called for.
    turning: Duration,
}

/// All are counted at first.
impl Default for Pace {
    fn default() -> Self {
        Self {
            one_in: 1,
            turning: Duration::ZERO,
        }
    }
}

impl Pace {
    /// Ends of connections that were told in a time. Returns the new number if it is to change.
    pub fn told(&mut self, ends: u64, took: Duration) -> Option<u32> {
        let rate = ends as f64 * f64::from(self.one_in) / took.as_secs_f64().max(0.001);
        let (turns, patience, other) = if self.one_in == 1 {
            (rate >= BUSY, BUSY_FOR, BUSY_ONE_IN)
        } else {
            (rate < QUIET, QUIET_FOR, 1)
        };
        self.turning = if turns {
            self.turning + took
        } else {
            Duration::ZERO
        };
        (self.turning >= patience).then(|| {
            self.turning = Duration::ZERO;
            self.one_in = other;
            other
        })
    }
}

/// How many connections one stands for.
#[derive(Debug)]
pub struct Weights {
    one_in: u32,
    seed: u32,
    /// Those of flows that began when it was another number: 0 if their end is not told, and none
    /// of flows that are older than the counting.
    begun: HashMap<u32, Option<u32>>,
}

impl Weights {
    /// All are counted at first, but for these, which are older.
    pub fn new(seed: u32, earlier: impl Iterator<Item = u32>) -> Self {
        Self {
            one_in: 1,
            seed,
            begun: earlier.map(|id| (id, None)).collect(),
        }
    }

    /// How many connections a flow stands for that lives: 0 if it is not in the sample. None if it
    /// is older than the counting.
    pub fn of_living(&self, flow: &Flow) -> Option<u64> {
        self.weight(flow).map(u64::from)
    }

    fn weight(&self, flow: &Flow) -> Option<u32> {
        let begun = self.begun.get(&flow.id).copied();
        begun.unwrap_or_else(|| Some(self.chosen(flow)))
    }

    /// How many a flow stood for that has ended.
    pub fn of_ended(&mut self, flow: &Flow) -> u64 {
        if let Some(weight) = self.begun.remove(&flow.id) {
            return weight.unwrap_or_default().into();
        }
        // An end is told of what is in the sample, and of what began before there was one.
        self.chosen(flow).max(1).into()
    }

    fn chosen(&self, flow: &Flow) -> u32 {
        if self.one_in == 1 || in_sample(flow.client, self.one_in, self.seed) {
            self.one_in
        } else {
            0
        }
    }

    /// From now on one in so many counts; these flows began before.
    pub fn change(&mut self, one_in: u32, living: &[Flow]) {
        let weights: Vec<_> = living.iter().map(|f| (f.id, self.weight(f))).collect();
        self.begun.extend(weights);
        self.one_in = one_in;
    }

    /// Forgets flows that live no more; some ends are not told.
    pub fn living(&mut self, ids: &HashSet<u32>) {
        self.begun.retain(|id, _| ids.contains(id));
    }

    /// Whether flows are remembered that began under another number.
    pub fn remembers(&self) -> bool {
        !self.begun.is_empty()
    }

    /// One in so many counts.
    pub fn one_in(&self) -> u32 {
        self.one_in
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(250);

    fn flow(id: u32, port: u16) -> Flow {
        Flow {
            protocol: 6,
            client: ([10, 244, 1, 9], port).into(),
            frontend: ([10, 96, 0, 10], 80).into(),
            endpoint: ([10, 244, 1, 5], 8080).into(),
            bytes: Some((10, 100)),
            answered: true,
            tcp_state: None,
            timeout: None,
            id,
        }
    }

    fn tell(pace: &mut Pace, ends: u64, ticks: u32) -> Vec<u32> {
        (0..ticks).filter_map(|_| pace.told(ends, TICK)).collect()
    }

    #[test]
    fn a_sample_is_for_busy_times() {
        let mut pace = Pace::default();
        assert_eq!(tell(&mut pace, 249, 100), [0; 0]);
        // A peak is none.
        assert_eq!(tell(&mut pace, 10_000, 19), [0; 0]);
        assert_eq!(tell(&mut pace, 0, 1), [0; 0]);
        assert_eq!(tell(&mut pace, 250, 20), [16]);
        // One in 16 of 250 a second are 15 a second, four a tick.
        assert_eq!(tell(&mut pace, 4, 1000), [0; 0]);
        assert_eq!(tell(&mut pace, 3, 239), [0; 0]);
        assert_eq!(tell(&mut pace, 3, 1), [1]);
    }

    #[test]
    fn each_flow_stands_for_what_it_began_with() {
        let mut weights = Weights::new(1, [1].into_iter());
        assert_eq!(weights.of_living(&flow(1, 1000)), None);
        assert_eq!(weights.of_ended(&flow(1, 1000)), 0);
        assert_eq!(weights.of_ended(&flow(2, 1000)), 1);
        let mut weights = Weights::new(1, [9].into_iter());
        let chosen = (1..).find(|p| in_sample(flow(0, *p).client, 4, 1)).unwrap();
        let other = (1..)
            .find(|p| !in_sample(flow(0, *p).client, 4, 1))
            .unwrap();
        weights.change(4, &[flow(3, chosen), flow(4, other)]);
        assert_eq!(weights.of_living(&flow(9, chosen)), None, "still older");
        // Those began when all were counted, and these did not.
        assert_eq!(weights.of_ended(&flow(3, chosen)), 1);
        assert_eq!(weights.of_living(&flow(4, other)), Some(1));
        assert_eq!(weights.of_ended(&flow(5, chosen)), 4);
        assert_eq!(weights.of_living(&flow(6, chosen)), Some(4));
        assert_eq!(weights.of_living(&flow(7, other)), Some(0));
        // Back again: what is not in the sample is not told, and forgotten when it is gone.
        weights.change(1, &[flow(6, chosen), flow(7, other)]);
        assert_eq!(weights.of_living(&flow(7, other)), Some(0));
        weights.living(&HashSet::from([6]));
        assert_eq!(weights.of_ended(&flow(6, chosen)), 4);
        assert!(!weights.remembers());
        assert_eq!(weights.of_ended(&flow(8, other)), 1);
    }
}
