// SPDX-License-Identifier: Apache-2.0
//! What has been observed and is not in the kernel yet, as far as metrics want to know it
//! (upstream: `servicechangetracker.go`, `endpointschangetracker.go`).

use std::collections::{BTreeMap, HashSet};

use crate::model::{Event, IpFamily, ServiceName, SliceName, State};

/// Counts and times since the last commit that succeeded.
#[derive(Debug, Default)]
pub struct Pending {
    /// Changes of objects of any kind.
    pub changes: usize,
    /// Changes of EndpointSlices.
    pub endpoint_changes: usize,
    services: HashSet<ServiceName>,
    /// When changes of endpoints happened, milliseconds since 1970.
    triggers: BTreeMap<IpFamily, BTreeMap<ServiceName, Vec<i64>>>,
}

/// What an event would count as, if it changes anything.
#[derive(Debug, PartialEq, Eq)]
pub enum Note {
    /// A Service.
    Service(ServiceName),
    /// An EndpointSlice of a Service.
    Slice {
        /// The Service.
        service: ServiceName,
        /// The slice's family, unless it has never had an endpoint.
        family: Option<IpFamily>,
        /// What is known of the time of the change.
        trigger: Trigger,
    },
    /// Something else.
    Other,
}

/// When endpoints changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Then, in milliseconds since 1970.
    At(i64),
    /// Unknown, or before this proxy was there to serve it.
    Unknown,
    /// The slice is gone. Its annotation tells of an earlier change, and so may those that wait:
    /// kube-proxy forgets all times of the Service then.
    Gone,
}

impl Note {
    /// Judges an event by the state that it is going to change. Changes of endpoints from before
    /// `started` (milliseconds since 1970) have waited for the proxy, not for the network.
    pub fn of(event: &Event, state: &State, started: i64) -> Self {
        match event {
            Event::Service(name, observed)
                if observed.object.is_some() || state.service(name).is_some() =>
            {
                Note::Service(name.clone())
            }
            Event::Slice(name, observed) => {
                Self::of_slice(name, observed.object.as_ref(), state, started)
            }
            _ => Note::Other,
        }
    }

    fn of_slice(
        name: &SliceName,
        new: Option<&crate::model::EndpointSlice>,
        state: &State,
        started: i64,
    ) -> Self {
        let old = state.slice(name);
        let Some(either) = new.or(old) else {
            return Note::Other;
        };
        let endpoint = [new, old].into_iter().flatten();
        let mut endpoints = endpoint.flat_map(|slice| slice.endpoints.first());
        let trigger = match new.map(|slice| slice.triggered_at) {
            None => Trigger::Gone,
            Some(Some(at)) if at > started => Trigger::At(at),
            Some(_) => Trigger::Unknown,
        };
        Note::Slice {
            service: either.service.clone(),
            family: endpoints.next().map(|e| IpFamily::of(e.address)),
            trigger,
        }
    }
}

impl Pending {
    /// Counts an event that has changed something.
    pub fn add(&mut self, note: Note) {
        self.changes += 1;
        match note {
            Note::Other => {}
            Note::Service(name) => {
                self.services.insert(name);
            }
            Note::Slice {
                service,
                family,
                trigger,
            } => {
                self.endpoint_changes += 1;
                let Some(family) = family else { return };
                let triggers = self.triggers.entry(family).or_default();
                match trigger {
                    Trigger::Unknown => {}
                    Trigger::At(at) => triggers.entry(service).or_default().push(at),
                    Trigger::Gone => drop(triggers.remove(&service)),
                }
            }
        }
    }

    /// How many Services have changed.
    pub fn services(&self) -> usize {
        self.services.len()
    }

    /// Takes the times of one family, which is in the kernel now.
    pub fn take_triggers(&mut self, family: IpFamily) -> Vec<i64> {
        let taken = self.triggers.remove(&family).unwrap_or_default();
        taken.into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture::{service, slice};
    use crate::model::{EndpointSlice, Observed};

    const STARTED: i64 = 1_000;

    fn at(time: Option<i64>, endpoints: &[&str]) -> EndpointSlice {
        EndpointSlice {
            triggered_at: time,
            ..slice("web-1", "web", 8080, endpoints)
        }
    }

    /// Plays events as the loop does.
    fn play(events: impl IntoIterator<Item = Event>) -> Pending {
        let (mut state, mut pending) = (State::new("n1"), Pending::default());
        for event in events {
            let note = Note::of(&event, &state, STARTED);
            if !state.apply(event).is_empty() {
                pending.add(note);
            }
        }
        pending
    }

    fn found(slice: EndpointSlice) -> Event {
        Event::Slice(slice.name.clone(), Observed::new(slice))
    }

    fn gone() -> Event {
        Event::Slice(at(None, &[]).name, Observed::gone())
    }

    #[test]
    fn times_are_kept_of_changes_since_the_start() {
        let mut pending = play([
            found(at(Some(900), &["10.0.0.1"])),
            found(at(Some(1_500), &["10.0.0.2"])),
            found(at(Some(1_700), &[])),
        ]);
        assert_eq!((pending.changes, pending.endpoint_changes), (3, 3));
        assert!(pending.take_triggers(IpFamily::V6).is_empty());
        assert_eq!(pending.take_triggers(IpFamily::V4), [1_500, 1_700]);
        assert!(pending.take_triggers(IpFamily::V4).is_empty(), "taken once");
    }

    #[test]
    fn a_new_time_alone_is_no_change() {
        let pending = play([
            found(at(Some(1_500), &["10.0.0.1"])),
            found(at(Some(1_600), &["10.0.0.1"])),
        ]);
        assert_eq!((pending.changes, pending.endpoint_changes), (1, 1));
    }

    #[test]
    fn a_slice_that_goes_takes_the_times_along() {
        let mut pending = play([found(at(Some(1_500), &["fd00::1"])), gone(), gone()]);
        assert_eq!(pending.endpoint_changes, 2, "it goes once");
        assert!(pending.take_triggers(IpFamily::V6).is_empty());
    }

    #[test]
    fn a_service_counts_once() {
        let change = |port| {
            let mut s = service("web", "10.96.0.1");
            s.ports[0].port = port;
            Event::Service(s.name.clone(), Observed::new(s))
        };
        let pending = play([change(80), change(81)]);
        assert_eq!((pending.changes, pending.services()), (2, 1));
        let unknown = service("other", "10.96.0.2").name;
        let event = Event::Service(unknown, Observed::gone());
        assert_eq!(Note::of(&event, &State::new("n1"), STARTED), Note::Other);
    }
}
