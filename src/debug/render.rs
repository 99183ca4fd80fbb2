// SPDX-License-Identifier: Apache-2.0
//! `ferrule debug render`: what would be programmed, as text. Touches no kernel.

use std::io::Write;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Serialize;

use super::kernel::Snapshot;
use super::objects;
use super::print::print;
use crate::cli::{Part, RenderArgs};
use crate::config::{Config, Source};
use crate::model::IpFamily;
use crate::observe::view::Family;
use crate::plan::ipvs::text as ipvs;
use crate::plan::nft::text;

/// What would be programmed in one family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rendered {
    /// Family.
    pub family: Family,
    /// The table, for `nft -f`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// Virtual servers, for `ipvsadm-restore -n`; nothing outside of IPVS mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<String>,
}

/// Reads the directory and prints.
///
/// # Errors
/// Flags or files that cannot be understood.
pub fn run(args: &RenderArgs, out: &mut impl Write) -> Result<()> {
    let config = Config::load(&args.agent.cli())?;
    if !matches!(config.source, Source::Manifests(_)) {
        bail!("--manifests DIR says which objects to render");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let state = runtime.block_on(objects::state(&config, None))?;
    let rendered: Vec<Rendered> = IpFamily::ALL
        .into_iter()
        .map(|family| {
            let ruleset = objects::ruleset(&config, &state, family, &Snapshot::default());
            let servers = config.rules.mode.ipvs();
            let servers = servers.map(|_| ipvs::servers(ruleset.servers.iter()));
            Rendered {
                family: family.into(),
                rules: (args.part != Some(Part::Servers)).then(|| text::ruleset(&ruleset, family)),
                servers: servers.filter(|_| args.part != Some(Part::Rules)),
            }
        })
        .collect();
    print(out, args.output, &rendered, |out, _| page(&rendered, out))
}

fn page(rendered: &[Rendered], out: &mut dyn Write) -> std::io::Result<()> {
    for family in rendered {
        let rules = family.rules.as_deref().unwrap_or_default();
        write!(out, "{rules}")?;
    }
    let servers = rendered
        .iter()
        .filter_map(|family| family.servers.as_deref());
    for (n, servers) in servers.enumerate() {
        if n == 0 && rendered[0].rules.is_some() {
            writeln!(out, "# for ipvsadm-restore -n:")?;
        }
        write!(out, "{servers}")?;
    }
    Ok(())
}
