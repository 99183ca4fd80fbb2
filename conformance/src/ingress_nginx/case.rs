// SPDX-License-Identifier: Apache-2.0
//! Cases, from the YAML files of conformance/ingress-nginx.
//!
//! A file is a list of families. A family may have `rows`: it is then one case a row, in which
//! `<key>` stands for what the row says under that key. With `times` each row counts for each of
//! those. Four more stand for what only the harness knows: `<host>`, `<ns>`, `<client>` and
//! `<other>` (the addresses that requests come from).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::echo::Behaviour;
use super::request::Request;

/// Where the files are.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ingress-nginx")
}

/// Objects, what is asked, and where ingress-nginx says what comes of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Case {
    /// `FILE-FAMILY` or `FILE-FAMILY-ROW`; the namespace of the objects, too.
    pub name: String,
    /// The section of ingress-nginx's documentation, or the line of its template or code, that says
    /// what nginx does.
    pub source: String,
    /// What it counts for besides the annotations that it has.
    #[serde(default)]
    pub about: Vec<String>,
    /// Which settings both proxies have.
    #[serde(default = "usual")]
    pub world: String,
    /// Ingresses.
    #[serde(default, deserialize_with = "one_or_many")]
    pub ingress: Vec<Ingress>,
    /// Services by name; one without further mention has one endpoint.
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
    /// Secrets by name.
    #[serde(default)]
    pub secrets: BTreeMap<String, Secret>,
    /// ConfigMaps by name.
    #[serde(default)]
    pub config_maps: BTreeMap<String, BTreeMap<String, String>>,
    /// What is asked, in this order.
    pub requests: Vec<Request>,
    /// Requests send the cookies that answers before have set.
    #[serde(default)]
    pub jar: bool,
    /// The number of the case, from 0.
    #[serde(skip)]
    pub number: usize,
}

/// One Ingress.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ingress {
    /// Its name.
    #[serde(default = "web")]
    pub name: String,
    /// The host of its paths; empty: all.
    pub host: Option<String>,
    /// Paths of the host.
    #[serde(default)]
    pub paths: Vec<PathSpec>,
    /// Rules, in place of a host and paths.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// The service of `defaultBackend`.
    pub default: Option<String>,
    /// Hosts under `tls`.
    #[serde(default)]
    pub tls: Vec<String>,
    /// The Secret that is named there.
    pub tls_secret: Option<String>,
    /// Annotations without the prefix.
    #[serde(default, deserialize_with = "texts")]
    pub annotations: BTreeMap<String, String>,
    /// Minutes between this Ingress and the oldest.
    #[serde(default)]
    pub age: u8,
}

/// The paths of a host.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Empty: all hosts.
    pub host: String,
    /// Its paths; none at all: `http` is not there.
    #[serde(default)]
    pub paths: Vec<PathSpec>,
}

/// A path. A text is one of the type Prefix to the service `web`.
#[derive(Debug, Clone)]
pub struct PathSpec {
    /// The path; empty: not there.
    pub path: String,
    /// `Exact`, `Prefix` or `ImplementationSpecific`.
    pub kind: String,
    /// The service.
    pub to: String,
}

/// A Service and its endpoints.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Service {
    /// What each endpoint does.
    #[serde(default = "one_endpoint")]
    pub endpoints: Vec<Endpoint>,
    /// Endpoints speak TLS.
    #[serde(default)]
    pub tls: bool,
    /// The cluster IP answers, too, as the endpoint `ip`.
    #[serde(default)]
    pub cluster_ip: bool,
    /// The Service is not there at all.
    #[serde(default)]
    pub missing: bool,
}

/// What an endpoint does.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Endpoint {
    /// `dead`: nobody listens; `silent`: nobody answers.
    Named(String),
    /// What it answers, whatever a request asks for.
    Doing(Box<Behaviour>),
}

/// A Secret.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Secret {
    /// One of [`super::certificates`].
    Known(String),
    /// As written.
    Data(BTreeMap<String, String>),
}

fn usual() -> String {
    "default".to_owned()
}

fn web() -> String {
    "web".to_owned()
}

fn one_endpoint() -> Vec<Endpoint> {
    vec![Endpoint::Doing(Box::default())]
}

impl Default for Service {
    fn default() -> Self {
        Self {
            endpoints: one_endpoint(),
            tls: false,
            cluster_ip: false,
            missing: false,
        }
    }
}

impl<'de> Deserialize<'de> for PathSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            path: String,
            #[serde(default = "prefix", rename = "type")]
            kind: String,
            #[serde(default = "web")]
            to: String,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Short(String),
            Long(Long),
        }
        fn prefix() -> String {
            "Prefix".to_owned()
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Short(path) => Self {
                path,
                kind: prefix(),
                to: web(),
            },
            Either::Long(Long { path, kind, to }) => Self { path, kind, to },
        })
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Ingress>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let many = match value {
        Value::Array(many) => many,
        one => vec![one],
    };
    let read = many.into_iter().map(serde_json::from_value);
    read.collect::<Result<_, _>>()
        .map_err(serde::de::Error::custom)
}

/// Values of annotations are texts, however they are written.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let values = BTreeMap::<String, Value>::deserialize(deserializer)?;
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let texts = values.into_iter().map(|(name, value)| (name, text(value)));
    Ok(texts.collect())
}

impl Ingress {
    /// Hosts and their paths.
    #[must_use]
    pub fn rules(&self) -> Vec<Rule> {
        match (self.rules.is_empty(), &self.host) {
            (true, None) => Vec::new(),
            (true, Some(host)) => vec![Rule {
                host: host.clone(),
                paths: self.paths.clone(),
            }],
            (false, _) => self.rules.clone(),
        }
    }
}

