// SPDX-License-Identifier: Apache-2.0
//! Metrics of the process, read when they are asked for; names and units as Go programs have them.

use procfs::process::{LimitValue, Process as Proc};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};

/// What Linux says about this process.
pub(super) struct Process {
    cpu: Counter,
    gauges: [Gauge; 6],
}

/// Names and meanings of the gauges, in the order of [`Reading::gauges`].
const GAUGES: [(&str, &str); 6] = [
    ("process_open_fds", "Open file descriptors"),
    ("process_max_fds", "The most file descriptors"),
    ("process_resident_memory_bytes", "Resident memory"),
    ("process_virtual_memory_bytes", "Virtual memory"),
    (
        "process_virtual_memory_max_bytes",
        "The most virtual memory",
    ),
    (
        "process_start_time_seconds",
        "Start of the process, since 1970",
    ),
];

struct Reading {
    cpu: f64,
    gauges: [f64; 6],
}

impl Process {
    pub(super) fn new() -> Self {
        let cpu = Counter::new(
            "process_cpu_seconds_total",
            "Processor time, user and system",
        );
        Self {
            cpu: cpu.expect("a valid name"),
            gauges: GAUGES.map(|(name, help)| Gauge::new(name, help).expect("a valid name")),
        }
    }
}

fn read() -> procfs::ProcResult<Reading> {
    let process = Proc::myself()?;
    let (stat, limits) = (process.stat()?, process.limits()?);
    let ticks = procfs::ticks_per_second() as f64;
    let start = procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks;
    let gauges = [
        process.fd_count()? as f64,
        limit(limits.max_open_files.soft_limit),
        stat.rss as f64 * procfs::page_size() as f64,
        stat.vsize as f64,
        limit(limits.max_address_space.soft_limit),
        start,
    ];
    Ok(Reading {
        cpu: (stat.utime + stat.stime) as f64 / ticks,
        gauges,
    })
}

/// No limit is the largest number, as in Go.
fn limit(value: LimitValue) -> f64 {
    match value {
        LimitValue::Unlimited => u64::MAX as f64,
        LimitValue::Value(value) => value as f64,
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = self.gauges.iter().flat_map(Collector::desc);
        self.cpu.desc().into_iter().chain(gauges).collect()
    }

    /// Nothing where /proc can't be read.
    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(reading) = read() else {
            return Vec::new();
        };
        // The time of a process never goes back, so that this is never negative.
        self.cpu.inc_by((reading.cpu - self.cpu.get()).max(0.0));
        for (gauge, value) in self.gauges.iter().zip(reading.gauges) {
            gauge.set(value);
        }
        let gauges = self.gauges.iter().flat_map(Collector::collect);
        self.cpu.collect().into_iter().chain(gauges).collect()
    }
}
