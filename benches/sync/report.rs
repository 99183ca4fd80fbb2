// SPDX-License-Identifier: Apache-2.0
//! Numbers, and how they are shown.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, TableStyle};
use serde::Serialize;

/// Everything that one run measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub machine: Machine,
    pub cold: Vec<Cold>,
    pub changes: Vec<Changes>,
}

/// Where it was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Machine {
    pub kernel: String,
    pub cores: usize,
    /// `/proc/loadavg` before the first measurement: numbers of a busy machine are worth little.
    pub load: String,
    pub version: &'static str,
}

/// One start.
#[derive(Debug, Serialize)]
pub(crate) struct Cold {
    pub size: String,
    /// Where the objects came from.
    pub source: &'static str,
    /// Until the last rule was in the kernel, milliseconds.
    pub ms: f64,
    /// Processor time of the agent until then, milliseconds.
    pub cpu_ms: Option<f64>,
    /// Resident memory after it, kB.
    pub rss_kb: Option<u64>,
    /// Its highest value so far, kB.
    pub peak_kb: Option<u64>,
    /// Resident memory after all changes, kB.
    pub rss_after_kb: Option<u64>,
    /// Netlink messages.
    pub messages: Option<usize>,
    /// Elements in the map of endpoints.
    pub elements: usize,
}

/// Many changes of one kind.
#[derive(Debug, Serialize)]
pub(crate) struct Changes {
    pub size: String,
    pub source: &'static str,
    pub kind: &'static str,
    pub count: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    /// Netlink messages of the costliest change.
    pub messages: Option<usize>,
    /// Elements added and deleted by the costliest change.
    pub elements: Option<usize>,
}

pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

impl Machine {
    pub(crate) fn this() -> Self {
        let read = |path| {
            std::fs::read_to_string(path)
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        Self {
            kernel: read("/proc/sys/kernel/osrelease"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            load: read("/proc/loadavg"),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl Changes {
    /// Sums up; `durations` must not be empty.
    pub(crate) fn new(
        size: String,
        source: &'static str,
        kind: &'static str,
        durations: &mut [Duration],
    ) -> Self {
        durations.sort_unstable();
        Self {
            size,
            source,
            kind,
            count: durations.len(),
            p50_ms: ms(percentile(durations, 50)),
            p99_ms: ms(percentile(durations, 99)),
            max_ms: ms(percentile(durations, 100)),
            messages: None,
            elements: None,
        }
    }
}

/// The nearest-rank percentile of sorted values.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

impl Report {
    /// Prints the tables.
    pub(crate) fn print(&self) {
        let m = &self.machine;
        println!(
            "\nferrule {} on Linux {}, {} cores, load {}",
            m.version, m.kernel, m.cores, m.load
        );
        println!("\nStart\n{}", self.cold_table());
        println!("\nChanges\n{}", self.changes_table());
    }

    fn cold_table(&self) -> Table {
        let mut table = table(
            &[
                "size", "source", "ms", "CPU ms", "RSS MB", "peak MB", "later MB", "messages",
                "elements",
            ],
            2,
        );
        let mb = |kb: Option<u64>| optional(kb.map(|kb| format!("{:.1}", kb as f64 / 1024.0)));
        for c in &self.cold {
            table.add_row([
                c.size.clone(),
                c.source.to_owned(),
                format!("{:.0}", c.ms),
                optional(c.cpu_ms.map(|ms| format!("{ms:.0}"))),
                mb(c.rss_kb),
                mb(c.peak_kb),
                mb(c.rss_after_kb),
                optional(c.messages),
                c.elements.to_string(),
            ]);
        }
        table
    }

    fn changes_table(&self) -> Table {
        let mut table = table(
            &[
                "size", "source", "one", "n", "p50 ms", "p99 ms", "max ms", "messages", "elements",
            ],
            3,
        );
        for c in &self.changes {
            table.add_row([
                c.size.clone(),
                c.source.to_owned(),
                c.kind.to_owned(),
                c.count.to_string(),
                format!("{:.2}", c.p50_ms),
                format!("{:.2}", c.p99_ms),
                format!("{:.2}", c.max_ms),
                optional(c.messages),
                optional(c.elements),
            ]);
        }
        table
    }

    /// Writes everything as JSON.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n").with_context(|| path.display().to_string())
    }
}

fn optional(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |v| v.to_string())
}

/// A table without lines whose columns from `numbers` on are aligned right.
fn table(header: &[&str], numbers: usize) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(header);
    for column in table.column_iter_mut().skip(numbers) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
