// SPDX-License-Identifier: Apache-2.0
//! Where Services, EndpointSlices and Nodes come from.

use std::path::PathBuf;

use anyhow::Result;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::config::{Config, Source};
use crate::model::Event;
use crate::observe::events::{self, Inbox};
use crate::watch::cluster::{self, Nodes, StateFile};
use crate::watch::{self, Meters, manifests};

/// Where objects are.
pub(super) enum Objects {
    Directory(PathBuf),
    Server(watch::Client),
}

impl Objects {
    /// Finds the way there. No request is made yet.
    pub(super) async fn find(config: &Config, meters: &Meters) -> Result<Self> {
        Ok(match &config.source {
            Source::Manifests(path) => Self::Directory(path.clone()),
            Source::Cluster { kubeconfig, server } => {
                let (kubeconfig, server) = (kubeconfig.as_deref(), server.as_deref());
                Self::Server(watch::client(kubeconfig, server, meters).await?)
            }
        })
    }

    /// Has Kubernetes Events written where there is somebody to write them to.
    pub(super) fn send_notices(&self, notices: Inbox) {
        if let Self::Server(client) = self {
            drop(tokio::spawn(events::send(client.clone(), notices)));
        }
    }

    /// Sends what is there and what changes, and ends only with an error.
    pub(super) fn follow(
        self,
        (node, nodes): (String, Nodes),
        state_file: Option<StateFile>,
        events: mpsc::Sender<Event>,
        meters: Meters,
    ) -> BoxFuture<'static, Result<(), watch::Error>> {
        match self {
            Self::Directory(path) => manifests::run(path, node, events).boxed(),
            Self::Server(client) => cluster::run(client, (node, nodes), state_file, events, meters)
                .map(Ok)
                .boxed(),
        }
    }
}
