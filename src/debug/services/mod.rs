// SPDX-License-Identifier: Apache-2.0
//! `ferrule debug services`: every frontend, its policy and its endpoints.

use std::io::Write;

use anyhow::{Result, bail};

use super::print::{Grid, print};
use super::{client, paint};
use crate::cli::ServicesArgs;
use crate::observe::Selection;
use crate::observe::view::{
    EndpointState, EndpointView, FrontendKind, FrontendView, Policy, Protocol, ServiceView,
    StatusView, Used,
};

const HEAD: [&str; 11] = [
    "NAMESPACE",
    "NAME",
    "TYPE",
    "FRONTEND",
    "POLICY",
    "ENDPOINT",
    "NODE",
    "ZONE",
    "STATE",
    "USED",
    "REASON",
];
/// Where accounting is on: what the endpoint has used since it began.
const COUNTED: [&str; 3] = ["CONNECTIONS", "BYTES-IN", "BYTES-OUT"];
const WIDE: [&str; 3] = ["PORT-NAME", "AFFINITY", "SOURCE-RANGES"];

/// Asks the running agent and prints what it serves.
///
/// # Errors
/// No agent, a filter that is no `NAMESPACE[/NAME]`, or a Service that it does not know.
pub fn run(args: &ServicesArgs, out: &mut impl Write) -> Result<()> {
    let selection = selection(args.filter.as_deref())?;
    let views: Vec<ServiceView> = client::get(&args.admin_socket, &path(&selection))?;
    if views.is_empty() && selection.name.is_some() {
        bail!(
            "the agent serves no Service {}",
            args.filter.as_deref().unwrap_or_default()
        );
    }
    let status: StatusView = client::get(&args.admin_socket, "/status")?;
    print(out, args.output, &views, |out, wide| {
        writeln!(out, "{}", table(&views, wide))?;
        if let Some(age) = status.stale_since() {
            let said = "the API server has not answered since the agent started";
            writeln!(out, "\nas it was {age} ago: {said}")?;
        }
        Ok(())
    })
}

fn selection(filter: Option<&str>) -> Result<Selection> {
    let Some(filter) = filter else {
        return Ok(Selection::default());
    };
    let (namespace, name) = match filter.split_once('/') {
        Some((namespace, name)) => (namespace, Some(name)),
        None => (filter, None),
    };
    let valid = |word: &str| {
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        !word.is_empty() && word.chars().all(known)
    };
    if !valid(namespace) || !name.is_none_or(valid) {
        bail!("{filter:?} is no NAMESPACE or NAMESPACE/NAME");
    }
    Ok(Selection {
        namespace: Some(namespace.to_owned()),
        name: name.map(str::to_owned),
        ..Selection::default()
    })
}

fn path(selection: &Selection) -> String {
    let pairs = [
        ("namespace", &selection.namespace),
        ("name", &selection.name),
    ];
    let given = pairs
        .iter()
        .filter_map(|(key, value)| value.as_ref().map(|value| format!("{key}={value}")));
    let query = given.collect::<Vec<_>>().join("&");
    if query.is_empty() {
        "/services".to_owned()
    } else {
        format!("/services?{query}")
    }
}

/// One row an endpoint of a frontend, every row complete, so that grep and awk can be used.
fn table(views: &[ServiceView], wide: bool) -> String {
    let more: &[&str] = if wide { &WIDE } else { &[] };
    let counted: &[&str] = match views.iter().any(|service| service.usage.is_some()) {
        true => &COUNTED,
        false => &[],
    };
    let mut table = Grid::new(HEAD.iter().chain(counted).chain(more));
    for service in views {
        for frontend in &service.frontends {
            for endpoint in endpoint_cells(frontend) {
                let used = usage_cells(service, &endpoint[0]);
                let mut row = vec![service.namespace.clone(), service.name.clone()];
                row.extend(frontend_cells(frontend));
                row.extend(endpoint);
                row.extend(used.into_iter().take(counted.len()));
                if wide {
                    row.extend(wide_cells(frontend));
                }
                table.row(row);
            }
        }
    }
    table.text(|cell| match cell {
        "ready" => Some(paint::GOOD),
        "not-ready" | "terminating" | "<none>" => Some(paint::BAD),
        "serving-terminating" => Some(paint::WARN),
        _ => None,
    })
}

fn frontend_cells(frontend: &FrontendView) -> [String; 3] {
    let kind = match frontend.kind {
        FrontendKind::ClusterIP => "ClusterIP",
        FrontendKind::NodePort => "NodePort",
        FrontendKind::LoadBalancer => "LoadBalancer",
        FrontendKind::ExternalIP => "ExternalIP",
    };
    let protocol = match frontend.protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    };
    let port = frontend.port;
    let address = match frontend.address {
        Some(address) => std::net::SocketAddr::new(address, port).to_string(),
        None => format!("<node-{:?}>:{port}", frontend.family),
    };
    let policy = match frontend.policy {
        Policy::Cluster => "Cluster",
        Policy::Local => "Local",
    };
    [
        kind.to_owned(),
        format!("{address}/{protocol}"),
        policy.to_owned(),
    ]
}

/// What the endpoint has used by all frontends of the Service together.
fn usage_cells(service: &ServiceView, endpoint: &str) -> [String; 3] {
    let all = service.usage.iter().flat_map(|usage| &usage.endpoints);
    let found = all
        .map(|of| (of.endpoint.to_string(), of.total))
        .find(|(address, _)| address == endpoint);
    found.map_or([const { String::new() }; 3], |(_, total)| {
        [total.connections, total.bytes_in, total.bytes_out].map(|n| n.to_string())
    })
}

fn endpoint_cells(frontend: &FrontendView) -> Vec<[String; 6]> {
    if frontend.endpoints.is_empty() {
        let none = || "-".to_owned();
        return vec![["<none>".to_owned(), none(), none(), none(), none(), none()]];
    }
    frontend.endpoints.iter().map(endpoint_row).collect()
}

fn endpoint_row(endpoint: &EndpointView) -> [String; 6] {
    let state = match endpoint.state {
        EndpointState::Ready => "ready",
        EndpointState::ServingTerminating => "serving-terminating",
        EndpointState::Terminating => "terminating",
        EndpointState::NotReady => "not-ready",
    };
    let used = match endpoint.used {
        Some(Used::Cluster) => "cluster",
        Some(Used::Local) => "local",
        None => "-",
    };
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    [
        std::net::SocketAddr::new(endpoint.address, endpoint.port).to_string(),
        or_dash(&endpoint.node),
        or_dash(&endpoint.zone),
        state.to_owned(),
        used.to_owned(),
        or_dash(&endpoint.reason),
    ]
}

fn wide_cells(frontend: &FrontendView) -> [String; 3] {
    let or_dash = |text: String| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text
        }
    };
    let ranges: Vec<String> = frontend
        .source_ranges
        .iter()
        .map(ToString::to_string)
        .collect();
    let affinity = frontend
        .affinity_seconds
        .map(|seconds| format!("{seconds}s"));
    [
        or_dash(frontend.port_name.clone()),
        or_dash(affinity.unwrap_or_default()),
        or_dash(ranges.join(",")),
    ]
}

#[cfg(test)]
mod tests;
