// SPDX-License-Identifier: Apache-2.0
//! `ferrule debug top`: connections and bytes of Services, as they come.

use std::collections::HashMap;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::client;
use super::print::{Grid, print};
use crate::cli::TopArgs;
use crate::observe::accounting::{AccountingView, Use};

/// Puts the cursor home and clears what is below it (ECMA-48: CUP, ED).
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// Prints the sums once, or rates again and again until it is interrupted.
///
/// # Errors
/// No agent, one without accounting, or `out` fails.
pub fn run(args: &TopArgs, out: &mut impl Write) -> Result<()> {
    let ask = || client::get::<AccountingView>(&args.admin_socket, "/accounting");
    let mut before = ask()?;
    if args.once {
        return print(out, args.output, &before, |out, _| {
            writeln!(out, "{}", sums(&before, args.endpoints))
        });
    }
    let mut at = Instant::now();
    loop {
        thread::sleep(Duration::from_secs(args.interval));
        let (now, took) = (ask()?, at.elapsed());
        at = Instant::now();
        writeln!(out, "{CLEAR}{}", rates(&before, &now, took, args.endpoints))?;
        out.flush()?;
        before = now;
    }
}

/// Every Service, and possibly its endpoints, by a name to show.
fn rows(view: &AccountingView, endpoints: bool) -> Vec<(String, String, Use)> {
    let mut rows = Vec::new();
    for service in &view.services {
        let name = format!("{}/{}", service.namespace, service.name);
        rows.push((name.clone(), String::new(), service.total));
        let all = service.endpoints.iter().filter(|_| endpoints);
        rows.extend(all.map(|e| (name.clone(), e.endpoint.to_string(), e.total)));
    }
    rows
}

/// What has been so far.
fn sums(view: &AccountingView, endpoints: bool) -> String {
    let mut table = Grid::new(["SERVICE", "ENDPOINT", "CONNECTIONS", "LIVE", "IN", "OUT"]);
    for (name, endpoint, total) in rows(view, endpoints) {
        table.row([
            name,
            endpoint,
            total.connections.to_string(),
            total.live.to_string(),
            bytes(total.bytes_in as f64),
            bytes(total.bytes_out as f64),
        ]);
    }
    note(view, table.text(|_| None))
}

/// What has come since the view before, the busiest first.
fn rates(before: &AccountingView, now: &AccountingView, took: Duration, endpoints: bool) -> String {
    let old: HashMap<_, _> = rows(before, endpoints)
        .into_iter()
        .map(|(name, endpoint, total)| ((name, endpoint), total))
        .collect();
    let seconds = took.as_secs_f64().max(0.001);
    let mut all: Vec<_> = rows(now, endpoints)
        .into_iter()
        .map(|(name, endpoint, total)| {
            let old = old
                .get(&(name.clone(), endpoint.clone()))
                .copied()
                .unwrap_or_default();
            // A flow that is older than the agent's counting may leave a sum.
            let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
            let rates = [
                rate(total.connections, old.connections),
                rate(total.bytes_in, old.bytes_in),
                rate(total.bytes_out, old.bytes_out),
            ];
            (name, endpoint, total, rates)
        })
        .collect();
    let busy = |rates: &[f64; 3]| (rates[0], rates[1] + rates[2]);
    all.sort_by(|a, b| {
        busy(&b.3)
            .partial_cmp(&busy(&a.3))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    let mut table = Grid::new([
        "SERVICE",
        "ENDPOINT",
        "CONN/S",
        "IN/S",
        "OUT/S",
        "LIVE",
        "CONNECTIONS",
    ]);
    for (name, endpoint, total, [connections, inward, outward]) in all {
        table.row([
            name,
            endpoint,
            format!("{connections:.1}"),
            bytes(inward),
            bytes(outward),
            total.live.to_string(),
            total.connections.to_string(),
        ]);
    }
    note(now, table.text(|_| None))
}

fn note(view: &AccountingView, mut table: String) -> String {
    if view.one_in > 1 {
        let one_in = view.one_in;
        table += &format!("\nestimates: one in {one_in} connections is counted");
    }
    if view.lost > 0 {
        table += &format!("\nevents were lost {} times: sums are too small", view.lost);
    }
    table
}

/// As `1.5 MiB`.
fn bytes(mut count: f64) -> String {
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if count < 1024.0 {
            return match unit {
                "B" => format!("{count:.0} B"),
                unit => format!("{count:.1} {unit}"),
            };
        }
        count /= 1024.0;
    }
    format!("{count:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::accounting::book::{EndpointUse, ServiceUse};

    fn view(connections: u64, bytes: u64) -> AccountingView {
        let total = Use {
            connections,
            live: 1,
            bytes_in: bytes,
            bytes_out: 2 * bytes,
        };
        let service = |name: &str, total| ServiceUse {
            namespace: "default".into(),
            name: name.into(),
            total,
            endpoints: vec![EndpointUse {
                endpoint: "10.244.1.5:8080".parse().unwrap(),
                total,
            }],
        };
        AccountingView {
            services: vec![service("idle", Use::default()), service("web", total)],
            lost: 0,
            one_in: 1,
        }
    }

    #[test]
    fn estimates_are_called_so() {
        let sampled = AccountingView {
            one_in: 16,
            ..view(10, 0)
        };
        let said = |view: &AccountingView| sums(view, false).contains("one in 16 connections");
        assert!(said(&sampled) && !said(&view(10, 0)));
    }

    #[test]
    fn the_busiest_comes_first_and_rates_are_per_second() {
        let text = rates(&view(10, 0), &view(30, 4096), Duration::from_secs(2), true);
        let text = anstream::adapter::strip_str(&text).to_string();
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|l| l.split_whitespace().collect())
            .collect();
        assert_eq!(
            lines[1],
            [
                "default/web",
                "-",
                "10.0",
                "2.0",
                "KiB",
                "4.0",
                "KiB",
                "1",
                "30"
            ]
        );
        assert_eq!(lines[2][1], "10.244.1.5:8080");
        assert_eq!(lines[3][0], "default/idle");
        let once = sums(&view(10, 5), false);
        assert_eq!(once.lines().count(), 3, "{once}");
        crate::debug::schema::obeys("top", &serde_json::to_value(view(1, 1)).unwrap());
    }

    #[test]
    fn bytes_have_units() {
        let shown = [0.0, 1023.0, 1024.0, 1.5 * 1048576.0, 3.0 * 1024f64.powi(5)].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "3072.0 TiB"]);
    }
}
