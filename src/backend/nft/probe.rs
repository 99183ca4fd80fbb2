// SPDX-License-Identifier: Apache-2.0
//! Finds out, without changing anything, whether this kernel has all that our rules need.
//!
//! One batch makes a table with one of everything in it. Its last message deletes a table that
//! cannot exist, so that the kernel aborts the batch: nothing stays, no generation is counted, no
//! packet meets a rule. What else it refuses, it lacks.

use ipnet::IpNet;
use nix::libc::{ENOENT, EOPNOTSUPP, EPERM, EPROTONOSUPPORT};

use super::uapi::{SUBSYS_NFTABLES, chain, msg, rule, table};
use super::{Kernel, encode, nfproto, sets};
use crate::backend::Error;
use crate::backend::netlink::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, Writer};
use crate::model::{IpFamily, Protocol};
use crate::plan::nft::set::VIP;
use crate::plan::nft::{Action, DataKind, Field, Hook, Match, Rule, SetId, SetName, SetSpec, text};

/// Name of the table. Nobody else's will be called so.
const SCRATCH: &str = "ferrule-probe";
/// Name of a table that does not exist.
const NOWHERE: &str = "ferrule-probe-abort";
/// First release that lets nat prerouting reject.
const REJECT_SINCE: (u32, u32) = (5, 9);

/// Something that the kernel may lack.
struct Feature {
    /// What nftables calls it.
    name: &'static str,
    /// The kernel's option.
    option: &'static str,
}

/// A batch that asks for features.
struct Questions {
    w: Writer,
    family: IpFamily,
    /// Asked for by message `n + 1`; message 0 begins the batch.
    features: Vec<Feature>,
}

/// Checks rights and features for the families that are to be used.
///
/// # Errors
/// [`Error::Missing`] with one line that names the first thing that is missing:
/// `needs CAP_NET_ADMIN`, `the kernel lacks nftables numgen (CONFIG_NFT_NUMGEN)`.
pub fn probe(kernel: &mut Kernel, families: &[IpFamily]) -> Result<(), Error> {
    for family in families {
        let questions = Questions::all(*family);
        let failures = kernel
            .socket
            .acknowledged(questions.w.as_bytes())
            .map_err(no_netlink)?;
        for failure in &failures {
            if let Some(missing) = questions.judge(failure.seq, failure.errno) {
                return Err(Error::Missing(missing));
            }
        }
        if failures.is_empty() {
            return Err(Error::Malformed(
                "the kernel deleted a table that is not there".into(),
            ));
        }
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if let Some(missing) = too_old(release.trim()) {
        return Err(Error::Missing(missing));
    }
    Ok(())
}

/// A kernel without nfnetlink has no such socket.
fn no_netlink(error: Error) -> Error {
    match &error {
        Error::Socket { source, .. } if source.raw_os_error() == Some(EPROTONOSUPPORT) => {
            Error::Missing("the kernel lacks nfnetlink (CONFIG_NETFILTER_NETLINK)".into())
        }
        _ => error,
    }
}

/// What a release is too old for. An unreadable one is taken for new.
fn too_old(release: &str) -> Option<String> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return None;
    };
    ((major, minor) < REJECT_SINCE).then(|| {
        format!("the kernel lacks nftables reject in prerouting (Linux 5.9; this is {release})")
    })
}

impl Questions {
    fn all(family: IpFamily) -> Self {
        let mut questions = Self {
            w: Writer::new(),
            family,
            features: Vec::new(),
        };
        questions.frame(msg::BATCH_BEGIN);
        questions.containers();
        for (name, option, rule) in conditions(family).into_iter().chain(actions()) {
            questions.expression(name, option, &rule);
        }
        questions.ask("delete table", "", msg::DELTABLE, NLM_F_ACK, |w| {
            w.attr_str(table::NAME, NOWHERE);
        });
        questions.frame(msg::BATCH_END);
        questions
    }

    fn frame(&mut self, kind: u16) {
        let seq = if kind == msg::BATCH_BEGIN {
            0
        } else {
            self.features.len() as u32 + 1
        };
        self.w
            .message(kind, NLM_F_REQUEST, seq, |w| w.nfgenmsg(0, SUBSYS_NFTABLES));
    }

