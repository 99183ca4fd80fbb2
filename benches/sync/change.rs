// SPDX-License-Identifier: Apache-2.0
//! The changes that are measured.

use ferrule::model::Event;

use crate::world::{self, Size};

/// What is changed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Replaced,
    Added,
    Service,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Replaced, Kind::Added, Kind::Service];

    /// As the report names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Replaced => "endpoint replaced",
            Kind::Added => "endpoint added",
            Kind::Service => "service added",
        }
    }

    /// The events of change `n` of `changes`. Each meets another Service, spread over all of them.
    pub(crate) fn events(self, size: Size, changes: u32, n: u32) -> Vec<Event> {
        let mut slice = world::slice(target(size, changes, n), size.endpoints);
        match self {
            Kind::Replaced => world::replace_endpoint(&mut slice, n),
            // What was replaced before stays so: one endpoint more is the only difference.
            Kind::Added => {
                world::replace_endpoint(&mut slice, n);
                world::add_endpoint(&mut slice, changes + n);
            }
            Kind::Service => {
                let service = world::service(size.services + n);
                let slice = world::slice(size.services + n, size.endpoints);
                return vec![world::service_event(service), world::slice_event(slice)];
            }
        }
        vec![world::slice_event(slice)]
    }
}

/// The Service that change `n` of `changes` meets.
pub(crate) fn target(size: Size, changes: u32, n: u32) -> u32 {
    n * (size.services / changes).max(1) % size.services
}
