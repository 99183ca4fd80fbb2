// SPDX-License-Identifier: Apache-2.0
//! Says once what was skipped and why, and again only when the reasons change.

use std::collections::HashMap;

use tracing::{info, warn};

use super::tally::Tally;
use crate::model::{Event, ObjectRef, ServiceName, State};
use crate::observe::events::{ADDRESS_CONFLICT, FIELDS_SKIPPED, Notice, Recorder};
use crate::observe::sources::Sources;
use crate::plan::{Detector, NodePortAddresses, Options};

/// What has been said and still holds.
#[derive(Debug, Default)]
pub struct Reports {
    /// Where it is said as Kubernetes Events, too.
    events: Recorder,
    skipped: HashMap<ObjectRef, Vec<String>>,
    disputes: HashMap<ServiceName, Vec<String>>,
    sources: Sources,
    /// Of the own Node.
    lacks: Option<(&'static str, &'static str)>,
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
            return self.sources.tell(name, reason);
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
            let note = event.skipped().join("; ");
            self.events
                .record(Notice::warning(object, FIELDS_SKIPPED, "Convert", note).shared());
        }
    }

    /// Says what the rules lack of the own Node, if it is `needed`, and when they have it. kube-proxy
    /// waits for it instead, 30 s for an address and 5 minutes for a podCIDR, and ends if there is
    /// none by then.
    pub fn node(&mut self, state: &State, options: &Options, needed: bool) {
        if !state.synced() {
            return;
        }
        let lacks = if needed { lacks(state, options) } else { None };
        if lacks == self.lacks {
            return;
        }
        self.lacks = lacks;
        match lacks {
            None => info!("the Node object has all that the rules need"),
            Some((reason, note)) => {
                let node = self.events.node();
                warn!(object = %node, "{note}");
                self.events
                    .record(Notice::warning(node, reason, "StartKubeProxy", note));
            }
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

/// What is missing of the own Node, as the reason and the note of an Event.
fn lacks(state: &State, options: &Options) -> Option<(&'static str, &'static str)> {
    let node = state.node();
    if options.detector == Detector::NodeCidr && node.pod_cidrs.is_empty() {
        Some((
            "PodCIDRUnknown",
            "the Node has no spec.podCIDRs yet, which the detection of pods by NodeCIDR needs: \
             until it has, pods count as outside, and nothing to ClusterIPs is masqueraded",
        ))
    } else if options.node_port_addresses == NodePortAddresses::Primary && node.addresses.is_empty()
    {
        Some((
            "NodeAddressUnknown",
            "the Node has no InternalIP or ExternalIP yet: until it has, NodePorts are served on \
             all addresses of this host",
        ))
    } else if state.node_leaving().is_none() {
        Some((
            "NodeUnknown",
            "there is no Node object of this name: health checks fail until there is one",
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture::{node, service, state};
    use crate::model::{Node, Observed};

    #[test]
    fn what_the_node_lacks_is_said_until_it_is_there() {
        let (recorder, mut inbox) = crate::observe::events::channel("n1");
        let mut reports = Reports::new(recorder);
        let options = Options {
            detector: Detector::NodeCidr,
            ..Options::default()
        };
        let mut state = State::new("n1");
        let mut said = |state: &State, needed| {
            reports.node(state, &options, needed);
            reports.node(state, &options, needed);
            let reasons: Vec<_> = inbox.take().iter().map(|n| n.reason).collect();
            reasons
        };
        assert_eq!(said(&state, true), [""; 0], "nothing has been listed yet");
        state.apply(Event::Synced);
        assert_eq!(said(&state, false), [""; 0], "there need not be one");
        assert_eq!(said(&state, true), ["PodCIDRUnknown"]);
        let mut there = Node {
            name: "n1".into(),
            pod_cidrs: vec!["10.244.1.0/24".parse().expect("a prefix")],
            ..Node::default()
        };
        state.apply(Event::Node(Observed::new(there.clone())));
        assert_eq!(said(&state, true), ["NodeAddressUnknown"]);
        there.addresses = node().addresses;
        state.apply(Event::Node(Observed::new(there)));
        assert_eq!(said(&state, true), [""; 0]);
        state.apply(Event::Node(Observed::gone()));
        assert_eq!(said(&state, true), ["NodeUnknown"]);
    }

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
