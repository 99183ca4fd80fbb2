// SPDX-License-Identifier: Apache-2.0
//! Ingress and IngressClass.

use std::sync::Arc;

use super::{Skipped, field};
use crate::model::ingress::{
    IngressBackend, IngressPath, IngressPathType, IngressRule, IngressTls, PortRef,
};
use crate::model::{Ingress, IngressClass, Observed, ServiceName};
use crate::watch::wire::ingress as wire;

/// What annotations of ingress-nginx begin with.
const NGINX: &str = "nginx.ingress.kubernetes.io/";
/// How a class was named before `spec.ingressClassName`.
const CLASS: &str = "kubernetes.io/ingress.class";
/// Makes a class the one of Ingresses that name none.
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";

/// How Ingresses of a class are read.
const BEHAVIOUR: &str = "ferrule.dev/behaviour";

/// Converts an Ingress of any class.
///
/// A rule or path that cannot be compared with any request is skipped. A path whose backend cannot
/// be used stays, without one.
pub fn ingress(name: &ServiceName, object: &wire::Ingress) -> Observed<Ingress> {
    if let Err(reason) = field::label(&name.namespace) {
        return Observed::rejected(format!("metadata.namespace: {reason}"));
    }
    if let Err(reason) = field::subdomain(&name.name) {
        return Observed::rejected(format!("metadata.name: {reason}"));
    }
    let spec = &object.spec;
    let annotations = &object.metadata.annotations;
    let mut skipped = Skipped::default();
    let default_backend = spec.default_backend.as_ref();
    let ingress = Ingress {
        name: name.clone(),
        created: super::created(&object.metadata, &mut skipped),
        class: text(spec.ingress_class_name.as_ref()),
        class_annotation: text(annotations.get(CLASS)),
        default_backend: default_backend
            .map(|b| backend("spec.defaultBackend", Some(b), &mut skipped)),
        rules: rules(&spec.rules, &mut skipped),
        tls: tls(&spec.tls, &mut skipped),
        annotations: of_nginx(annotations),
        addresses: addresses(&object.status),
    };
    skipped.observed(ingress)
}

/// Converts an IngressClass.
pub fn ingress_class(name: &Arc<str>, object: &wire::IngressClass) -> Observed<IngressClass> {
    let mut skipped = Skipped::default();
    let annotations = &object.metadata.annotations;
    let behaviour = annotations.get(BEHAVIOUR).map(|text| text.parse());
    let class = IngressClass {
        name: name.clone(),
        created: super::created(&object.metadata, &mut skipped),
        controller: text(object.spec.controller.as_ref()).unwrap_or_default(),
        is_default: annotations.get(DEFAULT_CLASS).is_some_and(|v| v == "true"),
        behaviour: behaviour
            .and_then(|b| skipped.keep(format_args!("metadata.annotations[{BEHAVIOUR}]"), b)),
    };
    skipped.observed(class)
}

/// A text that says something.
fn text(text: Option<&String>) -> Option<Arc<str>> {
    text.filter(|text| !text.is_empty())
        .map(|text| text.as_str().into())
}

fn of_nginx(annotations: &wire::Texts) -> std::collections::BTreeMap<Arc<str>, Arc<str>> {
    let ours = annotations.iter().filter_map(|(key, value)| {
        let key = key.strip_prefix(NGINX)?;
        Some((key.into(), value.as_str().into()))
    });
    ours.collect()
}

fn addresses(status: &wire::IngressStatus) -> Vec<Arc<str>> {
    let points = status.load_balancer.ingress.iter();
    let each = points.filter_map(|p| text(p.ip.as_ref()).or_else(|| text(p.hostname.as_ref())));
    each.collect()
}

fn rules(objects: &[wire::Rule], skipped: &mut Skipped) -> Vec<IngressRule> {
    let mut rules = Vec::with_capacity(objects.len());
    for (i, object) in objects.iter().enumerate() {
        let path = format!("spec.rules[{i}]");
        let host = host(object.host.as_deref().unwrap_or_default());
        let Some(host) = skipped.keep(format_args!("{path}.host"), host) else {
            continue;
        };
        let given = &object.http.paths;
        let paths = paths(&format!("{path}.http.paths"), given, skipped);
        // Only what was written without paths is left to the default backend.
        if given.is_empty() || !paths.is_empty() {
            rules.push(IngressRule { host, paths });
        }
    }
    rules
}

/// A host in lower case, with or without a wildcard; empty for all.
fn host(text: &str) -> Result<Arc<str>, String> {
    let host = text.to_ascii_lowercase();
    if !host.is_empty() {
        field::subdomain(host.strip_prefix("*.").unwrap_or(&host))?;
    }
    Ok(host.into())
}

