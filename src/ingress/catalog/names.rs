// SPDX-License-Identifier: Apache-2.0
//! Names that lead to a host without being one: `server-alias`, and the other one of a name and
//! `www.` with the name.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::StatusCode;

use super::{Catalog, Wishes};
use crate::ingress::action::redirect::Redirect;
use crate::ingress::route::HostRoutes;
use crate::ingress::route::aliases::{Alias, Aliases};
use crate::ingress::table::{Backend, Behaviour, Route, RouteSettings};
use crate::model::ServiceName;

/// Of all hosts.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Other names, by host.
    aliases: BTreeMap<Arc<str>, Vec<Alias>>,
    /// From where redirects go to a host, by that host.
    www: BTreeMap<Arc<str>, Www>,
}

/// A redirect to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Www {
    from: Arc<str>,
    /// Who wants it.
    owner: ServiceName,
    behaviour: Behaviour,
    redirect: Arc<Redirect>,
}

/// What a host's names have come to.
#[derive(Debug, Default)]
pub(super) struct Renamed {
    /// Whether it has other names than before.
    pub(super) aliases: bool,
    /// Hosts that have to be built, as a redirect begins or ends there.
    pub(super) hosts: Vec<Arc<str>>,
}

/// `www.` and the name, or the name without it; none where there is no such name.
fn other(host: &str) -> Option<Arc<str>> {
    if host.is_empty() || host.starts_with('*') {
        return None;
    }
    Some(match host.strip_prefix("www.") {
        Some(rest) => rest.into(),
        None => format!("www.{host}").into(),
    })
}

impl Names {
    /// All other names, with their hosts in order.
    pub(super) fn aliases(&self) -> Option<Arc<Aliases>> {
        let all = self.aliases.iter().flat_map(|(host, aliases)| {
            let aliases = aliases.iter().cloned();
            aliases.map(|alias| (alias, host.clone()))
        });
        let some = !self.aliases.is_empty();
        some.then(|| Arc::new(Aliases::new(all)))
    }

    /// The names that are redirected from, which follow what holds for all.
    pub(super) fn redirected(&self) -> impl Iterator<Item = &Arc<str>> {
        self.www.values().map(|www| &www.from)
    }

    /// Hosts have their certificates by their other names, too.
    pub(super) fn certify(&self, wishes: &mut Wishes) {
        let www = self.www.iter().map(|(to, www)| (www.from.clone(), to));
        let aliases = self.aliases.iter().flat_map(|(host, aliases)| {
            let names = aliases.iter().filter_map(|alias| match alias {
                Alias::Name(name) => Some(name.clone()),
                Alias::Leading(suffix) => Some(format!("*{suffix}").into()),
                Alias::Trailing(_) | Alias::Pattern(_) => None,
            });
            names.map(move |name| (name, host))
        });
        let mut more = Vec::new();
        for (name, host) in www.chain(aliases) {
            if let Some(secret) = wishes.by_host.get(host) {
                more.push((name, secret.clone()));
            }
        }
        for (name, secret) in more {
            wishes.by_host.entry(name).or_insert(secret);
        }
    }

    fn replace<T: PartialEq>(
        map: &mut BTreeMap<Arc<str>, T>,
        host: &Arc<str>,
        new: Option<T>,
    ) -> (bool, Option<T>) {
        let old = map.remove(host);
        let changed = old != new;
        if let Some(new) = new {
            map.insert(host.clone(), new);
        }
        (changed, old)
    }
}

impl Catalog {
    /// Takes in the names that the Ingresses of a host want for it; of each the oldest decides.
    pub(super) fn rename(&mut self, host: &Arc<str>) -> Renamed {
        let all = self.index.of_host(host);
        let all: Vec<_> = all
            .map(|name| (name, &self.annotations.of(name).routing))
            .collect();
        let aliases = all.iter().map(|(_, routing)| &routing.aliases);
        let aliases = aliases.into_iter().find(|aliases| !aliases.is_empty());
        let aliases = aliases.cloned();
        let www = all.iter().find(|(_, routing)| routing.www);
        let www = www.and_then(|(owner, _)| self.www(host, owner));
        let (changed, _) = Names::replace(&mut self.names.aliases, host, aliases);
        let now = www.as_ref().map(|www| www.from.clone());
        let (moved, old) = Names::replace(&mut self.names.www, host, www);
        let before = old.map(|www| www.from);
        Renamed {
            aliases: changed,
            hosts: match moved {
                true => now.into_iter().chain(before).collect(),
                false => Vec::new(),
            },
        }
    }

    fn www(&self, host: &Arc<str>, owner: &ServiceName) -> Option<Www> {
        let ingress = self.served.get(owner)?;
        let behaviour = self.behaviour(ingress);
        let status = self.annotations.defaults().of(behaviour).https.status;
        let status = StatusCode::from_u16(status).ok()?;
        let port = behaviour == Behaviour::IngressNginx;
        Some(Www {
            from: other(host)?,
            owner: owner.clone(),
            behaviour,
            redirect: Arc::new(Redirect::to_host(status, host.clone(), port)),
        })
    }

    /// The routes of a host that nobody has, if it is redirected to its other name.
    pub(super) fn redirected_host(&self, host: &Arc<str>) -> Option<HostRoutes> {
        let to = other(host)?;
        let www = self.names.www.get(&to).filter(|www| www.from == *host)?;
        let settings = RouteSettings {
            redirect: Some(www.redirect.clone()),
            https_redirect: None,
            ..RouteSettings::clone(&self.annotations.bare(www.behaviour).plain)
        };
        let route = Route {
            ingress: www.owner.clone(),
            host: host.clone(),
            path: "".into(),
            backend: Backend::Status(404),
            settings: Arc::new(settings),
            canary: None,
        };
        Some(HostRoutes::new(Vec::new(), Some(Arc::new(route))))
    }
}

#[cfg(test)]
mod tests {
    use super::other;

    #[test]
    fn a_name_has_one_other() {
        for (host, expected) in [
            ("a.example", Some("www.a.example")),
            ("www.a.example", Some("a.example")),
            ("*.a.example", None),
            ("", None),
        ] {
            assert_eq!(other(host).as_deref(), expected);
        }
    }
}
