// SPDX-License-Identifier: Apache-2.0
//! Results as tables: for the terminal, and as docs/ingress-bench.md.

use std::fmt::Write;

use super::proxies::Kind;
use super::results::{Edits, Results, Rounds, Sample};
use super::stats::Spread;
use crate::scale::page::short;

const HEAD: &str = include_str!("head.md");

/// The page.
#[must_use]
pub fn page(results: &Results) -> String {
    format!("{HEAD}\n{}", tables(results))
}

/// Its tables.
#[must_use]
pub fn tables(results: &Results) -> String {
    let mut text = circumstances(results);
    text.push_str("\n## Requests per second of processor time\n\n");
    text.push_str(
        "| | ferrule | nginx | HAProxy | x nginx | x HAProxy |\n|---|---:|---:|---:|---:|---:|\n",
    );
    for rounds in &results.scenarios {
        line(&mut text, rounds, &|s| 1e6 / s.cpu_us, &short_count);
    }
    text.push_str("\n## Answers per second, and how long they take\n\n");
    text.push_str(
        "| | ferrule | nginx | HAProxy | x nginx | x HAProxy |\n|---|---:|---:|---:|---:|---:|\n",
    );
    for rounds in &results.scenarios {
        let mut part = |name: &str, of: Of, show: Show| {
            let named = Rounds {
                what: format!("{}: {name}", rounds.what),
                ..rounds.clone()
            };
            line(&mut text, &named, of, show);
        };
        part("per second", &|s| s.per_second, &short_count);
        part("p50, ms", &|s| f64::from(s.p50_us) / 1e3, &short);
        part("p99, ms", &|s| f64::from(s.p99_us) / 1e3, &short);
    }
    memory(&mut text, results);
    if let Some(edits) = &results.edits {
        self::edits(&mut text, edits);
    }
    text
}

type Of<'a> = &'a dyn Fn(&Sample) -> f64;
type Show<'a> = &'a dyn Fn(f64) -> String;

fn circumstances(results: &Results) -> String {
    let versions = results.versions.iter();
    let versions: Vec<_> = versions.map(|(name, v)| format!("{name} {v}")).collect();
    let rounds = results.scenarios.iter().map(|s| s.rounds.len()).max();
    format!(
        "{}, Linux {}, {} processors of a virtual machine, load average {:.1} before it all; {}. {} \
         rounds of {} s for each proxy. Held to 0.3 of a processor by {}.\n",
        results.date,
        results.kernel,
        results.cores,
        results.load,
        versions.join(", "),
        rounds.unwrap_or(0),
        results.seconds,
        results.held_by
    )
}

fn line(text: &mut String, rounds: &Rounds, of: Of, show: Show) {
    let [ours, nginx, haproxy] = Kind::ALL.map(|kind| {
        let median = rounds.median(kind, of);
        median.map_or_else(|| "-".to_owned(), show)
    });
    let [to_nginx, to_haproxy] = [Kind::Nginx, Kind::Haproxy]
        .map(|kind| rounds.ratio(kind, of).map_or_else(|| "-".to_owned(), ratio));
    let _ = writeln!(
        text,
        "| {} | {ours} | {nginx} | {haproxy} | {to_nginx} | {to_haproxy} |",
        rounds.what
    );
}

fn ratio(spread: Spread) -> String {
    format!(
        "**{:.2}** ({:.2}-{:.2})",
        spread.median, spread.low, spread.high
    )
}

/// Three digits are more than what is known.
fn short_count(value: f64) -> String {
    if value < 1_000.0 {
        return short(value);
    }
    let scale = 10_f64.powi(value.log10() as i32 - 2);
    let rounded = ((value / scale).round() * scale) as u64;
    format!("{},{:03}", rounded / 1_000, rounded % 1_000)
}

fn memory(text: &mut String, results: &Results) {
    if results.memory.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n## {} Ingresses\n\n| | ferrule | nginx | HAProxy | nginx / ferrule | HAProxy / ferrule |\n\
         |---|---:|---:|---:|---:|---:|",
        results.ingresses
    );
    type Of = fn(&super::results::Memory) -> f64;
    let lines: [(&str, Of); 3] = [
        ("memory with one host, MiB", |m| m.one_kb as f64 / 1024.0),
        ("memory with all, MiB", |m| m.all_kb as f64 / 1024.0),
        ("start until the last one answers, s", |m| m.start_seconds),
    ];
    for (what, of) in lines {
        let [ours, nginx, haproxy] = Kind::ALL.map(|kind| results.memory.get(kind.name()).map(of));
        let value = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
        let times = |theirs: Option<f64>| match (ours, theirs) {
            (Some(ours), Some(theirs)) => format!("**{:.2}**", theirs / ours),
            _ => "-".to_owned(),
        };
        let _ = writeln!(
            text,
            "| {what} | {} | {} | {} | {} | {} |",
            value(ours),
            value(nginx),
            value(haproxy),
            times(nginx),
            times(haproxy)
        );
    }
}

fn edits(text: &mut String, edits: &Edits) {
    let _ = writeln!(
        text,
        "\n## An edit every {} ms\n\nferrule with {} Ingresses, all of them asked meanwhile:\n\n\
         | | |\n|---|---:|\n| edits | {} |\n| from the file to the new answer: p50 | {} ms |\n\
         | p99 | {} ms |\n| longest | {} ms |\n| other requests per second | {} |\n\
         | their p99 | {} ms |\n| **failed** | **{}** |\n| processors in use | {} |",
        edits.every_ms,
        edits.ingresses,
        edits.latency.count,
        short(edits.latency.p50_ms),
        short(edits.latency.p99_ms),
        short(edits.latency.max_ms),
        short_count(edits.per_second),
        short(f64::from(edits.p99_us) / 1e3),
        edits.failed,
        short(edits.cpus)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_three_digits() {
        for (value, expected) in [
            (12.3, "12"),
            (999.0, "999"),
            (1_234.0, "1,230"),
            (56_789.0, "56,800"),
            (123_456.0, "123,000"),
        ] {
            assert_eq!(short_count(value), expected);
        }
    }

    #[test]
    fn the_page_is_the_one_of_the_results() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = root.join("results/ingress-bench.json");
        let results: Results = crate::scale::results::read(&file).unwrap();
        let kept = std::fs::read_to_string(root.join("../docs/ingress-bench.md")).unwrap();
        assert!(
            kept == page(&results),
            "docs/ingress-bench.md is not what its results say: run `cargo run -p \
             ferrule-conformance --bin ferrule-bench-ingress -- --page`"
        );
    }
}
