// SPDX-License-Identifier: Apache-2.0
//! The explanation as a page to read: in order, from the destination to the endpoint.

use std::io::{self, Write};
use std::net::SocketAddr;

use super::view::{Explanation, Verdict};
use crate::debug::paint::{BAD, DIM, GOOD, HEAD, WARN, paint};
use crate::debug::print::Grid;
use crate::observe::view::{FrontendKind, Policy};

/// Elements that are shown unless all are asked for.
const ELEMENTS: usize = 12;

/// Writes it.
pub(super) fn page(told: &Explanation, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    let packet = &told.packet;
    let to = SocketAddr::new(packet.destination, packet.port);
    let protocol = word(packet.protocol);
    let (verdict, style) = match told.verdict {
        Verdict::Forwarded => ("forwarded", GOOD),
        Verdict::Refused => ("refused", BAD),
        Verdict::Dropped => ("dropped", BAD),
        Verdict::Untouched => ("left alone", WARN),
    };
    let title = format!("{} to {to}/{protocol}", packet.source);
    writeln!(out, "{}: {}", paint(title, HEAD), paint(verdict, style))?;
    let by = packet.interface.as_deref();
    let by = by.filter(|name| !name.starts_with('('));
    let by = by
        .map(|name| format!(", by interface {name}"))
        .unwrap_or_default();
    writeln!(out, "The source is {}{by}.\n", packet.from)?;
    let mut steps = Steps(0);
    for line in frontend(told, &format!("{to}/{protocol}")) {
        steps.step(out, &line)?;
    }
    steps.step(out, &sentence(told))?;
    if !told.endpoints.is_empty() {
        writeln!(out, "\n{}", endpoints(told))?;
    }
    if !told.not_chosen.is_empty() {
        writeln!(out, "\n{}", not_chosen(told))?;
    }
    if told.verdict == Verdict::Forwarded {
        writeln!(out)?;
        for line in sources(told) {
            steps.step(out, &line)?;
        }
    }
    elements(told, wide, out)?;
    for note in told.agent.iter().chain(&told.notes) {
        writeln!(out, "\n{}: {note}", paint("note", WARN))?;
    }
    Ok(())
}

struct Steps(usize);

impl Steps {
    fn step(&mut self, out: &mut dyn Write, line: &str) -> io::Result<()> {
        self.0 += 1;
        writeln!(out, "{}. {line}", self.0)
    }
}

/// Who answers there, by which policy, with or without affinity.
fn frontend(told: &Explanation, to: &str) -> Vec<String> {
    let Some(frontend) = &told.frontend else {
        return vec![format!("No Service answers at {to}.")];
    };
    let kind = match frontend.kind {
        Some(FrontendKind::ClusterIP) => "a ClusterIP",
        Some(FrontendKind::NodePort) => "a NodePort",
        Some(FrontendKind::LoadBalancer) => "a load balancer IP",
        Some(FrontendKind::ExternalIP) => "an external IP",
        None => "a load balancer or external IP",
    };
    let service = match &frontend.service {
        Some(name) => format!("Service {name}"),
        None => "some Service (the kernel knows no names)".to_owned(),
    };
    let port = match frontend.port_name.as_deref() {
        Some(name) if !name.is_empty() => format!(", port {name:?}"),
        _ => String::new(),
    };
    let mut lines = vec![format!("{to} is {kind} of {service}{port}.")];
    let field = match frontend.kind {
        Some(FrontendKind::ClusterIP) => "internalTrafficPolicy",
        _ => "externalTrafficPolicy",
    };
    lines.extend(frontend.policy.map(|policy| match (policy, field) {
        (Policy::Cluster, _) => format!("{field} Cluster: any endpoint of the cluster will do."),
        (Policy::Local, "internalTrafficPolicy") => {
            format!("{field} Local: only endpoints on this node.")
        }
        (Policy::Local, _) => format!(
            "{field} Local: only endpoints on this node for those outside; pods and this node \
             itself may reach any."
        ),
    }));
    if !frontend.source_ranges.is_empty() {
        let ranges = frontend.source_ranges.join(", ");
        lines.push(format!("Only sources in {ranges} may connect."));
    }
    let timeout = frontend.affinity_seconds;
    let timeout = timeout.map(|s| format!(" (for {s} s)")).unwrap_or_default();
    match &told.affinity {
        Some(held) => lines.push(format!(
            "Session affinity{timeout}: the kernel holds {} at {}.",
            held.client, held.endpoint
        )),
        None if !timeout.is_empty() && told.mode == "ipvs" => lines.push(format!(
            "Session affinity{timeout}: IPVS remembers its clients itself (`ipvsadm -Lnc`); no map \
             of the table holds this one."
        )),
        None if !timeout.is_empty() => lines.push(format!(
            "Session affinity{timeout}: the kernel does not hold this client anywhere yet."
        )),
        None => {}
    }
    lines
}

