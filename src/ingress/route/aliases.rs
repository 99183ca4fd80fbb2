// SPDX-License-Identifier: Apache-2.0
//! Other names of hosts, as nginx's `server_name` has them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use crate::ingress::action::pattern::Pattern;

/// A name that stands for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alias {
    /// A name.
    Name(Arc<str>),
    /// `*.example.com`: whatever ends so, of any number of labels. What follows the star.
    Leading(Arc<str>),
    /// `www.example.*`: whatever begins so. What stands before the star.
    Trailing(Arc<str>),
    /// `~^www\d+\.example\.com$`: what the pattern finds.
    Pattern(Arc<Pattern>),
}

impl Alias {
    /// Reads one name.
    ///
    /// # Errors
    ///
    /// Says why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(pattern) = text.strip_prefix('~') {
            return Ok(Self::Pattern(Arc::new(Pattern::search(pattern)?)));
        }
        let text = text.to_ascii_lowercase();
        let (make, name, rest): (fn(Arc<str>) -> Self, _, _) =
            match (text.strip_prefix("*."), text.strip_suffix(".*")) {
                (Some(rest), _) => (Self::Leading, &text[1..], rest),
                (None, Some(rest)) => (Self::Trailing, &text[..text.len() - 1], rest),
                (None, None) => (Self::Name, &*text, &*text),
            };
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        match rest.bytes().all(good) && !rest.is_empty() && !rest.starts_with('.') {
            true => Ok(make(name.into())),
            false => Err(format!("must be names of hosts, is {text:?}")),
        }
    }
}

/// From other names to the host whose routes they have. A host that is there goes before them.
#[derive(Debug, Clone, Default)]
pub struct Aliases {
    names: HashMap<Arc<str>, Arc<str>>,
    /// The longest in front.
    leading: Vec<(Arc<str>, Arc<str>)>,
    trailing: Vec<(Arc<str>, Arc<str>)>,
    patterns: Vec<(Arc<Pattern>, Arc<str>)>,
}

impl Aliases {
    /// Of names with their hosts: of two that are the same the one that comes first counts.
    pub fn new(all: impl IntoIterator<Item = (Alias, Arc<str>)>) -> Self {
        let mut aliases = Self::default();
        for (alias, host) in all {
            match alias {
                Alias::Name(name) => {
                    aliases.names.entry(name).or_insert(host);
                }
                Alias::Leading(suffix) => aliases.leading.push((suffix, host)),
                Alias::Trailing(prefix) => aliases.trailing.push((prefix, host)),
                Alias::Pattern(pattern) => aliases.patterns.push((pattern, host)),
            }
        }
        aliases.leading.sort_by_key(|(name, _)| Reverse(name.len()));
        aliases
            .trailing
            .sort_by_key(|(name, _)| Reverse(name.len()));
        aliases
    }

    /// The host that a name stands for.
    pub(super) fn name(&self, host: &str) -> Option<&str> {
        self.names.get(host).map(|host| &**host)
    }

    /// The host of what a name begins or ends with.
    pub(super) fn part(&self, host: &str) -> Option<&str> {
        let longer = |part: &str| host.len() > part.len();
        let leading = self.leading.iter();
        let mut leading = leading.filter(|(part, _)| longer(part) && host.ends_with(&**part));
        let trailing = self.trailing.iter();
        let mut trailing = trailing.filter(|(part, _)| longer(part) && host.starts_with(&**part));
        let found = leading.next().or_else(|| trailing.next());
        found.map(|(_, host)| &**host)
    }

    /// The host of the first pattern that finds a name.
    pub(super) fn pattern(&self, host: &str) -> Option<&str> {
        let mut patterns = self.patterns.iter();
        let found = patterns.find(|(pattern, _)| pattern.is_match(host.as_bytes()));
        found.map(|(_, host)| &**host)
    }
}
