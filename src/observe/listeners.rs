// SPDX-License-Identifier: Apache-2.0
//! Listeners that open and close as Services come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::http::bind;

/// The listeners of one purpose, each with what it serves (`K`). Dropping it closes them.
pub(crate) struct Listeners<K> {
    /// What they are, for the log.
    what: &'static str,
    open: BTreeMap<SocketAddr, (K, JoinHandle<Infallible>)>,
    /// What could not be opened and has been reported.
    failed: BTreeSet<(SocketAddr, K)>,
}

impl<K: Clone + Ord> Listeners<K> {
    /// None yet.
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            open: BTreeMap::new(),
            failed: BTreeSet::new(),
        }
    }

    /// Whether something could not be opened, so that it has to be tried again.
    pub(crate) fn incomplete(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Closes what is not wanted, or no longer for the same, and then opens what is missing.
    /// `serve` accepts for ever; `name` is what the log calls a listener. What cannot be opened is
    /// logged and returned once, however often it is tried.
    pub(crate) async fn reconcile<F>(
        &mut self,
        wanted: &BTreeMap<SocketAddr, K>,
        name: impl Fn(SocketAddr) -> String,
        serve: impl Fn(TcpListener, SocketAddr, &K) -> F,
    ) -> Vec<(SocketAddr, K, io::Error)>
    where
        F: Future<Output = Infallible> + Send + 'static,
    {
        self.close(wanted).await;
        self.failed
            .retain(|(address, key)| wanted.get(address) == Some(key));
        let mut refused = Vec::new();
        for (address, key) in wanted {
            if self.open.contains_key(address) {
                continue;
            }
            let entry = (*address, key.clone());
            match bind(*address) {
                Ok(listener) => {
                    tracing::debug!(%address, service = name(*address), "{} opened", self.what);
                    self.failed.remove(&entry);
                    let task = tokio::spawn(serve(listener, *address, key));
                    self.open.insert(*address, (entry.1, task));
                }
                Err(error) => {
                    if self.failed.insert(entry) {
                        refused.push((*address, key.clone(), error));
                    }
                }
            }
        }
        self.report(&refused, name);
        refused
    }

    async fn close(&mut self, wanted: &BTreeMap<SocketAddr, K>) {
        let mut stale = Vec::new();
        for (address, (key, _)) in &self.open {
            if wanted.get(address) != Some(key) {
                stale.push(*address);
            }
        }
        for address in stale {
            let Some((_, task)) = self.open.remove(&address) else {
                continue;
            };
            tracing::debug!(%address, "{} closed", self.what);
            // Waiting makes sure that the address is free for the next Service.
            task.abort();
            let _ = task.await;
        }
    }

    /// One line for each reason: a host without IPv6 on loopback fails all of them alike.
    fn report(&self, refused: &[(SocketAddr, K, io::Error)], name: impl Fn(SocketAddr) -> String) {
        let mut reasons: BTreeMap<String, Vec<SocketAddr>> = BTreeMap::new();
        for (address, _, error) in refused {
            reasons.entry(error.to_string()).or_default().push(*address);
        }
        for (error, addresses) in &reasons {
            let Some(address) = addresses.first() else {
                continue;
            };
            tracing::warn!(
                %address, service = name(*address), error, others = addresses.len() - 1,
                "{} cannot be opened, trying again", self.what
            );
        }
    }
}

impl<K> Drop for Listeners<K> {
    fn drop(&mut self) {
        self.open.values().for_each(|(_, task)| task.abort());
    }
}
