// SPDX-License-Identifier: Apache-2.0
//! How TLS begins with the clients of a host: which versions, which suites, in whose order. PURE.

use std::sync::Arc;

/// What is none is as everywhere else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handshake {
    /// Which versions are spoken.
    pub versions: Option<Versions>,
    /// The suites of TLS 1.2 by IANA's numbers, the best first; never empty. Those of TLS 1.3 are not
    /// chosen, as in nginx.
    pub suites: Option<Arc<[u16]>>,
    /// Whether the best suite is ours rather than the client's: none for ours if there is a list.
    pub own_order: Option<bool>,
}

/// Of TLS: never none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// 1.2 alone.
    Only12,
    /// 1.3 alone.
    Only13,
    /// 1.2 and 1.3.
    Both,
}

impl Handshake {
    /// Whether nothing is said.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// The same with what `other` says where this one says nothing.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            versions: self.versions.or(other.versions),
            suites: self.suites.or_else(|| other.suites.clone()),
            own_order: self.own_order.or(other.own_order),
        }
    }
}

impl Versions {
    /// Reads `TLSv1.2 TLSv1.3`: the versions, and words for those that there are not. None if there
    /// is none of them.
    pub fn parse(text: &str) -> (Option<Self>, Vec<&str>) {
        let (mut tls12, mut tls13, mut missing) = (false, false, Vec::new());
        for word in text.split([' ', ',']).filter(|word| !word.is_empty()) {
            match word {
                "TLSv1.2" => tls12 = true,
                "TLSv1.3" => tls13 = true,
                other => missing.push(other),
            }
        }
        let versions = match (tls12, tls13) {
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::Only12),
            (false, true) => Some(Self::Only13),
            (false, false) => None,
        };
        (versions, missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_what_there_is_not_is_named() {
        for (text, versions, missing) in [
            ("TLSv1.2 TLSv1.3", Some(Versions::Both), &[][..]),
            ("TLSv1.3", Some(Versions::Only13), &[]),
            (
                "TLSv1 TLSv1.1 TLSv1.2",
                Some(Versions::Only12),
                &["TLSv1", "TLSv1.1"],
            ),
            ("SSLv3", None, &["SSLv3"]),
            ("", None, &[]),
        ] {
            assert_eq!(
                Versions::parse(text),
                (versions, missing.to_vec()),
                "{text}"
            );
        }
    }

    #[test]
    fn the_first_that_says_something_decides() {
        let first = Handshake {
            own_order: Some(false),
            ..Handshake::default()
        };
        let second = Handshake {
            versions: Some(Versions::Only13),
            own_order: Some(true),
            ..Handshake::default()
        };
        assert!(Handshake::default().is_usual() && !first.is_usual());
        let both = first.or(&second);
        assert_eq!(
            (both.versions, both.own_order),
            (Some(Versions::Only13), Some(false))
        );
    }
}
