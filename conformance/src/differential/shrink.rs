// SPDX-License-Identifier: Apache-2.0
//! Makes a case smaller while it still shows a difference: first fewer objects, then fewer fields.

use anyhow::Result;

use super::render::Round;
use super::rig::{Report, Rig};
use super::spec::{Case, Endpoint, External, Kind, Service, Slice};

/// Steps at most; each tries many cases at the same time.
const STEPS: usize = 25;
/// Cases tried at the same time.
const AT_ONCE: usize = 60;
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
) -> Result<Option<(Case, (Round, Report))>> {
    let seeds: Vec<u64> = (0..SEEDS).map(|n| seed.wrapping_add(n)).collect();
    search(case, |some| {
        let cases: Vec<_> = some.iter().map(|c| (c.clone(), seeds.clone())).collect();
        let (round, reports) = rig.round(&cases, zones)?;
        let differs = |r: Report| (!rig.unexplained(&r).is_empty()).then(|| (round.clone(), r));
        Ok(reports.into_iter().map(differs).collect())
    })
}

/// Goes from the case to a smaller one that differs, and so on. `differ` looks at some cases at the
/// same time and tells for each what it shows, if it differs.
fn search<T>(
    case: &Case,
    mut differ: impl FnMut(&[Case]) -> Result<Vec<Option<T>>>,
) -> Result<Option<(Case, T)>> {
    let mut best = None;
    let mut candidates = vec![case.clone()];
    for _ in 0..STEPS {
        let mut found = None;
        for some in candidates.chunks(AT_ONCE) {
            let pairs = some.iter().zip(differ(some)?);
            found = pairs
                .filter_map(|(c, shown)| Some((c.clone(), shown?)))
                .next();
            if found.is_some() {
                break;
            }
        }
        let Some((case, shown)) = found else { break };
        candidates = smaller(&case);
        best = Some((case, shown));
        if candidates.is_empty() {
            break;
        }
    }
    Ok(best)
}

/// All cases that are one step smaller, the boldest steps first.
pub fn smaller(case: &Case) -> Vec<Case> {
    let fewer = fewer(&case.services, 1).into_iter();
    let mut all: Vec<_> = fewer.map(|services| Case { services }).collect();
    for (n, service) in case.services.iter().enumerate() {
        for less in smaller_services(service) {
            let mut services = case.services.clone();
            services[n] = less;
            all.push(Case { services });
        }
    }
    all
}

/// Takes all but one of a list, then leaves out one, if enough stay.
fn fewer<T: Clone>(list: &[T], least: usize) -> Vec<Vec<T>> {
    let alone = list.iter().map(|one| vec![one.clone()]);
    let mut all: Vec<_> = alone.filter(|_| list.len() > 2 && least < 2).collect();
    if list.len() > least {
        all.extend((0..list.len()).map(|n| {
            let mut rest = list.to_vec();
            rest.remove(n);
            rest
        }));
    }
    all
}

fn smaller_services(service: &Service) -> Vec<Service> {
    let with = |change: &dyn Fn(&mut Service)| {
        let mut changed = service.clone();
        change(&mut changed);
        changed
    };
    let mut all = vec![with(&plain), with(&|s| s.slices.iter_mut().for_each(usual))];
    let lists = fewer(&service.slices, 0);
    all.extend(
        lists
            .into_iter()
            .map(|slices| with(&|s| s.slices = slices.clone())),
    );
    let lists = fewer(&service.families, 1);
    all.extend(lists.into_iter().map(|f| with(&|s| s.families = f.clone())));
    let lists = fewer(&service.ports, 1);
    all.extend(lists.into_iter().map(|p| with(&|s| s.ports = p.clone())));
    for (n, port) in service.ports.iter().enumerate() {
        let lists = fewer(&port.protocols, 1);
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
    let lists = fewer(&service.ranges, 0);
    all.extend(lists.into_iter().map(|r| with(&|s| s.ranges = r.clone())));
    let lists = fewer(&service.ingress, 0);
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

/// Without all that a Service need not have.
fn plain(s: &mut Service) {
    (s.affinity, s.external, s.ranges) = (None, External::No, Vec::new());
    (s.internal_local, s.external_local) = (false, false);
    (s.publish_not_ready, s.node_ports, s.others) = (false, true, false);
}

/// With endpoints that are nothing but ready.
fn usual(slice: &mut Slice) {
    (slice.second_target, slice.first_port_only) = (false, false);
    slice.endpoints.iter_mut().for_each(|e| {
        *e = Endpoint {
            at: e.at,
            ready: Some(true),
            serving: Some(true),
            terminating: Some(false),
            zones: Vec::new(),
            nodes: Vec::new(),
            node_name: true,
        }
    });
}

fn smaller_slices(slice: &Slice) -> Vec<Slice> {
    let with = |change: &dyn Fn(&mut Slice)| {
        let mut changed = slice.clone();
        change(&mut changed);
        changed
    };
    let lists = fewer(&slice.endpoints, 0);
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

    /// As if a sticky Service with an unready endpoint were handled wrongly.
    fn shows(case: &Case) -> Option<()> {
        let unready = |s: &Slice| s.endpoints.iter().any(|e| e.ready == Some(false));
        let wrong = |s: &Service| s.affinity.is_some() && s.slices.iter().any(unready);
        case.services.iter().any(wrong).then_some(())
    }

    #[test]
    fn nothing_stays_but_what_shows_the_difference() {
        let mut seen = 0;
        for seed in 0..300 {
            let case = generate::case(&mut fastrand::Rng::with_seed(seed));
            let differ = |some: &[Case]| Ok(some.iter().map(shows).collect());
            let found = search(&case, differ).expect("no cluster that could break");
            assert_eq!(found.is_some(), shows(&case).is_some());
            let Some((small, ())) = found else { continue };
            // Affinity, a slice, its endpoint, which is not ready.
            assert!(
                small.services.len() == 1 && small.extras() == 4,
                "{small:?}"
            );
            seen += 1;
        }
        assert!(seen > 20, "{seen} cases are not enough to tell");
    }
}
