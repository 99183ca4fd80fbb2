// SPDX-License-Identifier: Apache-2.0
//! The library alone: event in, kernel commit acknowledged, measured inside the process.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ferrule::backend::Sent;
use ferrule::backend::nft::Kernel;
use ferrule::model::{Event, IpFamily, State};
use ferrule::plan::{Detector, Options};
use ferrule::sync::Engine;

use crate::change::Kind;
use crate::report::{Changes, Cold, Report, ms};
use crate::world::{self, Size};

/// What the numbers of this part are named by.
const SOURCE: &str = "library";

/// Measures one size, in the network namespace of the calling thread.
pub(crate) fn run(size: Size, changes: u32, report: &mut Report) -> Result<()> {
    let options = Options {
        detector: Detector::ClusterCidr(vec!["10.112.0.0/12".parse()?, "10.128.0.0/9".parse()?]),
        ..Options::default()
    };
    let mut engine = Engine::new(
        Kernel::open()?,
        options,
        State::new(world::NODE),
        &IpFamily::ALL,
    );
    let begun = Instant::now();
    let (_, sent) = apply(&mut engine, world::events(size))?;
    report.cold.push(Cold {
        size: size.to_string(),
        source: SOURCE,
        ms: ms(begun.elapsed()),
        cpu_ms: None,
        rss_kb: None,
        peak_kb: None,
        rss_after_kb: None,
        messages: Some(sent.messages),
        elements: (size.services * size.endpoints) as usize,
    });
    for kind in Kind::ALL {
        let mut durations = Vec::new();
        let (mut messages, mut elements) = (0, 0);
        for n in 0..changes {
            let events = kind.events(size, changes, n);
            let (took, sent) = apply(&mut engine, events.into_iter())?;
            durations.push(took);
            messages = messages.max(sent.messages);
            elements = elements.max(sent.elements);
        }
        let mut changes = Changes::new(size.to_string(), SOURCE, kind.name(), &mut durations);
        changes.messages = Some(messages);
        changes.elements = Some(elements);
        report.changes.push(changes);
    }
    Ok(())
}

/// Takes events in and commits them once.
fn apply(
    engine: &mut Engine<Kernel>,
    events: impl Iterator<Item = Event>,
) -> Result<(Duration, Sent)> {
    let begun = Instant::now();
    for event in events {
        engine.observe(event);
    }
    let done = engine.commit();
    let took = begun.elapsed();
    for (family, result, _) in &done.families {
        if let Err(error) = result {
            bail!("{family}: {error}");
        }
    }
    let sent = done.sent();
    if sent.messages == 0 {
        bail!("a change changed nothing");
    }
    Ok((took, sent))
}
