// SPDX-License-Identifier: Apache-2.0
//! The whole agent on a cluster made for tests: from the API server to the kernel.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ferrule::backend::nft::Kernel;
use ferrule::model::Event;
use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::agent::{self, Agent};
use crate::change::Kind;
use crate::kernel::{self, Commits};
use crate::report::{Changes, Report};
use crate::world::{self, NAMESPACE, Size};

const SOURCE: &str = "API server";
/// Requests under way at a time while objects are created.
const CONCURRENCY: usize = 16;
/// How often deletion is asked for.
const ATTEMPTS: usize = 20;

/// Measures one size, in the network namespace of the calling thread.
pub(crate) fn run(
    binary: &Path,
    kubeconfig: &Path,
    node: &str,
    size: Size,
    changes: u32,
    report: &mut Report,
) -> Result<()> {
    let mut kernel = Kernel::open()?;
    ensure!(
        !kernel::hooked(&mut kernel)?,
        "there is an agent's table already: stop the agent, then run ferrule --cleanup"
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let cluster = runtime.block_on(Cluster::connect(kubeconfig))?;
    let measured = runtime.block_on(cluster.fill(size)).and_then(|()| {
        let scratch = tempfile::tempdir().context("temporary directory")?;
        let arguments = [
            OsStr::new("--kubeconfig"),
            kubeconfig.as_os_str(),
            OsStr::new("--hostname-override"),
            OsStr::new(node),
            OsStr::new("--proxy-mode=nftables"),
        ];
        let (agent, took) = Agent::start(binary, &arguments, scratch.path(), &mut kernel)?;
        let elements = kernel::endpoints(&mut kernel)?;
        let expected = (size.services * size.endpoints) as usize;
        ensure!(
            elements >= expected,
            "{size}: the kernel holds {elements} endpoints"
        );
        let mut cold = agent.cold(size, SOURCE, took, elements)?;
        for kind in Kind::ALL {
            let changed = change_all(&cluster, kind, size, changes);
            let mut durations = runtime.block_on(changed).context(kind.name())?;
            report.changes.push(Changes::new(
                size.to_string(),
                SOURCE,
                kind.name(),
                &mut durations,
            ));
        }
        cold.rss_after_kb = Some(agent.memory()?.now);
        report.cold.push(cold);
        Ok(())
    });
    let emptied = runtime
        .block_on(cluster.empty())
        .context("deleting the objects");
    // Unlike a namespace of our own, this one stays.
    let cleaned = agent::clean_up(binary);
    measured.and(emptied).and(cleaned)
}

async fn change_all(
    cluster: &Cluster,
    kind: Kind,
    size: Size,
    changes: u32,
) -> Result<Vec<Duration>> {
    let mut commits = Commits::listen()?;
    let mut durations = Vec::new();
    for n in 0..changes {
        let mut events = kind.events(size, changes, n);
        // A Service is created after its EndpointSlice, which alone programs nothing.
        events.sort_by_key(|event| matches!(event, Event::Service(..)));
        let last = events.pop().context("a change without an event")?;
        for event in &events {
            cluster.apply(event).await?;
        }
        commits.settle()?;
        let begun = Instant::now();
        cluster.apply(&last).await?;
        durations.push(commits.next()?.duration_since(begun));
        commits.settle()?;
    }
    Ok(durations)
}

/// The objects of the benchmark in a cluster.
struct Cluster {
    namespaces: Api<Namespace>,
    services: Api<Service>,
    slices: Api<EndpointSlice>,
}

impl Cluster {
    async fn connect(kubeconfig: &Path) -> Result<Self> {
        let file =
            Kubeconfig::read_from(kubeconfig).with_context(|| kubeconfig.display().to_string())?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        Ok(Self {
            namespaces: Api::all(client.clone()),
            services: Api::namespaced(client.clone(), NAMESPACE),
            slices: Api::namespaced(client, NAMESPACE),
        })
    }

    /// Creates everything.
    async fn fill(&self, size: Size) -> Result<()> {
        let namespace = json!({"metadata": {"name": NAMESPACE}});
        if self.namespaces.get_opt(NAMESPACE).await?.is_none() {
            create(&self.namespaces, namespace).await?;
        }
        self.empty().await.context("objects of an earlier run")?;
        let objects = stream::iter(0..size.services).map(|n| async move {
            let slice = world::slice_manifest(&world::slice(n, size.endpoints));
            create(&self.slices, slice).await?;
            create(&self.services, world::service_manifest(&world::service(n))).await
        });
        objects
            .buffer_unordered(CONCURRENCY)
            .try_collect::<()>()
            .await
    }

    /// Creates or changes the object of an event.
    async fn apply(&self, event: &Event) -> Result<()> {
        match event {
            Event::Service(_, observed) => {
                let service = observed.object.as_ref().context("no Service")?;
                create(&self.services, world::service_manifest(service)).await
            }
            Event::Slice(name, observed) => {
                let slice = observed.object.as_ref().context("no EndpointSlice")?;
                let manifest = world::slice_manifest(slice);
                let patch = Patch::Merge(json!({"endpoints": manifest["endpoints"]}));
                match self
                    .slices
                    .patch(&name.name, &PatchParams::default(), &patch)
                    .await
                {
                    Err(kube::Error::Api(status)) if status.code == 404 => {
                        create(&self.slices, manifest).await
                    }
                    other => other.map(drop).context("changing an EndpointSlice"),
                }
            }
            _ => Ok(()),
        }
    }

    /// Deletes everything but the namespace.
    async fn empty(&self) -> Result<()> {
        delete_all(&self.services).await?;
        delete_all(&self.slices).await
    }
}

/// Deletes all objects of a kind. An API server may give up half-way, so this asks again.
async fn delete_all<K>(api: &Api<K>) -> Result<()>
where
    K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut result = Ok(());
    for _ in 0..ATTEMPTS {
        if api
            .list_metadata(&ListParams::default().limit(1))
            .await?
            .items
            .is_empty()
        {
            return Ok(());
        }
        let (how, which) = (DeleteParams::background(), ListParams::default());
        result = api.delete_collection(&how, &which).await.map(drop);
    }
    result.context("objects are left")
}

async fn create<K>(api: &Api<K>, manifest: Value) -> Result<()>
where
    K: kube::Resource + Clone + DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    let name = manifest["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let object: K = serde_json::from_value(manifest).with_context(|| name.clone())?;
    api.create(&PostParams::default(), &object)
        .await
        .map(drop)
        .context(name)
}
