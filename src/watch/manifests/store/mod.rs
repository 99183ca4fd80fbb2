// SPDX-License-Identifier: Apache-2.0
//! What all files together say: who defines which object, and what has been announced.
//!
//! | module | does |
//! |---|---|
//! | `claims` | which file defines which object |
//! | `settle` | the end of a round |
//! | `report` | what is said of files |

mod claims;
mod report;
mod settle;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use self::report::notes_of;
use self::settle::endpoints_of;
use super::load::{Content, Loaded, load};
use super::object::{Audience, Converted, Fresh, Key, Mirrors, Reading, found};
use super::parallel;
use super::parse::Failure;
use crate::model::Event;

/// A file name, without the directory.
pub(super) type FileName = Arc<str>;

/// How many files are in memory at a time.
const TOGETHER: usize = 256;

/// Reading fewer files takes no longer than starting a thread by a margin that matters.
const WORTH_THREADS: usize = 16;

/// The files of a directory and the objects in them.
///
/// An object that several files define is taken from the first of them by name; if that one drops
/// it, from the next.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    own: String,
    audience: Audience,
    files: BTreeMap<FileName, File>,
    objects: HashMap<Key, Entry>,
}

#[derive(Debug, Default)]
struct File {
    content: Content,
    /// Why its newest text is not its content.
    broken: Option<String>,
    /// Objects that count from elsewhere.
    outdone: BTreeSet<Key>,
    /// What was last said of the file.
    said: String,
}

#[derive(Debug)]
struct Entry {
    /// The files that define it, the first by name in front. Empty only within a round.
    files: Vec<FileName>,
    /// Hash of what was announced.
    announced: Option<u64>,
    /// Of a Service: has a selector.
    selector: bool,
    /// Of Endpoints: how many slices were announced.
    slices: usize,
}

/// What one round leaves to its end.
#[derive(Default)]
struct Round {
    /// Objects that a file no longer defines.
    dropped: BTreeSet<Key>,
    /// Objects that have to be read again from their file.
    wanted: BTreeMap<FileName, BTreeSet<Key>>,
    /// Endpoints, which depend on their Services.
    endpoints: HashMap<Key, (u64, Mirrors)>,
    /// Endpoints whose Service got or lost its selector.
    concerned: BTreeSet<Key>,
    /// Files of which something else may have to be said.
    touched: BTreeSet<FileName>,
}

impl Store {
    /// An empty store. `own` is the name of the own Node.
    pub(super) fn new(dir: PathBuf, own: String, audience: Audience) -> Self {
        Self {
            dir,
            own,
            audience,
            files: BTreeMap::new(),
            objects: HashMap::new(),
        }
    }

    /// The files that are known, also those that are broken.
    pub(super) fn files(&self) -> impl Iterator<Item = &FileName> {
        self.files.keys()
    }

    /// Reads these files again, in the order of their names, and announces what changed by it.
    ///
    /// What is gone is announced before what is new (unless there are more files than fit in
    /// memory together), for what is new may want the address of what is gone.
    pub(super) fn read(&mut self, files: &BTreeSet<FileName>, send: &mut dyn FnMut(Event)) {
        let mut round = Round::default();
        let names: Vec<&FileName> = files.iter().collect();
        let mut together = names.chunks(TOGETHER).peekable();
        while let Some(names) = together.next() {
            let loaded = self.load_all(names, &mut round);
            self.take(loaded, together.peek().is_none(), &mut round, send);
        }
        self.read_wanted(&mut round, send);
        self.settle_endpoints(&mut round, send);
        self.report(&round.touched, send);
        self.files.retain(|_, file| !file.is_nothing());
    }

    /// Those of the files that can be read. A broken one keeps what it held.
    fn load_all(&mut self, names: &[&FileName], round: &mut Round) -> Vec<(FileName, Loaded)> {
        let threads = if names.len() < WORTH_THREADS {
            1
        } else {
            parallel::threads()
        };
        let loaded = parallel::map(names, threads, |name| self.load(name));
        let mut good = Vec::with_capacity(names.len());
        for (&name, loaded) in names.iter().zip(loaded) {
            round.touched.insert(name.clone());
            let file = self.files.entry(name.clone()).or_default();
            file.broken = loaded.as_ref().err().map(Failure::to_string);
            good.extend(loaded.ok().map(|l| (name.clone(), l.unwrap_or_default())));
        }
        good
    }

    fn reading(&self) -> Reading<'_> {
        Reading {
            own: &self.own,
            audience: self.audience,
        }
    }

    fn load(&self, name: &FileName) -> Result<Option<Loaded>, Failure> {
        let nothing = Content::default();
        let old = self.files.get(name).map_or(&nothing, |file| &file.content);
        load(&self.dir.join(&**name), old, self.reading())
    }

    /// Replaces the contents of files. With the last of them it is known what is gone.
    fn take(
        &mut self,
        loaded: Vec<(FileName, Loaded)>,
        last: bool,
        round: &mut Round,
        send: &mut dyn FnMut(Event),
    ) {
        let split = |(name, l): (FileName, Loaded)| ((name, l.content), l.fresh);
        let (contents, fresh): (Vec<(FileName, Content)>, Vec<Vec<Fresh>>) =
            loaded.into_iter().map(split).unzip();
        let counting: Vec<_> = contents
            .iter()
            .map(|(_, content)| content.first_and_repeated())
            .collect();
        for ((name, _), (first, _)) in contents.iter().zip(&counting) {
            self.define(name, first, round);
        }
        if last {
            self.settle_dropped(round, send);
        }
        let mut notes = Vec::with_capacity(contents.len());
        for (((name, _), fresh), (first, repeated)) in contents.iter().zip(fresh).zip(counting) {
            self.announce_all(name, fresh, &first, round, send);
            notes.push(notes_of(repeated));
        }
        for ((name, content), notes) in contents.into_iter().zip(notes) {
            let file = self.files.entry(name).or_default();
            file.content = content;
            file.content.notes.extend(notes);
        }
    }

    fn announce_all(
        &mut self,
        name: &FileName,
        fresh: Vec<Fresh>,
        first: &HashMap<&Key, u64>,
        round: &mut Round,
        send: &mut dyn FnMut(Event),
    ) {
        for fresh in fresh {
            if first.get(&fresh.key) == Some(&fresh.hash) && self.owns(name, &fresh.key) {
                self.announce(fresh, round, send);
            }
        }
        // Known text may define an object that only now counts, say after a repetition went.
        for (&key, hash) in first {
            let waits = round.endpoints.contains_key(key);
            if self.owns(name, key) && !waits && self.objects[key].announced != Some(*hash) {
                let wanted = round.wanted.entry(name.clone()).or_default();
                wanted.insert(key.clone());
            }
        }
    }

    fn announce(&mut self, fresh: Fresh, round: &mut Round, send: &mut dyn FnMut(Event)) {
        let Fresh { key, hash, object } = fresh;
        let Some(entry) = self.objects.get_mut(&key) else {
            return;
        };
        if entry.announced == Some(hash) {
            return;
        }
        match object {
            Converted::Endpoints(slices) => {
                round.endpoints.insert(key, (hash, slices));
                return;
            }
            Converted::Service(_, selector) | Converted::Upstream(_, selector)
                if entry.selector != selector =>
            {
                entry.selector = selector;
                round.concerned.extend(endpoints_of(&key));
            }
            _ => {}
        }
        entry.announced = Some(hash);
        found(&key, object).into_iter().for_each(send);
    }
}

impl File {
    fn is_nothing(&self) -> bool {
        self.content.objects.is_empty() && self.said.is_empty() && self.broken.is_none()
    }
}