    fn ask(
        &mut self,
        name: &'static str,
        option: &'static str,
        kind: u16,
        flags: u16,
        body: impl FnOnce(&mut Writer),
    ) {
        self.features.push(Feature { name, option });
        let (seq, family) = (self.features.len() as u32, nfproto(self.family));
        self.w.message(kind, NLM_F_REQUEST | flags, seq, |w| {
            w.nfgenmsg(family, 0);
            body(w);
        });
    }

    /// The table, and sets of each kind.
    fn containers(&mut self) {
        let option = match self.family {
            IpFamily::V4 => "CONFIG_NF_TABLES_IPV4",
            IpFamily::V6 => "CONFIG_NF_TABLES_IPV6",
        };
        self.ask("tables", option, msg::NEWTABLE, NLM_F_CREATE, |w| {
            w.attr_str(table::NAME, SCRATCH);
        });
        self.chains();
        for (name, spec) in [
            ("maps", SetId::Endpoints.spec()),
            ("verdict maps", SetId::Services.spec()),
            ("sets", SetId::ClusterIps.spec()),
            ("concatenated intervals", SetId::SourceRanges.spec()),
            ("dynamic maps", clients()),
        ] {
            self.set(name, &spec);
        }
    }

    /// A base chain of type nat, and a plain one.
    fn chains(&mut self) {
        self.ask(
            "chains of type nat",
            "CONFIG_NFT_NAT",
            msg::NEWCHAIN,
            NLM_F_CREATE,
            |w| {
                w.attr_str(chain::TABLE, SCRATCH);
                w.attr_str(chain::NAME, "hooked");
                w.attr_str(chain::TYPE, "nat");
                w.nested(chain::HOOK, |w| {
                    w.attr_be32(chain::HOOK_HOOKNUM, Hook::Prerouting.number());
                    w.attr_be32(chain::HOOK_PRIORITY, -100_i32 as u32);
                });
            },
        );
        self.ask(
            "chains",
            "CONFIG_NF_TABLES",
            msg::NEWCHAIN,
            NLM_F_CREATE,
            |w| {
                w.attr_str(chain::TABLE, SCRATCH);
                w.attr_str(chain::NAME, "other");
            },
        );
    }

    fn set(&mut self, name: &'static str, spec: &SetSpec) {
        let (id, family) = (self.features.len() as u32, self.family);
        self.ask(name, "CONFIG_NF_TABLES", msg::NEWSET, NLM_F_CREATE, |w| {
            sets::definition_in(w, SCRATCH, spec, family, id);
        });
    }

    fn expression(&mut self, name: &'static str, option: &'static str, rule: &Rule) {
        let family = self.family;
        self.ask(
            name,
            option,
            msg::NEWRULE,
            NLM_F_CREATE | NLM_F_APPEND,
            |w| {
                w.attr_str(rule::TABLE, SCRATCH);
                w.attr_str(rule::CHAIN, "other");
                w.nested(rule::EXPRESSIONS, |w| encode::rule(w, rule, family, 0));
            },
        );
    }

    /// What a failure of a message means, unless it is the one that must fail.
    fn judge(&self, seq: u32, errno: i32) -> Option<String> {
        let Some(asked) = (seq as usize).checked_sub(1) else {
            return Some(match errno {
                EPERM => "needs CAP_NET_ADMIN".into(),
                EOPNOTSUPP => "the kernel lacks nftables (CONFIG_NF_TABLES)".into(),
                _ => format!("the kernel refuses nftables: {}", system_message(errno)),
            });
        };
        let Feature { name, option } = self.features.get(asked)?;
        if asked + 1 == self.features.len() {
            return None;
        }
        let option = match errno {
            ENOENT | EOPNOTSUPP => (*option).to_owned(),
            _ => format!("{option}: {}", system_message(errno)),
        };
        let family = text::family_word(self.family);
        Some(format!(
            "the kernel lacks nftables {name} for {family} ({option})"
        ))
    }
}

fn system_message(errno: i32) -> std::io::Error {
    std::io::Error::from_raw_os_error(errno)
}

