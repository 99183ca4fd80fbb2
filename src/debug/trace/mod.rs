// SPDX-License-Identifier: Apache-2.0
//! `ferrule debug trace`: the rules that a packet meets, by the pure tracer on what the kernel
//! holds; with `--probe` what the kernel itself does with a real packet.
//!
//! `probe` sends one and listens, `send` is how it gets in, [`view`] is what comes out.

mod probe;
mod send;
mod view;

use std::io::Write;

use anyhow::Result;

use super::explain::{self, ask, sender};
use super::kernel;
use super::print::print;
use crate::cli::TraceArgs;
use crate::model::IpFamily;
use crate::plan::trace::follow;

pub use view::{EndView, KernelStep, KernelView, StepView, TraceView};

/// Reads the kernel, traces, and prints.
///
/// # Errors
/// Words that make no connection; a name, if no agent answers; missing rights.
pub fn run(args: &TraceArgs, out: &mut impl Write) -> Result<()> {
    let to = ask::Destination::parse(&args.to, "default")?;
    let from = args.from.parse()?;
    let address = match to.host {
        ask::Host::Address(_) => to.resolve(&[])?,
        ask::Host::Service(..) => {
            explain::resolve(&to, &explain::services(&args.admin_socket, &to))?
        }
    };
    let snapshot = kernel::read()?;
    let interface = args.interface.as_deref();
    let (packet, who, notes) = sender::packet(&snapshot, from, interface, address, to.protocol)?;
    let family = IpFamily::of(packet.destination);
    let held = snapshot.families.get(&family).cloned().unwrap_or_default();
    let way = follow(&held.ruleset, &snapshot.world(family), &packet);
    let mut traced = TraceView::new(&packet, who, &way, notes);
    if args.probe {
        let told = probe::probe(&packet)?;
        traced.agrees = view::agrees(&way, &told);
        traced.kernel = Some(told);
    }
    print(out, args.output, &traced, |out, wide| {
        view::page(&traced, wide, out)
    })
}

#[cfg(test)]
mod tests;
