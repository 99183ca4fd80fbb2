// SPDX-License-Identifier: Apache-2.0
//! `ferrule debug ingress --lint`: asks the sidecar, or reads a directory in its place.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::cli::IngressArgs;
use crate::debug::print::{Grid, print};
use crate::debug::{Verdict, client, values};
use crate::ingress::catalog::{CONTROLLER, Catalog, NGINX_CONTROLLER, Options};
use crate::ingress::lint::{Finding, FindingKind, Lint, lint, policy};
use crate::model::{Event, IngressClass, IngressEvent, Observed, ServiceName};
use crate::watch::manifests;

/// How long reading a directory may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Events on their way.
const EVENTS: usize = 1_024;
/// What ingress-nginx's chart calls its ConfigMap.
const CONFIG_MAP: &str = "ingress-nginx-controller";
const POLICIES: &str = "NetworkPolicies: save them (kubectl get networkpolicies -A -o yaml) beside \
                        the Ingresses, and lint with --manifests; or see that none admits the \
                        namespace ingress-nginx alone";

pub(super) fn run(args: &IngressArgs, out: &mut impl Write) -> Result<Verdict> {
    let found = match &args.manifests {
        Some(directory) => of_directory(args, directory)?,
        None => {
            let mut found: Lint = client::get(&args.admin_socket, "/lint")
                .context("--lint (with --manifests DIR no sidecar is needed)")?;
            found.not_checked.push(POLICIES.to_owned());
            found
        }
    };
    print(out, args.output, &found, |out, _| page(&found, out))?;
    Ok(match found.findings.is_empty() {
        true => Verdict::Fine,
        false => Verdict::Found,
    })
}

fn page(found: &Lint, out: &mut dyn Write) -> std::io::Result<()> {
    let mut grid = Grid::new(["OBJECT", "ANNOTATION", "KIND", "TEXT"]);
    for finding in &found.findings {
        let kind = finding.kind.as_str();
        grid.row([&finding.object, &finding.annotation, kind, &finding.text]);
    }
    if !found.findings.is_empty() {
        writeln!(out, "{}\n", grid.text(|_| None))?;
    }
    let (ingresses, count) = (found.ingresses, found.findings.len());
    writeln!(out, "{ingresses} Ingresses, {count} findings")?;
    for text in &found.not_checked {
        writeln!(out, "not looked at: {text}")?;
    }
    Ok(())
}

/// What a directory holds.
struct Directory {
    events: Vec<Event>,
    values: Vec<Value>,
}

impl Directory {
    fn read(path: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (sender, mut receiver) = mpsc::channel(EVENTS);
        let source = manifests::run_ingress(path.to_owned(), "lint".to_owned(), sender);
        let mut events = Vec::new();
        let read = async {
            tokio::pin!(source);
            loop {
                tokio::select! {
                    biased;
                    event = receiver.recv() => match event {
                        Some(Event::Synced) => return Ok(()),
                        Some(event) => events.push(event),
                        None => bail!("the source of objects has ended"),
                    },
                    result = &mut source => {
                        result?;
                        bail!("the source of objects has ended");
                    }
                }
            }
        };
        runtime
            .block_on(async { tokio::time::timeout(PATIENCE, read).await })
            .with_context(|| format!("--manifests {} takes too long", path.display()))??;
        let values = values::read(path)?;
        Ok(Self { events, values })
    }

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.values
            .iter()
            .filter(move |value| value["kind"] == *kind)
    }

    fn has(&self, kind: &str) -> bool {
        self.of_kind(kind).next().is_some()
    }

    /// The ConfigMap that is most probably ingress-nginx's.
    fn config_map(&self) -> Option<ServiceName> {
        let mut maps = self.of_kind("ConfigMap").map(name);
        maps.find(|name| *name.name == *CONFIG_MAP)
    }

    /// Classes that Ingresses name and that are not there.
    fn missing_classes(&self) -> BTreeSet<Arc<str>> {
        let (mut named, mut there) = (BTreeSet::new(), BTreeSet::new());
        for event in &self.events {
            let Event::Ingress(event) = event else {
                continue;
            };
            match &**event {
                IngressEvent::Class(name, _) => drop(there.insert(name.clone())),
                IngressEvent::Ingress(_, observed) => {
                    let ingress = observed.object.as_ref();
                    let class = |i: &crate::model::Ingress| {
                        i.class_annotation.clone().or_else(|| i.class.clone())
                    };
                    named.extend(ingress.and_then(class));
                }
                _ => {}
            }
        }
        named.difference(&there).cloned().collect()
    }
}

