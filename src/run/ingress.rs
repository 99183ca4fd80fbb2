// SPDX-License-Identifier: Apache-2.0
//! One run of the Ingress sidecar: wires its sides together.

use std::convert::Infallible;
use std::io::stdout;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch as latest};

use super::privileges;
use crate::cli::{AccessLogFormat, IngressCli, LogFormat};
use crate::config;
use crate::ingress::access_log::{AccessLog, Format};
use crate::ingress::catalog::{Catalog, Options};
use crate::ingress::control::{self, Control, Outputs, Question};
use crate::ingress::nginx_metrics::{self, NginxMetrics};
use crate::ingress::serve::{ServeOptions, Server};
use crate::ingress::table::Settings;
use crate::ingress::tls::Certificates;
use crate::ingress::{explain, lint, meters, pass, resolve, status, tls};
use crate::model::{Behaviour, Event, ServiceName};
use crate::observe::events::{self, Inbox, Recorder};
use crate::observe::{log, sidecar};
use crate::watch::{self, Client, Meters, cluster, manifests};

/// Events that may wait for the loop; more make the source wait.
const EVENTS: usize = 1024;
/// Questions of `ferrule debug` that may wait for the loop.
const QUESTIONS: usize = 8;
/// How long requests may take to end, unless somebody says otherwise.
const GRACE: Duration = Duration::from_secs(30);
/// How long giving the Lease back may take.
const LAST_WORD: Duration = Duration::from_secs(2);
/// How often it is asked whether connections have ended.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the loop may take to answer one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs until a signal or an error.
///
/// # Errors
/// What ends the run, to be printed as one line.
pub fn run(cli: &IngressCli) -> Result<()> {
    log::start(config::Log {
        verbosity: cli.verbosity,
        format: match cli.log_format {
            LogFormat::Text => config::LogFormat::Text,
            LogFormat::Json => config::LogFormat::Json,
        },
    });
    privileges::keep_only(privileges::INGRESS);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(sidecar(cli));
    // A directory may be read just now, which nobody needs any more.
    runtime.shutdown_background();
    result
}

async fn sidecar(cli: &IngressCli) -> Result<()> {
    let node = node_name(cli)?;
    let stop = super::stop_signal()?;
    let (recorder, notices) = events::channel(node.as_str());
    let outputs = outputs(recorder)?;
    let counted = sidecar::Counted::default();
    let watched = Meters::default();
    let served = meters::Meters::default();
    let nginx = nginx_metrics(cli, &node, &served, &outputs);
    for metrics in nginx.iter().cloned() {
        counted.register(Box::new(metrics));
    }
    let collectors = watched.collectors().into_iter().chain(served.collectors());
    collectors.for_each(|collector| counted.register(collector));
    counted.register(outputs.changes.annotations.collector());
    let (sender, events) = mpsc::channel(EVENTS);
    let (questions, asked) = mpsc::channel::<Question>(QUESTIONS);
    for line in &cli.foreign.ignored {
        tracing::info!("{line}");
    }
    let client = client(cli, notices, &watched).await?;
    let (leave, leaving) = latest::channel(false);
    let status = status((cli, &node), client.clone(), questions.clone(), leaving);
    let source = source(cli, &node, &outputs, client, sender.clone(), watched);
    let names = outputs.externals.subscribe();
    let control = Control::new(&node, options(cli), outputs.clone());
    let listen = listen(cli);
    let open = pass::Open::default();
    let passed = pass::run(
        pass_options(cli, &outputs),
        outputs.streams.subscribe(),
        open.clone(),
    );
    let ask = move |place| ask(place, questions.clone());
    tokio::select! {
        result = serve(cli, &outputs, (served, nginx), (stop, open, leave)) => result,
        result = passed => {
            result.context("ports are not passed on")?;
            bail!("ports are not passed on any more")
        }
        result = source => {
            result?;
            bail!("the source of objects has ended")
        }
        () = control.run(events, asked) => bail!("the loop has ended"),
        never = status => match never {},
        () = resolve::run(names, sender, resolve::AGAIN) => bail!("names are not resolved any more"),
        never = sidecar::serve(&listen, outputs.ready.subscribe(), counted, ask) => match never {},
    }
}

fn outputs(events: Recorder) -> Result<Outputs> {
    Ok(Outputs {
        table: Arc::new(ArcSwap::default()),
        store: tls::Store::new()?,
        wanted: latest::Sender::new(None),
        config_maps: latest::Sender::new(None),
        externals: latest::Sender::new(Arc::default()),
        streams: latest::Sender::new(Arc::default()),
        changes: Arc::default(),
        ready: latest::Sender::new(false),
        events,
    })
}

