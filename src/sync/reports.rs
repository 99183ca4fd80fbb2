// SPDX-License-Identifier: Apache-2.0
//! Says once what was skipped and why, and again only when the reasons change.

use std::collections::HashMap;

use tracing::{info, warn};

use super::tally::Tally;
use crate::model::{Event, ObjectRef, ServiceName, State};

/// What has been said and still holds.
#[derive(Debug, Default)]
pub struct Reports {
    skipped: HashMap<ObjectRef, Vec<String>>,
    disputes: HashMap<ServiceName, Vec<String>>,
    sources: HashMap<String, String>,
    /// How many of them there are.
    pub tally: Tally,
}

/// Remembers the new reasons. True if they are new, so that they have to be said.
fn changed<K: Eq + std::hash::Hash>(
    known: &mut HashMap<K, Vec<String>>,
    key: K,
    reasons: &[String],
) -> bool {
    if reasons.is_empty() {
        known.remove(&key);
        return false;
    }
    known.insert(key, reasons.to_vec()).as_deref() != Some(reasons)
}

impl Reports {
    /// Says what conversion skipped of an object, and which source has become unreadable.
    pub fn event(&mut self, event: &Event) {
        if let Event::Source { name, reason } = event {
            return self.source(name, reason);
        }
        let Some(object) = event.object_ref() else {
            return;
        };
        if event.skipped().is_empty() && !self.skipped.contains_key(&object) {
            return;
        }
        let known = self.skipped.get(&object).map_or(&[][..], Vec::as_slice);
        self.tally.replace(object.kind, known, event.skipped());
        if changed(&mut self.skipped, object.clone(), event.skipped()) {
            for reason in event.skipped() {
                warn!(%object, "skipped: {reason}");
            }
        }
    }

    fn source(&mut self, name: &str, reason: &str) {
        if reason.is_empty() {
            if self.sources.remove(name).is_some() {
                info!("{name}: readable again");
            }
        } else if self.sources.insert(name.into(), reason.into()).as_deref() != Some(reason) {
            warn!("{name}: {reason}; what was known of it stays");
        }
    }

    /// Says which addresses and ports a Service asked for and does not get.
    pub fn service(&mut self, name: &ServiceName, state: &State) {
        let lost = state
            .service(name)
            .map(|s| state.disputes(s))
            .unwrap_or_default();
        let known = self.disputes.get(name).map_or(&[][..], Vec::as_slice);
        self.tally.replace("Service", known, &lost);
        if changed(&mut self.disputes, name.clone(), &lost) {
            for reason in &lost {
                warn!(object = %format!("Service {name}"), "skipped: {reason}");
            }
        }
    }

    /// How many objects have something skipped.
    pub fn skipped_objects(&self) -> usize {
        self.skipped.len() + self.disputes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_reasons_are_said_once() {
        let mut known = HashMap::new();
        let reasons = |text: &str| vec![text.to_owned()];
        assert!(changed(&mut known, "web", &reasons("port 0")));
        assert!(!changed(&mut known, "web", &reasons("port 0")));
        assert!(changed(&mut known, "web", &reasons("port 99999")));
        assert!(!changed(&mut known, "web", &[]));
        assert!(
            changed(&mut known, "web", &reasons("port 99999")),
            "it was good in between"
        );
    }
}
