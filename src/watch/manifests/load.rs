// SPDX-License-Identifier: Apache-2.0
//! One file becomes objects; parts of it that are known are not parsed again.

use std::collections::{HashMap, HashSet};
use std::fs::File as FsFile;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::path::Path;

use super::object::{Fresh, Key, Reading};
use super::parallel;
use super::parse::{Failure, Objects, Unit, units};
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

/// How many bytes of documents are held and parsed at a time.
const BATCH: usize = 1 << 20;

/// Parsing fewer bytes takes no longer than starting a thread (13 MB/s of YAML against 50 µs) by a
/// margin that matters.
const WORTH_THREADS: usize = 1 << 16;

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
pub(super) fn load(
    path: &Path,
    old: &Content,
    reading: Reading<'_>,
) -> Result<Option<Loaded>, Failure> {
    // Items of YAML lists are read one by one, if that works; else the list may still be good.
    match read(path, old, reading, true) {
        Err(_) => read(path, old, reading, false),
        done => done,
    }
}

fn read(
    path: &Path,
    old: &Content,
    reading: Reading<'_>,
    split: bool,
) -> Result<Option<Loaded>, Failure> {
    let failed = |error: io::Error| Failure::new(error.to_string());
    let Some(file) = open(path).map_err(failed)? else {
        return Ok(None);
    };
    let mut loader = Loader {
        old,
        known: old.known(),
        reading,
        loaded: Loaded::default(),
    };
    if path.extension().is_some_and(|e| e == "json") {
        let mut text = String::new();
        BufReader::new(file)
            .read_to_string(&mut text)
            .map_err(failed)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        loader.add_all(&units(text, 1, true, split)?)?;
    } else {
        let mut documents = Documents::new(BufReader::with_capacity(1 << 16, file));
        loop {
            let batch = batch(&mut documents).map_err(failed)?;
            if batch.is_empty() {
                break;
            }
            let mut all = Vec::with_capacity(batch.len());
            for (line, text) in &batch {
                all.extend(units(text, *line, false, split)?);
            }
            loader.add_all(&all)?;
        }
    }
    Ok(Some(loader.loaded))
}

/// As many documents as are worth to be parsed together.
fn batch(documents: &mut Documents<impl BufRead>) -> io::Result<Vec<(usize, String)>> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut text = String::new();
    while bytes < BATCH
        && let Some(line) = documents.next(&mut text)?
    {
        bytes += text.len();
        batch.push((line, std::mem::take(&mut text)));
    }
    Ok(batch)
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
    reading: Reading<'a>,
    loaded: Loaded,
}

/// A unit after a look at it.
enum Looked {
    Known(u64, Range<usize>),
    New(u64, Result<Objects, Failure>),
}

impl Loader<'_> {
    fn add_all(&mut self, units: &[Unit<'_>]) -> Result<(), Failure> {
        let bytes: usize = units.iter().map(|unit| unit.text.len()).sum();
        let threads = if bytes < WORTH_THREADS {
            1
        } else {
            parallel::threads()
        };
        let looked = parallel::map(units, threads, |unit| self.look(unit));
        let mut both = units.iter().zip(looked);
        both.try_for_each(|(unit, looked)| self.add(unit, looked))
    }

    fn look(&self, unit: &Unit<'_>) -> Looked {
        let hash = unit.hash();
        match self.known.get(&hash) {
            Some(range) => Looked::Known(hash, range.clone()),
            None => Looked::New(hash, unit.parse(self.reading)),
        }
    }

    fn add(&mut self, unit: &Unit<'_>, looked: Looked) -> Result<(), Failure> {
        let content = &mut self.loaded.content;
        match looked {
            Looked::Known(hash, range) => {
                content.units.push((hash, range.len() as u32));
                content.objects.extend_from_slice(&self.old.objects[range]);
            }
            Looked::New(hash, objects) => {
                let Objects { fresh, nameless } = objects?;
                let line = unit.line;
                let hash = if nameless.is_empty() {
                    hash
                } else {
                    NEVER_KNOWN
                };
                let note = |kind| format!("line {line}: {kind:?} without metadata.name");
                content.notes.extend(nameless.into_iter().map(note));
                content.units.push((hash, fresh.len() as u32));
                content
                    .objects
                    .extend(fresh.iter().map(|f| (f.key.clone(), f.hash)));
                self.loaded.fresh.extend(fresh);
            }
        }
        Ok(())
    }
}
