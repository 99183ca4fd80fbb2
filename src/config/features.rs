// SPDX-License-Identifier: Apache-2.0
//! Feature gates.

use std::collections::BTreeMap;

/// The gates of kube-proxy v1.36 that mean something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// `/flagz` is served.
    pub component_flagz: bool,
    /// `/statusz` is served.
    pub component_statusz: bool,
    /// Services' external IPs are served.
    pub allow_service_external_ips: bool,
}

/// A gate that kube-proxy reads.
struct Gate {
    name: &'static str,
    default: bool,
    stage: Stage,
}

#[derive(PartialEq)]
enum Stage {
    Alpha,
    Beta,
    /// May be changed all the same.
    Stable,
    /// May only be set to its default.
    Locked,
}

const GATES: &[Gate] = &[
    gate("AllowServiceExternalIPs", true, Stage::Stable),
    gate("ComponentFlagz", true, Stage::Beta),
    gate("ComponentStatusz", true, Stage::Beta),
    gate("LoggingAlphaOptions", false, Stage::Alpha),
    gate("LoggingBetaOptions", true, Stage::Beta),
    gate("MultiCIDRServiceAllocator", true, Stage::Locked),
    gate("NFTablesProxyMode", true, Stage::Locked),
    gate("PreferSameTrafficDistribution", true, Stage::Locked),
];

const fn gate(name: &'static str, default: bool, stage: Stage) -> Gate {
    Gate {
        name,
        default,
        stage,
    }
}

/// Gates as they are set, with their defaults.
pub(super) struct Gates<'a>(pub(super) &'a BTreeMap<String, bool>);

impl Gates<'_> {
    /// Whether one of [`GATES`] is on: as set, else as its stage is set, else by default.
    pub(super) fn on(&self, name: &str) -> bool {
        let gate = GATES.iter().find(|gate| gate.name == name);
        let stage = gate.and_then(|gate| match gate.stage {
            Stage::Alpha => self.0.get("AllAlpha"),
            Stage::Beta => self.0.get("AllBeta"),
            Stage::Stable | Stage::Locked => None,
        });
        let set = self.0.get(name).or(stage).copied();
        set.unwrap_or_else(|| gate.is_some_and(|gate| gate.default))
    }

    pub(super) fn features(&self) -> Features {
        Features {
            component_flagz: self.on("ComponentFlagz"),
            component_statusz: self.on("ComponentStatusz"),
            allow_service_external_ips: self.on("AllowServiceExternalIPs"),
        }
    }

    /// What is wrong, as kube-proxy has it.
    pub(super) fn errors(&self) -> impl Iterator<Item = String> {
        let locked = |gate: &&Gate| {
            gate.stage == Stage::Locked && self.0.get(gate.name).is_some_and(|v| *v != gate.default)
        };
        let text = |gate: &Gate| format!("{} is locked to {}", gate.name, gate.default);
        GATES.iter().filter(locked).map(text)
    }

    /// Gates that have no effect here. kube-proxy knows most of them and refuses the rest; but a
    /// newer kube-proxy's gates must not keep a node from its Services.
    pub(super) fn without_effect(&self) -> Vec<&str> {
        let known = |name: &str| {
            matches!(name, "AllAlpha" | "AllBeta") || GATES.iter().any(|gate| gate.name == name)
        };
        let names = self.0.keys().map(String::as_str);
        names.filter(|name| !known(name)).collect()
    }
}
