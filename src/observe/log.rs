// SPDX-License-Identifier: Apache-2.0
//! The log: one event a line, on standard error.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

use crate::config::{Log, LogFormat};

/// Starts the log. A second call changes nothing.
pub fn start(log: Log) {
    let writer = fmt::layer().with_writer(std::io::stderr);
    let layer = match log.format {
        LogFormat::Text => writer.with_ansi(false).with_target(false).boxed(),
        LogFormat::Json => writer.json().flatten_event(true).boxed(),
    };
    let _ = registry()
        .with(layer.with_filter(levels(log.verbosity)))
        .try_init();
}

/// klog's verbosity: 2 is common in production, 4 is for debugging, 6 and more shows all. Of the
/// libraries, only 6 and more shows other things than warnings.
fn levels(verbosity: u32) -> Targets {
    let (own, others) = match verbosity {
        0..=3 => (LevelFilter::INFO, LevelFilter::WARN),
        4..=5 => (LevelFilter::DEBUG, LevelFilter::WARN),
        6..=7 => (LevelFilter::TRACE, LevelFilter::INFO),
        _ => (LevelFilter::TRACE, LevelFilter::DEBUG),
    };
    // It warns of each attempt that an API server forbids; the watch reports that once.
    let watcher = match others {
        LevelFilter::WARN => LevelFilter::ERROR,
        others => others,
    };
    Targets::new()
        .with_default(others)
        .with_target("kube_runtime::watcher", watcher)
        .with_target("ferrule", own)
}
