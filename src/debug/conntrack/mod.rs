// SPDX-License-Identifier: Apache-2.0
//! `ferrule debug conntrack`: where the live flows of a Service go.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail};
use schemars::JsonSchema;
use serde::Serialize;

use super::print::{Grid, print};
use super::{client, paint};
use crate::backend::conntrack::flow::{Flow, live};
use crate::cli::ConntrackArgs;
use crate::model::{self, IpFamily};
use crate::observe::view::{Protocol, ServiceView};

/// What an endpoint is to the Service now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It gets new connections.
    Used,
    /// It is there and gets none: not ready, terminating, or not chosen on this node.
    Unused,
    /// It is no longer there.
    Stale,
    /// No endpoint: the flow was never translated, as it is older than the Service.
    Untranslated,
}

impl Standing {
    fn word(self) -> &'static str {
        match self {
            Standing::Used => "used",
            Standing::Unused => "unused",
            Standing::Stale => "stale",
            Standing::Untranslated => "untranslated",
        }
    }
}

/// The flows of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// `namespace/name`.
    pub service: String,
    /// By endpoint.
    pub endpoints: Vec<OfEndpoint>,
    /// Each flow.
    pub flows: Vec<FlowView>,
}

/// The flows to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfEndpoint {
    /// Address and port.
    #[schemars(with = "String")]
    pub endpoint: SocketAddr,
    /// What it is to the Service now.
    pub standing: Standing,
    /// How many flows.
    pub flows: u64,
    /// How many of them have seen an answer.
    pub answered: u64,
}

/// A flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlowView {
    /// Who began it.
    #[schemars(with = "String")]
    pub client: SocketAddr,
    /// Where that one sends to.
    #[schemars(with = "String")]
    pub frontend: SocketAddr,
    /// Protocol.
    pub protocol: Protocol,
    /// Who answers.
    #[schemars(with = "String")]
    pub endpoint: SocketAddr,
    /// What that is to the Service now.
    pub standing: Standing,
    /// State of a TCP connection; else `answered` or `unanswered`.
    pub state: String,
    /// How long it is remembered without a packet, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// Bytes from the client, where the kernel counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_in: Option<u64>,
    /// Bytes to the client, where the kernel counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<u64>,
}

/// Asks the agent for the Service and the kernel for its flows, and prints them.
///
/// # Errors
/// No agent, no such Service, no CAP_NET_ADMIN, or `out` fails.
pub fn run(args: &ConntrackArgs, out: &mut impl Write) -> Result<()> {
    let Some((namespace, name)) = args.service.split_once('/') else {
        bail!("{:?} is no NAMESPACE/NAME", args.service);
    };
    let all: Vec<ServiceView> = client::get(&args.admin_socket, "/services")?;
    let service = all
        .iter()
        .find(|s| s.namespace == namespace && s.name == name);
    let service =
        service.with_context(|| format!("the agent serves no Service {}", args.service))?;
    let mut flows = Vec::new();
    for family in IpFamily::ALL {
        live(family, |flow| flows.push(flow)).context("reading flows needs CAP_NET_ADMIN")?;
    }
    let view = view(service, flows);
    print(out, args.output, &view, |out, wide| page(&view, wide, out))
}

/// The flows of a Service among all flows. PURE.
fn view(service: &ServiceView, flows: Vec<Flow>) -> View {
    let frontends = Frontends::new(service);
    let mut all: Vec<FlowView> = flows
        .iter()
        .filter_map(|flow| frontends.judge(flow))
        .collect();
    all.sort_by_key(|f| (f.standing, f.endpoint, f.client));
    let mut endpoints: BTreeMap<(Standing, SocketAddr), (u64, u64)> = BTreeMap::new();
    for flow in &all {
        let counts = endpoints.entry((flow.standing, flow.endpoint)).or_default();
        counts.0 += 1;
        counts.1 += u64::from(!["unanswered", "syn-sent"].contains(&&*flow.state));
    }
    let endpoint = |((standing, endpoint), (flows, answered))| OfEndpoint {
        endpoint,
        standing,
        flows,
        answered,
    };
    View {
        service: format!("{}/{}", service.namespace, service.name),
        endpoints: endpoints.into_iter().map(endpoint).collect(),
        flows: all,
    }
}

