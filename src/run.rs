// SPDX-License-Identifier: Apache-2.0
//! One run of the program with a checked configuration: wires the stages together.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch as latest};

use crate::backend::conntrack::Conntrack;
use crate::backend::leftovers;
use crate::backend::nft::{Kernel, probe::probe};
use crate::backend::{Nftables, sysctl};
use crate::config::{self, Action, Config, LocalhostNodePorts};
use crate::localhost::NodePorts;
use crate::model::{Event, IpFamily, State};
use crate::observe::events::{self, Notice, Recorder};
use crate::observe::{self, AdminRequest, Pages, Status, forward, log, serve};
use crate::plan::nft::{Op, TABLE};
use crate::sync::{Engine, Loop, flows::Flows, takeover};
use crate::watch::{self, cluster, manifests};

/// Questions of `ferrule debug` that may wait for the loop.
const QUESTIONS: usize = 8;
/// Events that may wait for the loop; more make the source wait.
const EVENTS: usize = 1024;
/// How long the end of the program waits for its last Kubernetes Event to be written.
const LAST_WORD: Duration = Duration::from_secs(2);

/// Does what the configuration asks for.
///
/// # Errors
/// What ends the run, to be printed as one line.
pub fn run(config: &Config) -> Result<()> {
    log::start(config.log);
    match config.action {
        Action::Run => {
            config
                .warnings
                .iter()
                .for_each(|warning| tracing::warn!("{warning}"));
            connection_tracking(config);
            proxy(config)
        }
        Action::Cleanup => cleanup(config),
        Action::InitOnly => {
            connection_tracking(config);
            Ok(())
        }
    }
}

/// Sets what connection tracking is to have. kube-proxy ends if it can't; the rules work without.
fn connection_tracking(config: &Config) {
    for setting in &config.conntrack {
        if let Err(error) = sysctl::apply(setting) {
            tracing::warn!(
                "{} stays as it is, not {}: {error}",
                setting.name,
                setting.value
            );
        }
    }
}

/// The loop and what answers requests, until a signal or an error.
fn proxy(config: &Config) -> Result<()> {
    Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let (events, notices) = events::channel(config.node_name.as_str());
            let status = Status::new(config.health_timeout).with_events(events.clone());
            let meters = watch::Meters::default();
            for collector in meters.collectors() {
                status.register(collector);
            }
            let (questions, asked) = mpsc::channel(QUESTIONS);
            let stop = stop_signal()?;
            let (_pages, shown) = latest::channel(Arc::new(pages(config)));
            let objects = objects(config, &meters).await?;
            match &objects {
                Objects::Server(client) => {
                    drop(tokio::spawn(events::send(client.clone(), notices)))
                }
                Objects::Directory(_) => drop(notices),
            }
            tokio::select! {
                result = serve(&config.listen, shown, status.clone(), questions) => {
                    if let Err(error) = &result {
                        last_word(&events, error).await;
                    }
                    Ok(result?)
                }
                never = forward::follow(events.clone()) => match never {},
                result = work(config, objects, status, meters, asked, stop) => result,
            }
        })
}

/// What /configz and its like show. kube-proxy's fields as far as they are kept.
fn pages(config: &Config) -> Pages {
    let text = |address: Option<SocketAddr>| address.map_or(String::new(), |a| a.to_string());
    Pages {
        config: json!({
            "kind": "KubeProxyConfiguration",
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "mode": "nftables",
            "hostnameOverride": config.node_name,
            "healthzBindAddress": text(config.listen.healthz),
            "metricsBindAddress": text(config.listen.metrics),
            "bindAddressHardFail": config.listen.hard_fail,
        }),
        ..Pages::default()
    }
}

/// Follows the cluster until `stop` is ready; the rules stay. The loop has a thread of its own, so
/// that a long commit keeps nobody from answering a health check.
async fn work(
    config: &Config,
    objects: Objects,
    status: Status,
    meters: watch::Meters,
    asked: mpsc::Receiver<AdminRequest>,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let engine = engine(config).await?;
    status.events().starting();
    let (sender, events) = mpsc::channel(EVENTS);
    let source = source(objects, config.node_name.clone(), sender.clone(), meters);
    let mut proxy = Loop::new(engine, flows(&status), status);
    if !config.keep_leftovers {
        proxy.takeover = Some(takeover::Takeover::start(Kernel::open()?)?);
    }
    proxy.needs_node = matches!(config.source, config::Source::Cluster { .. });
    proxy.localhost = localhost(config.localhost_node_ports, &proxy.status.events())?;
    let (end, ended) = oneshot::channel::<()>();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let running = thread::Builder::new().name("sync".into()).spawn(move || {
        runtime.block_on(proxy.run(events, asked, async { drop(ended.await) }));
    })?;
    tokio::select! {
        () = stop => tracing::info!("stopping; the rules stay"),
        result = source => {
            result?;
            bail!("the source of objects has ended")
        }
        () = watch::addresses::run(sender) => bail!("the addresses of this host are not told"),
    }
    drop(end);
    running.join().map_err(|_| anyhow!("the loop has failed"))
}

