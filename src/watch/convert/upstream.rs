// SPDX-License-Identifier: Apache-2.0
//! Service as an upstream, Secret and ConfigMap.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Skipped, field};
use crate::model::ingress::UpstreamPort;
use crate::model::{ConfigMap, IpFamily, Observed, Protocol, Secret, ServiceName, UpstreamService};
use crate::watch::wire::Number;
use crate::watch::wire::ingress as wire;

/// Converts a Service of any type, also a headless one and one that another proxy serves.
pub fn upstream(name: &ServiceName, object: &wire::Upstream) -> Observed<UpstreamService> {
    if let Err(reason) = field::label(&name.namespace) {
        return Observed::rejected(format!("metadata.namespace: {reason}"));
    }
    if let Err(reason) = field::label(&name.name) {
        return Observed::rejected(format!("metadata.name: {reason}"));
    }
    let spec = &object.spec;
    let mut skipped = Skipped::default();
    let external = match spec.kind.as_deref() {
        Some("ExternalName") => match external(spec.external_name.as_deref()) {
            Ok(external) => Some(external),
            Err(reason) => return Observed::rejected(format!("spec.externalName: {reason}")),
        },
        _ => None,
    };
    let service = UpstreamService {
        name: name.clone(),
        cluster: cluster(spec).filter(|_| external.is_none()),
        external,
        family: family(spec),
        ports: ports(&spec.ports, &mut skipped),
    };
    skipped.observed(service)
}

fn external(text: Option<&str>) -> Result<Arc<str>, String> {
    let name = text.unwrap_or_default().to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    field::subdomain(name)?;
    Ok(name.into())
}

fn cluster(spec: &wire::UpstreamSpec) -> Option<IpAddr> {
    field::address(spec.cluster_ip.as_deref()?).ok()
}

/// The family that the Service prefers.
fn family(spec: &wire::UpstreamSpec) -> IpFamily {
    match (cluster(spec), spec.ip_families.first()) {
        (Some(address), _) => IpFamily::of(address),
        (None, Some(family)) if family == "IPv6" => IpFamily::V6,
        (None, _) => IpFamily::V4,
    }
}

fn ports(objects: &[wire::UpstreamPort], skipped: &mut Skipped) -> Vec<UpstreamPort> {
    let mut ports = Vec::with_capacity(objects.len());
    for (i, object) in objects.iter().enumerate() {
        let path = format!("spec.ports[{i}]");
        let protocol = field::protocol(object.protocol.as_deref());
        let protocol = skipped.keep(format_args!("{path}.protocol"), protocol);
        let port = field::port(object.port.as_ref());
        let port = skipped.keep(format_args!("{path}.port"), port);
        let usable = protocol.filter(|protocol| *protocol != Protocol::Sctp);
        let (Some(protocol), Some(port)) = (usable, port) else {
            continue;
        };
        ports.push(UpstreamPort {
            name: object.name.as_deref().unwrap_or_default().into(),
            protocol,
            port,
            target: match &object.target_port {
                Some(Number::Whole(number)) => u16::try_from(*number).ok().filter(|n| *n > 0),
                _ => None,
            },
            app_protocol: object.app_protocol.as_deref().map(Into::into),
        });
    }
    ports
}

/// Converts a ConfigMap.
pub fn config_map(name: &ServiceName, object: &wire::ConfigMap) -> Observed<ConfigMap> {
    let data = object.data.iter();
    Observed::new(ConfigMap {
        name: name.clone(),
        data: data
            .map(|(k, v)| (k.as_str().into(), v.as_str().into()))
            .collect(),
    })
}

/// Converts a Secret of any type: the parts that an Ingress may need.
pub fn secret(name: &ServiceName, object: &wire::Secret) -> Observed<Secret> {
    let (data, plain) = (&object.data, &object.string_data);
    let mut skipped = Skipped::default();
    let mut part = |field: &str, data: Option<&String>, plain: Option<&String>| {
        if let Some(plain) = plain {
            return Some(plain.as_bytes().into());
        }
        // The error of the decoder would tell where, and with which byte of the secret.
        let decoded = STANDARD.decode(data?);
        let decoded = decoded.map_err(|_| "not base64".to_owned());
        skipped
            .keep(format_args!("data[{field}]"), decoded)
            .map(Arc::from)
    };
    let names: BTreeSet<&String> = data.others.keys().chain(plain.others.keys()).collect();
    let others = names.into_iter().filter_map(|name| {
        let of = |entries: &'_ wire::SecretData| entries.others.get(name).cloned().flatten();
        let found = part(name, of(data).as_ref(), of(plain).as_ref())?;
        Some((name.as_str().into(), found))
    });
    let others = others.collect();
    let mut named = |field: &str, of: fn(&wire::SecretData) -> &Option<String>| {
        part(field, of(data).as_ref(), of(plain).as_ref())
    };
    let secret = Secret {
        name: name.clone(),
        certificate: named("tls.crt", |entries| &entries.certificate),
        key: named("tls.key", |entries| &entries.key),
        authority: named("ca.crt", |entries| &entries.authority),
        auth: named("auth", |entries| &entries.auth),
        others,
    };
    skipped.observed(secret)
}
