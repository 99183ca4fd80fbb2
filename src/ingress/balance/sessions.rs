// SPDX-License-Identifier: Apache-2.0
//! Which endpoint a cookie stands for, as ingress-nginx has it: `KEY|UPSTREAM`.
//!
//! Balanced, the key is any text and the endpoint is its owner on a [`Ring`]; persistent, the key is
//! the MD5 of the upstream's name and the endpoint. Both are computed here as there, so that cookies of
//! ingress-nginx stay valid, and ours are valid there. MD5 and CRC-32 protect nothing: they name.

use std::sync::Arc;

use md5::{Digest, Md5};

use super::hash::one;
use super::ring::{self, Ring};
use crate::model::Target;

/// `affinity-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Mode {
    /// Some sessions move when there are more endpoints.
    #[default]
    Balanced,
    /// A session stays for as long as its endpoint is there.
    Persistent,
}

/// The sessions of one upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sessions {
    /// What cookies name the upstream by.
    upstream: Arc<str>,
    endpoints: Arc<[Target]>,
    places: Places,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Places {
    Ring(Ring),
    /// From key to endpoint, sorted.
    Keys(Box<[(String, Target)]>),
}

impl Sessions {
    /// Those of an upstream whose name in ingress-nginx is `NAMESPACE-SERVICE-PORT`.
    pub fn new(mode: Mode, name: &str, endpoints: &Arc<[Target]>) -> Self {
        let places = match mode {
            Mode::Balanced => Places::Ring(Ring::new(endpoints.iter().map(ToString::to_string))),
            Mode::Persistent => {
                let key = |target: &Target| (md5(&format!("{name}{target}")), *target);
                let mut keys: Vec<_> = endpoints.iter().map(key).collect();
                keys.sort_unstable();
                Places::Keys(keys.into())
            }
        };
        Self {
            upstream: md5(&format!("{}{name}", md5(name))).into(),
            endpoints: endpoints.clone(),
            places,
        }
    }

    /// What cookies name the upstream by.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// The endpoint that a key stands for.
    pub fn find(&self, key: &str) -> Option<Target> {
        match &self.places {
            Places::Ring(ring) => {
                let owner = ring.owners(ring::hash(key.as_bytes())).next()?;
                self.endpoints.get(owner).copied()
            }
            Places::Keys(keys) => {
                let found = keys.binary_search_by(|(known, _)| (**known).cmp(key));
                found.ok().map(|place| keys[place].1)
            }
        }
    }

    /// A new session at an endpoint that has not been tried: its endpoint and key. None if all have
    /// been.
    pub fn begin(
        &self,
        tried: &[Target],
        mut random: impl FnMut() -> u64,
    ) -> Option<(Target, String)> {
        match &self.places {
            Places::Keys(keys) => {
                let target = one(&self.endpoints, tried, random())?;
                let (key, _) = keys.iter().find(|(_, known)| *known == target)?;
                Some((target, key.clone()))
            }
            Places::Ring(ring) => {
                let number = random();
                let open = |target: &Target| !tried.contains(target);
                // As ingress-nginx: a key that happens to lead elsewhere. It gives up after 20.
                for salt in 0..=u8::MAX {
                    let key = format!("{number:016x}.{salt}");
                    if let Some(target) = self.find(&key).filter(open) {
                        return Some((target, key));
                    }
                }
                let mut owners = ring.owners(ring::hash(&number.to_le_bytes()));
                let target =
                    owners.find_map(|owner| self.endpoints.get(owner).copied().filter(open));
                target.map(|target| (target, format!("{number:016x}")))
            }
        }
    }
}

/// As text.
fn md5(text: &str) -> String {
    let digest = Md5::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::balance::tests::targets;

    fn sessions(mode: Mode, count: u8) -> Sessions {
        Sessions::new(mode, "default-web-80", &targets(count).into())
    }

    /// Computed by `md5sum` from ingress-nginx's formulas: of name and endpoint, and of the name's
    /// digest and the name.
    #[test]
    fn keys_are_ingress_nginx_s() {
        let persistent = sessions(Mode::Persistent, 3);
        for (endpoint, key) in [
            (0, "d0654c5c6a236fdfcad2bef62e7278bd"),
            (1, "0aa3b49d3795ad62718deaa56ec75fae"),
            (2, "e3420c7e8e6f123f9dd2657d35a37d78"),
        ] {
            assert_eq!(persistent.find(key), Some(targets(3)[endpoint]), "{key}");
        }
        assert_eq!(persistent.find("balanced"), None);
        assert_eq!(persistent.upstream(), "6cde5721ec2c7e2bce07cff7d0e4ac37");
    }

    /// Keys in ingress-nginx's form, and others: each leads somewhere. Where to is `ring`'s, whose test
    /// has lua-resty-balancer's answers.
    #[test]
    fn any_key_leads_somewhere_on_a_ring() {
        let balanced = sessions(Mode::Balanced, 5);
        for (key, endpoint) in [
            ("1700000000.123.42.123456", 0),
            ("1700000001.456.7.999999", 4),
            ("1760000123.9.31.4", 3),
            ("x", 0),
            ("", 1),
        ] {
            assert_eq!(balanced.find(key), Some(targets(5)[endpoint]), "{key}");
        }
    }

    #[test]
    fn sessions_begin_anywhere_and_lead_back() {
        for mode in [Mode::Balanced, Mode::Persistent] {
            let (sessions, all) = (sessions(mode, 4), targets(4));
            let mut number = 0_u64;
            for left in 0..4 {
                let mut tried = all.clone();
                tried.remove(left);
                let random = || {
                    number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    number
                };
                let (target, key) = sessions.begin(&tried, random).expect("one is left");
                assert_eq!(target, all[left]);
                assert_eq!(sessions.find(&key), Some(target));
            }
            assert_eq!(sessions.begin(&all, || 7), None);
        }
    }
}
