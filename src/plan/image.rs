// SPDX-License-Identifier: Apache-2.0
//! A ruleset as named objects with a text each, which two can be compared by. PURE.

use std::collections::BTreeMap;

use super::ipvs::text as ipvs;
use super::nft::{Element, SetName, text};
use super::ruleset::Ruleset;
use crate::model::IpFamily;

/// Every chain, set, element, virtual server and real server: kind and name, and what it holds.
/// What packets enter in a Service's own maps is no part of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    objects: BTreeMap<(String, String), String>,
}

/// An object in which two images differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// `chain`, `set`, `element`, `virtual server` or `real server`.
    pub kind: String,
    /// Its name; of an element the set's name and the key.
    pub name: String,
    /// What it should hold; none: it should not be there.
    pub wanted: Option<String>,
    /// What it holds; none: it is not there.
    pub found: Option<String>,
}

impl Image {
    /// The image of a ruleset.
    pub fn of(ruleset: &Ruleset, family: IpFamily) -> Self {
        let mut image = Self::default();
        for chain in ruleset.chains.values() {
            let hook = chain.base.map(|base| {
                let (kind, hook) = (base.hook.chain_type(), base.hook.word());
                format!("type {kind} hook {hook} priority {}", base.priority)
            });
            let rules = chain.rules.iter().map(|rule| text::rule(rule, family));
            let lines: Vec<String> = hook.into_iter().chain(rules).collect();
            image.put("chain", chain.name.as_str(), lines.join("; "));
        }
        for set in ruleset.sets.values() {
            let kind = match set.name {
                SetName::Fixed(_) => text::set(set, family),
                SetName::Own(_) => "sticky clients".to_owned(),
            };
            image.put("set", set.name.as_str(), kind);
        }
        for element in ruleset.elements.values() {
            let (key, data) = split(element, family);
            image.put("element", &format!("{} {key}", element.set.name()), data);
        }
        for (key, server) in &ruleset.servers {
            let settings = ipvs::settings(&server.settings);
            image.put("virtual server", &key.to_string(), settings);
            for (target, weight) in &server.destinations {
                let name = format!("{key} -> {target}");
                image.put("real server", &name, format!("weight {weight}"));
            }
        }
        image
    }

    /// From what [`into_lines`](Self::into_lines) gave.
    pub fn from_lines(lines: Vec<(String, String, String)>) -> Self {
        let object = |(kind, name, content)| ((kind, name), content);
        Self {
            objects: lines.into_iter().map(object).collect(),
        }
    }

    /// Kind, name and content of each object.
    pub fn into_lines(self) -> Vec<(String, String, String)> {
        let line = |((kind, name), content)| (kind, name, content);
        self.objects.into_iter().map(line).collect()
    }

    /// Adds words to an object's content, for what only a text can say.
    pub fn append(&mut self, kind: &str, name: &str, words: &str) {
        let content = self
            .objects
            .entry((kind.to_owned(), name.to_owned()))
            .or_default();
        if !content.is_empty() {
            content.push_str("; ");
        }
        content.push_str(words);
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Where what is found differs from what is wanted, by kind and name.
    pub fn differences(wanted: &Self, found: &Self) -> Vec<Difference> {
        let names = wanted.objects.keys().chain(found.objects.keys());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names.dedup();
        let difference = |name: &(String, String)| {
            let (wanted, found) = (wanted.objects.get(name), found.objects.get(name));
            (wanted != found).then(|| Difference {
                kind: name.0.clone(),
                name: name.1.clone(),
                wanted: wanted.cloned(),
                found: found.cloned(),
            })
        };
        names.into_iter().filter_map(difference).collect()
    }

    fn put(&mut self, kind: &str, name: &str, content: String) {
        self.objects
            .insert((kind.to_owned(), name.to_owned()), content);
    }
}

/// An element's key, or range of keys, and its data.
fn split(element: &Element, family: IpFamily) -> (String, String) {
    let text = text::element(element, family);
    match text.split_once(" : ") {
        Some((key, data)) => (key.to_owned(), data.to_owned()),
        None => (text, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixture::{ipvs_options, options, plan_all, showcase};
    use crate::plan::nft::{Data, SetId};

    #[test]
    fn each_change_of_a_ruleset_is_one_difference() {
        for options in [options(), ipvs_options()] {
            let whole = plan_all(&showcase(), &options, IpFamily::V4).ruleset();
            let wanted = Image::of(&whole, IpFamily::V4);
            let lines = wanted.clone().into_lines();
            assert_eq!(Image::from_lines(lines), wanted);
            assert_eq!(Image::differences(&wanted, &wanted), []);
            let differs = |change: &dyn Fn(&mut Ruleset)| {
                let mut other = whole.clone();
                change(&mut other);
                let found = Image::of(&other, IpFamily::V4);
                let [one] = &Image::differences(&wanted, &found)[..] else {
                    panic!("not one difference");
                };
                one.clone()
            };
            let gone = differs(&|r| drop(r.elements.pop_first()));
            assert_eq!((gone.kind.as_str(), gone.found), ("element", None));
            let place = |r: &Ruleset| {
                let all = r.elements_of(SetId::NodeAddresses).next();
                (SetId::NodeAddresses, all.expect("one").key)
            };
            let other = differs(&|r| {
                let element = r.elements.get_mut(&place(r)).expect("there");
                element.data = Data::Target("10.9.9.9".parse().expect("an address"), 1);
            });
            assert_eq!(other.name, "node-addresses 192.0.2.10");
            assert_eq!(other.found.as_deref(), Some("10.9.9.9 . 1"));
            assert_eq!(other.wanted.as_deref(), Some(""));
            let chain = differs(&|r| drop(r.chains.remove(&"learn".into())));
            assert_eq!(
                (chain.kind.as_str(), chain.name.as_str()),
                ("chain", "learn")
            );
            if options.mode.ipvs().is_some() {
                let last = whole.servers.iter().rev();
                let key = *last
                    .clone()
                    .find(|(_, s)| s.destinations.is_empty())
                    .expect("one")
                    .0;
                let server = differs(&|r| drop(r.servers.remove(&key)));
                assert_eq!(server.kind, "virtual server");
            }
        }
    }
}
