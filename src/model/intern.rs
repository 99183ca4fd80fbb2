// SPDX-License-Identifier: Apache-2.0
//! Keeps one copy of strings that many endpoints repeat: names of nodes and zones.

use std::collections::HashSet;
use std::sync::Arc;

use super::{EndpointSlice, Hints};

/// The strings seen so far. They are few (one per node and zone) and never dropped.
#[derive(Debug, Clone, Default)]
pub(super) struct Strings(HashSet<Arc<str>>);

impl Strings {
    fn share(&mut self, text: &mut Arc<str>) {
        match self.0.get(text) {
            Some(known) => *text = known.clone(),
            None => {
                self.0.insert(text.clone());
            }
        }
    }

    /// Makes the slice's endpoints share their strings with all others.
    pub(super) fn share_all(&mut self, slice: &mut EndpointSlice) {
        for port in &mut slice.ports {
            self.share(&mut port.name);
        }
        for endpoint in &mut slice.endpoints {
            endpoint.node.iter_mut().for_each(|s| self.share(s));
            endpoint.zone.iter_mut().for_each(|s| self.share(s));
            if let Some(Hints { zones, nodes }) = endpoint.hints.as_deref_mut() {
                zones.iter_mut().chain(nodes).for_each(|s| self.share(s));
            }
        }
    }
}
