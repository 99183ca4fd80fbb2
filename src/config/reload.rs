// SPDX-License-Identifier: Apache-2.0
//! What a change of the configuration asks for, field by field. Pure.

use super::effective::leaves;
pub use super::fields::{Effect, FIELDS, Field};
use super::{Config, LocalhostNodePorts, ProxyMode};

/// The fields that differ between two configurations, by what that asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Applied while the proxy runs.
    pub live: Vec<String>,
    /// These take a new start.
    pub restart: Vec<String>,
    /// These change nothing.
    pub nothing: Vec<String>,
}

const MODE: &str = "mode";
/// What serves NodePorts on loopback starts and ends with the process.
const LOCALHOST: &str = "iptables.localhostNodePorts";

impl Difference {
    /// Compares what holds with what is to hold.
    pub fn between(old: &Config, new: &Config) -> Self {
        let (was, is) = (old, new);
        let (old, new) = (leaves(old.effective()), leaves(new.effective()));
        let paths = old
            .keys()
            .chain(new.keys().filter(|path| !old.contains_key(*path)));
        let mut difference = Self::default();
        for path in paths.filter(|path| old.get(*path) != new.get(*path)) {
            match effect(path) {
                Effect::Live => difference.live.push(path.clone()),
                Effect::Restart => difference.restart.push(path.clone()),
                Effect::Nothing => difference.nothing.push(path.clone()),
            }
        }
        // What turns on and off in a process that runs is the mode; this depends on it.
        let on = |config: &Config| config.localhost_node_ports == LocalhostNodePorts::On;
        if on(was) != on(is) && !difference.restart.contains(&LOCALHOST.to_owned()) {
            difference.restart.push(LOCALHOST.to_owned());
        }
        // Another mode of the kernel's takes over where the process starts.
        let ipvs = |config: &Config| config.modes.contains(&ProxyMode::Ipvs);
        let modes = was.modes != is.modes && (ipvs(was) || ipvs(is));
        if was.mode.served_by() != is.mode.served_by() || modes {
            difference.live.retain(|path| path != MODE);
            difference.restart.push(MODE.to_owned());
        }
        difference
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.restart.is_empty() && self.nothing.is_empty()
    }
}

/// A field that the table lacks takes a new start, which is never wrong.
fn effect(path: &str) -> Effect {
    let field = FIELDS.iter().find(|field| field.path == path);
    field.map_or(Effect::Restart, |field| field.effect)
}
