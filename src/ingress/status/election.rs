// SPDX-License-Identifier: Apache-2.0
//! One of all nodes, by a Lease.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::Instant;
use tracing::info;

use super::Settings;

/// How long a lease holds that is not renewed: a few rounds.
const HOLDS: Duration = Duration::from_secs(20);

/// What is known of the Lease.
pub(super) struct Election {
    leases: Api<Lease>,
    name: String,
    identity: String,
    /// Holder and time of renewal as last seen, and since when. Clocks of nodes differ, so that
    /// only a change tells that the holder is alive.
    seen: Option<(LeaseSpec, Instant)>,
    elected: bool,
}

impl Election {
    pub(super) fn new(client: Client, settings: &Settings) -> Self {
        Self {
            leases: Api::namespaced(client, &settings.namespace),
            name: settings.election.clone(),
            identity: settings.identity.clone(),
            seen: None,
            elected: false,
        }
    }

    /// Takes or renews the Lease if nobody else has it. Whether this process has it.
    pub(super) async fn elected(&mut self) -> Result<bool, kube::Error> {
        let result = self.try_elect().await;
        let elected = *result.as_ref().unwrap_or(&false);
        if elected != self.elected {
            self.elected = elected;
            let what = if elected {
                "elected"
            } else {
                "no longer elected"
            };
            info!(lease = self.name, "{what} to write the status of Ingresses");
        }
        result
    }

    /// Gives the Lease back, so that another process may have it at once. As client-go does it, it
    /// stays, without a holder.
    pub(super) async fn leave(&mut self) -> Result<(), kube::Error> {
        if !std::mem::take(&mut self.elected) {
            return Ok(());
        }
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            return Ok(());
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(());
        }
        spec.holder_identity = Some(String::new());
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        let how = PostParams::default();
        won(self.leases.replace(&self.name, &how, &lease).await)?;
        info!(lease = self.name, "given back");
        Ok(())
    }

    async fn try_elect(&mut self) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(None)),
            };
            let made = self.leases.create(&PostParams::default(), &lease).await;
            return won(made);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        if self.is_held(&spec) {
            return Ok(false);
        }
        lease.spec = Some(self.spec(Some(&spec)));
        // The resource version in it makes this fail if another was faster.
        let how = PostParams::default();
        won(self.leases.replace(&self.name, &how, &lease).await)
    }

    /// Whether another process has it.
    fn is_held(&mut self, spec: &LeaseSpec) -> bool {
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return false;
        }
        let seconds = spec
            .lease_duration_seconds
            .and_then(|s| u64::try_from(s).ok());
        let holds = seconds.map_or(HOLDS, Duration::from_secs);
        match &self.seen {
            Some((seen, since)) if seen == spec => since.elapsed() < holds,
            _ => {
                self.seen = Some((spec.clone(), Instant::now()));
                true
            }
        }
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = Some(MicroTime(Timestamp::now()));
        let ours = before.filter(|b| b.holder_identity.as_deref() == Some(&self.identity));
        let transitions = before.and_then(|b| b.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(HOLDS.as_secs()).ok(),
            acquire_time: ours.map_or(now.clone(), |ours| ours.acquire_time.clone()),
            renew_time: now,
            lease_transitions: Some(transitions + i32::from(before.is_some() && ours.is_none())),
            ..LeaseSpec::default()
        }
    }
}

/// Losing a race is no error.
fn won(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