/// Serves as soon as there is all that is to be served, until `stop` is ready; then lets requests
/// come to their end.
async fn serve(
    cli: &IngressCli,
    outputs: &Outputs,
    (meters, nginx): (meters::Meters, Option<NginxMetrics>),
    (stop, open, leave): (impl Future<Output = ()>, pass::Open, latest::Sender<bool>),
) -> Result<()> {
    tokio::pin!(stop);
    let mut ready = outputs.ready.subscribe();
    tokio::select! {
        () = &mut stop => return Ok(()),
        ready = ready.wait_for(|ready| *ready) => drop(ready?),
    }
    let format = match cli.access_log {
        AccessLogFormat::Off => None,
        AccessLogFormat::Text => Some(Format::Text),
        AccessLogFormat::Json => Some(Format::Json),
    };
    let options = ServeOptions {
        http: addresses(cli, cli.http_port),
        https: addresses(cli, cli.https_port),
        threads: cli.threads,
        connections: cli.connections,
        meters,
        nginx,
        access_log: format
            .map(|format| AccessLog::start(format, stdout()))
            .transpose()?,
    };
    let (table, store) = (outputs.table.clone(), outputs.store.clone());
    // It starts runtimes of its own, which must not be done within one.
    let start = tokio::task::spawn_blocking(move || Server::start(options, table, store));
    let server = start.await??;
    tracing::info!(http = ?server.http(), https = ?server.https(), "serving");
    stop.await;
    outputs.ready.send_replace(false);
    // Another process may write the status from now on.
    leave.send_replace(true);
    tracing::info!("stopping once requests have ended");
    let configured = outputs.table.load().settings.shutdown_grace;
    let chosen = cli.shutdown_grace_period.map(Duration::from_secs);
    let grace = chosen.or(configured).unwrap_or(GRACE);
    // No port takes new connections.
    outputs.streams.send_replace(Arc::default());
    let passed = async {
        while open.count() > 0 {
            tokio::time::sleep(PAUSE).await;
        }
    };
    let (left, _) = tokio::join!(server.drain(grace), tokio::time::timeout(grace, passed));
    let left = left + open.count();
    if left > 0 {
        tracing::warn!(connections = left, "had to be closed");
    }
    // What is left of the time is worth more than a Lease.
    let _ = tokio::time::timeout(LAST_WORD, leave.closed()).await;
    Ok(())
}

/// Metrics by ingress-nginx's names, if somebody wants them.
fn nginx_metrics(
    cli: &IngressCli,
    node: &str,
    meters: &meters::Meters,
    outputs: &Outputs,
) -> Option<NginxMetrics> {
    let of_pod = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let names = nginx_metrics::Names {
        namespace: of_pod("POD_NAMESPACE").unwrap_or_default(),
        class: cli.controller_class.join(","),
        pod: of_pod("POD_NAME").unwrap_or_else(|| node.to_owned()),
        per_host: cli.metrics_per_host,
    };
    let metrics = || NginxMetrics::new(names, meters.clone(), outputs.changes.clone());
    cli.nginx_metrics.then(metrics)
}

fn pass_options(cli: &IngressCli, outputs: &Outputs) -> pass::Options {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    pass::Options {
        addresses: cli.listen_addresses.clone(),
        threads: if cli.threads == 0 { cores } else { cli.threads },
        connections: cli.connections,
        table: outputs.table.clone(),
    }
}

fn addresses(cli: &IngressCli, port: u16) -> Vec<SocketAddr> {
    let all = cli.listen_addresses.iter().filter(|_| port != 0);
    all.map(|address| SocketAddr::new(*address, port)).collect()
}

fn listen(cli: &IngressCli) -> sidecar::Listen {
    let port = cli.healthz_port;
    let admin = Some(cli.admin_socket.clone());
    sidecar::Listen {
        status: (port != 0).then_some(SocketAddr::new(cli.healthz_host, port)),
        admin: admin.filter(|path| *path != PathBuf::new()),
    }
}

fn options(cli: &IngressCli) -> Options {
    let named = service_name;
    Options {
        controllers: cli
            .controller_class
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
        class: cli.ingress_class.as_str().into(),
        without_class: cli.watch_ingress_without_class,
        behaviour: cli.behaviour(),
        namespace: cli.watch_namespace.as_deref().map(Into::into),
        default_backend: cli.default_backend_service.as_ref().map(named),
        default_certificate: cli.default_ssl_certificate.as_ref().map(named),
        local_first: cli.prefer_local_endpoints,
        config_map: cli.configmap.as_ref().map(named),
        tcp_services: cli.tcp_services_configmap.as_ref().map(named),
        udp_services: cli.udp_services_configmap.as_ref().map(named),
        reserved_ports: [cli.http_port, cli.https_port, cli.healthz_port].into(),
        settings: Arc::new(settings(cli)),
        ..Options::default()
    }
}

/// Where ingress-nginx answers load balancers that look whether it is alive.
const HEALTH: &str = "/healthz";

