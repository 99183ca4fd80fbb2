// SPDX-License-Identifier: Apache-2.0
//! `ferrule debug explain`: why a connection goes where it goes, in words.
//!
//! [`ask`] and [`sender`] make a packet of a command line, [`tell`] explains it by what the kernel holds and what
//! the agent answers, and is pure; [`view`] is what comes out, `page` how it reads.

pub mod ask;
mod page;
pub(super) mod reason;
pub mod sender;
pub mod tell;
pub mod view;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};

use self::ask::{Destination, Host};
use self::view::Explanation;
use super::print::print;
use super::{client, kernel};
use crate::cli::ExplainArgs;
use crate::observe::view::ServiceView;

/// Reads the kernel, asks the agent, and prints.
///
/// # Errors
/// Words that make no connection; a name, if no agent answers; missing rights.
pub fn run(args: &ExplainArgs, out: &mut impl Write) -> Result<()> {
    let to = Destination::parse(&args.to, &args.namespace)?;
    let from = args.from.parse()?;
    let agent = services(&args.admin_socket, &to);
    let to_address = resolve(&to, &agent)?;
    let snapshot = kernel::read()?;
    let interface = args.interface.as_deref();
    let (packet, who, notes) = sender::packet(&snapshot, from, interface, to_address, to.protocol)?;
    let agent = agent.as_deref().map_err(String::as_str);
    let mut told: Explanation = tell::explain(&snapshot, agent, &packet);
    told.packet.from = who;
    told.notes.extend(notes);
    print(out, args.output, &told, |out, wide| {
        page::page(&told, wide, out)
    })
}

/// What the agent says of the destination, or why it says nothing.
pub(super) fn services(socket: &Path, to: &Destination) -> Result<Vec<ServiceView>, String> {
    let query = match &to.host {
        Host::Address(address) => format!("address={address}&port={}", to.port),
        Host::Service(namespace, name) => format!("namespace={namespace}&name={name}"),
    };
    let answer = client::get(socket, &format!("/services?{query}"));
    answer.map_err(|error| format!("{error:#}; this is what the kernel alone tells"))
}

/// The address of the destination. A name takes an agent.
pub(super) fn resolve(
    to: &Destination,
    agent: &Result<Vec<ServiceView>, String>,
) -> Result<SocketAddr> {
    match (&to.host, agent) {
        (Host::Service(namespace, name), Err(error)) => {
            let error = error.trim_end_matches("; this is what the kernel alone tells");
            Err(anyhow::anyhow!("{error}"))
                .with_context(|| format!("only the agent knows Service {namespace}/{name}"))
        }
        (_, agent) => to.resolve(agent.as_deref().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests;
