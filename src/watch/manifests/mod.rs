// SPDX-License-Identifier: Apache-2.0
//! Reads objects from a directory of manifests, and again when they change.
//!
//! Files named `*.yaml`, `*.yml` and `*.json` count, but hidden ones and those in subdirectories
//! don't. A file may be a symbolic link, as in a mounted ConfigMap, which is swapped as a whole by
//! renaming the link `..data`.

mod directory;
#[doc(hidden)]
pub mod fuzzing;
mod json;
mod load;
mod object;
mod parallel;
mod parse;
mod split;
mod store;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tracing::debug;

use self::directory::{Change, Directory};
use self::object::Audience;
use self::store::{FileName, Store};
use super::Error;
use crate::model::{Event, IngressEvent};

/// When to look again for a directory that has vanished.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads Services, EndpointSlices, Endpoints (of Services without selector), the Node `node_name`
/// and ServiceCIDRs from the files in `dir`, and follows their changes until nobody receives events
/// any more. [`Event::Synced`] comes after all files have been read once.
///
/// A file that is no valid YAML or JSON is reported with line, column and reason; what it held
/// before stays. Each report names the file without the directory.
///
/// Must be called within a tokio runtime.
///
/// # Errors
/// If the directory can't be watched or read at the start.
pub async fn run(dir: PathBuf, node_name: String, events: Sender<Event>) -> Result<(), Error> {
    read(dir, node_name, Audience::Services, events).await
}

/// Reads what the Ingress sidecar needs in the same way: Ingresses, IngressClasses, Secrets,
/// ConfigMaps, Services as upstreams, EndpointSlices, Endpoints and the Node `node_name`. Unlike those of a
/// cluster, all Secrets are told, as they stand in files anyway; [`IngressEvent::SecretsListed`]
/// comes with [`Event::Synced`].
///
/// # Errors
/// As [`run`].
pub async fn run_ingress(
    dir: PathBuf,
    node_name: String,
    events: Sender<Event>,
) -> Result<(), Error> {
    read(dir, node_name, Audience::Ingress, events).await
}

async fn read(
    dir: PathBuf,
    node_name: String,
    audience: Audience,
    events: Sender<Event>,
) -> Result<(), Error> {
    let failed = |source| Error::Directory {
        path: dir.clone(),
        source,
    };
    let mut directory = Directory::open(&dir).map_err(failed)?;
    let files = directory::list(&dir).map_err(failed)?;
    let mut reader = Reader {
        dir: dir.clone(),
        store: Some(Store::new(dir.clone(), node_name, audience)),
        events,
        said: String::new(),
    };
    reader.read(files).await;
    if audience == Audience::Ingress {
        let listed = Box::new(IngressEvent::SecretsListed);
        reader.send(Event::Ingress(listed)).await;
    }
    reader.send(Event::Synced).await;
    loop {
        let change = tokio::select! {
            change = directory.next() => change,
            () = reader.events.closed() => return Ok(()),
        };
        match change {
            Change::Files(files) => reader.read(files).await,
            Change::Everything => reader.read_all().await,
            Change::Lost => match reader.wait(&dir).await {
                Some(found) => {
                    directory = found;
                    reader.read_all().await;
                }
                None => return Ok(()),
            },
        }
    }
}

struct Reader {
    dir: PathBuf,
    /// Away while another thread reads files with it.
    store: Option<Store>,
    events: Sender<Event>,
    /// What was last said of the directory.
    said: String,
}

impl Reader {
    async fn send(&self, event: Event) {
        // Whether anyone listens is asked in `run`.
        let _ = self.events.send(event).await;
    }

    /// Reads files on a thread of its own, so that taking in the events goes on meanwhile.
    async fn read(&mut self, files: BTreeSet<FileName>) {
        let Some(mut store) = self.store.take() else {
            return;
        };
        let events = self.events.clone();
        let read = tokio::task::spawn_blocking(move || {
            store.read(&files, &mut |event| {
                let _ = events.blocking_send(event);
            });
            store
        });
        match read.await {
            Ok(store) => self.store = Some(store),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => debug!("reading was cancelled: the runtime is shutting down"),
            },
        }
    }

    /// Reads all files that are there or are known.
    async fn read_all(&mut self) {
        let mut files: BTreeSet<_> = self.store.iter().flat_map(Store::files).cloned().collect();
        match directory::list(&self.dir) {
            Ok(present) => files.extend(present),
            Err(error) => return self.say(format!("{error}; what it held stays")).await,
        }
        self.say(String::new()).await;
        self.read(files).await;
    }

    async fn say(&mut self, reason: String) {
        if self.said == reason {
            return;
        }
        self.said.clone_from(&reason);
        self.send(Event::Source {
            name: self.dir.display().to_string(),
            reason,
        })
        .await;
    }

    /// Waits until the directory is there again. None if nobody listens any more.
    async fn wait(&mut self, dir: &Path) -> Option<Directory> {
        self.say("the directory is gone; what it held stays".into())
            .await;
        loop {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.events.closed() => return None,
            }
            if let Ok(directory) = Directory::open(dir) {
                return Some(directory);
            }
        }
    }
}
