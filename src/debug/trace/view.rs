// SPDX-License-Identifier: Apache-2.0
//! A traced packet as it is shown.

use std::io::{self, Write};
use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::debug::explain::reason;
use crate::debug::explain::tell;
use crate::debug::explain::view::{ElementView, PacketView, Verdict};
use crate::debug::paint::{BAD, DIM, GOOD, HEAD, WARN, paint};
use crate::model::IpFamily;
use crate::plan::nft::text;
use crate::plan::trace::{Fate, Outcome, Packet, Step, Way};

/// A packet's way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceView {
    /// The packet.
    pub packet: PacketView,
    /// What it meets until its fate is sealed.
    pub steps: Vec<StepView>,
    /// What may become of it, each with what it meets from then on.
    pub ends: Vec<EndView>,
    /// What the kernel did with a real packet, with `--probe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelView>,
    /// Whether that is one of the ends; nothing if it can't be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agrees: Option<bool>,
    /// What else to know.
    pub notes: Vec<String>,
}

/// What the kernel did with a real packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KernelView {
    /// What came of it.
    pub verdict: Verdict,
    /// Where it went, if its destination was translated and it left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<SocketAddr>,
    /// Rules that matched and chains that ended, in order, of all tables.
    pub steps: Vec<KernelStep>,
}

/// Something that the kernel tells of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KernelStep {
    /// Family and name of the table.
    pub table: String,
    /// Chain.
    pub chain: String,
    /// The rule as nft writes it; `policy` or `end of the chain`.
    pub rule: String,
    /// What came of it, as `accept` or `goto lb-3`.
    pub verdict: String,
}

/// Whether the kernel did what the tracer tells; nothing if the packet did not get far enough.
pub(super) fn agrees(way: &Way, kernel: &KernelView) -> Option<bool> {
    let mut fates = way.fates.iter().map(|(fate, _)| fate);
    Some(match (kernel.verdict, kernel.endpoint) {
        (Verdict::Forwarded, None) => {
            let some = |fate: &Fate| matches!(fate, Fate::Endpoint(..));
            return (!fates.any(some)).then_some(false);
        }
        (Verdict::Forwarded, Some(at)) => fates.any(
            |fate| matches!(fate, Fate::Endpoint(t, _) if SocketAddr::new(t.address, t.port) == at),
        ),
        // To the tracing kernel a rejected packet is a dropped one.
        (Verdict::Dropped | Verdict::Refused, _) => {
            fates.any(|fate| matches!(fate, Fate::Dropped | Fate::Rejected))
        }
        (Verdict::Untouched, _) => fates.any(|fate| *fate == Fate::Untouched),
    })
}

/// A rule that was tried, or a look-up of IPVS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// `prerouting`, `output`, `postrouting`; `ipvs` for IPVS.
    pub hook: String,
    /// The rule's chain; empty for IPVS.
    pub chain: String,
    /// The rule as nft writes it; what was looked up, for IPVS.
    pub rule: String,
    /// Whether it matches.
    pub matches: bool,
    /// What came of it: `match`, `no match`, `not in the map`, or the verdict found in a map.
    pub outcome: String,
    /// What it found in sets and maps.
    pub elements: Vec<ElementView>,
}

/// What may become of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndView {
    /// What.
    pub verdict: Verdict,
    /// The endpoint that it goes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<SocketAddr>,
    /// Whether its source is masqueraded.
    pub masqueraded: bool,
    /// What it meets on the way out.
    pub steps: Vec<StepView>,
}

impl TraceView {
    /// The view of a way.
    pub(super) fn new(packet: &Packet, from: String, way: &Way, notes: Vec<String>) -> Self {
        let family = IpFamily::of(packet.destination);
        let steps = |steps: &[Step]| steps.iter().map(|s| step(s, family)).collect();
        let end = |(fate, then): &(Fate, Vec<Step>)| {
            let (verdict, endpoint, masqueraded) = match fate {
                Fate::Endpoint(target, masqueraded) => {
                    let at = SocketAddr::new(target.address, target.port);
                    (Verdict::Forwarded, Some(at), *masqueraded)
                }
                Fate::Rejected => (Verdict::Refused, None, false),
                Fate::Dropped => (Verdict::Dropped, None, false),
                Fate::Untouched => (Verdict::Untouched, None, false),
            };
            EndView {
                verdict,
                endpoint,
                masqueraded,
                steps: steps(then),
            }
        };
        Self {
            packet: PacketView {
                from,
                source: packet.source,
                interface: packet.interface.as_deref().map(str::to_owned),
                destination: packet.destination,
                port: packet.port,
                protocol: packet.protocol.into(),
            },
            steps: steps(&way.steps),
            ends: way.fates.iter().map(end).collect(),
            kernel: None,
            agrees: None,
            notes,
        }
    }
}

