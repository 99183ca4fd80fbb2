// SPDX-License-Identifier: Apache-2.0
//! `ferrule debug diff`: the kernel against what it should hold, object by object.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use schemars::JsonSchema;
use serde::Serialize;

use super::kernel::{Held, Snapshot};
use super::paint::{BAD, DIM, GOOD, WARN, paint};
use super::print::print;
use super::{Verdict, client, kernel, objects};
use crate::cli::{DEFAULT_SOCKET, DiffArgs};
use crate::config::Config;
use crate::model::IpFamily;
use crate::observe::view::{Family, WantedView};
use crate::plan::image::Image;
use crate::plan::nft::text;
use crate::watch;

/// How the kernel compares with what it should hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// Whose wish it is: `agent`, `manifests` or `cluster`.
    pub wanted_by: String,
    /// Objects that should be there.
    pub objects: usize,
    /// Where they differ: by family, kind and name.
    pub differences: Vec<DifferenceView>,
    /// Real servers that only end their connections: nothing new goes to them.
    pub draining: Vec<String>,
}

/// An object that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DifferenceView {
    /// Family.
    pub family: Family,
    /// `table`, `chain`, `set`, `element`, `virtual server` or `real server`.
    pub kind: String,
    /// Its name; of an element the set's name and the key.
    pub name: String,
    /// What it should hold; nothing: it should not be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// What it holds; nothing: it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

/// Compares and prints.
///
/// # Errors
/// No agent, objects that cannot be read, missing rights.
pub fn run(args: &DiffArgs, out: &mut impl Write) -> Result<Verdict> {
    let mut cli = args.agent.cli();
    // An agent's own --manifests says where it takes its objects from.
    let given = args.from_manifests.as_ref().or(cli.own.manifests.as_ref());
    let given = given.cloned();
    if args.from_cluster && given.is_some() {
        bail!("--from-cluster and --manifests: which of the two?");
    }
    let (by, snapshot, wanted) = match (given, args.from_cluster) {
        (Some(directory), _) => {
            cli.own.manifests = Some(directory);
            let (snapshot, wanted) = by_objects(&cli)?;
            ("manifests", snapshot, wanted)
        }
        (None, true) => {
            let (snapshot, wanted) = by_objects(&cli)?;
            ("cluster", snapshot, wanted)
        }
        (None, false) => {
            let socket = cli.own.admin_socket.as_deref();
            let socket = socket.unwrap_or(Path::new(DEFAULT_SOCKET));
            let wanted = by_agent(socket)?;
            ("agent", kernel::read()?, wanted)
        }
    };
    let compared = compare(by, &wanted, &snapshot);
    print(out, args.output, &compared, |out, _| page(&compared, out))?;
    Ok(match compared.differences.is_empty() {
        true => Verdict::Fine,
        false => Verdict::Found,
    })
}

type Wanted = BTreeMap<IpFamily, Image>;

fn by_agent(socket: &Path) -> Result<Wanted> {
    let views: Vec<WantedView> = client::get(socket, "/wanted")
        .map_err(|error| anyhow!("{error:#}; --from-cluster and --from-manifests need no agent"))?;
    let image = |view: WantedView| (view.family.into(), Image::from_lines(view.objects));
    Ok(views.into_iter().map(image).collect())
}

fn by_objects(cli: &crate::cli::Cli) -> Result<(Snapshot, Wanted)> {
    let config = Config::load(cli)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let state = runtime.block_on(async {
        let local = watch::addresses::list().await?;
        objects::state(&config, Some(local)).await
    })?;
    let snapshot = kernel::read()?;
    let v6 = Path::new("/proc/net/if_inet6").exists();
    let families = IpFamily::ALL.into_iter();
    let families = families.filter(|family| *family == IpFamily::V4 || v6);
    let image = |family| {
        let ruleset = objects::ruleset(&config, &state, family, &snapshot);
        (family, Image::of(&ruleset, family))
    };
    let wanted = families.map(image).collect();
    Ok((snapshot, wanted))
}

/// Compares. Pure.
pub fn compare(by: &str, wanted: &Wanted, snapshot: &Snapshot) -> Comparison {
    let mut compared = Comparison {
        wanted_by: by.to_owned(),
        objects: wanted.values().map(Image::len).sum(),
        differences: Vec::new(),
        draining: Vec::new(),
    };
    for (family, wanted) in wanted {
        let Some(held) = snapshot.families.get(family) else {
            if !wanted.is_empty() {
                let name = format!("{} ferrule", text::family_word(*family));
                let objects = format!("{} objects", wanted.len());
                let missing = difference(*family, "table", name, Some(objects), None);
                compared.differences.push(missing);
            }
            continue;
        };
        for d in Image::differences(wanted, &image(held, *family)) {
            let drains = d.kind == "real server" && d.wanted.is_none();
            if drains && d.found.as_deref() == Some("weight 0") {
                compared.draining.push(d.name);
                continue;
            }
            let one = difference(*family, &d.kind, d.name, d.wanted, d.found);
            compared.differences.push(one);
        }
    }
    compared
}

fn difference(
    family: IpFamily,
    kind: &str,
    name: String,
    wanted: Option<String>,
    found: Option<String>,
) -> DifferenceView {
    DifferenceView {
        family: family.into(),
        kind: kind.to_owned(),
        name,
        wanted,
        found,
    }
}

/// What is held, with the rules that only their text is known of.
fn image(held: &Held, family: IpFamily) -> Image {
    let mut image = Image::of(&held.ruleset, family);
    for (chain, rule) in &held.strange {
        image.append("chain", chain, rule);
    }
    image
}

fn page(compared: &Comparison, out: &mut dyn Write) -> std::io::Result<()> {
    for d in &compared.differences {
        let family: IpFamily = d.family.into();
        let (sign, style) = match (&d.wanted, &d.found) {
            (Some(_), None) => ("missing", BAD),
            (None, _) => ("not wanted", WARN),
            (Some(_), Some(_)) => ("differs", BAD),
        };
        let title = format!("{} {} {}", text::family_word(family), d.kind, d.name);
        writeln!(out, "{}: {title}", paint(sign, style))?;
        for (sign, content) in [("-", &d.wanted), ("+", &d.found)] {
            if let Some(content) = content.as_ref().filter(|c| !c.is_empty()) {
                writeln!(out, "    {sign} {content}")?;
            }
        }
    }
    for name in &compared.draining {
        writeln!(out, "{}: real server {name}", paint("draining", DIM))?;
    }
    let objects = compared.objects;
    let by = match compared.wanted_by.as_str() {
        "manifests" => "the manifests ask for",
        "cluster" => "the cluster asks for",
        _ => "the agent asks for",
    };
    match compared.differences.len() {
        0 => {
            let equal = paint("equal", GOOD);
            writeln!(
                out,
                "{equal}: the kernel holds the {objects} objects that {by}"
            )
        }
        n => writeln!(
            out,
            "{n} differences (- wanted, + held) among {objects} objects that {by}"
        ),
    }
}

#[cfg(test)]
mod tests;
