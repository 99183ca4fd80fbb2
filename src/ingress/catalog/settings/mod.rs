// SPDX-License-Identifier: Apache-2.0
//! Settings from a ConfigMap, by the names that they have in ingress-nginx's. PURE.

mod served;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};

use self::served::KEYS;
use crate::ingress::action::compress::Compress;
use crate::ingress::action::errors;
use crate::ingress::action::headers::{self, Text};
use crate::ingress::action::rate::Rate;
use crate::ingress::annotation::value::{self, Wrong};
use crate::ingress::annotation::{
    ByBehaviour, Defaults, Hsts, Https, PlainPaths, Policy, external, keys,
};
use crate::ingress::table::{Behaviour, RouteSettings, Settings};
use crate::model::ServiceName;

/// Data of a ConfigMap.
pub(super) type Data = BTreeMap<Arc<str>, Arc<str>>;

/// What a ConfigMap says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Configured {
    pub(super) settings: Settings,
    /// What holds for an Ingress whose annotations do not say otherwise.
    pub(super) defaults: ByBehaviour<Defaults>,
    /// Keys and values that are not served, with the reasons.
    pub(super) notes: Vec<String>,
    /// ConfigMaps that hold more of it.
    pub(super) linked: Linked,
}

/// ConfigMaps of headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Linked {
    /// Of all answers.
    pub(super) add: Option<ServiceName>,
    /// Of all requests on their way to endpoints.
    pub(super) set: Option<ServiceName>,
}

