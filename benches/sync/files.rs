// SPDX-License-Identifier: Apache-2.0
//! The whole agent with `--manifests`: from a file to the kernel.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ferrule::backend::nft::Kernel;
use ferrule::model::Event;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::change::{Kind, target};
use crate::kernel::{self, Commits};
use crate::report::{Changes, Report};
use crate::world::{self, NODE, Size};

/// How objects are spread over files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Two files with everything, but for the EndpointSlices that will change.
    Lists,
    /// One file per object.
    OnePerObject,
}

impl Layout {
    fn source(self) -> &'static str {
        match self {
            Layout::Lists => "two files",
            Layout::OnePerObject => "file per object",
        }
    }
}

/// Measures one size, in the network namespace of the calling thread.
pub(crate) fn run(
    binary: &Path,
    size: Size,
    layout: Layout,
    changes: u32,
    report: &mut Report,
) -> Result<()> {
    let scratch = tempfile::tempdir().context("temporary directory")?;
    let directory = scratch.path().join("manifests");
    fs::create_dir(&directory)?;
    generate(&directory, size, layout, changes).context("writing manifests")?;
    let mut kernel = Kernel::open()?;
    let arguments = [
        OsStr::new("--manifests"),
        directory.as_os_str(),
        OsStr::new("--hostname-override"),
        OsStr::new(NODE),
        OsStr::new("--proxy-mode=nftables"),
        OsStr::new("--cluster-cidr=10.128.0.0/9"),
    ];
    let (agent, took) = Agent::start(binary, &arguments, scratch.path(), &mut kernel)?;
    let elements = kernel::endpoints(&mut kernel)?;
    if elements != (size.services * size.endpoints) as usize {
        bail!("{size}: the kernel holds {elements} endpoints");
    }
    let mut cold = agent.cold(size, layout.source(), took, elements)?;
    let mut commits = Commits::listen()?;
    for kind in Kind::ALL {
        let mut durations = Vec::new();
        for n in 0..changes {
            durations.push(change(
                &directory,
                &kind.events(size, changes, n),
                &mut commits,
            )?);
        }
        report.changes.push(Changes::new(
            size.to_string(),
            layout.source(),
            kind.name(),
            &mut durations,
        ));
    }
    cold.rss_after_kb = Some(agent.memory()?.now);
    report.cold.push(cold);
    Ok(())
}

/// Writes the manifests of a size, and each EndpointSlice that will change in a file of its own.
pub(crate) fn generate(directory: &Path, size: Size, layout: Layout, changes: u32) -> Result<()> {
    write(directory, "node", &world::node_manifest())?;
    let changing: BTreeSet<u32> = (0..changes).map(|n| target(size, changes, n)).collect();
    let (mut services, mut slices) = (Vec::new(), Vec::new());
    for n in 0..size.services {
        let service = world::service(n);
        let slice = world::slice(n, size.endpoints);
        let (name, manifest) = (service.name.name.clone(), world::service_manifest(&service));
        match layout {
            Layout::Lists => services.push(manifest),
            Layout::OnePerObject => write(directory, &name, &manifest)?,
        }
        let (name, manifest) = (slice.name.name.clone(), world::slice_manifest(&slice));
        match layout {
            Layout::Lists if !changing.contains(&n) => slices.push(manifest),
            _ => write(directory, &name, &manifest)?,
        }
    }
    if layout == Layout::Lists {
        write(directory, "services", &list(services))?;
        write(directory, "slices", &list(slices))?;
    }
    Ok(())
}

fn list(items: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// Puts a file in place at once, as editors and kubelets do. The name before that is a hidden one.
fn write(directory: &Path, name: &str, content: &Value) -> Result<()> {
    let (new, place) = (
        directory.join(format!(".{name}.new")),
        directory.join(format!("{name}.json")),
    );
    fs::write(&new, content.to_string())?;
    fs::rename(&new, &place).with_context(|| place.display().to_string())
}

/// Writes what changed, and waits for the kernel.
fn change(directory: &Path, events: &[Event], commits: &mut Commits) -> Result<Duration> {
    let mut manifests = Vec::new();
    let mut name = String::new();
    for event in events {
        let (object, manifest) = match event {
            Event::Service(n, o) => (&n.name, o.object.as_ref().map(world::service_manifest)),
            Event::Slice(n, o) => (&n.name, o.object.as_ref().map(world::slice_manifest)),
            _ => continue,
        };
        name = object.to_string();
        manifests.extend(manifest);
    }
    let content = match manifests.len() {
        1 => manifests.remove(0),
        _ => list(manifests),
    };
    let begun = Instant::now();
    write(directory, &name, &content)?;
    let took = commits.next()?.duration_since(begun);
    commits.settle()?;
    Ok(took)
}
