// SPDX-License-Identifier: Apache-2.0
//! Firewalls of others that may drop what Services forward.
//!
//! A packet that some agent's chain at the forward hook drops is gone, whatever any other chain
//! says: no rule of ours can accept it for good. kube-proxy's iptables mode gets past a policy DROP
//! by rules in that very chain (`KUBE-FORWARD`); its nftables mode does not, nor do we, as tables of
//! others are never changed. So it is said, with the rule that helps.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use super::events::{Notice, Recorder};
use crate::backend::Error;
use crate::backend::nft::Kernel;
use crate::backend::nft::forward::{ForwardChain, TableFamily, has_legacy_filter};
use crate::model::IpFamily;

/// How often it is looked for. If nothing at all changed in nf_tables, that is one message.
const PERIOD: Duration = Duration::from_secs(15);

/// Something that may keep Services from being reached through this node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// A chain with policy drop. Whether a rule of it accepts the traffic of Services all the
    /// same is not decided here.
    Policy(ForwardChain),
    /// The old iptables has a filter table, whose policy nf_tables does not show.
    Unseen(IpFamily),
}

/// PURE: what is to be said of these chains and of the old iptables' tables, in a fixed order.
pub fn judge(chains: &[ForwardChain], legacy: &[IpFamily]) -> Vec<Obstacle> {
    let dropping = chains.iter().filter(|c| c.drops && !c.is_ours());
    let unseen = legacy.iter().copied().map(Obstacle::Unseen);
    let mut found: Vec<_> = dropping
        .cloned()
        .map(Obstacle::Policy)
        .chain(unseen)
        .collect();
    found.sort_unstable();
    found
}

/// Looks at this network namespace.
///
/// # Errors
/// If nf_tables cannot be read. What is not known of the old iptables counts as not there.
pub fn inspect(kernel: &mut Kernel) -> Result<Vec<Obstacle>, Error> {
    let chains = kernel.forward_chains()?;
    let mut legacy = IpFamily::ALL.to_vec();
    legacy.retain(|family| has_legacy_filter(*family).unwrap_or(false));
    Ok(judge(&chains, &legacy))
}

