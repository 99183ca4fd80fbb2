// SPDX-License-Identifier: Apache-2.0
//! Keeps the results of upstream's specs, and writes docs/conformance.md from them. Run from the
//! root of the source tree, by `make conformance`.
//!
//! `conformance-report [DIRECTORY...]`: takes over the runs in these directories, then writes the
//! page. Ends with an error where a spec fails with both proxies and
//! conformance/results/environment.json does not say why.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use ferrule_conformance::report::page::generate;
use ferrule_conformance::report::results::Results;

fn main() -> ExitCode {
    match report(std::env::args_os().skip(1).map(PathBuf::from)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("conformance-report: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn report(runs: impl Iterator<Item = PathBuf>) -> Result<()> {
    let root = Path::new(".");
    for dir in runs {
        let newer = Results::of_run(&dir)?;
        if !["ferrule", "kube-proxy"].contains(&newer.proxy.as_str()) {
            bail!(
                "{}: neither ferrule nor kube-proxy: {}",
                dir.display(),
                newer.proxy
            );
        }
        let file = root.join(format!("conformance/results/{}.json", newer.proxy));
        let all = match file.exists() {
            true => {
                let mut all = Results::read(&file)?;
                all.merge(newer);
                all
            }
            false => newer,
        };
        all.write(&file)?;
    }
    let page = generate(root)?;
    std::fs::write(root.join("docs/conformance.md"), &page.text)?;
    if !page.unexplained.is_empty() {
        bail!(
            "failed with both proxies, and environment.json does not say why: {}",
            page.unexplained.join("; ")
        );
    }
    Ok(())
}
