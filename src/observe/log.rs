// SPDX-License-Identifier: Apache-2.0
//! The log: one event a line, on standard error.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, registry};

use crate::config::{Log, LogFormat};

/// What the log shows, to be changed while it runs. A process has one log.
static LEVELS: OnceLock<Levels> = OnceLock::new();
static VERBOSITY: AtomicU32 = AtomicU32::new(0);

type Levels = Handle<Targets, Registry>;

/// Starts the log. A second call changes nothing.
pub fn start(log: Log) {
    let (subscriber, levels) = subscriber(log, io::stderr);
    if subscriber.try_init().is_ok() {
        let _ = LEVELS.set(levels);
        VERBOSITY.store(log.verbosity, Ordering::Relaxed);
    }
}

/// Changes what the log shows from now on: klog's verbosity, 0 and up. Without a log that
/// [`start`] has started, only [`verbosity`] changes.
pub fn set_verbosity(verbosity: u32) {
    VERBOSITY.store(verbosity, Ordering::Relaxed);
    if let Some(Err(error)) = LEVELS.get().map(|handle| handle.reload(levels(verbosity))) {
        tracing::warn!(%error, "the verbosity of the log stays as it is");
    }
}

/// The verbosity that was set last.
pub fn verbosity() -> u32 {
    VERBOSITY.load(Ordering::Relaxed)
}

fn subscriber<W>(log: Log, writer: W) -> (impl Subscriber + Send + Sync, Levels)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let writer = fmt::layer().with_writer(writer);
    let layer = match log.format {
        LogFormat::Text => writer.with_ansi(false).with_target(false).boxed(),
        LogFormat::Json => writer.json().flatten_event(true).boxed(),
    };
    let (filter, handle) = reload::Layer::new(levels(log.verbosity));
    (registry().with(layer.with_filter(filter)), handle)
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_verbosity_changes_while_the_log_runs() {
        let sink = Sink::default();
        let log = Log {
            verbosity: 2,
            format: LogFormat::Text,
        };
        let writer = sink.clone();
        let (subscriber, handle) = subscriber(log, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            for (verbosity, shown) in [(2, false), (4, true), (0, false), (6, true)] {
                handle.reload(levels(verbosity)).unwrap();
                let marker = format!("marker{verbosity}");
                // The loop's own line is one callsite: what it decided once must not stay.
                tracing::debug!(target: "ferrule::test", "{marker}");
                let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
                assert_eq!(text.contains(&marker), shown, "at {verbosity}");
            }
        });
    }
}
