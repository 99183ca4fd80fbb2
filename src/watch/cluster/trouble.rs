// SPDX-License-Identifier: Apache-2.0
//! Says that a watch fails, and that it works again: once each, however often it is tried.

use kube::core::Status;
use kube::runtime::watcher;

use crate::model::Event;
use crate::watch::client::one_line;

/// How one watch is doing.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    reason: String,
}

impl Trouble {
    /// A failure, in one line. The event, if this is news.
    pub(super) fn failed(&mut self, name: &str, reason: String) -> Option<Event> {
        if self.reason == reason {
            return None;
        }
        self.reason = reason.clone();
        Some(Event::Source {
            name: name.to_owned(),
            reason,
        })
    }

    /// A success. The event, if this is news.
    pub(super) fn ended(&mut self, name: &str) -> Option<Event> {
        if self.reason.is_empty() {
            return None;
        }
        self.reason.clear();
        Some(Event::Source {
            name: name.to_owned(),
            reason: String::new(),
        })
    }

    /// Whether the last word was a failure.
    pub(super) fn is_open(&self) -> bool {
        !self.reason.is_empty()
    }
}

/// What to make of an error.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// Part of normal life: the server has forgotten the version that the watch goes on from, or
    /// has never seen it, say after its store was restored from a backup.
    Expected,
    /// The server can't do streaming lists, whatever its version says.
    NoStreaming,
    /// The server does not have the kind, or does not show it to us.
    Withheld,
    /// Anything else.
    Trouble,
}

/// Judges an error by its HTTP status. `streaming`: it came instead of a streaming list.
pub(super) fn severity(error: &watcher::Error, streaming: bool) -> Severity {
    let status = status(error);
    match status.map(|status| status.code) {
        _ if status.is_some_and(too_new) => Severity::Expected,
        Some(410) => Severity::Expected,
        Some(403 | 404) => Severity::Withheld,
        Some(401 | 429) | None => Severity::Trouble,
        // The words differ: 422 with the feature switched off, 500 with an etcd that is too old.
        Some(_) if streaming => Severity::NoStreaming,
        Some(_) => Severity::Trouble,
    }
}

/// Waiting need not help against this, and client-go lists anew as well.
fn too_new(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|d| &d.causes);
    causes.any(|c| c.reason == "ResourceVersionTooLarge")
        || status.message.contains("Too large resource version")
}

/// What the server itself said, if it said anything.
fn status(error: &watcher::Error) -> Option<&Status> {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status))
        | WatchError(status) => Some(status),
        _ => None,
    }
}

/// The error in one line.
pub(super) fn reason(error: &watcher::Error) -> String {
    match status(error) {
        Some(status) if !status.message.is_empty() => {
            let message = status
                .message
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            format!("{message} (HTTP status {})", status.code)
        }
        // A body that breaks off is an error of kube's in an I/O error.
        _ => one_line(without_stage(error))
            .trim_start_matches("ServiceError: ")
            .to_owned(),
    }
}

/// Neither at which stage it happened nor what kube calls it helps anyone.
fn without_stage(error: &watcher::Error) -> &dyn std::error::Error {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(e) | WatchStartFailed(e) | WatchFailed(e) => match e {
            kube::Error::Service(e) => &**e,
            kube::Error::ReadEvents(e) => e,
            e => e,
        },
        e => e,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16) -> kube::Error {
        kube::Error::Api(Box::new(Status {
            code,
            ..Status::default()
        }))
    }

    #[test]
    fn news_is_told_once() {
        let mut trouble = Trouble::default();
        assert_eq!(trouble.ended("services"), None);
        assert!(trouble.failed("services", "refused".into()).is_some());
        assert_eq!(trouble.failed("services", "refused".into()), None);
        assert!(trouble.failed("services", "forbidden".into()).is_some());
        assert!(trouble.is_open());
        let event = trouble.ended("services").expect("news");
        assert_eq!(
            event,
            Event::Source {
                name: "services".into(),
                reason: String::new()
            }
        );
        assert_eq!(trouble.ended("services"), None);
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_server() {
        let status = Status {
            code: 403,
            message: "services is forbidden:\n  User x".into(),
            ..Status::default()
        };
        let error = watcher::Error::WatchStartFailed(kube::Error::Api(Box::new(status)));
        assert_eq!(
            reason(&error),
            "services is forbidden: User x (HTTP status 403)"
        );
        let other = watcher::Error::NoResourceVersion;
        assert!(reason(&other).starts_with("no metadata.resourceVersion"));
    }

    #[test]
    fn severities() {
        let start = |code| watcher::Error::WatchStartFailed(api(code));
        assert_eq!(severity(&start(422), true), Severity::NoStreaming);
        assert_eq!(severity(&start(422), false), Severity::Trouble);
        assert_eq!(severity(&start(403), true), Severity::Withheld);
        assert_eq!(severity(&start(429), true), Severity::Trouble);
        let old_etcd = Status {
            code: 500,
            ..Status::default()
        };
        let old_etcd = watcher::Error::WatchError(Box::new(old_etcd));
        assert_eq!(severity(&old_etcd, true), Severity::NoStreaming);
        assert_eq!(severity(&old_etcd, false), Severity::Trouble);
        let list = watcher::Error::InitialListFailed(api(404));
        assert_eq!(severity(&list, false), Severity::Withheld);
        let gone = Status {
            code: 410,
            ..Status::default()
        };
        let gone = watcher::Error::WatchError(Box::new(gone));
        assert_eq!(severity(&gone, true), Severity::Expected);
        assert_eq!(
            severity(&watcher::Error::NoResourceVersion, true),
            Severity::Trouble
        );
    }
}
