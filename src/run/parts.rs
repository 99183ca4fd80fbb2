// SPDX-License-Identifier: Apache-2.0
//! What the loop and the listeners are made of.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use tokio::sync::{mpsc, watch as latest};

use crate::backend::VirtualServers;
use crate::backend::conntrack::Conntrack;
use crate::backend::ipvs::virtuals::Virtuals;
use crate::backend::leftovers;
use crate::backend::nft::monitor::{Interference, Monitor};
use crate::backend::nft::{Kernel, probe::probe};
use crate::cli::{self, ProtectRules};
use crate::config::{Config, LocalhostNodePorts, ProxyMode, Source};
use crate::localhost::NodePorts;
use crate::model::{Event, IpFamily, State};
use crate::observe::events::{Notice, Recorder, START};
use crate::observe::view::About;
use crate::observe::{Accounting, Pages, Status};
use crate::sync::{Engine, flows::Flows, takeover::Drain};
use crate::watch::cluster::StateFile;
use crate::watch::{self, Meters};

/// An engine that knows this host's addresses, on a kernel that can do what the rules need.
pub(super) async fn engine(config: &Config) -> Result<Engine<Kernel>> {
    let families = families();
    let mut kernel = Kernel::open()?.owning(config.protect == ProtectRules::Own);
    probe(&mut kernel, &families)?;
    let mut state = State::new(config.node_name.as_str()).with_node_ip(config.node_ip);
    if !config.features.allow_service_external_ips {
        state = state.without_external_ips();
    }
    let addresses = watch::addresses::list().await?;
    state.apply(Event::LocalAddresses(addresses));
    let ipvs = match config.rules.mode.ipvs() {
        Some(_) => Some(Box::new(Virtuals::open()?) as Box<dyn VirtualServers + Send>),
        None => None,
    };
    let engine = Engine::new(kernel, config.rules.clone(), state, &families);
    Ok(engine.with_ipvs(ipvs))
}

/// The file of the last known state. It is served only where no rules are in place: those that an
/// earlier process left may be newer.
pub(super) fn state_file(config: &Config, kernel: &mut Kernel) -> Result<Option<StateFile>> {
    let Some(path) = config.state_file.clone() else {
        return Ok(None);
    };
    let mut serve = true;
    for family in families() {
        serve &= !kernel.has_table(family)?;
    }
    Ok(Some(StateFile {
        path,
        node: config.node_name.clone(),
        serve,
    }))
}

/// IPv4, and IPv6 where the kernel has it (kube-proxy runs dual-stack then too).
pub(super) fn families() -> Vec<IpFamily> {
    let v6 = Path::new("/proc/net/if_inet6").exists();
    IpFamily::ALL
        .into_iter()
        .filter(|f| *f == IpFamily::V4 || v6)
        .collect()
}

/// What ends stale flows; without it, UDP clients of an endpoint that goes have to notice alone.
pub(super) fn flows(status: &Status) -> Option<Flows> {
    let start = || anyhow::Ok(Flows::start(Conntrack::new()?, status.meters().clone())?);
    start()
        .inspect_err(|e| tracing::warn!("stale flows will not be ended: {e:#}"))
        .ok()
}

/// Counts connections and bytes, if that is wanted. Rules do without.
pub(super) fn accounting(config: &Config, status: &Status) {
    let Some(wanted) = config.accounting else {
        return;
    };
    match Accounting::start(wanted) {
        Ok(accounting) => status.account(accounting),
        Err(error) => tracing::warn!("nothing is counted: {error:#}"),
    }
}

/// What serves NodePorts on loopback, if that is wanted.
pub(super) fn localhost(
    wanted: LocalhostNodePorts,
    events: &Recorder,
) -> io::Result<Option<NodePorts>> {
    match wanted {
        LocalhostNodePorts::On => return NodePorts::start().map(Some),
        LocalhostNodePorts::Off => {}
        LocalhostNodePorts::Missed => {
            let note = "NodePorts are not served on 127.0.0.1, as kube-proxy's iptables mode does; \
                        --localhost-nodeports, or iptables.localhostNodePorts set to true, \
                        switches it on";
            tracing::warn!("{note}");
            let (node, reason) = (events.node(), "LocalhostNodePortsNotServed");
            events.record(Notice::normal(node, reason, START, note));
        }
    }
    Ok(None)
}

/// What becomes of virtual servers that an IPVS mode left.
///
/// # Errors
/// The kernel's.
pub(super) fn drain(config: &Config) -> Result<Drain> {
    let options = &config.ipvs.options;
    Ok(Drain {
        bound: (config.mode != ProxyMode::Ipvs).then_some(options.drain),
        node_ports: leftovers::node_ports(&mut Kernel::open()?)?,
        excluded: options.exclude_cidrs.clone(),
    })
}

/// Passes on what others do to our tables, until the loop has ended.
///
/// # Errors
/// The socket's.
pub(super) async fn listen(
    monitor: Option<Monitor>,
    to: mpsc::Sender<Interference>,
) -> io::Result<()> {
    if let Some(mut monitor) = monitor {
        while to.send(monitor.next().await?).await.is_ok() {}
    }
    pending().await
}

/// What the watches count, shown with all other metrics and on the admin socket.
pub(super) fn meters(status: &Status) -> Meters {
    let meters = Meters::default();
    for collector in meters.collectors() {
        status.register(collector);
    }
    let watched = meters.clone();
    status.show_state_age(move || watched.state_age());
    meters
}

/// What /configz and its like show.
pub(super) fn pages(config: &Config) -> Pages {
    Pages {
        config: config.effective().clone(),
        mode: config.mode.served_by(),
        flags: cli::values(&config.cli),
        profiling: config.profiling,
        flagz: config.features.component_flagz,
        statusz: config.features.component_statusz,
    }
}

/// What the admin socket says of this agent.
pub(super) fn about(config: &Config) -> About {
    let mut about = About {
        node: config.node_name.clone(),
        mode: config.mode.served_by().to_string(),
        pid: std::process::id(),
        ..About::default()
    };
    match &config.source {
        Source::Manifests(directory) => about.manifests = Some(directory.clone()),
        Source::Cluster { kubeconfig, server } => {
            (about.kubeconfig, about.server) = (kubeconfig.clone(), server.clone());
        }
    }
    about
}

/// Keeps the pages at the configuration that holds.
pub(super) async fn follow_pages(
    mut current: latest::Receiver<Arc<Config>>,
    shown: &latest::Sender<Arc<Pages>>,
) -> Infallible {
    while current.changed().await.is_ok() {
        let config = current.borrow_and_update().clone();
        shown.send_replace(Arc::new(pages(&config)));
    }
    pending().await
}
