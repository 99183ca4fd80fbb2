// SPDX-License-Identifier: Apache-2.0
//! All cases on both proxies, several at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::case::Case;
use super::certificates::Certificates;
use super::client::{Answer, Head, Way, ask};
use super::compare::{Exchange, Names, Round, differences, unexpected};
use super::echo::{AUTH_TOLD, Echo, PROBE, TOLD};
use super::objects::Places;
use super::request::Request;
use super::world::{Ground, Settings, World, default_backend, settings};
use crate::netns::Namespace;

/// Cases at a time.
const AT_ONCE: usize = 24;
/// How long requests to mirrors are waited for.
const OTHERS: Duration = Duration::from_secs(3);

/// What a case has shown.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Its name.
    pub case: String,
    /// What differs; none: the proxies agree.
    pub differences: Vec<String>,
    /// What nginx did otherwise than its documentation says: the configuration is wrong.
    pub unexpected: Vec<String>,
}

/// What is run.
#[derive(Debug)]
pub struct Plan {
    /// Cases.
    pub cases: Vec<Case>,
    /// The sidecar; none: only nginx is looked at.
    pub ferrule: Option<PathBuf>,
    /// Where files go.
    pub folder: PathBuf,
}

/// Runs all of it.
///
/// # Errors
/// If a proxy does not start.
pub fn run(plan: &Plan) -> Result<Vec<Outcome>> {
    let namespace = Namespace::new("differential")?;
    namespace.ip("link set lo up")?;
    for second in 90..96 {
        namespace.ip(&format!("addr add 10.{second}.0.1/16 dev lo"))?;
    }
    let mut places = Places::new(&plan.cases);
    let settings = settings()?;
    let names: BTreeSet<&str> = plan.cases.iter().map(|case| &*case.world).collect();
    let mut planned = Vec::new();
    for (number, name) in (1..).zip(names) {
        let settings = settings.get(name);
        let settings = settings.with_context(|| format!("worlds.yaml has no {name}"))?;
        if let Some(behaviour) = &settings.default {
            places.add_default(default_backend(number).ip(), behaviour.clone());
        }
        planned.push((name, number, settings));
    }
    silence(&namespace, &places)?;
    let hosts: BTreeSet<String> = plan.cases.iter().flat_map(hosts).collect();
    let hosts: Vec<String> = hosts.into_iter().collect();
    let certificates = Certificates::new(&hosts)?;
    let echo = Echo::start(&namespace, places.known.clone(), &certificates)?;
    let ground = Ground {
        namespace: &namespace,
        places: &places,
        certificates: &certificates,
        folder: &plan.folder,
        ferrule: plan.ferrule.as_deref(),
    };
    let start = |(name, number, settings): &(&str, u8, &Settings)| {
        let own: Vec<&Case> = plan
            .cases
            .iter()
            .filter(|case| case.world == *name)
            .collect();
        let world = World::start(&ground, (name, *number), settings, &own);
        Ok((
            (*name).to_owned(),
            world.with_context(|| format!("world {name}"))?,
        ))
    };
    let worlds: Result<BTreeMap<String, World>> = planned.iter().map(start).collect();
    let worlds = worlds?;
    let outcomes = Mutex::new(vec![Outcome::default(); plan.cases.len()]);
    let next = AtomicUsize::new(0);
    let work = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(case) = plan.cases.get(number) else {
            return;
        };
        let Some(world) = worlds.get(&*case.world) else {
            continue;
        };
        let outcome = one(case, world, &echo, &certificates, plan.ferrule.is_some());
        outcomes.lock().unwrap_or_else(PoisonError::into_inner)[number] = outcome;
    };
    // Threads are in the namespace of the one that starts them.
    namespace.enter(|| {
        std::thread::scope(|scope| {
            (0..AT_ONCE).for_each(|_| drop(scope.spawn(work)));
        });
        Ok(())
    })?;
    Ok(outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
}

/// Packets to these addresses get lost, so that connecting takes for ever.
fn silence(namespace: &Namespace, places: &Places) -> Result<()> {
    if places.silent.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = places.silent.iter().map(IpAddr::to_string).collect();
    let rules = format!(
        "add table ip silent; add chain ip silent lost {{ type filter hook output priority 0; }}; \
         add rule ip silent lost ip daddr {{ {} }} drop",
        all.join(", ")
    );
    let output = namespace.command("nft").arg(rules).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    anyhow::ensure!(output.status.success(), "nft: {said}");
    Ok(())
}

/// The names that a certificate must have.
fn hosts(case: &Case) -> Vec<String> {
    let rules = case.ingress.iter().flat_map(|ingress| ingress.rules());
    let mut hosts: Vec<String> = rules.map(|rule| rule.host).collect();
    hosts.retain(|host| !host.is_empty() && host.len() < 100);
    let www: Vec<String> = hosts.iter().map(|host| format!("www.{host}")).collect();
    hosts.extend(www.into_iter().filter(|host| !host.contains('*')));
    hosts
}

