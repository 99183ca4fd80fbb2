// SPDX-License-Identifier: Apache-2.0
//! A client of the API server, from a kubeconfig or from the pod that we run in.

use std::path::{Path, PathBuf};

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig can't be read or is incomplete.
    #[error("--kubeconfig {}", .path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: KubeconfigError,
    },
    /// There is no kubeconfig, and we run in no pod.
    #[error("no --kubeconfig is given, and this is no pod of a cluster")]
    InCluster(#[source] InClusterError),
    /// `--master` is no URL.
    #[error("--master {server:?} is not a URL")]
    Server {
        /// What was given.
        server: String,
    },
    /// The credentials can't be used.
    #[error("client of the API server")]
    Client(#[source] Box<kube::Error>),
}

/// Makes a client. Nothing is sent yet. `server` goes before the kubeconfig's.
///
/// # Errors
/// If file, credentials or URL can't be used.
pub async fn client(kubeconfig: Option<&Path>, server: Option<&str>) -> Result<Client, Error> {
    let mut config = match kubeconfig {
        None => Config::incluster().map_err(Error::InCluster)?,
        Some(path) => {
            let error = |source| Error::Kubeconfig {
                path: path.to_owned(),
                source,
            };
            let file = Kubeconfig::read_from(path).map_err(error)?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(file, &options)
                .await
                .map_err(error)?
        }
    };
    if let Some(server) = server {
        let error = |_| Error::Server {
            server: server.to_owned(),
        };
        config.cluster_url = server.parse().map_err(error)?;
    }
    // A watch is silent for as long as nothing changes; its own time-out is the watcher's.
    config.read_timeout = None;
    Client::try_from(config).map_err(|e| Error::Client(Box::new(e)))
}