fn settings(cli: &IngressCli) -> Settings {
    let nginx = cli.behaviour() == Behaviour::IngressNginx;
    Settings {
        https_port: cli.https_port,
        health: nginx.then(|| HEALTH.into()),
        ..Settings::default()
    }
}

fn service_name((namespace, name): &(String, String)) -> ServiceName {
    ServiceName::new(namespace.as_str(), name.as_str())
}

/// The way to the API server; none if objects are read from files.
async fn client(cli: &IngressCli, notices: Inbox, meters: &Meters) -> Result<Option<Client>> {
    if cli.manifests.is_some() {
        return Ok(None);
    }
    let (kubeconfig, server) = (cli.kubeconfig.as_deref(), cli.master.as_deref());
    let client = watch::client(kubeconfig, server, meters).await?;
    let notices = notices.reported_by("ferrule-ingress");
    drop(tokio::spawn(events::send(client.clone(), notices)));
    Ok(Some(client))
}

/// The source of objects. It ends only with an error.
fn source(
    cli: &IngressCli,
    node: &str,
    outputs: &Outputs,
    client: Option<Client>,
    events: mpsc::Sender<Event>,
    meters: Meters,
) -> BoxFuture<'static, Result<(), watch::Error>> {
    let node = node.to_owned();
    match (client, cli.manifests.clone()) {
        (Some(client), _) => {
            let named = [
                &cli.configmap,
                &cli.tcp_services_configmap,
                &cli.udp_services_configmap,
            ];
            let scope = cluster::Scope {
                node_name: node,
                namespace: cli.watch_namespace.clone(),
                config_maps: named.into_iter().flatten().map(service_name).collect(),
            };
            let wanted = (outputs.wanted.subscribe(), outputs.config_maps.subscribe());
            let follow = cluster::run_ingress(client, scope, wanted, events, meters);
            follow.map(Ok).boxed()
        }
        (None, path) => manifests::run_ingress(path.unwrap_or_default(), node, events).boxed(),
    }
}

/// Writes the status of Ingresses, where there is somebody to write it to and the user wants it.
async fn status(
    (cli, node): (&IngressCli, &str),
    client: Option<Client>,
    questions: mpsc::Sender<Question>,
    leaving: latest::Receiver<bool>,
) -> Infallible {
    let Some(client) = client.filter(|_| cli.update_status) else {
        drop(leaving);
        return std::future::pending().await;
    };
    let addresses = cli.publish_status_address.iter();
    let publish = match &cli.publish_service {
        Some((namespace, name)) => {
            status::Publish::Service(ServiceName::new(namespace.as_str(), name.as_str()))
        }
        None if cli.publish_status_address.is_empty() => status::Publish::Nodes,
        None => status::Publish::Addresses(addresses.map(|a| a.as_str().into()).collect()),
    };
    let settings = status::Settings {
        namespace: client.default_namespace().to_owned(),
        election: cli.election_id.clone(),
        identity: format!("{node}_{}", std::process::id()),
        publish,
    };
    status::run(client, settings, questions, leaving).await
}

fn node_name(cli: &IngressCli) -> Result<String> {
    if let Some(name) = &cli.hostname_override {
        return Ok(name.trim().to_ascii_lowercase());
    }
    let name = nix::unistd::gethostname().context("the host name is unknown")?;
    let name = name
        .into_string()
        .map_err(|name| anyhow!("host name {name:?}: not UTF-8"))?;
    Ok(name.to_ascii_lowercase())
}

/// Answers `ferrule debug`: `/ingress`, `/lint`, and `/route?host=…&path=…`.
async fn ask(place: String, questions: mpsc::Sender<Question>) -> Result<Value, (u16, String)> {
    let (path, query) = place.split_once('?').unwrap_or((&place, ""));
    let parameter = |key: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.find(|(name, _)| *name == key);
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    let (host, wanted) = (parameter("host"), parameter("path"));
    let value = match path {
        "/ingress" => {
            let all = |catalog: &Catalog, shown: &Certificates| {
                serde_json::to_value(explain::everything(catalog, shown))
            };
            control::ask(&questions, PATIENCE, all).await
        }
        "/lint" => {
            let all =
                |catalog: &Catalog, _: &Certificates| serde_json::to_value(lint::lint(catalog));
            control::ask(&questions, PATIENCE, all).await
        }
        "/route" => {
            let one = move |catalog: &Catalog, shown: &Certificates| {
                serde_json::to_value(explain::explain(catalog, shown, &host, &wanted))
            };
            control::ask(&questions, PATIENCE, one).await
        }
        _ => return Err((404, format!("{path} is not there"))),
    };
    let value = value.ok_or_else(|| (503, "the sidecar does not answer".to_owned()))?;
    value.map_err(|error| (500, error.to_string()))
}
