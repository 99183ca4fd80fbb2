// SPDX-License-Identifier: Apache-2.0
//! The log: one event a line, on standard error.

use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, registry};

use crate::config::{Log, LogFormat};

/// The log's levels. A process has one log.
static LEVELS: OnceLock<Handle<Targets, Registry>> = OnceLock::new();

/// Starts the log. A second call changes nothing.
pub fn start(log: Log) {
    let writer = fmt::layer().with_writer(std::io::stderr);
    let layer = match log.format {
        LogFormat::Text => writer.with_ansi(false).with_target(false).boxed(),
        LogFormat::Json => writer.json().flatten_event(true).boxed(),
    };
    let (filter, handle) = reload::Layer::new(levels(log.verbosity));
    if registry()
        .with(layer.with_filter(filter))
        .try_init()
        .is_ok()
    {
        let _ = LEVELS.set(handle);
    }
}

/// Changes the verbosity of the log that runs; without one, nothing.
pub fn set_verbosity(verbosity: u32) {
    if let Some(handle) = LEVELS.get() {
        // It fails only once the log is gone.
        let _ = handle.reload(levels(verbosity));
    }
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
