// SPDX-License-Identifier: Apache-2.0
//! Says what cannot be served, once each: in the log, and as Kubernetes Events.

use std::collections::{BTreeMap, HashMap};

use tracing::warn;

use crate::model::{Event, ObjectRef, ServiceName};
use crate::observe::events::{FIELDS_SKIPPED, Notice, Recorder};
use crate::observe::sources::Sources;

/// Reason: something of an Ingress or ConfigMap cannot be served.
const NOT_SERVED: &str = "NotServed";
/// Reason: a Secret holds no certificate that can be used.
const CERTIFICATE_REFUSED: &str = "CertificateRefused";
/// Reason: a certificate is shown that clients will refuse.
const CERTIFICATE_INVALID: &str = "CertificateInvalid";
/// What was being done.
const CONVERT: &str = "Convert";
const ROUTE: &str = "Route";
const CONFIGURE: &str = "Configure";
const CERTIFY: &str = "LoadCertificate";

/// What has been said.
#[derive(Debug)]
pub(super) struct Report {
    events: Recorder,
    said: HashMap<(ObjectRef, &'static str), Vec<String>>,
    sources: Sources,
}

impl Report {
    pub(super) fn new(events: Recorder) -> Self {
        Self {
            events,
            said: HashMap::new(),
            sources: Sources::default(),
        }
    }

    /// What conversion skipped of an object that only we read, and which source has become
    /// unreadable. Ingresses may be another controller's: see [`Report::ingress`].
    pub(super) fn event(&mut self, event: &Event) {
        if let Event::Source { name, reason } = event {
            return self.sources.tell(name, reason);
        }
        if let Some(object) = event.object_ref()
            && matches!(object.kind, "Secret" | "IngressClass")
        {
            self.say(object, FIELDS_SKIPPED, CONVERT, event.skipped().to_vec());
        }
    }

    /// What of an Ingress cannot be served.
    pub(super) fn ingress(&mut self, name: &ServiceName, reasons: Vec<String>) {
        self.say(object("Ingress", name), NOT_SERVED, ROUTE, reasons);
    }

    /// What of a ConfigMap is not served.
    pub(super) fn config_map(&mut self, name: &ServiceName, reasons: Vec<String>) {
        self.say(object("ConfigMap", name), NOT_SERVED, CONFIGURE, reasons);
    }

    /// Why a Secret holds no certificate.
    pub(super) fn secret(&mut self, name: &ServiceName, reason: Option<String>) {
        let reasons = reason.into_iter().collect();
        self.say(
            object("Secret", name),
            CERTIFICATE_REFUSED,
            CERTIFY,
            reasons,
        );
    }

    /// Why clients will refuse certificates, by Secret; of all that are shown.
    pub(super) fn certificates(&mut self, wrong: BTreeMap<ServiceName, Vec<String>>) {
        for (name, reasons) in wrong {
            self.say(
                object("Secret", &name),
                CERTIFICATE_INVALID,
                CERTIFY,
                reasons,
            );
        }
    }

    fn say(
        &mut self,
        object: ObjectRef,
        reason: &'static str,
        action: &'static str,
        reasons: Vec<String>,
    ) {
        let key = (object, reason);
        if reasons.is_empty() {
            self.said.remove(&key);
            return;
        }
        if self.said.get(&key) == Some(&reasons) {
            return;
        }
        let object = key.0.clone();
        for text in &reasons {
            warn!(%object, reason, "{text}");
        }
        let note = reasons.join("; ");
        self.said.insert(key, reasons);
        // Every node finds the same.
        let notice = Notice::warning(object, reason, action, note).shared();
        self.events.record(notice);
    }
}

fn object(kind: &'static str, name: &ServiceName) -> ObjectRef {
    ObjectRef {
        kind,
        namespace: name.namespace.clone(),
        name: name.name.clone(),
    }
}
