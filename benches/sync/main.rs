// SPDX-License-Identifier: Apache-2.0
//! How fast and how lean the agent follows the cluster: benches/README.md says what is measured.

mod agent;
mod api;
mod change;
mod engine;
mod files;
mod kernel;
mod repair;
mod report;
mod world;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};

use files::Layout;
use report::{Machine, Report};
use world::Size;

/// Measures cold start, changes and memory of ferrule. Needs root.
#[derive(Debug, Parser)]
struct Arguments {
    /// Sizes, SERVICESxENDPOINTS
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1000x10,10000x10,30000x10"
    )]
    sizes: Vec<Size>,
    /// What to measure
    #[arg(long, value_delimiter = ',', default_value = "library,lists,objects")]
    parts: Vec<Part>,
    /// Changes of each kind
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    changes: u32,
    /// The only size that is measured with one file per object; `all` for every size
    #[arg(long, default_value = "10000x10")]
    objects_size: String,
    /// The agent
    #[arg(long, default_value = env!("CARGO_BIN_EXE_ferrule"))]
    binary: PathBuf,
    /// For part `api`: a cluster made for tests, with rights to create everything
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// For part `api`: the network namespace that the agent works in
    #[arg(long)]
    netns: Option<PathBuf>,
    /// For part `api`: the Node that the agent serves
    #[arg(long, default_value = world::NODE)]
    node: String,
    /// Where the numbers go as JSON
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench-sync.json"))]
    output: PathBuf,
    /// `cargo bench` adds it
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Event to kernel, inside this process
    Library,
    /// The agent, all objects in two files
    Lists,
    /// The agent, one file per object
    Objects,
    /// The agent, objects in an API server
    Api,
    /// The agent, while others break its rules; a quarter of the repetitions for whole tables
    Repair,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut report = Report {
        machine: Machine::this(),
        ..Report::default()
    };
    for size in &arguments.sizes {
        ensure!(
            arguments.changes <= size.services,
            "--changes {}: more than {size} has Services",
            arguments.changes
        );
        for part in &arguments.parts {
            let objects =
                arguments.objects_size == "all" || arguments.objects_size == size.to_string();
            if *part == Part::Objects && !objects {
                continue;
            }
            eprintln!("==> {size}: {part:?}");
            measure(&arguments, *size, *part, &mut report)?;
        }
    }
    report.print();
    report.write(&arguments.output)
}

fn measure(arguments: &Arguments, size: Size, part: Part, report: &mut Report) -> Result<()> {
    let Arguments {
        binary, changes, ..
    } = arguments;
    if part == Part::Api {
        let kubeconfig = arguments
            .kubeconfig
            .as_deref()
            .context("part api needs --kubeconfig")?;
        let netns = arguments
            .netns
            .as_deref()
            .context("part api needs --netns")?;
        return kernel::inside(Some(netns), || {
            api::run(binary, kubeconfig, &arguments.node, size, *changes, report)
        });
    }
    kernel::inside(None, || match part {
        Part::Library => engine::run(size, *changes, report),
        Part::Lists => files::run(binary, size, Layout::Lists, *changes, report),
        Part::Objects => files::run(binary, size, Layout::OnePerObject, *changes, report),
        Part::Repair => repair::run(binary, size, *changes, report),
        Part::Api => Ok(()),
    })
}
