// SPDX-License-Identifier: Apache-2.0
//! The Ingress sidecar against nginx as ingress-nginx configures it: `make differential-ingress`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use ferrule_conformance::ingress_nginx::nginx::process;
use ferrule_conformance::ingress_nginx::report::Report;
use ferrule_conformance::ingress_nginx::run::{Plan, run, sidecar};
use ferrule_conformance::ingress_nginx::{allowed, case, page};

/// ferrule-ingress and nginx, the same objects and the same requests
#[derive(Debug, Parser)]
struct Options {
    /// Only cases whose name has one of these in it
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only every so many-th case
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Take cases that differ in these results, a file that --results has written, for known, and
    /// count nothing
    #[arg(long)]
    recorded: Option<PathBuf>,
    /// Look at nginx alone: does it do what the cases expect?
    #[arg(long)]
    nginx: bool,
    /// List the cases, and end
    #[arg(long)]
    list: bool,
    /// Lines to print of each case that differs
    #[arg(long, default_value_t = 4)]
    lines: usize,
    /// Write results to this file, as JSON
    #[arg(long)]
    results: Option<PathBuf>,
    /// Write the page to this file
    #[arg(long)]
    page: Option<PathBuf>,
    /// Keep configurations and logs in this directory
    #[arg(long)]
    keep: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let begun = Instant::now();
    let mut cases = case::load()?;
    let wanted = |name: &str| options.only.iter().any(|part| name.contains(part.as_str()));
    cases.retain(|case| options.only.is_empty() || wanted(&case.name));
    cases.retain(|case| case.number % options.every.max(1) == 0);
    if options.list {
        cases
            .iter()
            .for_each(|case| println!("{}: {}", case.name, case.source));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(package) = process::missing() {
        bail!("the Debian package {package} is missing: scripts/setup.sh differential-ingress");
    }
    let folder = tempfile::tempdir()?;
    let plan = Plan {
        cases,
        ferrule: match options.nginx {
            true => None,
            false => Some(sidecar(&std::env::current_exe()?)?),
        },
        folder: options
            .keep
            .clone()
            .unwrap_or_else(|| folder.path().to_owned()),
    };
    let outcomes = run(&plan)?;
    let report = Report::new(
        &plan.cases,
        &outcomes,
        &allowed::load()?,
        process::version()?,
    );
    print(&report, &options);
    println!("{:.0} s", begun.elapsed().as_secs_f64());
    if let Some(file) = &options.results {
        write(file, &(serde_json::to_string_pretty(&report)? + "\n"))?;
    }
    if let Some(file) = &options.page {
        write(file, &page::page(&report))?;
    }
    let good = match (&options.recorded, options.nginx) {
        (_, true) => report.unexpected.is_empty(),
        (None, false) => report.good(),
        (Some(file), false) => {
            let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
            let known: Report = serde_json::from_str(&text)?;
            let new = report.new_since(&known);
            new.iter()
                .for_each(|case| println!("{case}: did not differ before"));
            report.unexpected.is_empty() && new.is_empty()
        }
    };
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| file.display().to_string())
}

fn print(report: &Report, options: &Options) {
    if !options.nginx {
        for found in &report.disagreements {
            match &found.reason {
                Some(reason) => println!("{}: differs as listed: {reason}", found.case),
                None => println!("{}: DIFFERS", found.case),
            }
            let lines = found.differences.iter().take(options.lines);
            lines.for_each(|line| println!("    {line}"));
        }
        println!("{}", report.table());
        println!("{}", report.summary());
    }
    for entry in report
        .stale
        .iter()
        .filter(|_| options.only.is_empty() && !options.nginx)
    {
        println!("listed, but agrees by now: {entry}");
    }
    for (case, lines) in &report.unexpected {
        println!("{case}: nginx does not do what the case expects");
        lines.iter().for_each(|line| println!("    {line}"));
    }
}