fn one(
    case: &Case,
    world: &World,
    echo: &Arc<Echo>,
    certificates: &Certificates,
    both: bool,
) -> Outcome {
    let mut outcome = Outcome {
        case: case.name.clone(),
        ..Outcome::default()
    };
    let mut sides = [
        Side::new("nginx", world.nginx),
        Side::new("ferrule", world.ferrule),
    ];
    let [mut theirs, mut ours] = [Names::default(), Names::default()];
    for (number, request) in case.requests.iter().enumerate() {
        std::thread::sleep(Duration::from_millis(request.pause));
        let talk = |side: &mut Side| side.round(case, number, request, echo, certificates);
        let nginx = talk(&mut sides[0]);
        let at = |line: String| format!("request {}: {line}", number + 1);
        outcome
            .unexpected
            .extend(unexpected(request, &nginx).into_iter().map(at));
        if both {
            let ferrule = talk(&mut sides[1]);
            let found = differences(request, &nginx, &ferrule, [&mut theirs, &mut ours]);
            outcome.differences.extend(found.into_iter().map(at));
        }
    }
    outcome
}

/// A proxy, and the cookies that a client has from it.
struct Side {
    name: &'static str,
    address: IpAddr,
    cookies: BTreeMap<String, String>,
}

impl Side {
    fn new(name: &'static str, address: IpAddr) -> Self {
        Self {
            name,
            address,
            cookies: BTreeMap::new(),
        }
    }

    fn round(
        &mut self,
        case: &Case,
        number: usize,
        request: &Request,
        echo: &Arc<Echo>,
        certificates: &Certificates,
    ) -> Round {
        let host = match &request.host {
            Some(host) => host.clone(),
            None => case.host(),
        };
        let name = host.split(':').next().unwrap_or_default().to_owned();
        let name = if name.is_empty() { case.host() } else { name };
        let way = Way {
            proxy: self.address,
            client: match request.from.as_deref() {
                Some("other") => case.other(),
                _ => case.client(),
            },
            certificates,
            name: &name,
        };
        let count = request.repeat.unwrap_or(1);
        let ask_one = |time: usize, cookies: &BTreeMap<String, String>| {
            let probe = format!("{}-{number}-{time}-{}", case.name, self.name);
            let answer = match head(request, &host, &probe, cookies) {
                Ok(head) => ask(way, request, &head),
                Err(error) => Answer {
                    error: Some(error.to_string()),
                    ..Answer::default()
                },
            };
            let seen = seen(echo, &probe, request);
            Exchange { answer, seen }
        };
        if request.parallel {
            let none = BTreeMap::new();
            return std::thread::scope(|scope| {
                let start = |time| {
                    scope.spawn({
                        let (ask_one, none) = (&ask_one, &none);
                        move || ask_one(time, none)
                    })
                };
                let running: Vec<_> = (0..count).map(start).collect();
                running
                    .into_iter()
                    .filter_map(|one| one.join().ok())
                    .collect()
            });
        }
        let mut round = Round::new();
        let mut cookies = self.cookies.clone();
        for time in 0..count {
            let exchange = ask_one(time, &cookies);
            if case.jar {
                keep(&exchange.answer, &mut cookies);
            }
            round.push(exchange);
        }
        self.cookies = cookies;
        round
    }
}

fn keep(answer: &Answer, cookies: &mut BTreeMap<String, String>) {
    for (_, value) in answer
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie")
    {
        let pair = value
            .split(';')
            .next()
            .and_then(|pair| pair.split_once('='));
        if let Some((name, value)) = pair {
            cookies.insert(name.trim().to_owned(), value.trim().to_owned());
        }
    }
}

fn seen(echo: &Echo, probe: &str, request: &Request) -> Vec<super::echo::Seen> {
    let deadline = Instant::now() + OTHERS;
    loop {
        let seen = echo.seen(probe);
        if request.others == 0 || seen.len() > request.others || Instant::now() > deadline {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn head(
    request: &Request,
    host: &str,
    probe: &str,
    cookies: &BTreeMap<String, String>,
) -> Result<Head> {
    let (method, path) = request.line()?;
    let mut headers = Vec::new();
    if !host.is_empty() {
        headers.push(("Host".to_owned(), host.to_owned()));
    }
    headers.push((PROBE.to_owned(), probe.to_owned()));
    for (name, told) in [(TOLD, &request.echo), (AUTH_TOLD, &request.auth)] {
        if let Some(told) = told {
            headers.push((name.to_owned(), serde_json::to_string(told)?));
        }
    }
    for (name, values) in &request.headers {
        let all = values.all().into_iter();
        headers.extend(all.map(|value| (name.clone(), value.to_owned())));
    }
    if !cookies.is_empty() {
        let all: Vec<String> = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        headers.push(("Cookie".to_owned(), all.join("; ")));
    }
    Ok(Head {
        method: method.to_owned(),
        path: path.to_owned(),
        headers,
    })
}

/// The sidecar beside a program of ours, unless FERRULE_INGRESS_BIN says otherwise.
///
/// # Errors
/// If it is not there.
pub fn sidecar(program: &Path) -> Result<PathBuf> {
    let beside = program.with_file_name("ferrule-ingress");
    let path = std::env::var_os("FERRULE_INGRESS_BIN").map_or(beside, PathBuf::from);
    path.canonicalize()
        .with_context(|| format!("{} is not there", path.display()))
}
