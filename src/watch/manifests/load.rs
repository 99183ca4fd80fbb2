// SPDX-License-Identifier: Apache-2.0
//! One file becomes objects; parts of it that are known are not parsed again.

use std::collections::{HashMap, HashSet};
use std::fs::File as FsFile;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::path::Path;

use super::object::{Fresh, Key};
use super::parse::{Failure, Unit, units};
use super::split::Documents;

/// What is remembered of a file: enough to tell what changed, not the objects.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// Hash of each unit, and how many of `objects` it holds.
    units: Vec<(u64, u32)>,
    /// The objects, each with its hash.
    pub(super) objects: Vec<(Key, u64)>,
    /// Objects that can't be used, with their lines.
    pub(super) notes: Vec<String>,
}

/// A file that was read.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) content: Content,
    /// The objects that had to be parsed: those of units that are not in the old content.
    pub(super) fresh: Vec<Fresh>,
}

/// The hash of a unit that is to be parsed each time, for it has something to report.
const NEVER_KNOWN: u64 = 0;

impl Content {
    fn known(&self) -> HashMap<u64, Range<usize>> {
        let mut known = HashMap::with_capacity(self.units.len());
        let mut start = 0;
        for (hash, count) in &self.units {
            let end = start + *count as usize;
            known.insert(*hash, start..end);
            start = end;
        }
        known.remove(&NEVER_KNOWN);
        known
    }

    /// The objects that count: of those that are defined twice, the first. Then the others.
    pub(super) fn first_and_repeated(&self) -> (HashMap<&Key, u64>, HashSet<&Key>) {
        let mut first = HashMap::with_capacity(self.objects.len());
        let mut repeated = HashSet::new();
        for (key, hash) in &self.objects {
            if first.contains_key(key) {
                repeated.insert(key);
            } else {
                first.insert(key, *hash);
            }
        }
        (first, repeated)
    }
}

/// Reads a file, if there is one.
///
/// # Errors
/// If it can't be read, or any part of it is no valid YAML or JSON: then all of it is unknown.
pub(super) fn load(path: &Path, old: &Content, own: &str) -> Result<Option<Loaded>, Failure> {
    let failed = |error: io::Error| Failure::new(error.to_string());
    let file = match open(path) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut loader = Loader {
        old,
        known: old.known(),
        own,
        loaded: Loaded::default(),
    };
    let mut text = String::new();
    if path.extension().is_some_and(|e| e == "json") {
        BufReader::new(file)
            .read_to_string(&mut text)
            .map_err(failed)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        loader.add_all(&units(text, 1, true)?)?;
    } else {
        let mut documents = Documents::new(BufReader::with_capacity(1 << 16, file));
        while let Some(line) = documents.next(&mut text).map_err(failed)? {
            loader.add_all(&units(&text, line, false)?)?;
        }
    }
    Ok(Some(loader.loaded))
}

/// Directories and other things that are no files hold no objects; opening a pipe would block.
fn open(path: &Path) -> io::Result<Option<FsFile>> {
    let opened = std::fs::metadata(path)
        .and_then(|metadata| metadata.is_file().then(|| FsFile::open(path)).transpose());
    match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened,
    }
}

struct Loader<'a> {
    old: &'a Content,
    known: HashMap<u64, Range<usize>>,
    own: &'a str,
    loaded: Loaded,
}

impl Loader<'_> {
    fn add_all(&mut self, units: &[Unit<'_>]) -> Result<(), Failure> {
        units.iter().try_for_each(|unit| self.add(unit))
    }

    fn add(&mut self, unit: &Unit<'_>) -> Result<(), Failure> {
        let content = &mut self.loaded.content;
        let hash = unit.hash();
        if let Some(range) = self.known.get(&hash) {
            content.units.push((hash, range.len() as u32));
            content
                .objects
                .extend_from_slice(&self.old.objects[range.clone()]);
            return Ok(());
        }
        let objects = unit.parse(self.own)?;
        let line = unit.line;
        let notes = objects
            .nameless
            .iter()
            .map(|kind| format!("line {line}: {kind:?} without metadata.name"));
        content.notes.extend(notes);
        let hash = if objects.nameless.is_empty() {
            hash
        } else {
            NEVER_KNOWN
        };
        content.units.push((hash, objects.fresh.len() as u32));
        content
            .objects
            .extend(objects.fresh.iter().map(|f| (f.key.clone(), f.hash)));
        self.loaded.fresh.extend(objects.fresh);
        Ok(())
    }
}
