// SPDX-License-Identifier: Apache-2.0
//! One run of the program with a checked configuration: wires the stages together.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch as channel};

use crate::backend::Nftables;
use crate::backend::conntrack::Conntrack;
use crate::backend::nft::{Kernel, probe::probe};
use crate::config::{self, Action, Config};
use crate::model::{Event, IpFamily, State};
use crate::observe::{AdminRequest, Status, log, serve};
use crate::plan::Options;
use crate::plan::nft::{Op, TABLE};
use crate::reload::{Live, process};
use crate::sync::{Engine, Loop, flows::Flows};
use crate::watch::{self, cluster, manifests};

/// Questions of `ferrule debug` that may wait for the loop.
const QUESTIONS: usize = 8;
/// Events that may wait for the loop; more make the source wait.
const EVENTS: usize = 1024;

/// Does what the configuration asks for.
///
/// # Errors
/// What ends the run, to be printed as one line.
pub fn run(config: &Config) -> Result<()> {
    log::start(config.log);
    process::restore_name();
    match &config.action {
        Action::Run => {
            config
                .warnings
                .iter()
                .for_each(|warning| tracing::warn!("{warning}"));
            process::connection_tracking(config);
            process::oom_score_adj(config.oom_score_adj);
            proxy(config)
        }
        Action::Cleanup => cleanup(),
        Action::InitOnly => {
            process::connection_tracking(config);
            Ok(())
        }
        Action::WriteConfig(path) => fs::write(path, config.effective_yaml())
            .with_context(|| format!("--write-config-to {}", path.display())),
    }
}

/// The loop and what answers requests, until a signal or an error; or until the configuration
/// file takes a new start, which then follows.
fn proxy(config: &Config) -> Result<()> {
    let anew = Cell::new(false);
    let status = Status::new(config.health_timeout);
    let live = Live::new(config, status.clone());
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let signal = stop_signal()?;
        let stop = async {
            tokio::select! {
                () = signal => tracing::info!("stopping; the rules stay"),
                () = live.follow() => anew.set(true),
            }
        };
        let rules = live.rules.subscribe();
        tokio::select! {
            result = serve(&config.listen, status.clone(), questions) => Ok(result?),
            result = work(config, status, asked, rules, stop) => result,
        }
    })?;
    drop(runtime);
    if anew.get() {
        match process::start_anew()? {}
    }
    Ok(())
}

/// Follows the cluster until `stop` is ready; the rules stay. The loop has a thread of its own, so
/// that a long commit keeps nobody from answering a health check.
async fn work(
    config: &Config,
    status: Status,
    asked: mpsc::Receiver<AdminRequest>,
    rules: channel::Receiver<Options>,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let engine = engine(config).await?;
    let (sender, events) = mpsc::channel(EVENTS);
    let source = source(config, sender.clone()).await?;
    let mut proxy = Loop::new(engine, flows(), status);
    proxy.options = rules;
    proxy.needs_node = matches!(config.source, config::Source::Cluster { .. });
    let (end, ended) = oneshot::channel::<()>();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let running = thread::Builder::new().name("sync".into()).spawn(move || {
        runtime.block_on(proxy.run(events, asked, async { drop(ended.await) }));
    })?;
    tokio::select! {
        () = stop => {}
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

/// Where objects come from, as a future that sends them and ends only with an error.
async fn source(config: &Config, events: mpsc::Sender<Event>) -> Result<Source> {
    let node = config.node_name.clone();
    Ok(match &config.source {
        config::Source::Manifests(path) => manifests::run(path.clone(), node, events).boxed(),
        config::Source::Cluster { kubeconfig, server } => {
            let client = watch::client(kubeconfig.as_deref(), server.as_deref()).await?;
            cluster::run(client, node, events).map(Ok).boxed()
        }
    })
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

/// What ends stale flows; without it, UDP clients of an endpoint that goes have to notice alone.
fn flows() -> Option<Flows> {
    let start = || anyhow::Ok(Flows::start(Conntrack::new()?)?);
    start()
        .inspect_err(|e| tracing::warn!("stale flows will not be ended: {e:#}"))
        .ok()
}

/// Removes our tables, if there are any.
fn cleanup() -> Result<()> {
    let mut kernel = Kernel::open()?;
    for family in IpFamily::ALL {
        if kernel.read_table(family)?.is_some() {
            kernel.commit(family, &[Op::DeleteTable])?;
            tracing::info!(%family, "removed the table {TABLE}");
        }
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
