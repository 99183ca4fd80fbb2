// SPDX-License-Identifier: Apache-2.0
//! Says once what was skipped and why, and again only when the reasons change.

use std::collections::HashMap;

use tracing::{info, warn};

use crate::model::{Event, ObjectRef, ServiceName, State};
use crate::observe::events::{ADDRESS_CONFLICT, FIELDS_SKIPPED, Notice, Recorder};

/// What has been said and still holds.
#[derive(Debug, Default)]
pub struct Reports {
    /// Where it is said as Kubernetes Events, too.
    events: Recorder,
    skipped: HashMap<ObjectRef, Vec<String>>,
    disputes: HashMap<ServiceName, Vec<String>>,
    sources: HashMap<String, String>,
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
    /// Nothing has been said yet.
    pub fn new(events: Recorder) -> Self {
        Self {
            events,
            ..Self::default()
        }
    }

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
        if changed(&mut self.skipped, object.clone(), event.skipped()) {
            for reason in event.skipped() {
                warn!(%object, "skipped: {reason}");
            }
            let note = event.skipped().join("; ");
            self.events
                .record(Notice::warning(object, FIELDS_SKIPPED, "Convert", note).shared());
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
        if changed(&mut self.disputes, name.clone(), &lost) {
            for reason in &lost {
                warn!(object = %format!("Service {name}"), "skipped: {reason}");
            }
            let object = ObjectRef {
                kind: "Service",
                namespace: name.namespace.clone(),
                name: name.name.clone(),
            };
            let note = lost.join("; ");
            self.events
                .record(Notice::warning(object, ADDRESS_CONFLICT, "Claim", note).shared());
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
    use crate::model::Observed;
    use crate::model::fixture::{service, state};

    #[test]
    fn what_is_skipped_becomes_an_event_once() {
        let (recorder, mut inbox) = crate::observe::events::channel("n1");
        let mut reports = Reports::new(recorder);
        let name = ServiceName::new("shop", "web");
        let mut observed = Observed::gone();
        observed.skipped = vec!["a: wrong".into(), "b: wrong".into()];
        let event = Event::Service(name.clone(), observed);
        (0..2).for_each(|_| reports.event(&event));
        let notices = inbox.take();
        assert_eq!(notices.len(), 1);
        assert_eq!(notices[0].regarding.to_string(), "Service shop/web");
        let said = (notices[0].reason, &*notices[0].note, notices[0].shared);
        assert_eq!(said, ("FieldsSkipped", "a: wrong; b: wrong", true));

        let (mut old, mut young) = (service("old", "10.96.0.1"), service("young", "10.96.0.1"));
        (old.created, young.created) = (1, 2);
        let state = state(&[old, young.clone()], &[]);
        (0..2).for_each(|_| reports.service(&young.name, &state));
        let notices = inbox.take();
        assert_eq!(notices.len(), 1);
        let said = (notices[0].reason, &*notices[0].note);
        let note = "10.96.0.1:80/tcp belongs to the older Service default/old";
        assert_eq!(said, ("AddressConflict", note));
    }

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
