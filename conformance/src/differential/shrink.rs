// SPDX-License-Identifier: Apache-2.0
//! Makes a case smaller while it still shows a difference: first fewer objects, then fewer fields.

use anyhow::Result;

use super::rig::{Report, Rig};
use super::spec::{Case, Endpoint, External, Kind, Service, Slice};

/// Steps at most; each tries many cases at the same time.
const STEPS: usize = 25;
/// Cases tried at the same time.
const AT_ONCE: usize = 24;
/// Sets of probes for each: a smaller case would otherwise be asked from other places.
const SEEDS: u64 = 4;

/// The smallest case found that still differs, and what it shows. None if the difference is not
/// seen again at all.
///
/// # Errors
/// If the cluster breaks.
pub fn shrink(
    rig: &mut Rig,
    case: &Case,
    seed: u64,
    zones: [u8; 3],
) -> Result<Option<(Case, Report)>> {
    let seeds: Vec<u64> = (0..SEEDS).map(|n| seed.wrapping_add(n)).collect();
    let mut best = None;
    let mut candidates = vec![case.clone()];
    for _ in 0..STEPS {
        let mut found = None;
        for some in candidates.chunks(AT_ONCE) {
            let cases: Vec<_> = some.iter().map(|c| (c.clone(), seeds.clone())).collect();
            let (_, reports) = rig.round(&cases, zones, &|_| Ok(()))?;
            let differs = |(_, r): &(&Case, Report)| !rig.unexplained(r).is_empty();
            found = some
                .iter()
                .zip(reports)
                .find(differs)
                .map(|(case, report)| (case.clone(), report));
            if found.is_some() {
                break;
            }
        }
        let Some((case, report)) = found else { break };
        candidates = smaller(&case);
        best = Some((case, report));
        if candidates.is_empty() {
            break;
        }
    }
    Ok(best)
}

/// All cases that are one step smaller, the boldest steps first.
pub fn smaller(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    if case.services.len() > 1 {
        for n in 0..case.services.len() {
            let mut services = case.services.clone();
            services.remove(n);
            all.push(Case { services });
        }
    }
    for (n, service) in case.services.iter().enumerate() {
        for less in smaller_services(service) {
            let mut services = case.services.clone();
            services[n] = less;
            all.push(Case { services });
        }
    }
    all
}

/// Leaves one of a list out, if enough stay.
fn without<T: Clone>(list: &[T], least: usize) -> Vec<Vec<T>> {
    if list.len() <= least {
        return Vec::new();
    }
    let leave = |n| {
        list.iter()
            .enumerate()
            .filter(|(i, _)| *i != n)
            .map(|(_, t)| t.clone())
            .collect()
    };
    (0..list.len()).map(leave).collect()
}

fn smaller_services(service: &Service) -> Vec<Service> {
    let with = |change: &dyn Fn(&mut Service)| {
        let mut changed = service.clone();
        change(&mut changed);
        changed
    };
    let mut all = Vec::new();
    let lists = without(&service.slices, 0);
    all.extend(
        lists
            .into_iter()
            .map(|slices| with(&|s| s.slices = slices.clone())),
    );
    let lists = without(&service.families, 1);
    all.extend(lists.into_iter().map(|f| with(&|s| s.families = f.clone())));
    let lists = without(&service.ports, 1);
    all.extend(lists.into_iter().map(|p| with(&|s| s.ports = p.clone())));
    for (n, port) in service.ports.iter().enumerate() {
        let lists = without(&port.protocols, 1);
        all.extend(
            lists
                .into_iter()
                .map(|p| with(&|s| s.ports[n].protocols = p.clone())),
        );
    }
    all.push(with(&|s| {
        (s.kind, s.ingress, s.ranges) = (Kind::ClusterIp, Vec::new(), Vec::new())
    }));
    all.push(with(&|s| s.affinity = None));
    all.push(with(&|s| s.external = External::No));
    all.push(with(&|s| s.internal_local = false));
    all.push(with(&|s| s.external_local = false));
    all.push(with(&|s| s.publish_not_ready = false));
    all.push(with(&|s| s.node_ports = true));
    all.push(with(&|s| s.others = false));
    let lists = without(&service.ranges, 0);
    all.extend(lists.into_iter().map(|r| with(&|s| s.ranges = r.clone())));
    let lists = without(&service.ingress, 0);
    all.extend(lists.into_iter().map(|i| with(&|s| s.ingress = i.clone())));
    for (n, slice) in service.slices.iter().enumerate() {
        all.extend(
            smaller_slices(slice)
                .into_iter()
                .map(|l| with(&|s| s.slices[n] = l.clone())),
        );
    }
    all.retain(|s| s != service);
    all
}

fn smaller_slices(slice: &Slice) -> Vec<Slice> {
    let with = |change: &dyn Fn(&mut Slice)| {
        let mut changed = slice.clone();
        change(&mut changed);
        changed
    };
    let lists = without(&slice.endpoints, 0);
    let mut all: Vec<_> = lists
        .into_iter()
        .map(|e| with(&|s| s.endpoints = e.clone()))
        .collect();
    all.push(with(&|s| s.second_target = false));
    all.push(with(&|s| s.first_port_only = false));
    let changes: [fn(&mut Endpoint); 4] = [
        |e| (e.ready, e.serving, e.terminating) = (Some(true), Some(true), Some(false)),
        |e| e.zones.clear(),
        |e| e.nodes.clear(),
        |e| e.node_name = true,
    ];
    for n in 0..slice.endpoints.len() {
        all.extend(
            changes
                .iter()
                .map(|change| with(&|s| change(&mut s.endpoints[n]))),
        );
    }
    all.retain(|s| s != slice);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::differential::generate;

    #[test]
    fn every_case_shrinks_to_the_plainest_one() {
        for seed in 0..50 {
            let mut case = generate::case(&mut fastrand::Rng::with_seed(seed));
            let mut steps = 0;
            while let Some(less) = smaller(&case).into_iter().next() {
                case = less;
                steps += 1;
                assert!(steps < 1_000, "goes round in circles");
            }
            let [service] = &case.services[..] else {
                panic!("{case:?}")
            };
            assert!(
                service.kind == Kind::ClusterIp && service.slices.is_empty(),
                "{case:?}"
            );
        }
    }
}
