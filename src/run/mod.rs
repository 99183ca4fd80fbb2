// SPDX-License-Identifier: Apache-2.0
//! One run of the program with a checked configuration: wires the stages together.
//!
//! | module | does |
//! |---|---|
//! | `mode` | settles on one of the modes that are asked for |
//! | `objects` | finds the source of objects |
//! | `parts` | makes what the loop and the listeners are made of |
//! | `cleanup` | `--cleanup` |
//! | `privileges` | gives up what is not needed |
//! | [`ingress`] | the Ingress sidecar, a program of its own |

mod cleanup;
pub mod ingress;
mod mode;
mod objects;
mod parts;
mod privileges;

use std::cell::Cell;
use std::fs;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch as latest};

use crate::backend::nft::{Kernel, monitor::Monitor};
use crate::cli::ProtectRules;
use crate::config::{self, Action, Config};
use crate::observe::events::{self, Inbox, Recorder};
use crate::observe::{self, AdminRequest, Status, forward, log, serve};
use crate::plan::Options;
use crate::reload::{Live, process};
use crate::sync::{Loop, takeover::Takeover};
use crate::watch::{self, cluster::Nodes};
use objects::Objects;

/// Questions of `ferrule debug` that may wait for the loop.
const QUESTIONS: usize = 8;
/// Events that may wait for the loop; more make the source wait.
const EVENTS: usize = 1024;
/// Changes of our rules by others that may wait for the loop; more make the kernel drop them and
/// say so.
const INTERFERENCE: usize = 64;
/// How long the end of the program waits for its last Kubernetes Event to be written.
const LAST_WORD: Duration = Duration::from_secs(2);

/// Does what the configuration asks for.
///
/// # Errors
/// What ends the run, to be printed as one line.
pub fn run(config: &Config) -> Result<()> {
    process::restore_name();
    log::start(config.log);
    match &config.action {
        Action::Run => {
            let (config, passed) = &mode::settle(config)?;
            config
                .warnings
                .iter()
                .for_each(|warning| tracing::warn!("{warning}"));
            process::connection_tracking(config);
            process::ipvs(config)?;
            process::oom_score_adj(config.oom_score_adj);
            privileges::keep_only(privileges::AGENT);
            proxy(config, passed)
        }
        Action::Cleanup => cleanup::run(config),
        Action::InitOnly => {
            let (config, _) = &mode::settle(config)?;
            process::connection_tracking(config);
            process::ipvs(config)
        }
        Action::WriteConfig(path) => fs::write(path, config.effective_yaml())
            .with_context(|| format!("--write-config-to {}", path.display())),
    }
}

/// The loop and what answers requests, until a signal or an error; or until the configuration
/// file takes a new start, which then follows.
fn proxy(config: &Config, passed: &[String]) -> Result<()> {
    let anew = Cell::new(false);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (events, notices) = events::channel(config.node_name.as_str());
        let other_mode = passed.iter().cloned();
        other_mode.for_each(|note| events.of_node("ProxyModeFallback", events::START, note));
        let status = Status::new(config.health_timeout).with_events(events.clone());
        let status = status.with_about(parts::about(config));
        let live = Live::new(config, status.clone());
        let signal = stop_signal()?;
        let stop = async {
            tokio::select! {
                () = signal => tracing::info!("stopping; the rules stay"),
                () = live.follow() => anew.set(true),
            }
        };
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let (shown, pages) = latest::channel(Arc::new(parts::pages(config)));
        let given = Given {
            status: status.clone(),
            meters: parts::meters(&status),
            notices,
            asked,
            rules: live.rules.subscribe(),
        };
        tokio::select! {
            result = serve(&config.listen, pages, status, questions) => {
                if let Err(error) = &result {
                    last_word(&events, error).await;
                }
                Ok(result?)
            }
            never = forward::follow(events.clone()) => match never {},
            never = parts::follow_pages(live.current.subscribe(), &shown) => match never {},
            result = work(config, given, stop) => result,
        }
    })?;
    drop(runtime);
    if anew.get() {
        match process::start_anew()? {}
    }
    Ok(())
}

/// The ends of what others hold the other ends of.
struct Given {
    status: Status,
    meters: watch::Meters,
    notices: Inbox,
    asked: mpsc::Receiver<AdminRequest>,
    rules: latest::Receiver<Options>,
}

/// Follows the cluster until `stop` is ready; the rules stay. The loop has a thread of its own, so
/// that a long commit keeps nobody from answering a health check.
async fn work(config: &Config, given: Given, stop: impl Future<Output = ()>) -> Result<()> {
    let objects = Objects::find(config, &given.meters).await?;
    objects.send_notices(given.notices);
    let mut engine = parts::engine(config).await?;
    given.status.events().starting();
    parts::accounting(config, &given.status);
    let (sender, events) = mpsc::channel(EVENTS);
    let nodes = Nodes::needed(config.mode == config::ProxyMode::Ipvs);
    let node = (config.node_name.clone(), nodes);
    let state_file = parts::state_file(config, engine.kernel())?;
    let source = objects.follow(node, state_file, sender.clone(), given.meters);
    let mut proxy = Loop::new(engine, parts::flows(&given.status), given.status);
    if !config.keep_leftovers {
        let drain = Some(parts::drain(config)?);
        proxy.takeover = Some(Takeover::start(Kernel::open()?, drain)?);
    }
    proxy.needs_node = matches!(config.source, config::Source::Cluster { .. });
    proxy.localhost = parts::localhost(config.localhost_node_ports, &proxy.status.events())?;
    proxy.options = given.rules;
    let (interference, heard) = mpsc::channel(INTERFERENCE);
    proxy.interference = heard;
    let monitor = Monitor::start(proxy.engine.kernel().port()?)?;
    let monitor = (config.protect != ProtectRules::Off).then_some(monitor);
    let (end, ended) = oneshot::channel::<()>();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let running = thread::Builder::new().name("sync".into()).spawn(move || {
        runtime.block_on(proxy.run(events, given.asked, async { drop(ended.await) }));
    })?;
    tokio::select! {
        () = stop => {}
        result = source => {
            result?;
            bail!("the source of objects has ended")
        }
        result = parts::listen(monitor, interference) => {
            result.context("listening for changes of our rules by others")?;
        }
        () = watch::addresses::run(sender) => bail!("the addresses of this host are not told"),
    }
    drop(end);
    running.join().map_err(|_| anyhow!("the loop has failed"))
}

/// Says on the Node why the program ends (kube-proxy does, too).
async fn last_word(events: &Recorder, error: &observe::Error) {
    let healthz =
        matches!(error, observe::Error::Bind { setting, .. } if setting.contains("healthz"));
    events.not_listening(healthz, error.to_string());
    events.flush(LAST_WORD).await;
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