fn sentence(told: &Explanation) -> String {
    let because = &told.because;
    match told.verdict {
        Verdict::Forwarded if told.affinity.is_some() => "It goes where it went before.".to_owned(),
        Verdict::Forwarded => format!("So {because}:"),
        Verdict::Refused => {
            format!("Refused: {because}. The client gets ICMP port unreachable, and fails at once.")
        }
        Verdict::Dropped => {
            format!("Dropped: {because}. The client gets no answer, and waits until it gives up.")
        }
        Verdict::Untouched => format!("Not ours: {because}."),
    }
}

fn endpoints(told: &Explanation) -> String {
    let mut grid = Grid::new(["ENDPOINT", "NODE", "ZONE", "SEES"]);
    for e in &told.endpoints {
        let at = SocketAddr::new(e.address, e.port).to_string();
        let sees = match e.masqueraded {
            true => "this node's address".to_owned(),
            false => told.packet.source.to_string(),
        };
        let or = |text: &Option<String>| text.clone().unwrap_or_default();
        grid.row([at, or(&e.node), or(&e.zone), sees]);
    }
    indent(&grid.text(|_| None))
}

fn not_chosen(told: &Explanation) -> String {
    let mut grid = Grid::new(["NOT CHOSEN", "NODE", "ZONE", "WHY"]);
    for e in &told.not_chosen {
        let at = SocketAddr::new(e.address, e.port).to_string();
        let or = |text: &Option<String>| text.clone().unwrap_or_default();
        grid.row([at, or(&e.node), or(&e.zone), e.reason.clone()]);
    }
    indent(&grid.text(|_| None))
}

fn indent(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("     {line}")).collect();
    lines.join("\n")
}

/// Whether the source changes, and why: once for all endpoints that share the answer.
fn sources(told: &Explanation) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut seen: Vec<(bool, &str)> = Vec::new();
    for e in &told.endpoints {
        let answer = (e.masqueraded, e.because.as_str());
        if !seen.contains(&answer) {
            seen.push(answer);
        }
    }
    for (masqueraded, because) in &seen {
        let who = match seen.len() {
            1 => String::new(),
            _ => {
                let of = told.endpoints.iter();
                let of =
                    of.filter(|e| (e.masqueraded, e.because.as_str()) == (*masqueraded, because));
                let of: Vec<String> = of.map(|e| e.address.to_string()).collect();
                format!("For {}: ", of.join(", "))
            }
        };
        let what = match masqueraded {
            true => "The source is masqueraded",
            false => "The source stays",
        };
        lines.push(format!("{who}{what}: {because}."));
    }
    lines
}

fn elements(told: &Explanation, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    if told.elements.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n{}",
        paint("The kernel's elements that say so:", HEAD)
    )?;
    let shown = if wide { told.elements.len() } else { ELEMENTS };
    for element in told.elements.iter().take(shown) {
        let set = paint(format!("{}:", element.set), DIM);
        writeln!(out, "     {set} {}", element.element)?;
    }
    if let Some(more @ 1..) = told.elements.len().checked_sub(shown) {
        writeln!(out, "     and {more} more (-o wide)")?;
    }
    Ok(())
}

fn word(protocol: crate::observe::view::Protocol) -> &'static str {
    match protocol {
        crate::observe::view::Protocol::Tcp => "TCP",
        crate::observe::view::Protocol::Udp => "UDP",
        crate::observe::view::Protocol::Sctp => "SCTP",
    }
}
