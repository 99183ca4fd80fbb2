// SPDX-License-Identifier: Apache-2.0
//! What should be programmed for the objects of a directory or an API server, by the agent's
//! flags, planned here: no agent is asked.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::kernel::Snapshot;
use crate::config::{Config, ProxyMode, Source};
use crate::model::{Event, IpFamily, State, Target};
use crate::plan::change::Change;
use crate::plan::ledger::{Ledger, Owner};
use crate::plan::nft::{Data, Key, SetId};
use crate::plan::{Ruleset, service, skeleton};
use crate::watch::cluster::{self, Nodes};
use crate::watch::{self, Meters, manifests};

/// How long everything may take to be listed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Events on their way.
const EVENTS: usize = 1_024;

/// The state that the objects make. `local` are this host's addresses; without them, the Node
/// object's stand for them.
///
/// # Errors
/// Objects that cannot be read.
pub(super) async fn state(config: &Config, local: Option<Vec<IpAddr>>) -> Result<State> {
    let mut state = State::new(config.node_name.as_str()).with_node_ip(config.node_ip);
    if !config.features.allow_service_external_ips {
        state = state.without_external_ips();
    }
    let listed = tokio::time::timeout(PATIENCE, list(config, &mut state));
    let place = match &config.source {
        Source::Manifests(path) => path.display().to_string(),
        Source::Cluster { .. } => "the API server".to_owned(),
    };
    let seconds = PATIENCE.as_secs();
    listed
        .await
        .with_context(|| format!("{place} has not told all its objects within {seconds} s"))??;
    let local = local.unwrap_or_else(|| state.node().addresses.clone());
    state.apply(Event::LocalAddresses(local));
    Ok(state)
}

async fn list(config: &Config, state: &mut State) -> Result<()> {
    let (sender, mut events) = mpsc::channel(EVENTS);
    let (node, meters) = (config.node_name.clone(), Meters::default());
    let mut source = match &config.source {
        Source::Manifests(path) => manifests::run(path.clone(), node, sender).boxed(),
        Source::Cluster { kubeconfig, server } => {
            let (kubeconfig, server) = (kubeconfig.as_deref(), server.as_deref());
            let client = watch::client(kubeconfig, server, &meters).await?;
            let nodes = Nodes::needed(config.mode == ProxyMode::Ipvs);
            cluster::run(client, (node, nodes), None, sender, meters)
                .map(Ok)
                .boxed()
        }
    };
    while !state.synced() {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) => drop(state.apply(event)),
                None => bail!("the source of objects has ended"),
            },
            result = &mut source => {
                result?;
                bail!("the source of objects has ended");
            }
        }
    }
    Ok(())
}

/// What a family's table should hold. Endpoints keep the places that they have in the kernel, so
/// that only what matters differs.
pub(super) fn ruleset(
    config: &Config,
    state: &State,
    family: IpFamily,
    snapshot: &Snapshot,
) -> Ruleset {
    let (mut ledger, mut change) = (Ledger::default(), Change::ignored());
    let node = skeleton::plan(state, &config.rules, family);
    ledger.replace(Owner::Node, node, &mut change);
    let held = snapshot.families.get(&family);
    let place = |set: SetId, key: &Key| match held?.ruleset.lookup(set, key)? {
        Data::Target(address, port) => Some(Target {
            address: *address,
            port: *port,
        }),
        _ => None,
    };
    for name in state.service_names() {
        if let Some(found) = state.service(name) {
            let plan = service::plan(state, &config.rules, found, family, &place);
            ledger.replace(Owner::Service(name.clone()), plan, &mut change);
        }
    }
    ledger.ruleset()
}
