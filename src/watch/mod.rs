// SPDX-License-Identifier: Apache-2.0
//! Turns Kubernetes objects into [`Event`](crate::model::Event)s. Programs nothing.
//!
//! | module | does |
//! |---|---|
//! | [`cluster`] | watches an API server |
//! | [`client`] | finds and authenticates to that API server |
//! | [`manifests`] | reads a directory of YAML and JSON files, and again when they change |
//! | `directories` | events of directories whose files are read |
//! | [`addresses`] | reads the addresses of this network namespace, and again when they change |
//! | [`wire`] | the shape of the objects, as far as they matter |
//! | [`convert`] | judges an object field by field: what is unusable is skipped, with the reason |
//! | [`meters`] | counts requests and failed watches, for metrics |
//! | [`raw`] | asks the API server for one path, for `ferrule debug doctor` |
//! | [`known`] | what has been announced, to find what vanished while nobody watched |

pub mod addresses;
pub mod client;
#[cfg(test)]
mod client_tls_tests;
pub mod cluster;
pub mod convert;
pub(crate) mod directories;
pub mod known;
pub mod manifests;
pub mod meters;
pub mod raw;
pub mod wire;

pub use client::client;
pub use kube::Client;
pub use meters::Meters;

use std::path::PathBuf;

/// Why a source of objects can't be opened at all. What goes wrong later is reported in events.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig file is missing, malformed or incomplete.
    #[error("kubeconfig {path}: {reason}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, in one line.
        reason: String,
    },
    /// There is no kubeconfig, and this is no pod with a service account either.
    #[error("no --kubeconfig, and no in-cluster configuration: {0}")]
    InCluster(String),
    /// The API server's address is no URL.
    #[error("--master {0:?} is not a URL")]
    Server(String),
    /// The manifest directory can't be read or watched.
    #[error("manifest directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The error.
        #[source]
        source: std::io::Error,
    },
    /// The addresses of the interfaces can't be read.
    #[error("addresses of the interfaces: {0}")]
    Addresses(String),
}
