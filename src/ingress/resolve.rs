// SPDX-License-Identifier: Apache-2.0
//! The addresses of ExternalNames, asked for again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::watch::Receiver;
use tokio::time::{interval, timeout};
use tracing::debug;

use crate::model::{Event, IngressEvent};

/// How often a name is asked for: the resolver of the system tells no time to live.
pub const AGAIN: Duration = Duration::from_secs(30);
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends [`IngressEvent::Resolved`] for each name, and again when its addresses change, until
/// nobody receives events any more; all names are asked for every `again`. A name that no longer
/// resolves keeps its addresses.
pub async fn run(
    mut names: Receiver<Arc<BTreeSet<Arc<str>>>>,
    events: Sender<Event>,
    again: Duration,
) {
    let mut known: BTreeMap<Arc<str>, Vec<IpAddr>> = BTreeMap::new();
    let mut again = interval(again);
    loop {
        let all = tokio::select! {
            _ = again.tick() => true,
            changed = names.changed() => match changed {
                Ok(()) => false,
                Err(_) => return,
            },
            () = events.closed() => return,
        };
        let wanted = names.borrow_and_update().clone();
        known.retain(|name, _| wanted.contains(name));
        for name in wanted.iter() {
            if !all && known.contains_key(name) {
                continue;
            }
            let Some(addresses) = look_up(name).await else {
                continue;
            };
            if known.get(name) == Some(&addresses) {
                continue;
            }
            known.insert(name.clone(), addresses.clone());
            let event = IngressEvent::Resolved(name.clone(), addresses);
            if events.send(Event::Ingress(Box::new(event))).await.is_err() {
                return;
            }
        }
    }
}

/// In order; none if there is no answer. The dot at the end keeps search domains out.
pub(crate) async fn look_up(name: &str) -> Option<Vec<IpAddr>> {
    let found = timeout(PATIENCE, tokio::net::lookup_host((format!("{name}."), 0))).await;
    match found {
        Ok(Ok(addresses)) => {
            let unique: BTreeSet<IpAddr> = addresses.map(|a| a.ip().to_canonical()).collect();
            Some(unique.into_iter().collect())
        }
        Ok(Err(error)) => {
            debug!(name, %error, "ExternalName");
            None
        }
        Err(_) => {
            debug!(name, "ExternalName: no answer in time");
            None
        }
    }
}
