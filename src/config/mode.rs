// SPDX-License-Identifier: Apache-2.0
//! `--proxy-mode`: one mode, or a list of which the first counts that the kernel has.

/// A word of `--proxy-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyMode {
    /// Served by nftables, with kube-proxy's settings of its iptables mode.
    Iptables,
    /// The table translates.
    Nftables,
    /// Virtual servers translate.
    Ipvs,
}

impl ProxyMode {
    /// As flag and file name it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
            Self::Ipvs => "ipvs",
        }
    }

    /// What serves in this mode: `nftables` or `ipvs`.
    pub fn served_by(self) -> &'static str {
        match self {
            Self::Iptables | Self::Nftables => "nftables",
            Self::Ipvs => "ipvs",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Iptables, Self::Nftables, Self::Ipvs]
            .into_iter()
            .find(|mode| mode.word() == word)
    }
}

/// Reads a mode or a list. An empty text is kube-proxy's default.
///
/// # Errors
/// What is wrong, as the end of a sentence.
pub(super) fn parse(text: &str) -> Result<Vec<ProxyMode>, String> {
    if text.is_empty() {
        return Ok(vec![ProxyMode::Iptables]);
    }
    let mut modes: Vec<ProxyMode> = Vec::new();
    for word in text.split(',').map(str::trim) {
        let mode = ProxyMode::from_word(word)
            .ok_or_else(|| format!("must be nftables, ipvs or a list of both, is {text:?}"))?;
        if modes.iter().any(|m| m.served_by() == mode.served_by()) {
            let twice = mode.served_by();
            return Err(format!("names {twice} twice, is {text:?}"));
        }
        modes.push(mode);
    }
    Ok(modes)
}

/// The mode that counts: the one that was settled on, if the list has it, else the list's first.
/// None if there is no such list.
pub(super) fn that_counts(text: &str, settled: Option<ProxyMode>) -> Option<ProxyMode> {
    let modes = parse(text).ok()?;
    let settled = settled.filter(|mode| modes.contains(mode));
    settled.or(modes.first().copied())
}

#[cfg(test)]
mod tests {
    use super::ProxyMode::{Iptables, Ipvs, Nftables};
    use super::*;

    #[test]
    fn modes_and_lists_are_read() {
        for (text, expected) in [
            ("", &[Iptables][..]),
            ("iptables", &[Iptables]),
            ("ipvs", &[Ipvs]),
            ("ipvs,nftables", &[Ipvs, Nftables]),
            ("nftables, ipvs", &[Nftables, Ipvs]),
            ("ipvs,iptables", &[Ipvs, Iptables]),
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text:?}");
        }
        for (text, reason) in [
            ("NFTables", "must be nftables, ipvs or a list of both"),
            ("ipvs,", "must be nftables, ipvs or a list of both"),
            (" ", "must be nftables, ipvs or a list of both"),
            ("ipvs,ipvs", "names ipvs twice"),
            ("iptables,nftables", "names nftables twice"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn what_was_settled_on_counts_while_the_list_has_it() {
        let list = "ipvs,nftables";
        assert_eq!(that_counts(list, None), Some(Ipvs));
        assert_eq!(that_counts(list, Some(Nftables)), Some(Nftables));
        assert_eq!(that_counts("ipvs", Some(Nftables)), Some(Ipvs));
        assert_eq!(that_counts("x", Some(Nftables)), None);
    }
}
