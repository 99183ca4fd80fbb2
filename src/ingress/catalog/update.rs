// SPDX-License-Identifier: Apache-2.0
//! What comes of a commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::certificate::Wishes;
use crate::ingress::table::{Streams, Table};
use crate::model::ServiceName;

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Ingresses that were taken in or out.
    pub ingresses: usize,
    /// Service ports whose endpoints were chosen.
    pub upstreams: usize,
    /// Hosts that were built.
    pub hosts: usize,
    /// Routes that were built for them.
    pub routes: usize,
}

/// What changed since the last commit; what did not is none or empty.
#[derive(Debug, Clone, Default)]
pub struct Update {
    /// What to serve from now on.
    pub table: Option<Table>,
    /// Which Secret serves which host.
    pub wishes: Option<Wishes>,
    /// Secrets that are used and whose content has changed.
    pub secrets: BTreeSet<ServiceName>,
    /// All Secrets that are needed.
    pub wanted: Option<Arc<BTreeSet<ServiceName>>>,
    /// All ConfigMaps that annotations name.
    pub wanted_maps: Option<Arc<BTreeSet<ServiceName>>>,
    /// All names that have to be resolved.
    pub externals: Option<Arc<BTreeSet<Arc<str>>>>,
    /// Ingresses of which something else cannot be served, with the reasons: none if all can.
    pub notes: BTreeMap<ServiceName, Vec<String>>,
    /// Ingresses that became ours (true) or no longer are (false).
    pub served: BTreeMap<ServiceName, bool>,
    /// All ports that are passed on byte by byte.
    pub streams: Option<Arc<Streams>>,
    /// Of each ConfigMap, what is not served of it: none if all is.
    pub remarks: BTreeMap<ServiceName, Vec<String>>,
    /// What it took.
    pub work: Work,
}
