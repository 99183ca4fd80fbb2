// SPDX-License-Identifier: Apache-2.0
//! Clients: many connections at once, each with a fresh socket, and what became of each.

mod flow;
mod flows;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ferrule::model::Protocol;

use crate::pace::pace;

pub use flow::UdpFlow;
pub use flows::{dial, dial_at_once};

/// How long a client waits for an answer before it says time-out, unless the environment gives
/// another [`Pace::silence`](crate::pace::Pace::silence).
pub const PATIENCE: Duration = Duration::from_millis(1_300);

/// How late the kernel may be with a second SYN.
const LATE: Duration = Duration::from_millis(100);

/// One connection to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Protocol.
    pub protocol: Protocol,
    /// Address and port to connect to.
    pub to: SocketAddr,
    /// Address to connect from, if not the one that the kernel chooses.
    pub source: Option<IpAddr>,
    /// On the client outside: number of the node by which the packet enters the cluster; 0 for
    /// none, if the address is a node's own.
    pub via: u16,
}

/// How somebody said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// TCP reset.
    Reset,
    /// ICMP port unreachable.
    Port,
    /// What a kernel without SCTP says to it: ICMP protocol unreachable, ICMPv6 unknown next header.
    Protocol,
}

impl Refusal {
    /// In words, for reports and data files.
    pub fn word(self) -> &'static str {
        match self {
            Refusal::Reset => "reset",
            Refusal::Port => "port unreachable",
            Refusal::Protocol => "protocol unreachable",
        }
    }
}

/// What became of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A server answered.
    From {
        /// Its name.
        endpoint: String,
        /// The port that it listens on.
        port: u16,
        /// The source address that it saw.
        source: IpAddr,
    },
    /// An ICMP error or a TCP reset, after this time.
    Refused(Duration, Refusal),
    /// Nothing in time.
    Timeout,
    /// Something that no rule explains, such as a local error.
    Broken(String),
}

impl Answer {
    /// Whether it is a refusal that came at once, see [`Pace::at_once`](crate::pace::Pace::at_once): after the first SYN or
    /// the second, which TCP sends after a second.
    ///
    /// Through veth pairs the first SYN and the ICMP error that answers it may run in one go, on
    /// one CPU, within `connect`: the kernel then drops the error, because the socket is locked
    /// (counter `LockDroppedIcmps`), and hears only the answer to the second SYN.
    pub fn refused_at_once(&self) -> bool {
        let Answer::Refused(after, _) = self else {
            return false;
        };
        let (soon, second) = (pace().at_once, Duration::from_secs(1));
        *after < soon || (second..second + soon + LATE).contains(after)
    }

    /// Reads what a server says.
    fn parse(text: &str) -> Self {
        let read = || {
            let mut words = text.split_whitespace();
            let endpoint = words.next()?.to_owned();
            let port = words.next()?.parse().ok()?;
            let source = words.next()?.parse().ok()?;
            Some(Answer::From {
                endpoint,
                port,
                source,
            })
        };
        read().unwrap_or_else(|| Answer::Broken(format!("answered {text:?}")))
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Answer::From {
                endpoint, source, ..
            } => write!(f, "{endpoint} saw {source}"),
            Answer::Refused(..) => write!(f, "refused"),
            Answer::Timeout => write!(f, "time-out"),
            Answer::Broken(reason) => write!(f, "{reason}"),
        }
    }
}
