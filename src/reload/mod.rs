// SPDX-License-Identifier: Apache-2.0
//! Follows the configuration file while the proxy runs.
//!
//! What [`config::reload`](crate::config::reload) calls live is applied at once; the rest takes a
//! new start of the process, in place. A file that is gone or cannot be used changes nothing.

mod file;
pub mod process;

use std::future::pending;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::config::reload::Difference;
use crate::observe::{Status, log};
use crate::plan::Options;
use file::FileWatch;

/// Who has to know of a new configuration.
#[derive(Debug)]
pub struct Live {
    /// The configuration that holds, for who shows it.
    pub current: watch::Sender<Arc<Config>>,
    /// The options of the rules, for the loop.
    pub rules: watch::Sender<Options>,
    /// Holds the time after which a change that is not applied makes unhealthy.
    pub status: Status,
}

impl Live {
    /// With the configuration of the start.
    pub fn new(config: &Config, status: Status) -> Self {
        Self {
            current: watch::Sender::new(Arc::new(config.clone())),
            rules: watch::Sender::new(config.rules.clone()),
            status,
        }
    }

    /// Applies the file's changes until one of them takes a new start; then returns. Without a
    /// file it never does.
    pub async fn follow(&self) {
        let Some(path) = self.current.borrow().file.clone() else {
            return pending().await;
        };
        let mut trouble = None;
        loop {
            // Begins before the file is read, so that no change is missed in between.
            let watch = FileWatch::open(&path);
            if self.read_again(&mut trouble) {
                return;
            }
            watch.changed().await;
        }
    }

    /// Returns whether a new start is due. `trouble` is what was last wrong with the file.
    fn read_again(&self, trouble: &mut Option<String>) -> bool {
        let old = self.current.borrow().clone();
        let new = match old.read_again() {
            Ok(new) => new,
            Err(reasons) => {
                let reasons = reasons.to_string().replace('\n', "; ");
                if trouble.as_ref() != Some(&reasons) {
                    error!("the configuration is left as it is: {reasons}");
                }
                *trouble = Some(reasons);
                return false;
            }
        };
        if trouble.take().is_some() {
            info!("the configuration file can be used again");
        }
        let difference = Difference::between(&old, &new);
        if !difference.restart.is_empty() {
            let fields = difference.restart.join(" ");
            info!(
                fields,
                "the configuration has changed; starting anew for these fields"
            );
            return true;
        }
        if !difference.is_empty() {
            self.apply(&old, new, &difference);
        }
        false
    }

    fn apply(&self, old: &Config, new: Config, difference: &Difference) {
        let added = |warning: &&String| !old.warnings.contains(warning);
        new.warnings
            .iter()
            .filter(added)
            .for_each(|warning| warn!("{warning}"));
        log::set_verbosity(new.log.verbosity);
        if old.conntrack != new.conntrack {
            process::connection_tracking(&new);
        }
        if old.ipvs != new.ipvs
            && let Err(error) = process::ipvs(&new)
        {
            warn!("{error:#}");
        }
        if old.oom_score_adj != new.oom_score_adj {
            process::oom_score_adj(new.oom_score_adj);
        }
        self.status.set_timeout(new.health_timeout);
        self.rules.send_if_modified(|rules| {
            let changed = *rules != new.rules;
            rules.clone_from(&new.rules);
            changed
        });
        self.current.send_replace(Arc::new(new));
        let (live, nothing) = (difference.live.join(" "), difference.nothing.join(" "));
        info!(
            live,
            without_effect = nothing,
            "the configuration has changed"
        );
    }
}
