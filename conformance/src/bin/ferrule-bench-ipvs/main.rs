// SPDX-License-Identifier: Apache-2.0
//! IPVS mode of ferrule and of kube-proxy, one after the other, on the same kernel and with the
//! same objects: how fast and how lean. Also records what kube-proxy leaves behind when it ends.
//!
//! It needs a kernel with IPVS: `conformance/guest/test.sh bench` runs it in the guest.

mod measure;
mod node;
mod record;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures IPVS mode, or records kube-proxy's. Needs root.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Cold start, changes and memory
    Bench {
        /// The programs to measure; the others are compared with the first
        #[arg(long, value_delimiter = ',', required = true)]
        proxies: Vec<PathBuf>,
        /// Services
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=20_000))]
        services: u16,
        /// Endpoints of each
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=200))]
        endpoints: u16,
        /// Endpoints that are replaced, one after the other
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
        changes: u16,
    },
    /// What kube-proxy makes of the takeover scenarios' Services
    Record {
        /// kube-proxy
        #[arg(long)]
        kube_proxy: PathBuf,
    },
}

fn main() -> Result<()> {
    ferrule_conformance::interrupt::clean_up()?;
    match Arguments::parse().task {
        Task::Bench {
            proxies,
            services,
            endpoints,
            changes,
        } => {
            let size = measure::Size {
                services,
                endpoints,
                changes: changes.min(services),
            };
            measure::run(&proxies, size)
        }
        Task::Record { kube_proxy } => record::run(&kube_proxy),
    }
}