impl Case {
    /// What it counts for: its annotations, and what it says besides.
    #[must_use]
    pub fn subjects(&self) -> BTreeSet<&str> {
        let annotations = self.ingress.iter().flat_map(|i| i.annotations.keys());
        let names = annotations.chain(&self.about).map(String::as_str);
        names.collect()
    }

    /// All services, with those that only paths name.
    #[must_use]
    pub fn services(&self) -> BTreeMap<String, Service> {
        let mut services = self.services.clone();
        for ingress in &self.ingress {
            let rules = ingress.rules().into_iter().flat_map(|rule| rule.paths);
            let names = rules.map(|path| path.to).chain(ingress.default.clone());
            for name in names {
                services.entry(name).or_default();
            }
        }
        services
    }

    fn address(&self, second: u8) -> IpAddr {
        let [high, low] = [self.number / 200, self.number % 200 + 1];
        // There are not as many cases as addresses.
        let octet = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
        Ipv4Addr::new(10, second, octet(high), octet(low)).into()
    }

    /// Where its requests come from.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.address(91)
    }

    /// Where they come from if they say `from: other`.
    #[must_use]
    pub fn other(&self) -> IpAddr {
        self.address(93)
    }

    /// The host that its Ingresses are for, if they say nothing else.
    #[must_use]
    pub fn host(&self) -> String {
        format!("{}.test", self.name)
    }
}

/// Reads all files.
///
/// # Errors
/// If one cannot be read: which case, and why.
pub fn load() -> Result<Vec<Case>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let text = std::fs::read_to_string(&file)?;
        let families: Vec<Map<String, Value>> =
            serde_saphyr::from_str(&text).with_context(|| format!("{stem}.yaml"))?;
        for family in families {
            expand(&stem, family, &mut cases)?;
        }
    }
    let names: BTreeSet<&str> = cases.iter().map(|case| &*case.name).collect();
    ensure!(names.len() == cases.len(), "two cases have the same name");
    Ok(cases)
}

fn expand(file: &str, mut family: Map<String, Value>, cases: &mut Vec<Case>) -> Result<()> {
    let Some(Value::String(name)) = family.remove("name") else {
        bail!("{file}.yaml: a family has no name");
    };
    let mut table = |key: &str| -> Result<Vec<Map<String, Value>>> {
        let rows = family.remove(key);
        let rows = rows.unwrap_or_else(|| Value::Array(vec![Value::Object(Map::new())]));
        serde_json::from_value(rows).with_context(|| format!("{file}.yaml, {name}: {key}"))
    };
    let (rows, times) = (table("rows")?, table("times")?);
    let rows = times.iter().flat_map(|time| {
        rows.iter().map(|row| {
            let mut row = row.clone();
            row.extend(time.clone());
            row
        })
    });
    let rows: Vec<Map<String, Value>> = rows.collect();
    let single = rows.len() == 1;
    for (row, mut values) in rows.into_iter().enumerate() {
        let name = match single {
            true => format!("{file}-{name}"),
            false => format!("{file}-{name}-{}", row + 1),
        };
        let number = cases.len();
        let case = named(&name, number, &mut values, family.clone());
        cases.push(case.with_context(|| name.clone())?);
    }
    Ok(())
}

fn named(
    name: &str,
    number: usize,
    values: &mut Map<String, Value>,
    mut family: Map<String, Value>,
) -> Result<Case> {
    let shell = Case {
        name: name.to_owned(),
        number,
        source: String::new(),
        about: Vec::new(),
        world: String::new(),
        ingress: Vec::new(),
        services: BTreeMap::new(),
        secrets: BTreeMap::new(),
        config_maps: BTreeMap::new(),
        requests: Vec::new(),
        jar: false,
    };
    for (key, value) in [
        ("host", shell.host()),
        ("ns", name.to_owned()),
        ("client", shell.client().to_string()),
        ("other", shell.other().to_string()),
    ] {
        // A row may say otherwise.
        values.entry(key).or_insert(Value::String(value));
    }
    // What a row says may name these, too.
    let known = values.clone();
    for value in values.values_mut() {
        fill(value, &known);
    }
    for value in family.values_mut() {
        fill(value, values);
    }
    family.insert("name".to_owned(), Value::String(name.to_owned()));
    let mut case: Case = serde_json::from_value(Value::Object(family))?;
    case.number = number;
    for ingress in &mut case.ingress {
        if ingress.rules.is_empty() && !ingress.paths.is_empty() {
            ingress.host.get_or_insert_with(|| shell.host());
        }
    }
    Ok(case)
}

/// Puts a row's values in place of `<key>`; a text that is nothing else takes the value as it is.
fn fill(value: &mut Value, row: &Map<String, Value>) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| fill(value, row)),
        Value::Object(map) => {
            let entries = std::mem::take(map).into_iter().map(|(key, mut value)| {
                fill(&mut value, row);
                (text(&key, row), value)
            });
            *map = entries.collect();
        }
        Value::String(old) => {
            let whole = old.strip_prefix('<').and_then(|old| old.strip_suffix('>'));
            *value = match whole.and_then(|key| row.get(key)) {
                Some(value) => value.clone(),
                None => Value::String(text(old, row)),
            };
        }
        _ => {}
    }
}

fn text(old: &str, row: &Map<String, Value>) -> String {
    let mut new = old.to_owned();
    for (key, value) in row {
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        new = new.replace(&format!("<{key}>"), &value);
    }
    new
}
