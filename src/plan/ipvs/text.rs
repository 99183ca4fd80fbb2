// SPDX-License-Identifier: Apache-2.0
//! Virtual servers as `ipvsadm -Sn` writes them, so that both can be compared line by line.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{ServerKey, Settings, VirtualServer};
use crate::model::Protocol;

/// One line for a virtual server and one for each of its real servers.
pub fn servers<'a>(
    servers: impl IntoIterator<Item = (&'a ServerKey, &'a Arc<VirtualServer>)>,
) -> String {
    let mut out = String::new();
    for (key, server) in servers {
        let at = place(key);
        let _ = writeln!(out, "-A {at} {}", settings(&server.settings));
        for (target, weight) in &server.destinations {
            let _ = writeln!(out, "-a {at} -r {target} -m -w {weight}");
        }
    }
    out
}

fn place(key: &ServerKey) -> String {
    let option = match key.protocol {
        Protocol::Tcp => "-t",
        Protocol::Udp => "-u",
        Protocol::Sctp => "--sctp-service",
    };
    format!("{option} {}", SocketAddr::new(key.address, key.port))
}

/// Scheduler and flags, as `-s sh -p 60 -b sh-fallback`.
pub(in crate::plan) fn settings(settings: &Settings) -> String {
    let scheduler = &settings.scheduler;
    let mut text = format!("-s {scheduler}");
    if let Some(seconds) = settings.persistence {
        let _ = write!(text, " -p {seconds}");
    }
    if settings.one_packet {
        text.push_str(" -o");
    }
    let flags: Vec<String> = [
        (settings.falls_back(), "fallback"),
        (settings.hashes_port(), "port"),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .map(|(_, flag)| format!("{scheduler}-{flag}"))
    .collect();
    if !flags.is_empty() {
        let _ = write!(text, " -b {}", flags.join(","));
    }
    text
}
