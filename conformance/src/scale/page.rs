// SPDX-License-Identifier: Apache-2.0
//! Results as tables: for the terminal, and as docs/scale.md.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, TableStyle};

use super::change::Kind;
use super::results::{Changes, Latency, Measured, Results, Run, read};
use crate::differential::proxies::Proxy;

const HEAD: &str = include_str!("head.md");

/// One line of a table: what, kube-proxy's value, ferrule's, and how many times as much
/// kube-proxy's is.
type Row = [String; 4];

const HEADER: [&str; 4] = ["", "kube-proxy", "ferrule", "ratio"];

/// The page.
#[must_use]
pub fn page(results: &Results) -> String {
    let mut text = HEAD.to_owned();
    for run in &results.runs {
        let _ = writeln!(
            text,
            "\n## {} Services, {} endpoints each\n",
            run.services, run.endpoints
        );
        let _ = writeln!(text, "{}\n", circumstances(run));
        let _ = writeln!(text, "| {} |\n|---|---:|---:|---:|", HEADER.join(" | "));
        for row in rows(run) {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
    }
    text
}

/// Writes the page of the results in that file.
///
/// # Errors
/// If one of them cannot be read or written.
pub fn write(results: &Path, to: &Path) -> Result<()> {
    let text = page(&read(results)?);
    std::fs::write(to, text).with_context(|| to.display().to_string())
}

/// The table of one run for a terminal.
#[must_use]
pub fn table(run: &Run) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(HEADER);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.add_rows(rows(run));
    format!("{}\n\n{table}", circumstances(run))
}

fn circumstances(run: &Run) -> String {
    let proxies: Vec<_> = run
        .proxies
        .iter()
        .map(|p| format!("{} {} at load {:.1}", p.proxy, p.version, p.load))
        .collect();
    format!(
        "{}, Linux {}, {} processors, load average {:.1} before it all. {} objects written at {:.0} \
         per second. {}.",
        run.date,
        run.kernel,
        run.cores,
        run.load,
        run.fill.objects,
        run.fill.per_second,
        proxies.join(", then ")
    )
}

/// A value of one proxy, and how it is shown.
struct Value {
    value: f64,
    text: String,
}

/// How to get a line's value.
type Of<'a> = &'a dyn Fn(&Measured) -> Option<Value>;

/// The lines of a table so far.
struct Rows<'a> {
    run: &'a Run,
    rows: Vec<Row>,
}

impl Rows<'_> {
    /// Adds a line, unless neither proxy has the value.
    fn add(&mut self, what: &str, of: Of) {
        let [theirs, ours] = Proxy::BOTH.map(|proxy| {
            let mut all = self.run.proxies.iter();
            all.find(|m| m.proxy == proxy.name()).and_then(of)
        });
        if theirs.is_none() && ours.is_none() {
            return;
        }
        let ratio = match (&theirs, &ours) {
            (Some(t), Some(o)) if o.value > 0.0 => format!("{}x", short(t.value / o.value)),
            _ => String::new(),
        };
        let text = |v: Option<Value>| v.map_or_else(|| "-".to_owned(), |v| v.text);
        self.rows
            .push([what.to_owned(), text(theirs), text(ours), ratio]);
    }

    fn latencies(&mut self, name: &str, of: &dyn Fn(&Measured) -> Option<&Latency>) {
        self.add(&format!("{name}: p50"), &|m| {
            of(m).map(|l| millis(l.p50_ms))
        });
        self.add(&format!("{name}: p90"), &|m| {
            of(m).map(|l| millis(l.p90_ms))
        });
        self.add(&format!("{name}: p99"), &|m| {
            of(m).map(|l| millis(l.p99_ms))
        });
        // How many there were is no result: it has no ratio.
        self.add(&format!("{name}: measured"), &|m| {
            of(m).map(|l| Value {
                value: 0.0,
                text: l.count.to_string(),
            })
        });
    }
}

fn rows(run: &Run) -> Vec<Row> {
    let mut rows = Rows {
        run,
        rows: Vec::new(),
    };
    rows.add("start until every Service answers", &|m| {
        m.start().map(|s| seconds(s.seconds))
    });
    rows.add("start: processor time", &|m| {
        m.start().map(|s| seconds(s.cpu_seconds))
    });
    for kind in Kind::ALL {
        let name = kind.name();
        rows.latencies(name, &|m| Some(&change(m, name)?.latency));
        rows.add(&format!("{name}: the write itself, p50"), &|m| {
            change(m, name).map(|c| millis(c.write.p50_ms))
        });
        rows.add(&format!("{name}: processor time of one"), &|m| {
            change(m, name).map(|c| millis(c.cpu_ms))
        });
    }
    rows.latencies("amid other changes", &|m| {
        m.churn.as_ref().map(|c| &c.latency)
    });
    rows.add("amid other changes: changes per second", &|m| {
        m.churn.as_ref().map(|c| plain(c.per_second))
    });
    rows.add("amid other changes: processors in use", &|m| {
        m.churn.as_ref().map(|c| plain(c.cpus))
    });
    rows.add("peak memory of the process", &|m| {
        memory(m.memory.process_kb)
    });
    rows.add("peak memory of a program that it runs", &|m| {
        memory(m.memory.child_kb)
    });
    rows.add("peak memory of both together", &|m| {
        memory(m.memory.together_kb)
    });
    rows.rows
}

fn change<'a>(measured: &'a Measured, kind: &str) -> Option<&'a Changes> {
    measured.changes.iter().find(|c| c.kind == kind)
}

fn seconds(value: f64) -> Value {
    Value {
        value,
        text: format!("{} s", short(value)),
    }
}

fn millis(value: f64) -> Value {
    Value {
        value,
        text: format!("{} ms", short(value)),
    }
}

fn plain(value: f64) -> Value {
    Value {
        value,
        text: short(value),
    }
}

fn memory(kilobytes: u64) -> Option<Value> {
    let value = kilobytes as f64 / 1024.0;
    (kilobytes > 0).then(|| Value {
        value,
        text: format!("{} MiB", short(value)),
    })
}

/// Two digits at least, and none behind the point from 10 on.
#[must_use]
pub fn short(value: f64) -> String {
    match value {
        v if v < 0.1 => format!("{v:.3}"),
        v if v < 1.0 => format!("{v:.2}"),
        v if v < 10.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
