// SPDX-License-Identifier: Apache-2.0
//! `--cleanup`: takes away what a proxy leaves on the node.

use anyhow::Result;

use crate::backend::nft::Kernel;
use crate::backend::{Nftables, leftovers};
use crate::config::Config;
use crate::model::IpFamily;
use crate::plan::nft::{Op, TABLE};
use crate::sync::takeover;

/// Removes our tables and, unless they are to stay, kube-proxy's rules. Says so if there are none.
///
/// # Errors
/// The kernel refuses.
pub(super) fn run(config: &Config) -> Result<()> {
    let mut kernel = Kernel::open()?;
    let mut nothing = true;
    let node_ports = leftovers::node_ports(&mut kernel)?;
    for family in IpFamily::ALL {
        if kernel.read_table(family)?.is_some() {
            kernel.commit(family, &[Op::DeleteTable])?;
            tracing::info!(%family, "removed the table {TABLE}");
            nothing = false;
        }
    }
    if !config.keep_leftovers {
        let swept = leftovers::sweep(&mut kernel)?;
        takeover::report(&swept, "kube-proxy");
        nothing &= swept.removed.is_empty();
        let swept = leftovers::sweep_ipvs(&config.ipvs.options.exclude_cidrs, node_ports)?;
        takeover::report(&swept, "an IPVS mode");
        nothing &= swept.removed.is_empty();
    }
    if nothing {
        tracing::info!("nothing to remove");
    }
    Ok(())
}