/// What a key means.
enum Key {
    /// Whole seconds, at least so many.
    Seconds(u32, fn(&mut Draft, Duration)),
    /// Seconds, or a number with a unit: `240s`, `4m`, `1h`.
    Time(fn(&mut Draft, Duration)),
    Number(fn(&mut Draft, u32)),
    Switch(fn(&mut Draft, bool)),
    Text(fn(&mut Draft, &str) -> Result<(), Wrong>),
    /// One of `global-auth-*`, which are read together.
    Together,
    /// Served with this value, and with no other.
    Always(&'static str),
}

/// Settings, and what they are made of when all keys have been read.
struct Draft {
    settings: Settings,
    route: RouteSettings,
    https: Https,
    plain_paths: PlainPaths,
    hsts: Hsts,
    policy: Policy,
    linked: Linked,
    rate: (u64, u64),
}

/// Reads a ConfigMap's data; what it does not say, or says wrongly, is as in `settings` and `route`.
/// `behaviour` is that of Ingresses without a class.
pub(super) fn read(
    settings: &Settings,
    (route, own): (&RouteSettings, Behaviour),
    data: &Data,
) -> Configured {
    // The same in both but for what holds without a word.
    let mut common = None;
    let defaults = ByBehaviour::new(|behaviour| {
        let (mut draft, mut notes) = read_for(Defaults::of(behaviour, route), settings, data);
        notes.extend(trust(&mut draft.settings, own));
        common = Some((draft.settings, draft.linked, notes));
        Defaults {
            behaviour,
            route: draft.route,
            https: draft.https,
            plain_paths: draft.plain_paths,
            hsts: draft.hsts,
            policy: draft.policy,
        }
    });
    let (settings, linked, notes) = common.unwrap_or_default();
    Configured {
        settings,
        defaults,
        notes,
        linked,
    }
}

fn read_for(defaults: Defaults, settings: &Settings, data: &Data) -> (Draft, Vec<String>) {
    let mut draft = Draft {
        settings: settings.clone(),
        route: defaults.route,
        https: defaults.https,
        plain_paths: defaults.plain_paths,
        hsts: defaults.hsts,
        policy: defaults.policy,
        linked: Linked::default(),
        rate: (0, 0),
    };
    let (mut unknown, mut notes) = (Vec::new(), Vec::new());
    for (name, value) in data {
        match KEYS.iter().find(|(known, _)| **known == **name) {
            None => match keys::why_not(name) {
                Some(why) => notes.push(format!("data[{name}]: {why}")),
                None => unknown.push(&**name),
            },
            Some((_, key)) => notes.extend(
                set(&mut draft, key, value.trim())
                    .err()
                    .map(|wrong| format!("data[{name}]: {wrong}")),
            ),
        }
    }
    notes.extend(external::global(&mut draft.route, data));
    if !unknown.is_empty() {
        notes.push(format!("not known: {}", unknown.join(", ")));
    }
    draft.finish_route();
    (draft, notes)
}

/// Who is believed where `proxy-real-ip-cidr` names nobody: in ingress-nginx everybody, once it is
/// asked to believe at all. Where it stands in for that, addresses of clients, and what is decided by
/// them, would otherwise become those of the load balancer.
fn trust(settings: &mut Settings, behaviour: Behaviour) -> Option<String> {
    let asks = settings.use_forwarded_headers || settings.proxy_protocol;
    if !asks || !settings.trusted.is_empty() {
        return None;
    }
    if behaviour == Behaviour::Spec {
        return Some("nobody is believed before proxy-real-ip-cidr names the proxies".to_owned());
    }
    settings.trusted = vec![Ipv4Net::default().into(), Ipv6Net::default().into()];
    let text = "everybody is believed, as in ingress-nginx: any client can say that it comes from \
                any address, unless proxy-real-ip-cidr names the proxies";
    Some(text.to_owned())
}

/// Whether a key is served, with any value or only with one.
#[cfg(test)]
pub(super) fn serves(name: &str) -> bool {
    KEYS.iter().any(|(known, _)| *known == name)
}

impl Draft {
    /// What several keys make together.
    fn finish_route(&mut self) {
        let (rate, after) = self.rate;
        // In kilobytes, as in annotations.
        self.route.rate = NonZeroU64::new(rate * 1024).map(|bytes| Rate {
            bytes,
            after: after * 1024,
        });
        if self.route.compress.as_deref() == Some(&Compress::default()) {
            self.route.compress = None;
        }
        let idle = |errors: &Arc<errors::Errors>| errors.everywhere.statuses.is_empty();
        if self.route.errors.as_ref().is_some_and(idle) {
            self.route.errors = None;
        }
    }
}

fn set(draft: &mut Draft, key: &Key, text: &str) -> Result<(), Wrong> {
    match key {
        Key::Seconds(least, put) => put(draft, value::seconds(*least, text)?),
        Key::Time(put) => put(draft, value::time(text)?),
        Key::Number(put) => put(draft, value::number(0, text)?),
        Key::Switch(put) => put(draft, value::switch(text)?),
        Key::Text(put) => put(draft, text)?,
        Key::Together => {}
        Key::Always(only) if text.eq_ignore_ascii_case(only) => {}
        Key::Always(only) => return Err(format!("only {only:?} is served, is {text:?}")),
    }
    Ok(())
}

impl Linked {
    pub(super) fn names(&self) -> impl Iterator<Item = &ServiceName> {
        self.add.iter().chain(&self.set)
    }
}

/// Takes over the headers that linked ConfigMaps hold. Those that are not served, with the reasons.
pub(super) fn follow<'a>(
    configured: &mut Configured,
    find: impl Fn(&ServiceName) -> Option<&'a Data>,
) -> Vec<String> {
    let mut notes = Vec::new();
    let Linked { add, set } = configured.linked.clone();
    let links = [("add-headers", add), ("proxy-set-headers", set)];
    for (key, name) in links {
        let Some(name) = name else { continue };
        let Some(data) = find(&name) else {
            notes.push(format!("data[{key}]: ConfigMap {name} is not there"));
            continue;
        };
        for (header, text) in data {
            let wrong = configured
                .defaults
                .each_mut()
                .into_iter()
                .find_map(|defaults| add_header(&mut defaults.route, key, header, text).err());
            notes.extend(wrong.map(|wrong| format!("data[{key}]: {name}: {header}: {wrong}")));
        }
    }
    notes
}

/// One header of all answers, or of all requests on their way.
fn add_header(route: &mut RouteSettings, key: &str, name: &str, text: &str) -> Result<(), Wrong> {
    let text = Text::parse(text.trim())?;
    let headers = route.headers.get_or_insert_default();
    let everywhere = &mut Arc::make_mut(headers).everywhere;
    match key {
        "add-headers" => everywhere.set(headers::name(name)?, text),
        _ => everywhere.onward.push((headers::onward_name(name)?, text)),
    }
    Ok(())
}