/// A map of clients, as a Service with session affinity has.
fn clients() -> SetSpec {
    SetSpec {
        name: SetName::Own("clients".into()),
        key: vec![Field::Source],
        data: DataKind::Address,
        interval: false,
        dynamic: Some(16),
    }
}

/// Name, option and a rule for each expression, with as little else in it as possible.
type Expression = (&'static str, &'static str, Rule);

fn conditions(family: IpFamily) -> Vec<Expression> {
    let core = "CONFIG_NF_TABLES";
    let (fib, half) = match family {
        IpFamily::V4 => (
            "CONFIG_NFT_FIB_IPV4",
            IpNet::new_assert([10, 0, 0, 0].into(), 9),
        ),
        IpFamily::V6 => (
            "CONFIG_NFT_FIB_IPV6",
            IpNet::new_assert([0xfd; 16].into(), 9),
        ),
    };
    let member = Match::InSet(vec![Field::Source], SetId::ClusterIps.into());
    [
        ("meta and cmp", core, Match::ProtocolIs(Protocol::Tcp)),
        ("bitwise", core, Match::Prefix(Field::Source, half, false)),
        ("lookup", core, member),
        ("ct", "CONFIG_NFT_CT", Match::Translated),
        ("fib", fib, Match::SourceLocal),
    ]
    .map(|(name, option, m)| (name, option, Rule::when([m], Action::Accept)))
    .into()
}

fn actions() -> Vec<Expression> {
    let random = Field::Random {
        modulus: 2,
        offset: 1,
    };
    let learn = Action::Update {
        set: clients().name,
        key: vec![Field::OriginalSource],
        timeout: 1,
        data: vec![Field::Destination],
    };
    let draw = Action::Dnat([VIP, &[random]].concat(), SetId::Endpoints.into());
    [
        ("reject", "CONFIG_NFT_REJECT", Action::Reject),
        ("masquerade", "CONFIG_NFT_MASQ", Action::Masquerade),
        (
            "dnat",
            "CONFIG_NFT_NAT",
            Action::DnatTo {
                key: vec![Field::Source],
                map: clients().name,
                port: 1,
            },
        ),
        ("numgen", "CONFIG_NFT_NUMGEN", draw),
        ("dynset", "CONFIG_NF_TABLES", learn),
    ]
    .map(|(name, option, action)| (name, option, Rule::always(action)))
    .into()
}

#[cfg(test)]
mod tests {
    use nix::libc::{EINVAL, ENOENT, EOPNOTSUPP, EPERM};

    use super::*;

    #[test]
    fn the_first_thing_missing_is_named() {
        let questions = Questions::all(IpFamily::V6);
        let seq = |name| {
            1 + questions
                .features
                .iter()
                .position(|f| f.name == name)
                .unwrap() as u32
        };
        let cases = [
            (0, EPERM, "needs CAP_NET_ADMIN"),
            (
                0,
                EOPNOTSUPP,
                "the kernel lacks nftables (CONFIG_NF_TABLES)",
            ),
            (
                seq("tables"),
                EOPNOTSUPP,
                "the kernel lacks nftables tables for ip6 (CONFIG_NF_TABLES_IPV6)",
            ),
            (
                seq("numgen"),
                ENOENT,
                "the kernel lacks nftables numgen for ip6 (CONFIG_NFT_NUMGEN)",
            ),
            (
                seq("concatenated intervals"),
                EINVAL,
                "the kernel lacks nftables concatenated intervals for ip6 \
                 (CONFIG_NF_TABLES: Invalid argument (os error 22))",
            ),
        ];
        for (seq, errno, expected) in cases {
            assert_eq!(questions.judge(seq, errno).as_deref(), Some(expected));
        }
        assert_eq!(questions.judge(seq("delete table"), ENOENT), None);
    }

    #[test]
    fn releases_before_5_9_are_too_old() {
        assert_eq!(too_old("5.9.0"), None);
        assert_eq!(too_old("6.1.0-18-amd64"), None);
        assert_eq!(too_old("10.0"), None);
        assert_eq!(too_old("strange"), None);
        let expected =
            "the kernel lacks nftables reject in prerouting (Linux 5.9; this is 5.4.0-1)";
        assert_eq!(too_old("5.4.0-1").as_deref(), Some(expected));
        assert!(too_old("4.19.0").is_some());
    }
}
