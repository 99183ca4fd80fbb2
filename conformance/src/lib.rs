// SPDX-License-Identifier: Apache-2.0
//! Packet tables: real packets in network namespaces judge the `ferrule` binary from outside.
//!
//! | module | is |
//! |---|---|
//! | [`netns`] | nodes, pods and a client as network namespaces |
//! | [`server`], [`client`], [`sctp`], [`socket`] | who answers, who asks, in TCP, UDP and SCTP |
//! | [`object`] | Services and endpoints, and the manifests they become |
//! | [`agent`], [`cluster`] | the program on every node, all reading one directory |
//! | [`case`](mod@case), [`cases`] | the packet table: who connects where, and what must happen |
//! | [`differential`] | ferrule and kube-proxy compared on random Services |
//! | [`explainer`] | has `ferrule debug explain` explain a row: it must agree, too |
//! | [`ingress_bench`] | the Ingress sidecar, nginx and HAProxy measured in turn |
//! | [`ingress_nginx`] | the Ingress sidecar and nginx, as ingress-nginx configures it, compared |
//! | [`interrupt`] | cleans up after SIGINT and SIGTERM |
//! | [`ipvsadm`] | what Debian's program sees of virtual servers: a second opinion |
//! | [`judge`], [`stats`] | runs a row with real packets |
//! | [`pace`], [`mode`] | what the environment chooses: how patient, and in which proxy mode |
//! | [`scenario`](mod@scenario) | what happens one after the other: affinity, stale flows, restarts |
//! | [`scale`] | ferrule and kube-proxy measured with many Services |
//! | [`report`] | what upstream's specs said about ferrule and kube-proxy |
//! | [`stub`] | lists and watches for the proxies of a benchmark |
//! | [`tracer`] | runs a row through ferrule's packet tracer: both must agree |

pub mod agent;
pub mod case;
pub mod cases;
pub mod client;
pub mod cluster;
pub mod differential;
pub mod echo;
pub mod explainer;
pub mod ingress_bench;
pub mod ingress_nginx;
pub mod interrupt;
pub mod ipvsadm;
pub mod judge;
pub mod mode;
pub mod netns;
pub mod object;
pub mod pace;
pub mod report;
pub mod scale;
pub mod scenario;
pub mod sctp;
pub mod server;
pub mod socket;
pub mod stats;
pub mod stub;
pub mod tracer;

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
