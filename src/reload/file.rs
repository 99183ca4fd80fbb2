// SPDX-License-Identifier: Apache-2.0
//! Waits for a file to change, by inotify.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use inotify::{EventMask, EventStream};
use tokio::time::{sleep, timeout};

use crate::watch::directories::{CONFIG_MAP_LINK, events};

/// An editor or `cp` makes several events; what it leaves is read once.
const SETTLE: Duration = Duration::from_millis(50);
/// What no event tells of, as a link further up that is swapped, is seen this much later.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// The same where nothing can be watched.
const WITHOUT_EVENTS: Duration = Duration::from_secs(1);
/// Room for some dozen events.
const BUFFER: usize = 1 << 12;

/// The directories that say what a file's name leads to.
pub(super) struct FileWatch {
    names: BTreeSet<PathBuf>,
    events: Option<EventStream<Vec<u8>>>,
}

impl FileWatch {
    /// Begins to watch.
    pub(super) fn open(path: &Path) -> Self {
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let events = events(&[path, &target].map(directory), BUFFER).ok();
        let names = [path, &target].into_iter().filter_map(Path::file_name);
        Self {
            names: names.map(PathBuf::from).collect(),
            events,
        }
    }

    /// Waits until the file may have changed.
    pub(super) async fn changed(mut self) {
        let Some(mut events) = self.events.take() else {
            return sleep(WITHOUT_EVENTS).await;
        };
        let concerns = async {
            while let Some(Ok(event)) = events.next().await {
                if event
                    .name
                    .is_none_or(|name| self.concerns(&name, event.mask))
                {
                    return;
                }
            }
        };
        if timeout(LOOK_AGAIN, concerns).await.is_ok() {
            sleep(SETTLE).await;
        }
    }

    fn concerns(&self, name: &OsStr, mask: EventMask) -> bool {
        let ours = name == CONFIG_MAP_LINK || self.names.contains(Path::new(name));
        ours || mask.contains(EventMask::Q_OVERFLOW)
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Instant;

    use super::*;

    /// How long a change takes to be seen, at most; `None` if it is not seen.
    fn seen(path: &Path, change: impl FnOnce()) -> Option<Duration> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let watch = FileWatch::open(path);
            let begun = Instant::now();
            change();
            let limit = Duration::from_millis(700);
            let result = timeout(limit, watch.changed()).await;
            result.ok().map(|()| begun.elapsed())
        })
    }

    #[test]
    fn writes_renames_and_removals_are_seen() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, other) = (dir.path().join("config"), dir.path().join("other"));
        fs::write(&path, "1").expect("written");
        assert!(seen(&path, || fs::write(&path, "2").expect("written")).is_some());
        assert!(seen(&path, || fs::write(&other, "3").expect("written")).is_none());
        assert!(seen(&path, || fs::rename(&other, &path).expect("moved")).is_some());
        assert!(seen(&path, || fs::remove_file(&path).expect("removed")).is_some());
        assert!(seen(&path, || fs::write(&path, "4").expect("written")).is_some());
    }

    #[test]
    fn a_swapped_link_and_a_write_behind_a_link_are_seen() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        for version in ["..1", "..2"] {
            fs::create_dir(at(version)).expect("made");
            fs::write(at(version).join("config"), version).expect("written");
        }
        symlink("..1", at("..data")).expect("linked");
        symlink("..data/config", at("config")).expect("linked");
        let swap = || {
            symlink("..2", at("..new")).expect("linked");
            fs::rename(at("..new"), at("..data")).expect("moved");
        };
        assert!(seen(&at("config"), swap).is_some());
        let target = at("..2").join("config");
        assert!(seen(&at("config"), || fs::write(&target, "x").expect("written")).is_some());
    }
}