/// An engine that knows this host's addresses, on a kernel that can do what the rules need.
async fn engine(config: &Config) -> Result<Engine<Kernel>> {
    let families = families();
    let mut kernel = Kernel::open()?;
    probe(&mut kernel, &families)?;
    let mut state = State::new(config.node_name.as_str()).with_node_ip(config.node_ip);
    let addresses = watch::addresses::list().await?;
    state.apply(Event::LocalAddresses(addresses));
    Ok(Engine::new(kernel, config.rules.clone(), state, &families))
}

/// Says on the Node why the program ends (kube-proxy does, too).
async fn last_word(events: &Recorder, error: &observe::Error) {
    let healthz =
        matches!(error, observe::Error::Bind { setting, .. } if setting.contains("healthz"));
    events.not_listening(healthz, error.to_string());
    events.flush(LAST_WORD).await;
}

/// Where objects are.
enum Objects {
    Directory(PathBuf),
    Server(watch::Client),
}

/// Finds the way there. No request is made yet.
async fn objects(config: &Config, meters: &watch::Meters) -> Result<Objects> {
    Ok(match &config.source {
        config::Source::Manifests(path) => Objects::Directory(path.clone()),
        config::Source::Cluster { kubeconfig, server } => {
            Objects::Server(watch::client(kubeconfig.as_deref(), server.as_deref(), meters).await?)
        }
    })
}

/// Sends what is there and what changes, and ends only with an error.
fn source(
    objects: Objects,
    node: String,
    events: mpsc::Sender<Event>,
    meters: watch::Meters,
) -> Source {
    match objects {
        Objects::Directory(path) => manifests::run(path, node, events).boxed(),
        Objects::Server(client) => cluster::run(client, node, events, meters).map(Ok).boxed(),
    }
}

type Source = BoxFuture<'static, Result<(), watch::Error>>;

/// IPv4, and IPv6 where the kernel has it (kube-proxy runs dual-stack then too).
fn families() -> Vec<IpFamily> {
    let v6 = Path::new("/proc/net/if_inet6").exists();
    IpFamily::ALL
        .into_iter()
        .filter(|f| *f == IpFamily::V4 || v6)
        .collect()
}

/// What serves NodePorts on loopback, if that is wanted.
fn localhost(wanted: LocalhostNodePorts, events: &Recorder) -> io::Result<Option<NodePorts>> {
    match wanted {
        LocalhostNodePorts::On => return NodePorts::start().map(Some),
        LocalhostNodePorts::Off => {}
        LocalhostNodePorts::Missed => {
            let note = "NodePorts are not served on 127.0.0.1, as kube-proxy's iptables mode does; \
                        --localhost-nodeports, or iptables.localhostNodePorts set to true, \
                        switches it on";
            tracing::warn!("{note}");
            let (node, reason) = (events.node(), "LocalhostNodePortsNotServed");
            events.record(Notice::normal(node, reason, "StartKubeProxy", note));
        }
    }
    Ok(None)
}

/// What ends stale flows; without it, UDP clients of an endpoint that goes have to notice alone.
fn flows(status: &Status) -> Option<Flows> {
    let start = || anyhow::Ok(Flows::start(Conntrack::new()?, status.meters().clone())?);
    start()
        .inspect_err(|e| tracing::warn!("stale flows will not be ended: {e:#}"))
        .ok()
}

/// Removes our tables and, unless they are to stay, kube-proxy's rules. Says so if there are none.
fn cleanup(config: &Config) -> Result<()> {
    let mut kernel = Kernel::open()?;
    let mut nothing = true;
    for family in IpFamily::ALL {
        if kernel.read_table(family)?.is_some() {
            kernel.commit(family, &[Op::DeleteTable])?;
            tracing::info!(%family, "removed the table {TABLE}");
            nothing = false;
        }
    }
    if !config.keep_leftovers {
        let swept = leftovers::sweep(&mut kernel)?;
        takeover::report(&swept);
        nothing &= swept.removed.is_empty();
    }
    if nothing {
        tracing::info!("nothing to remove");
    }
    Ok(())
}

/// Ready on SIGTERM or SIGINT, which no longer kill the process from now on.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