fn paths(path: &str, objects: &[wire::Path], skipped: &mut Skipped) -> Vec<IngressPath> {
    let mut paths = Vec::with_capacity(objects.len());
    for (i, object) in objects.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let kind = skipped.keep(
            format_args!("{path}.pathType"),
            path_type(object.path_type.as_deref()),
        );
        let Some(kind) = kind else { continue };
        let text = object.path.as_deref().unwrap_or_default();
        let checked = comparable(text, kind);
        if skipped.keep(format_args!("{path}.path"), checked).is_none() {
            continue;
        }
        let backend = backend(&format!("{path}.backend"), object.backend.as_ref(), skipped);
        paths.push(IngressPath {
            path: text.into(),
            kind,
            backend,
        });
    }
    paths
}

fn path_type(text: Option<&str>) -> Result<IngressPathType, String> {
    match text {
        Some("Exact") => Ok(IngressPathType::Exact),
        Some("Prefix") => Ok(IngressPathType::Prefix),
        Some("ImplementationSpecific") => Ok(IngressPathType::ImplementationSpecific),
        other => Err(format!(
            "must be Exact, Prefix or ImplementationSpecific, is {}",
            field::quoted(other.unwrap_or_default())
        )),
    }
}

/// Whether a request can have the path at all, once it is normalised.
fn comparable(path: &str, kind: IngressPathType) -> Result<(), String> {
    if kind == IngressPathType::ImplementationSpecific && path.is_empty() {
        return Ok(());
    }
    if !path.starts_with('/') {
        return Err(format!("must begin with a slash: {}", field::quoted(path)));
    }
    let inner = path.strip_suffix('/').unwrap_or(path);
    let odd = |element: &str| matches!(element, "" | "." | "..");
    if kind != IngressPathType::ImplementationSpecific && inner.split('/').skip(1).any(odd) {
        return Err(format!(
            "no request has it: //, /./ and /../ are resolved: {}",
            field::quoted(path)
        ));
    }
    Ok(())
}

/// A backend; one that cannot be used is noted.
fn backend(path: &str, object: Option<&wire::Backend>, skipped: &mut Skipped) -> IngressBackend {
    let missing = wire::Backend::default();
    let object = object.unwrap_or(&missing);
    match (&object.service, &object.resource) {
        (_, Some(resource)) => {
            let kind = field::quoted(resource.kind.as_deref().unwrap_or_default());
            skipped.note(
                format_args!("{path}.resource"),
                format_args!("is not served, only a Service is: {kind}"),
            );
        }
        (None, None) => skipped.note(path, "is missing"),
        (Some(service), None) => {
            let name = service.name.as_deref().unwrap_or_default();
            let checked = field::label(name);
            let checked = skipped.keep(format_args!("{path}.service.name"), checked);
            let port = skipped.keep(format_args!("{path}.service.port"), port(&service.port));
            if let (Some(()), Some(port)) = (checked, port) {
                let name = name.into();
                return IngressBackend::Service { name, port };
            }
        }
    }
    IngressBackend::Unusable
}

fn port(object: &wire::BackendPort) -> Result<PortRef, String> {
    let name = object.name.as_deref().filter(|name| !name.is_empty());
    match (name, field::optional_port(object.number.as_ref())?) {
        (None, Some(number)) => Ok(PortRef::Number(number)),
        (Some(name), None) => field::label(name).map(|()| PortRef::Name(name.into())),
        (None, None) => Err("must have a number or a name".into()),
        (Some(_), Some(_)) => Err("must have a number or a name, has both".into()),
    }
}

fn tls(objects: &[wire::Tls], skipped: &mut Skipped) -> Vec<IngressTls> {
    let mut entries = Vec::with_capacity(objects.len());
    for (i, object) in objects.iter().enumerate() {
        let path = format!("spec.tls[{i}]");
        let mut hosts = Vec::with_capacity(object.hosts.len());
        for (j, text) in object.hosts.iter().enumerate() {
            let host = match text.is_empty() {
                true => Err("is empty".to_owned()),
                false => host(text),
            };
            hosts.extend(skipped.keep(format_args!("{path}.hosts[{j}]"), host));
        }
        let secret = text(object.secret_name.as_ref());
        let checked = secret.as_deref().map_or(Ok(()), field::subdomain);
        let checked = skipped.keep(format_args!("{path}.secretName"), checked);
        // With all its hosts skipped it would hold for those of the rules.
        if checked.is_some() && (object.hosts.is_empty() || !hosts.is_empty()) {
            entries.push(IngressTls { hosts, secret });
        }
    }
    entries
}
