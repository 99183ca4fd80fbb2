// SPDX-License-Identifier: Apache-2.0
//! The requests themselves (events.k8s.io/v1).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Client, Error};
use serde_json::json;

use super::{Kind, Notice};
use crate::model::ObjectRef;

/// Events on cluster-wide objects live here (client-go: `makeEvent`).
const DEFAULT_NAMESPACE: &str = "default";
/// Limits of the API server (pkg/apis/core/validation/events.go), in bytes.
const INSTANCE_LIMIT: usize = 128;
const NOTE_LIMIT: usize = 1024;
/// The longest name of an object (RFC 1123).
const NAME_LIMIT: usize = 253;
/// How long the server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a request did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// We may not write Events.
    Forbidden(String),
    /// The Event, or its namespace, is not there.
    Missing,
    /// The server does not take it, now or later.
    Refused(String),
    /// Another time it may work.
    Unreachable(String),
}

/// An API server that takes Events.
#[derive(Clone)]
pub(super) struct Server {
    client: Client,
    /// `reportingController`.
    controller: &'static str,
    /// `reportingInstance`, as client-go makes it.
    instance: String,
}

impl Server {
    pub(super) fn new(client: Client, controller: &'static str) -> Self {
        let host = nix::unistd::gethostname().unwrap_or_default();
        let instance = format!("{controller}-{}", host.to_string_lossy());
        Self {
            client,
            controller,
            instance: cut(&instance, INSTANCE_LIMIT).to_owned(),
        }
    }

    /// The Event of a notice. `uid` of the object is what `kubectl describe` asks for.
    fn event(&self, notice: &Notice, uid: Option<String>, now: Timestamp) -> Event {
        let ObjectRef {
            kind,
            namespace,
            name,
        } = &notice.regarding;
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let own = if namespace.is_empty() {
            DEFAULT_NAMESPACE
        } else {
            namespace
        };
        Event {
            metadata: ObjectMeta {
                name: Some(self.event_name(notice, uid.as_deref(), now)),
                namespace: text(own),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            reporting_controller: text(self.controller),
            reporting_instance: text(&self.instance),
            action: text(notice.action),
            reason: text(notice.reason),
            note: text(&shortened(&notice.note)),
            regarding: Some(ObjectReference {
                api_version: resource(kind).map(|resource| resource.api_version),
                kind: text(kind),
                namespace: text(namespace),
                name: text(name),
                uid,
                ..ObjectReference::default()
            }),
            type_: text(match notice.kind {
                Kind::Normal => "Normal",
                Kind::Warning => "Warning",
            }),
            ..Event::default()
        }
    }

    /// The uid of an object, if the server tells. The role of kube-proxy may list objects but not
    /// get them; this list has one, without its content, and comes from the server's memory.
    async fn uid(&self, object: &ObjectRef) -> Result<Option<String>, Failure> {
        let Some(resource) = resource(object.kind) else {
            return Ok(None);
        };
        let client = self.client.clone();
        let api: Api<DynamicObject> = match &*object.namespace {
            "" => Api::all_with(client, &resource),
            namespace => Api::namespaced_with(client, namespace, &resource),
        };
        let one = ListParams::default()
            .fields(&format!("metadata.name={}", object.name))
            .match_any();
        let found = patiently(api.list_metadata(&one)).await;
        let mut found = found.map_err(|error| failure(&error))?;
        Ok(found.items.pop().and_then(|object| object.metadata.uid))
    }

    /// Writes the Event of a notice that was given at this time, and returns it.
    pub(super) async fn create(&self, notice: &Notice, now: Timestamp) -> Result<Event, Failure> {
        let uid = match self.uid(&notice.regarding).await {
            Ok(uid) => uid,
            Err(Failure::Unreachable(reason)) => return Err(Failure::Unreachable(reason)),
            // The Event is worth something without it, too.
            Err(_) => None,
        };
        let event = self.event(notice, uid, now);
        self.write(&event).await?;
        Ok(event)
    }

    /// Writes a new Event. One that is there already counts as written.
    async fn write(&self, event: &Event) -> Result<(), Failure> {
        let api = self.api(event);
        match patiently(api.create(&PostParams::default(), event)).await {
            Err(Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(failure(&error)),
            Ok(_) => Ok(()),
        }
    }

    /// Tells that an Event has repeated. If the server no longer has it, it is written anew.
    pub(super) async fn repeat(
        &self,
        event: &Event,
        count: i32,
        now: Timestamp,
    ) -> Result<Event, Failure> {
        let event = repeated(event, count, now);
        let name = event.metadata.name.as_deref().unwrap_or_default();
        let patch = Patch::Merge(json!({ "series": event.series }));
        let api = self.api(&event);
        match patiently(api.patch(name, &PatchParams::default(), &patch)).await {
            Err(Error::Api(status)) if status.code == 404 => self.write(&event).await?,
            Err(error) => return Err(failure(&error)),
            Ok(_) => {}
        }
        Ok(event)
    }

    /// client-go takes the time. What all nodes find has the same name for all of them, so that the
    /// first one writes it; another release may hash differently, and then there are two.
    fn event_name(&self, notice: &Notice, uid: Option<&str>, now: Timestamp) -> String {
        let object = &notice.regarding.name;
        let last = if notice.shared {
            let mut hasher = DefaultHasher::new();
            (uid, notice.reason, &notice.note).hash(&mut hasher);
            hasher.finish()
        } else {
            now.as_nanosecond() as u64
        };
        let name = format!("{object}.{last:x}");
        if name.len() > NAME_LIMIT {
            let mut hasher = DefaultHasher::new();
            object.hash(&mut hasher);
            return format!("{}.{:x}.{last:x}", self.controller, hasher.finish());
        }
        name
    }

    fn api(&self, event: &Event) -> Api<Event> {
        let namespace = event.metadata.namespace.as_deref();
        Api::namespaced(self.client.clone(), namespace.unwrap_or(DEFAULT_NAMESPACE))
    }
}

/// The same Event, seen so many times.
fn repeated(event: &Event, count: i32, now: Timestamp) -> Event {
    Event {
        series: Some(EventSeries {
            count,
            last_observed_time: MicroTime(now),
        }),
        ..event.clone()
    }
}

async fn patiently<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(result) => result,
        Err(_) => Err(Error::Service("no answer within 10 s".into())),
    }
}

