// SPDX-License-Identifier: Apache-2.0
//! Objects from the YAML and JSON files of a directory, watched for changes.
//!
//! A file counts when its writer closes it or when it is moved in, so a half-written one is never
//! read. A mounted ConfigMap is one directory of links that is exchanged as a whole (`..data`).

mod parse;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use inotify::{EventMask, EventStream, Inotify, WatchMask};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::SendError;

use self::parse::{Broken, parse};
use self::store::{Store, Update};
use crate::model::Event;

/// How long to wait before a directory that went away is looked for again.
const RETRY: Duration = Duration::from_secs(1);

/// Why the directory can't be watched.
#[derive(Debug, thiserror::Error)]
#[error("--manifests {}: {source}", .path.display())]
pub struct Error {
    /// The directory.
    pub path: PathBuf,
    /// What is wrong.
    pub source: io::Error,
}

/// A directory that is watched from now on.
pub struct Manifests {
    path: PathBuf,
    changes: Changes,
    store: Store,
}

type Changes = EventStream<Vec<u8>>;

impl Manifests {
    /// Begins to watch. Nothing is read yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If it is no readable directory.
    pub fn open(path: &Path, node_name: &str) -> Result<Self, Error> {
        let changes = watch(path).map_err(|source| Error {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            changes,
            store: Store::new(node_name.into()),
        })
    }

    /// Sends what is there, then [`Event::Synced`], then what changes, until nobody listens.
    pub async fn run(mut self, events: Sender<Event>) {
        // Fails only when nobody listens any more.
        let _ = self.follow(&events).await;
    }

    async fn follow(&mut self, events: &Sender<Event>) -> Result<(), SendError<Event>> {
        self.read(self.listed(), events).await?;
        events.send(Event::Synced).await?;
        loop {
            match self.next().await {
                Changed::Files(files) => self.read(files, events).await?,
                Changed::Anything => {
                    let known = self.store.files().cloned();
                    self.read(known.chain(self.listed()).collect(), events)
                        .await?;
                }
                Changed::DirectoryGone => self.reopen(events).await?,
            }
        }
    }

    /// The manifest files that are there.
    fn listed(&self) -> BTreeSet<Arc<str>> {
        let entries = std::fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .flatten();
        entries
            .filter_map(|entry| manifest_name(&entry.file_name()))
            .collect()
    }

    /// Reads the files, and those whose version of an object counts instead from now on.
    async fn read(
        &mut self,
        files: BTreeSet<Arc<str>>,
        events: &Sender<Event>,
    ) -> Result<(), SendError<Event>> {
        let mut left = files;
        while let Some(file) = left.pop_first() {
            let update = self.read_one(&file);
            for event in update.events {
                events.send(event).await?;
            }
            left.extend(update.read_again);
        }
        Ok(())
    }

    fn read_one(&mut self, file: &Arc<str>) -> Update {
        let content = match std::fs::read_to_string(self.path.join(&**file)) {
            Ok(text) => parse(file, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.store.removed(file);
            }
            Err(error) => Err(Broken {
                line: 0,
                column: 0,
                reason: error.to_string(),
            }),
        };
        self.store.read(file, content)
    }

    /// Waits for a change, and takes with it all that have happened by then.
    async fn next(&mut self) -> Changed {
        let mut changed = Changed::Files(BTreeSet::new());
        let mut event = self.changes.next().await;
        loop {
            changed = match event {
                Some(Ok(event)) => changed.and(&self.path, event),
                // The queue can't be read: start over with a new one.
                Some(Err(_)) | None => Changed::DirectoryGone,
            };
            match self.changes.next().now_or_never() {
                Some(more) if !matches!(changed, Changed::DirectoryGone) => event = more,
                _ => return changed,
            }
        }
    }

    /// Waits until the directory is there again. What its files said stays until then.
    async fn reopen(&mut self, events: &Sender<Event>) -> Result<(), SendError<Event>> {
        let name = self.path.display().to_string();
        let source = |reason: String| Event::Source {
            name: name.clone(),
            reason,
        };
        loop {
            match watch(&self.path) {
                Ok(changes) => self.changes = changes,
                Err(error) => {
                    events.send(source(error.to_string())).await?;
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
            events.send(source(String::new())).await?;
            let known = self.store.files().cloned();
            return self
                .read(known.chain(self.listed()).collect(), events)
                .await;
        }
    }
}

/// What has changed.
enum Changed {
    /// These files.
    Files(BTreeSet<Arc<str>>),
    /// Links were exchanged, or changes were lost: any file.
    Anything,
    /// The directory was removed or replaced.
    DirectoryGone,
}

impl Changed {
    fn and(self, directory: &Path, event: inotify::Event<OsString>) -> Self {
        let gone = EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED;
        if event.mask.intersects(gone) {
            return Changed::DirectoryGone;
        }
        let name = event.name.unwrap_or_default();
        if event.mask.contains(EventMask::Q_OVERFLOW) || name == OsStr::new("..data") {
            return Changed::Anything;
        }
        // A created file is empty until it is closed; a link is complete at once.
        let created = event.mask.contains(EventMask::CREATE);
        let complete = || {
            directory
                .join(&name)
                .symlink_metadata()
                .is_ok_and(|m| !m.is_file())
        };
        match (self, manifest_name(&name)) {
            (Changed::Files(mut files), Some(name)) if !created || complete() => {
                files.insert(name);
                Changed::Files(files)
            }
            (changed, _) => changed,
        }
    }
}

/// The file's name, if it is one that is read: not hidden, and YAML or JSON.
fn manifest_name(name: &OsStr) -> Option<Arc<str>> {
    let name = name.to_str().filter(|name| !name.starts_with('.'))?;
    let extension = Path::new(name).extension()?;
    ["yaml", "yml", "json"]
        .iter()
        .any(|e| extension == *e)
        .then(|| name.into())
}

fn watch(path: &Path) -> io::Result<Changes> {
    std::fs::read_dir(path)?;
    let inotify = Inotify::init()?;
    let mask = WatchMask::CLOSE_WRITE
        | WatchMask::CREATE
        | WatchMask::MOVE
        | WatchMask::DELETE
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF;
    inotify.watches().add(path, mask)?;
    inotify.into_event_stream(vec![0; 64 * 1024])
}
