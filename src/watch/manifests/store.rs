// SPDX-License-Identifier: Apache-2.0
//! What all files together say: who defines which object, and what has been announced.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::load::{Content, Loaded, load};
use super::object::{Audience, Converted, Fresh, Key, Mirrors, Reading, found, gone};
use super::parallel;
use super::parse::Failure;
use crate::model::{Event, Observed, ServiceName, SliceName};
use crate::watch::convert::mirror_name;

/// A file name, without the directory.
pub(super) type FileName = Arc<str>;

/// How many files are in memory at a time.
const TOGETHER: usize = 256;

/// Reading fewer files takes no longer than starting a thread by a margin that matters.
const WORTH_THREADS: usize = 16;

/// How many objects that are defined elsewhere are named in a report.
const MOST_NAMED: usize = 3;

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

    /// From now on a file defines these objects, and no others.
    fn define(&mut self, name: &FileName, first: &HashMap<&Key, u64>, round: &mut Round) {
        let file = self.files.entry(name.clone()).or_default();
        let old = std::mem::take(&mut file.content);
        for (key, _) in &old.objects {
            if !first.contains_key(key) && self.unclaim(name, key) {
                round.dropped.insert(key.clone());
            }
        }
        for key in first.keys() {
            self.claim(name, key, round);
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

    fn owns(&self, name: &FileName, key: &Key) -> bool {
        self.objects
            .get(key)
            .is_some_and(|entry| entry.files.first() == Some(name))
    }

    fn claim(&mut self, name: &FileName, key: &Key, round: &mut Round) {
        let Some(entry) = self.objects.get_mut(key) else {
            let entry = Entry {
                files: vec![name.clone()],
                announced: None,
                selector: false,
                slices: 0,
            };
            self.objects.insert(key.clone(), entry);
            return;
        };
        let Err(index) = entry.files.binary_search(name) else {
            return;
        };
        entry.files.insert(index, name.clone());
        let loser = match index {
            0 => entry.files.get(1),
            _ => Some(name),
        };
        if let Some(loser) = loser {
            self.files
                .entry(loser.clone())
                .or_default()
                .outdone
                .insert(key.clone());
            round.touched.insert(loser.clone());
        }
    }

    /// Whether the object counted from this file.
    fn unclaim(&mut self, name: &FileName, key: &Key) -> bool {
        if let Some(file) = self.files.get_mut(name) {
            file.outdone.remove(key);
        }
        let Some(entry) = self.objects.get_mut(key) else {
            return false;
        };
        let owned = entry.files.first() == Some(name);
        entry.files.retain(|file| file != name);
        owned
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

    fn settle_dropped(&mut self, round: &mut Round, send: &mut dyn FnMut(Event)) {
        for key in std::mem::take(&mut round.dropped) {
            match self
                .objects
                .get(&key)
                .map(|entry| entry.files.first().cloned())
            {
                None => {}
                Some(None) => self.end(&key, round, send),
                Some(Some(next)) => {
                    self.files
                        .entry(next.clone())
                        .or_default()
                        .outdone
                        .remove(&key);
                    round.touched.insert(next.clone());
                    round.wanted.entry(next).or_default().insert(key);
                }
            }
        }
    }

    fn end(&mut self, key: &Key, round: &mut Round, send: &mut dyn FnMut(Event)) {
        let Some(entry) = self.objects.remove(key) else {
            return;
        };
        if entry.selector {
            round.concerned.extend(endpoints_of(key));
        }
        if let Key::Endpoints(name) = key {
            slices_gone(name, 0..entry.slices, send);
        } else if entry.announced.is_some() {
            gone(key, self.audience).into_iter().for_each(send);
        }
    }

    /// Reads files in full for objects that only they have, and of which nothing is kept.
    fn read_wanted(&mut self, round: &mut Round, send: &mut dyn FnMut(Event)) {
        for (name, keys) in std::mem::take(&mut round.wanted) {
            let loaded = load(&self.dir.join(&*name), &Content::default(), self.reading());
            let mut fresh: HashMap<Key, Fresh> = HashMap::new();
            for object in loaded.ok().flatten().unwrap_or_default().fresh {
                if keys.contains(&object.key) {
                    fresh.entry(object.key.clone()).or_insert(object);
                }
            }
            for key in keys {
                match fresh.remove(&key) {
                    Some(object) => self.announce(object, round, send),
                    None => self.lose(&key, send),
                }
            }
        }
    }

    /// The file that has the object can't be read just now: the object is gone until it can.
    fn lose(&mut self, key: &Key, send: &mut dyn FnMut(Event)) {
        let Some(entry) = self.objects.get_mut(key) else {
            return;
        };
        entry.announced = None;
        let slices = std::mem::take(&mut entry.slices);
        if let Key::Endpoints(name) = key {
            slices_gone(name, 0..slices, send);
        } else {
            gone(key, self.audience).into_iter().for_each(send);
        }
    }

    /// Endpoints count only for a Service without selector: of another one the cluster has
    /// EndpointSlices of its own.
    fn settle_endpoints(&mut self, round: &mut Round, send: &mut dyn FnMut(Event)) {
        let concerned = std::mem::take(&mut round.concerned);
        for key in concerned
            .into_iter()
            .filter(|key| !round.endpoints.contains_key(key))
        {
            let selected = self.is_selected(&key);
            let Some(entry) = self.objects.get_mut(&key) else {
                continue;
            };
            if selected {
                let slices = std::mem::take(&mut entry.slices);
                if let Key::Endpoints(name) = &key {
                    slices_gone(name, 0..slices, send);
                }
            } else if let Some(file) = entry.files.first().cloned() {
                entry.announced = None;
                round.wanted.entry(file).or_default().insert(key);
            }
        }
        self.read_wanted(round, send);
        for (key, (hash, slices)) in std::mem::take(&mut round.endpoints) {
            let slices = if self.is_selected(&key) {
                Vec::new()
            } else {
                slices
            };
            let Key::Endpoints(name) = &key else { continue };
            let Some(entry) = self.objects.get_mut(&key) else {
                continue;
            };
            entry.announced = Some(hash);
            let before = std::mem::replace(&mut entry.slices, slices.len());
            slices_gone(name, slices.len()..before, send);
            slices
                .into_iter()
                .for_each(|(name, slice)| send(Event::Slice(name, slice)));
        }
    }

    fn is_selected(&self, endpoints: &Key) -> bool {
        let Key::Endpoints(name) = endpoints else {
            return false;
        };
        let service = ServiceName::new(name.namespace.clone(), name.name.clone());
        self.objects
            .get(&Key::Service(service))
            .is_some_and(|entry| entry.selector)
    }

    fn report(&mut self, touched: &BTreeSet<FileName>, send: &mut dyn FnMut(Event)) {
        for name in touched {
            let Some(file) = self.files.get(name) else {
                continue;
            };
            let reason = self.reason(name, file);
            let Some(file) = self.files.get_mut(name) else {
                continue;
            };
            if file.said != reason {
                file.said = reason.clone();
                send(Event::Source {
                    name: name.to_string(),
                    reason,
                });
            }
        }
    }

    fn reason(&self, name: &FileName, file: &File) -> String {
        let broken = file.broken.iter().cloned();
        let others = file.outdone.iter().take(MOST_NAMED).filter_map(|key| {
            let first = self.objects.get(key)?.files.first()?;
            (first != name).then(|| format!("{key} is defined in {first} already"))
        });
        let more = file.outdone.len().saturating_sub(MOST_NAMED);
        let more = (more > 0).then(|| format!("and so are {more} more objects"));
        let notes = file.content.notes.iter().cloned();
        broken
            .chain(notes)
            .chain(others)
            .chain(more)
            .collect::<Vec<_>>()
            .join("; ")
    }
}

impl File {
    fn is_nothing(&self) -> bool {
        self.content.objects.is_empty() && self.said.is_empty() && self.broken.is_none()
    }
}

fn notes_of(repeated: HashSet<&Key>) -> Vec<String> {
    let mut repeated: Vec<_> = repeated.into_iter().collect();
    repeated.sort_unstable();
    let note = |key: &Key| format!("{key} is defined more than once, the first counts");
    repeated.into_iter().map(note).collect()
}

fn endpoints_of(service: &Key) -> Option<Key> {
    match service {
        Key::Service(name) => Some(Key::Endpoints(SliceName::new(
            name.namespace.clone(),
            name.name.clone(),
        ))),
        _ => None,
    }
}

fn slices_gone(name: &SliceName, range: std::ops::Range<usize>, send: &mut dyn FnMut(Event)) {
    for index in range {
        send(Event::Slice(mirror_name(name, index), Observed::gone()));
    }
}