/// What a Service answers on, and its endpoints.
struct Frontends {
    keys: HashSet<(u8, Option<IpAddr>, u16)>,
    used: HashSet<SocketAddr>,
    known: HashSet<SocketAddr>,
}

impl Frontends {
    fn new(service: &ServiceView) -> Self {
        let (mut keys, mut used, mut known) = (HashSet::new(), HashSet::new(), HashSet::new());
        for frontend in &service.frontends {
            let protocol = match frontend.protocol {
                Protocol::Tcp => model::Protocol::Tcp,
                Protocol::Udp => model::Protocol::Udp,
                Protocol::Sctp => model::Protocol::Sctp,
            };
            let protocol = protocol.number();
            keys.insert((protocol, frontend.address, frontend.port));
            for endpoint in &frontend.endpoints {
                let address = SocketAddr::new(endpoint.address, endpoint.port);
                known.insert(address);
                if endpoint.used.is_some() {
                    used.insert(address);
                }
            }
        }
        Self { keys, used, known }
    }

    /// None for a flow of somebody else's. A NodePort's number says nothing of flows that nobody
    /// translated.
    fn judge(&self, flow: &Flow) -> Option<FlowView> {
        let (to, port) = (flow.frontend.ip(), flow.frontend.port());
        let vip = self.keys.contains(&(flow.protocol, Some(to), port));
        let node_port = self.keys.contains(&(flow.protocol, None, port));
        if !(vip || node_port && flow.is_translated()) {
            return None;
        }
        let standing = match flow.is_translated() {
            false => Standing::Untranslated,
            true if self.used.contains(&flow.endpoint) => Standing::Used,
            true if self.known.contains(&flow.endpoint) => Standing::Unused,
            true => Standing::Stale,
        };
        let protocols = model::Protocol::ALL.into_iter();
        let protocol = protocols
            .into_iter()
            .find(|p| p.number() == flow.protocol)?;
        Some(FlowView {
            client: flow.client,
            frontend: flow.frontend,
            protocol: protocol.into(),
            endpoint: flow.endpoint,
            standing,
            state: flow.state().to_owned(),
            timeout: flow.timeout,
            bytes_in: flow.bytes.map(|b| b.0),
            bytes_out: flow.bytes.map(|b| b.1),
        })
    }
}

fn page(view: &View, wide: bool, out: &mut dyn Write) -> std::io::Result<()> {
    let style = |cell: &str| match cell {
        "used" => Some(paint::GOOD),
        "unused" => Some(paint::WARN),
        "stale" | "untranslated" => Some(paint::BAD),
        _ => None,
    };
    let mut table = Grid::new(["ENDPOINT", "STANDING", "FLOWS", "ANSWERED"]);
    for of in &view.endpoints {
        let (flows, answered) = (of.flows.to_string(), of.answered.to_string());
        table.row([
            of.endpoint.to_string(),
            of.standing.word().into(),
            flows,
            answered,
        ]);
    }
    writeln!(out, "{}", table.text(style))?;
    if !wide {
        return Ok(());
    }
    let head = [
        "CLIENT", "FRONTEND", "ENDPOINT", "STANDING", "STATE", "TIMEOUT", "IN", "OUT",
    ];
    let mut table = Grid::new(head);
    for flow in &view.flows {
        let or_dash = |n: Option<u64>| n.map_or(String::new(), |n| n.to_string());
        let protocol = format!("{:?}", flow.protocol).to_uppercase();
        table.row([
            flow.client.to_string(),
            format!("{}/{protocol}", flow.frontend),
            flow.endpoint.to_string(),
            flow.standing.word().to_owned(),
            flow.state.clone(),
            flow.timeout.map_or(String::new(), |t| format!("{t}s")),
            or_dash(flow.bytes_in),
            or_dash(flow.bytes_out),
        ]);
    }
    writeln!(out, "\n{}", table.text(style))
}

#[cfg(test)]
mod tests;
