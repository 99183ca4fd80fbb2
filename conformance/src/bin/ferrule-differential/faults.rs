// SPDX-License-Identifier: Apache-2.0
//! Negative control: faults in ferrule's rules are noticed, and a case that shows one is made small.

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use ferrule_conformance::differential::allowed;
use ferrule_conformance::differential::fault::{FAULTS, Fault};
use ferrule_conformance::differential::render::manifest;
use ferrule_conformance::differential::rig::Rig;
use ferrule_conformance::differential::shrink::shrink;

use super::{cases, zones};

/// Other cases are tried where those of the first seed don't meet the fault.
const SEEDS: u64 = 4;
/// The fault whose case is made small.
const SMALL: &str = "NodePorts are closed";
/// What may stay of that case, besides a Service: its type, a slice, an endpoint and one thing more.
const EXTRAS: usize = 4;

/// Whether all faults are noticed, and the case of one gets small.
pub(super) fn faults(seed: u64, count: usize) -> Result<bool> {
    let mut rig = Rig::start(allowed::list()?)?;
    let mut all = true;
    for fault in FAULTS {
        rig.set_fault(Some(fault));
        let noticed = notice(&mut rig, seed, count)?;
        all &= noticed.is_some();
        let result = noticed.unwrap_or_else(|| "NOT NOTICED".to_owned());
        println!("{}: {result}", fault.name);
    }
    let of_that_name = |f: &&Fault| f.name == SMALL;
    let fault = FAULTS.iter().find(of_that_name).context(SMALL)?;
    rig.set_fault(Some(*fault));
    make_small(&mut rig, seed, count)?;
    Ok(all)
}

/// What the first case that differs shows.
fn notice(rig: &mut Rig, seed: u64, count: usize) -> Result<Option<String>> {
    for seed in seed..seed + SEEDS {
        let mut rng = Rng::with_seed(seed);
        let (zones, cases) = (zones(&mut rng), cases(&mut rng, count));
        let (_, reports) = rig.round(&cases, zones)?;
        let found: Vec<_> = reports.iter().flat_map(|r| rig.unexplained(r)).collect();
        if let Some(first) = found.first() {
            return Ok(Some(format!(
                "{} probes differ, as\n{first}\n",
                found.len()
            )));
        }
    }
    Ok(None)
}

/// Looks for a case of several Services that shows the fault, makes it small, and checks that what
/// is printed of it is one plain Service, which the API server takes as it is printed.
fn make_small(rig: &mut Rig, seed: u64, count: usize) -> Result<()> {
    for seed in seed..seed + SEEDS {
        let mut rng = Rng::with_seed(seed);
        let (zones, cases) = (zones(&mut rng), cases(&mut rng, count));
        let (_, reports) = rig.round(&cases, zones)?;
        let shows = |r| !rig.unexplained(r).is_empty();
        let mut pairs = cases.iter().zip(&reports);
        let found = pairs.find(|((case, _), r)| case.services.len() > 2 && shows(r));
        let Some(((case, seeds), _)) = found else {
            continue;
        };
        let small = shrink(rig, case, seeds[0], zones)?;
        let (small, (round, report)) = small.context("the difference was not seen again")?;
        let text = manifest(&round, &report.objects);
        let (before, after) = (case.services.len(), small.services.len());
        println!("smallest of {before} Services: {small:?}\n{text}");
        report.differences.iter().for_each(|d| println!("{d}"));
        if after > 1 || small.extras() > EXTRAS {
            bail!("not small: {after} Services, {} extras", small.extras());
        }
        rig.set_fault(None);
        return rig.apply(&text, &round).context("the printed objects");
    }
    bail!("no case of several Services shows that {SMALL}")
}
