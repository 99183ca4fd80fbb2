// SPDX-License-Identifier: Apache-2.0
//! Events of directories whose files are read, by inotify.

use std::io;
use std::path::Path;

use inotify::{EventStream, Inotify, WatchMask};

/// The link that a mounted ConfigMap swaps to change all its files at once (Kubernetes:
/// `pkg/volume/util/atomic_writer.go`).
pub(crate) const CONFIG_MAP_LINK: &str = "..data";

/// Begins to watch: files that are written, come, go or are moved, and the directories themselves
/// going. `buffer` is the room for events, in bytes.
///
/// # Errors
/// If one of them is no directory that can be watched.
pub(crate) fn events(directories: &[&Path], buffer: usize) -> io::Result<EventStream<Vec<u8>>> {
    let inotify = Inotify::init()?;
    let mask = WatchMask::CLOSE_WRITE
        | WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::MOVE
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR;
    for directory in directories {
        inotify.watches().add(directory, mask)?;
    }
    inotify.into_event_stream(vec![0; buffer])
}
