// SPDX-License-Identifier: Apache-2.0
//! Packet tables: real packets in network namespaces judge the `ferrule` binary from outside.
//!
//! | module | is |
//! |---|---|
//! | [`netns`] | nodes, pods and a client as network namespaces |
//! | [`server`], [`client`], [`sctp`] | who answers, who asks, in TCP, UDP and SCTP |

pub mod client;
pub mod netns;
pub mod sctp;
pub mod server;
pub mod socket;

/// Whether namespaces can be made. If not, says so, for tests that then have nothing to do.
///
/// # Errors
/// If not, and the environment variable REQUIRE_ROOT is 1.
pub fn privileged() -> anyhow::Result<bool> {
    let works = netns::Namespace::new("probe").and_then(|n| n.ip("link set lo up"));
    match works {
        Ok(()) => Ok(true),
        Err(e) if std::env::var("REQUIRE_ROOT").as_deref() == Ok("1") => Err(e),
        Err(e) => {
            println!("SKIP: {e:#}");
            Ok(false)
        }
    }
}
