// SPDX-License-Identifier: Apache-2.0
//! Whether the agent runs, keeps up, and has its rules in the kernel.

use super::{Facts, Finding, Report};
use crate::debug::doctor::Kind;
use crate::debug::doctor::facts::Agent;

/// A change that has waited so long, seconds, waits for something that does not come.
const LATE: f64 = 30.0;

/// Whether an agent runs and keeps up.
pub(super) fn agent(facts: &Facts, report: &mut Report) {
    match &facts.agent {
        Agent::Absent(why) => report.add(Finding::new(
            Kind::AgentAbsent,
            "no agent runs here: the rules stay as they are, and no change is followed",
            why,
            "start it, and see its log for why it ended (kubectl -n kube-system logs ds/ferrule \
             --previous); if it listens elsewhere: --admin-socket",
        )),
        Agent::Silent(why) => report.add(Finding::new(
            Kind::AgentSilent,
            "the agent does not answer",
            why,
            "see its log and its CPU time; restart it: the rules stay meanwhile",
        )),
        Agent::Answers { status, .. } => {
            let waiting = status.waiting.iter().filter(|(_, s)| **s >= LATE);
            let waiting =
                waiting.map(|(family, s)| format!("{family}: a change waits for {s:.0} s"));
            let failures = status.failures.iter();
            let failures = failures.map(|(family, why)| format!("{family}: {why}"));
            let seen: Vec<String> = failures.chain(waiting).collect();
            if !seen.is_empty() || !status.healthy {
                report.add(Finding::new(
                    Kind::AgentBehind,
                    "the rules in the kernel are older than the cluster's state",
                    if seen.is_empty() {
                        "not healthy".to_owned()
                    } else {
                        seen.join("; ")
                    },
                    "see the agent's log; it tries again at least every 10 s",
                ));
            }
        }
    }
}

/// Whether what is served is of before the agent's start.
pub(super) fn last_known_state(facts: &Facts, report: &mut Report) {
    let Agent::Answers { status, .. } = &facts.agent else {
        return;
    };
    let Some(age) = status.stale_since() else {
        return;
    };
    report.add(Finding::new(
        Kind::LastKnownState,
        format!("Services are served as the API server told them {age} ago"),
        "it has not listed everything since the agent started, which serves what its state file \
         holds",
        "see the agent's log for why the API server does not answer; what has changed meanwhile \
         is applied as soon as it does",
    ));
}

/// Whether the agent's table is there.
pub(super) fn rules(facts: &Facts, report: &mut Report) {
    let (Agent::Answers { status, services }, Ok(tables)) = (&facts.agent, &facts.node.tables)
    else {
        return;
    };
    if tables.iter().any(|table| table.name == "ferrule") || !status.healthy {
        return;
    }
    report.add(Finding::new(
        Kind::RulesMissing,
        format!(
            "the agent runs, but nothing of its {} Services is in the kernel",
            services.len()
        ),
        "there is no nftables table \"ferrule\" in this network namespace",
        "somebody has deleted it, as `nft flush ruleset` of a firewall's script does: restart the \
         agent, and let the script reload its own table only. If the agent is in another network \
         namespace, run this command there",
    ));
}
