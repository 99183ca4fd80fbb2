// SPDX-License-Identifier: Apache-2.0
//! What happens in a directory, by inotify.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use inotify::{EventMask, EventOwned, EventStream};

use super::store::FileName;
use crate::watch::directories::{CONFIG_MAP_LINK, events};

/// An editor may move a file away just before it writes the new one, so what vanishes is believed
/// a moment later. What is written is read at once.
const VANISHED: Duration = Duration::from_millis(20);

/// Room for some hundred events.
const BUFFER: usize = 1 << 14;

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// These files were written, moved or deleted.
    Files(BTreeSet<FileName>),
    /// Anything may have changed.
    Everything,
    /// The directory itself is gone.
    Lost,
}

/// A directory that is watched.
pub(super) struct Directory {
    path: PathBuf,
    events: EventStream<Vec<u8>>,
}

/// What is gathered until there is nothing more to hear.
#[derive(Default)]
struct Gathered {
    files: BTreeSet<FileName>,
    written: bool,
    everything: bool,
    lost: bool,
}

impl Directory {
    /// Begins to watch. Files that are there already make no event.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            events: events(&[path], BUFFER)?,
        })
    }

    /// Waits for the next change. All that has happened by then makes one.
    pub(super) async fn next(&mut self) -> Change {
        let mut gathered = Gathered::default();
        loop {
            let first = self.events.next().await;
            self.gather(first, &mut gathered);
            self.gather_queued(&mut gathered);
            if !gathered.files.is_empty() && !gathered.written {
                tokio::time::sleep(VANISHED).await;
                self.gather_queued(&mut gathered);
            }
            if gathered.lost {
                return Change::Lost;
            } else if gathered.everything {
                return Change::Everything;
            } else if !gathered.files.is_empty() {
                return Change::Files(gathered.files);
            }
        }
    }

    fn gather_queued(&mut self, gathered: &mut Gathered) {
        while let Some(event) = self.events.next().now_or_never() {
            self.gather(event, gathered);
            if gathered.lost {
                return;
            }
        }
    }

    fn gather(&self, event: Option<io::Result<EventOwned>>, gathered: &mut Gathered) {
        let Some(Ok(event)) = event else {
            gathered.lost = true;
            return;
        };
        let gone =
            EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::UNMOUNT | EventMask::IGNORED;
        if event.mask.intersects(gone) {
            gathered.lost = true;
        } else if event.mask.contains(EventMask::Q_OVERFLOW) {
            gathered.everything = true;
        } else if event.name.as_deref() == Some(OsStr::new(CONFIG_MAP_LINK)) {
            gathered.everything |= !event
                .mask
                .intersects(EventMask::DELETE | EventMask::MOVED_FROM);
        } else if let Some(name) = event.name.as_deref().and_then(manifest_name) {
            let vanished = event
                .mask
                .intersects(EventMask::DELETE | EventMask::MOVED_FROM);
            let created = event.mask.contains(EventMask::CREATE);
            if !created || self.is_complete_at_once(&name) {
                gathered.files.insert(name);
                gathered.written |= !vanished;
            }
        }
    }

    /// A new file is empty until it is written and closed, which is another event; but a new link
    /// leads to something that is there.
    fn is_complete_at_once(&self, name: &str) -> bool {
        let metadata = self.path.join(name).symlink_metadata();
        metadata.is_ok_and(|m| m.is_symlink() || (m.is_file() && m.nlink() > 1))
    }
}

/// The manifests that are in the directory.
pub(super) fn list(dir: &Path) -> io::Result<BTreeSet<FileName>> {
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(dir)? {
        files.extend(manifest_name(&entry?.file_name()));
    }
    Ok(files)
}

/// The name, if it is one of a manifest.
fn manifest_name(name: &OsStr) -> Option<FileName> {
    let name = name.to_str()?;
    let suffix = Path::new(name).extension()?;
    let fits = !name.starts_with('.') && (suffix == "yaml" || suffix == "yml" || suffix == "json");
    fits.then(|| name.into())
}