fn name(value: &Value) -> ServiceName {
    let text = |field: &str| value["metadata"][field].as_str().unwrap_or_default();
    ServiceName::new(text("namespace"), text("name"))
}

fn of_directory(args: &IngressArgs, path: &Path) -> Result<Lint> {
    let directory = Directory::read(path)?;
    let named = args.configmap.as_ref();
    let named = named.map(|(namespace, name)| ServiceName::new(&**namespace, &**name));
    let options = Options {
        controllers: vec![CONTROLLER.into(), NGINX_CONTROLLER.into()],
        without_class: true,
        behaviour: args.behaviour,
        config_map: named.or_else(|| directory.config_map()),
        ..Options::default()
    };
    let mut catalog = Catalog::new("lint", options);
    let mut files = Vec::new();
    let missing = directory.missing_classes();
    for name in &missing {
        catalog.apply(Event::Ingress(Box::new(assumed(name, args))));
    }
    for event in directory.events.iter().cloned() {
        match event {
            Event::Source { name, reason } if !reason.is_empty() => {
                files.push(unread(name, reason))
            }
            event => catalog.apply(event),
        }
    }
    catalog.commit();
    let mut found = lint(&catalog);
    found.extend(files);
    found.extend(directory.of_kind("Ingress").filter_map(of_old_version));
    let namespaces = catalog.served().map(|i| i.name.namespace.to_string());
    let policies: Vec<Value> = directory.of_kind("NetworkPolicy").cloned().collect();
    found.extend(policy::findings(&policies, &namespaces.collect()));
    not_there(&mut found, &directory, &missing);
    Ok(found)
}

/// A class that is taken for one of ours, as it is not in the directory.
fn assumed(name: &Arc<str>, args: &IngressArgs) -> IngressEvent {
    let class = IngressClass {
        name: name.clone(),
        created: 0,
        controller: NGINX_CONTROLLER.into(),
        is_default: false,
        behaviour: Some(args.behaviour),
    };
    IngressEvent::Class(name.clone(), Observed::new(class))
}

fn unread(name: String, text: String) -> Finding {
    Finding {
        object: format!("file {name}"),
        annotation: String::new(),
        kind: FindingKind::Invalid,
        text,
    }
}

/// No API server has those any more.
fn of_old_version(value: &Value) -> Option<Finding> {
    let version = value["apiVersion"].as_str().unwrap_or_default();
    let is_old = version.ends_with("/v1beta1");
    is_old.then(|| Finding {
        object: format!("Ingress {}", name(value)),
        annotation: String::new(),
        kind: FindingKind::Invalid,
        text: format!("apiVersion {version} is not read: write it as networking.k8s.io/v1"),
    })
}

/// A directory of Ingresses alone can be looked at, too: what it has nothing of is no finding.
fn not_there(found: &mut Lint, directory: &Directory, classes: &BTreeSet<Arc<str>>) {
    for (kind, word) in [("Service", "Service "), ("Secret", "Secret ")] {
        if directory.has(kind) {
            continue;
        }
        let about = |f: &Finding| f.kind == FindingKind::Missing && f.text.contains(word);
        found.findings.retain(|finding| !about(finding));
        let text = format!("{kind}s: the directory has none");
        found.not_checked.push(text);
    }
    if !directory.has("NetworkPolicy") {
        found.not_checked.push(POLICIES.to_owned());
    }
    if !classes.is_empty() {
        let names: Vec<&str> = classes.iter().map(|name| &**name).collect();
        let names = names.join(", ");
        let text = format!("IngressClasses that are not in the directory, taken for ours: {names}");
        found.not_checked.push(text);
    }
}