fn step(step: &Step, family: IpFamily) -> StepView {
    let ipvs = |rule: String, matches, outcome: String| StepView {
        hook: "ipvs".to_owned(),
        chain: String::new(),
        rule,
        matches,
        outcome,
        elements: Vec::new(),
    };
    match step {
        Step::Source(address) => {
            let rule = format!("the kernel takes {address} for the source");
            ipvs(rule, true, "match".to_owned())
        }
        Step::Server(key, server) => {
            let outcome = match server {
                Some(server) => format!("{} real servers", server.destinations.len()),
                None => "no virtual server".to_owned(),
            };
            ipvs(format!("virtual server {key}"), server.is_some(), outcome)
        }
        Step::Rule(rule) => StepView {
            hook: rule.hook.word().to_owned(),
            chain: rule.chain.to_string(),
            rule: text::rule(&rule.rule, family),
            matches: rule.outcome == Outcome::Done,
            outcome: reason::outcome(rule),
            elements: rule.found.iter().map(|f| tell::view(f, family)).collect(),
        },
    }
}

/// Writes it; `wide` with the rules that do not match.
pub(super) fn page(traced: &TraceView, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    let packet = &traced.packet;
    let to = SocketAddr::new(packet.destination, packet.port);
    let title = format!("{} to {to}", packet.source);
    writeln!(out, "{}, from {}", paint(title, HEAD), packet.from)?;
    steps(&traced.steps, wide, out)?;
    let mut shown: Option<&[StepView]> = None;
    for end in &traced.ends {
        if shown != Some(&end.steps[..]) {
            steps(&end.steps, wide, out)?;
        }
        shown = Some(&end.steps);
        let (text, style) = match (end.verdict, end.endpoint) {
            (_, Some(at)) if end.masqueraded => (format!("forwarded to {at}, masqueraded"), GOOD),
            (_, Some(at)) => (format!("forwarded to {at}"), GOOD),
            (Verdict::Refused, _) => ("refused".to_owned(), BAD),
            (Verdict::Dropped, _) => ("dropped".to_owned(), BAD),
            _ => ("left alone".to_owned(), WARN),
        };
        writeln!(out, "=> {}", paint(text, style))?;
    }
    if let Some(kernel) = &traced.kernel {
        kernel_page(kernel, traced.agrees, out)?;
    }
    for note in &traced.notes {
        writeln!(out, "\n{}: {note}", paint("note", WARN))?;
    }
    Ok(())
}

fn kernel_page(kernel: &KernelView, agrees: Option<bool>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "\n{}",
        paint("The kernel, of a packet that was sent:", HEAD)
    )?;
    let mut place = ("", "");
    for step in &kernel.steps {
        if place != (step.table.as_str(), step.chain.as_str()) {
            place = (&step.table, &step.chain);
            writeln!(out, "table {} chain {}", step.table, step.chain)?;
        }
        writeln!(out, "    {}  -> {}", step.rule, step.verdict)?;
    }
    let (text, style) = match (kernel.verdict, kernel.endpoint) {
        (Verdict::Forwarded, Some(at)) => (format!("forwarded to {at}"), GOOD),
        (Verdict::Forwarded, None) => {
            let text = "translated, but it did not leave: look at routes and rp_filter";
            (text.to_owned(), WARN)
        }
        (Verdict::Untouched, _) => ("left alone".to_owned(), WARN),
        _ => ("dropped or rejected".to_owned(), BAD),
    };
    writeln!(out, "=> {}", paint(text, style))?;
    match agrees {
        Some(true) => writeln!(out, "{}", paint("Both agree.", GOOD)),
        Some(false) => writeln!(
            out,
            "{}: somebody else's rule above, or rules that changed meanwhile",
            paint("They disagree", BAD)
        ),
        None => Ok(()),
    }
}

fn steps(steps: &[StepView], wide: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut place = ("", "");
    for step in steps.iter().filter(|step| wide || step.matches) {
        if place != (step.hook.as_str(), step.chain.as_str()) {
            place = (&step.hook, &step.chain);
            match step.chain.is_empty() {
                true => writeln!(out, "{}", step.hook)?,
                false => writeln!(out, "{} chain {}", step.hook, step.chain)?,
            }
        }
        let outcome = match step.outcome.as_str() {
            "match" => String::new(),
            other => format!("  -> {other}"),
        };
        let line = format!("    {}{outcome}", step.rule);
        match step.matches {
            true => writeln!(out, "{line}")?,
            false => writeln!(out, "{}", paint(line, DIM))?,
        }
        // Of a draw, a few say enough.
        for element in step.elements.iter().take(if wide { usize::MAX } else { 4 }) {
            let text = format!("        {}: {}", element.set, element.element);
            writeln!(out, "{}", paint(text, DIM))?;
        }
        if let Some(more @ 1..) = step.elements.len().checked_sub(4).filter(|_| !wide) {
            writeln!(out, "{}", paint(format!("        and {more} more"), DIM))?;
        }
    }
    Ok(())
}