/// Looks now and from time to time, and reports what is new and what is gone, for ever.
pub async fn follow(events: Recorder) -> Infallible {
    let mut watcher = Watcher::default();
    loop {
        // A host may have many thousands of chains; listing them must keep nobody waiting.
        let look = tokio::task::spawn_blocking(move || {
            watcher.look();
            watcher
        });
        watcher = look.await.unwrap_or_default();
        for note in watcher.notes.drain(..) {
            let node = events.node();
            events.record(Notice::warning(
                node,
                "ForwardPolicyDrop",
                "CheckForward",
                note,
            ));
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// What has been said.
#[derive(Default)]
struct Watcher {
    kernel: Option<Kernel>,
    /// The ruleset's generation and the old iptables' tables when it was last looked at.
    seen: Option<(u32, Vec<bool>)>,
    reported: Vec<Obstacle>,
    /// What is to become an Event on the Node.
    notes: Vec<String>,
    failed: bool,
}

impl Watcher {
    fn look(&mut self) {
        match self.fresh() {
            Ok(None) => {}
            Ok(Some(found)) => {
                for obstacle in found.iter().filter(|o| !self.reported.contains(o)) {
                    obstacle.log();
                    if matches!(obstacle, Obstacle::Policy(_)) {
                        self.notes.push(obstacle.to_string());
                    }
                }
                for gone in self.reported.iter().filter(|o| !found.contains(o)) {
                    tracing::info!("{} is in the way no longer", gone.name());
                }
                (self.reported, self.failed) = (found, false);
            }
            Err(error) => {
                if !self.failed {
                    tracing::warn!(%error, "chains of others cannot be read");
                }
                (self.kernel, self.seen, self.failed) = (None, None, true);
            }
        }
    }

    /// What there is now; none if nothing can have changed since.
    fn fresh(&mut self) -> Result<Option<Vec<Obstacle>>, Error> {
        let kernel = match &mut self.kernel {
            Some(kernel) => kernel,
            none => none.insert(Kernel::open()?),
        };
        let legacy = IpFamily::ALL.map(|f| has_legacy_filter(f).unwrap_or(false));
        let seen = Some((kernel.generation()?, legacy.to_vec()));
        if self.seen == seen {
            return Ok(None);
        }
        let found = inspect(kernel)?;
        self.seen = seen;
        Ok(Some(found))
    }
}

impl Obstacle {
    /// What is in the way.
    fn name(&self) -> String {
        match self {
            Self::Policy(c) => format!("policy drop of {} {} {}", c.family, c.table, c.name),
            Self::Unseen(family) => format!("the filter table of {}-legacy", program(*family)),
        }
    }

    /// The program that writes the chain, if it is one of iptables-nft.
    fn iptables(chain: &ForwardChain) -> Option<&'static str> {
        if (chain.table.as_str(), chain.name.as_str()) != ("filter", "FORWARD") {
            return None;
        }
        match chain.family {
            TableFamily::Ip => Some(program(IpFamily::V4)),
            TableFamily::Ip6 => Some(program(IpFamily::V6)),
            TableFamily::Inet => None,
        }
    }

    fn log(&self) {
        match self {
            Self::Policy(_) => tracing::warn!("{self}"),
            Self::Unseen(_) => tracing::info!("{self}"),
        }
    }
}

fn program(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "iptables",
        IpFamily::V6 => "ip6tables",
    }
}

impl fmt::Display for Obstacle {
    /// What is in the way, what that means and what to do, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(chain) => {
                let ForwardChain {
                    family,
                    table,
                    name,
                    priority,
                    ..
                } = chain;
                write!(
                    f,
                    "{family} table {table}, chain {name} (hook forward, priority {priority}) has \
                     policy drop: traffic of Services that none of its rules accepts is lost on \
                     this node; to let it pass: "
                )?;
                match Self::iptables(chain) {
                    Some(program) => write!(
                        f,
                        "{program} -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT"
                    ),
                    None => write!(
                        f,
                        "nft insert rule {family} {table} {name} ct status dnat accept"
                    ),
                }
            }
            Self::Unseen(family) => {
                let program = program(*family);
                write!(
                    f,
                    "{program}-legacy has a filter table, whose FORWARD policy cannot be seen here \
                     ({program}-legacy -S FORWARD shows it): if it is DROP, traffic of Services \
                     may be lost; to let it pass: {program}-legacy -I FORWARD -m conntrack \
                     --ctstate DNAT -j ACCEPT"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::nft::tests::{has_nft, nft};
    use crate::backend::testing::in_namespace;

    fn chain(family: TableFamily, table: &str, drops: bool) -> ForwardChain {
        ForwardChain {
            family,
            table: table.into(),
            name: "FORWARD".into(),
            priority: 0,
            drops,
        }
    }

    #[test]
    fn only_dropping_chains_of_others_are_obstacles() {
        let chains = [
            chain(TableFamily::Ip, "filter", true),
            chain(TableFamily::Ip6, "filter", false),
            chain(TableFamily::Ip, "ferrule", true),
            chain(TableFamily::Ip6, "ferrule", true),
            // Not ours: we have none of family inet.
            chain(TableFamily::Inet, "ferrule", true),
        ];
        let found = judge(&chains, &[IpFamily::V6]);
        let expected = [
            Obstacle::Policy(chains[0].clone()),
            Obstacle::Policy(chains[4].clone()),
            Obstacle::Unseen(IpFamily::V6),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_advice_fits_who_wrote_the_chain() {
        let text = |family, table| Obstacle::Policy(chain(family, table, true)).to_string();
        let end = "policy drop: traffic of Services that none of its rules accepts is lost on this \
                   node; to let it pass: ";
        assert_eq!(
            text(TableFamily::Ip, "filter"),
            format!(
                "ip table filter, chain FORWARD (hook forward, priority 0) has {end}iptables -I \
                 FORWARD -m conntrack --ctstate DNAT -j ACCEPT"
            )
        );
        assert!(text(TableFamily::Ip6, "filter").contains(": ip6tables -I FORWARD"));
        assert!(
            text(TableFamily::Inet, "filter")
                .ends_with("pass: nft insert rule inet filter FORWARD ct status dnat accept")
        );
        let unseen = Obstacle::Unseen(IpFamily::V6).to_string();
        assert!(unseen.starts_with("ip6tables-legacy has"), "{unseen}");
    }

    fn base(hook: &str, priority: i32, policy: &str) -> String {
        format!("{{ type filter hook {hook} priority {priority}; policy {policy}; }}\n")
    }

    /// What the kernel says of chains as iptables-nft, nft users and we write them.
    #[test]
    fn the_kernel_shows_policies() {
        in_namespace(|| {
            if !has_nft() {
                return;
            }
            let mut kernel = Kernel::open().unwrap();
            let mut names = |text: &str| {
                nft("nft", &["-f", "-"], text);
                let found = inspect(&mut kernel).unwrap();
                found.iter().map(Obstacle::name).collect::<Vec<String>>()
            };
            let (drop, accept) = (base("forward", -7, "drop"), base("forward", 0, "accept"));
            let input = base("input", 0, "drop");
            let text = [
                format!("add table ip filter\nadd chain ip filter FORWARD {drop}"),
                format!("add chain ip filter INPUT {input}"),
                format!("add table ip6 filter\nadd chain ip6 filter FORWARD {accept}"),
                format!("add table inet firewall\nadd chain inet firewall f {drop}"),
                "add chain inet firewall plain\n".to_owned(),
                format!("add table bridge b\nadd chain bridge b f {drop}"),
                format!("add table ip ferrule\nadd chain ip ferrule f {drop}"),
            ];
            assert_eq!(names(""), [""; 0]);
            let both = [
                "policy drop of ip filter FORWARD",
                "policy drop of inet firewall f",
            ];
            assert_eq!(names(&text.concat()), both);
            let text = "add chain ip filter FORWARD { policy accept; }\ndelete table inet firewall";
            assert_eq!(names(text), [""; 0]);
            let asleep = "add table inet t { flags dormant; }\n";
            assert_eq!(
                names(&format!("{asleep}add chain inet t f {drop}")),
                [""; 0]
            );
            assert_eq!(
                names("add table inet t"),
                ["policy drop of inet t f"],
                "awake"
            );
        });
    }

    #[test]
    fn nothing_is_listed_again_while_nothing_changes() {
        in_namespace(|| {
            let mut watcher = Watcher::default();
            let Ok(first) = watcher.fresh() else {
                return crate::backend::testing::skip("no CAP_NET_ADMIN");
            };
            assert_eq!(first, Some(vec![]));
            assert_eq!(watcher.fresh().unwrap(), None);
            if has_nft() {
                let text = format!(
                    "add table ip x\nadd chain ip x f {}",
                    base("forward", 0, "drop")
                );
                nft("nft", &["-f", "-"], &text);
                assert_eq!(watcher.fresh().unwrap().map(|found| found.len()), Some(1));
            }
        });
    }
}
