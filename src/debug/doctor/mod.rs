// SPDX-License-Identifier: Apache-2.0
//! `ferrule debug doctor`: what is wrong with this node and with the objects of the cluster.
//!
//! [`facts`] reads everything there is to know, each part of it as far as it may; [`checks`] are
//! pure and judge. A check that lacks facts says what it lacks, and is no finding.

pub mod checks;
pub mod facts;
mod kind;
mod report;

use std::io::Write;

use anyhow::Result;

pub use self::facts::{Facts, Unread};
pub use self::kind::{Kind, Severity};
pub use self::report::{Finding, NotChecked, Report};
use super::Verdict;
use super::print::print;
use crate::cli::DoctorArgs;

/// Looks, judges and prints.
///
/// # Errors
/// The directory of manifests or the kubeconfig that was asked for cannot be read, or `out` fails.
pub fn run(args: &DoctorArgs, out: &mut impl Write) -> Result<Verdict> {
    let facts = Facts::gather(args)?;
    let report = judge(&facts);
    print(out, args.output, &report, |out, _| {
        writeln!(out, "{}", report.text())
    })?;
    Ok(match report.is_healthy() {
        true => Verdict::Fine,
        false => Verdict::Found,
    })
}

/// Judges facts. PURE.
pub fn judge(facts: &Facts) -> Report {
    let mut report = Report::default();
    for check in checks::ALL {
        check(facts, &mut report);
    }
    report.checks = checks::ALL.len();
    report.sort();
    report
}
