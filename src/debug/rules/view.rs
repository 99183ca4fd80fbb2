// SPDX-License-Identifier: Apache-2.0
//! Tables as they are shown: text by `Display`, JSON by serde.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// Everything that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Listing {
    /// The kernel's generation of all tables; each commit makes a new one.
    pub generation: u32,
    /// The tables.
    pub tables: Vec<Table>,
    /// The virtual servers of IPVS mode, as `ipvsadm -Sn` writes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub virtual_servers: Vec<String>,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Table {
    /// `ip`, `ip6`, `inet`, `arp`, `bridge` or `netdev`.
    pub family: String,
    /// Name.
    pub name: String,
    /// Named sets and maps, in the kernel's order.
    pub sets: Vec<Set>,
    /// Chains, in the kernel's order.
    pub chains: Vec<Chain>,
}

/// A set or map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Set {
    /// Name.
    pub name: String,
    /// nft's word for the key's type.
    pub key: String,
    /// The same for the data, only in maps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// `interval`, `timeout`, `dynamic`, `constant`.
    pub flags: Vec<&'static str>,
    /// The most elements it takes, if that is limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// How long elements stay unless they say otherwise, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// How many elements it holds.
    pub count: usize,
    /// The first of them, in the order of their keys.
    pub elements: Vec<Element>,
}

/// An element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Element {
    /// Key, or range of keys.
    pub key: String,
    /// Data, only in maps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Its own timeout, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// When it goes, ms from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Chain {
    /// Name.
    pub name: String,
    /// `nat`, `filter` or `route`, only of base chains; so are the next three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// `prerouting` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// Its place among the chains of the hook, lowest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// `accept` or `drop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<&'static str>,
    /// Rules in order.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Rule {
    /// The kernel's handle.
    pub handle: u64,
    /// The rule in nft's words.
    pub text: String,
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in &self.tables {
            write!(f, "{table}")?;
        }
        for (n, line) in self.virtual_servers.iter().enumerate() {
            let head = if n == 0 { "\nvirtual servers:\n" } else { "" };
            writeln!(f, "{head}\t{line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table {} {} {{", self.family, self.name)?;
        for set in &self.sets {
            write!(f, "{set}")?;
        }
        for chain in &self.chains {
            write!(f, "{chain}")?;
        }
        writeln!(f, "}}")
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.data.is_some() { "map" } else { "set" };
        let data = self
            .data
            .as_ref()
            .map(|d| format!(" : {d}"))
            .unwrap_or_default();
        let elements = if self.count == 1 {
            "element"
        } else {
            "elements"
        };
        writeln!(f, "\t{word} {} {{ # {} {elements}", self.name, self.count)?;
        writeln!(f, "\t\ttype {}{data}", self.key)?;
        if let Some(size) = self.size {
            writeln!(f, "\t\tsize {size}")?;
        }
        if !self.flags.is_empty() {
            writeln!(f, "\t\tflags {}", self.flags.join(","))?;
        }
        if let Some(timeout) = self.timeout_ms {
            writeln!(f, "\t\ttimeout {}", duration(timeout))?;
        }
        if !self.elements.is_empty() {
            writeln!(f, "\t\telements = {{")?;
            for element in &self.elements {
                writeln!(f, "\t\t\t{element},")?;
            }
            if let Some(more @ 1..) = self.count.checked_sub(self.elements.len()) {
                writeln!(f, "\t\t\t# {more} more")?;
            }
            writeln!(f, "\t\t}}")?;
        }
        writeln!(f, "\t}}")
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(timeout) = self.timeout_ms {
            write!(f, " timeout {}", duration(timeout))?;
        }
        if let Some(expires) = self.expires_ms {
            write!(f, " expires {}", duration(expires))?;
        }
        if let Some(data) = &self.data {
            write!(f, " : {data}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = if self.rules.len() == 1 {
            "rule"
        } else {
            "rules"
        };
        writeln!(f, "\tchain {} {{ # {} {rules}", self.name, self.rules.len())?;
        if let (Some(kind), Some(hook), Some(priority)) = (&self.r#type, &self.hook, self.priority)
        {
            let policy = self
                .policy
                .map(|p| format!(" policy {p};"))
                .unwrap_or_default();
            writeln!(
                f,
                "\t\ttype {kind} hook {hook} priority {priority};{policy}"
            )?;
        }
        for rule in &self.rules {
            writeln!(f, "\t\t{}", rule.text)?;
        }
        writeln!(f, "\t}}")
    }
}

/// Milliseconds as nft reads them: whole seconds as such.
pub(super) fn duration(milliseconds: u64) -> String {
    match milliseconds % 1000 {
        0 => format!("{}s", milliseconds / 1000),
        _ => format!("{milliseconds}ms"),
    }
}