fn failure(error: &Error) -> Failure {
    let Error::Api(status) = error else {
        return Failure::Unreachable(with_causes(error));
    };
    let reason = format!("{} (HTTP status {})", status.message, status.code);
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    match status.code {
        // Nothing can be written to a namespace that is about to go.
        403 if causes.any(|cause| cause.reason == "NamespaceTerminating") => Failure::Missing,
        403 => Failure::Forbidden(reason),
        404 => Failure::Missing,
        401 | 408 | 429 | 500.. => Failure::Unreachable(reason),
        _ => Failure::Refused(reason),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn resource(kind: &str) -> Option<ApiResource> {
    let (group, plural) = match kind {
        "Node" => ("", "nodes"),
        "Service" => ("", "services"),
        "EndpointSlice" => ("discovery.k8s.io", "endpointslices"),
        "ServiceCIDR" => ("networking.k8s.io", "servicecidrs"),
        "Ingress" => ("networking.k8s.io", "ingresses"),
        "IngressClass" => ("networking.k8s.io", "ingressclasses"),
        "Secret" => ("", "secrets"),
        "ConfigMap" => ("", "configmaps"),
        _ => return None,
    };
    let separator = if group.is_empty() { "" } else { "/" };
    Some(ApiResource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        api_version: format!("{group}{separator}v1"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    })
}

fn shortened(note: &str) -> String {
    if note.len() <= NOTE_LIMIT {
        return note.to_owned();
    }
    format!("{}…", cut(note, NOTE_LIMIT - '…'.len_utf8()))
}

/// The longest beginning of at most so many bytes.
fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
