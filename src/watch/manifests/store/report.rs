// SPDX-License-Identifier: Apache-2.0
//! What is said of files: what of them can't be used, and what counts from elsewhere.

use std::collections::{BTreeSet, HashSet};

use super::{File, FileName, Store};
use crate::model::Event;
use crate::watch::manifests::object::Key;

/// How many objects that are defined elsewhere are named in a report.
const MOST_NAMED: usize = 3;

impl Store {
    pub(super) fn report(&mut self, touched: &BTreeSet<FileName>, send: &mut dyn FnMut(Event)) {
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

/// Objects that a file defines more than once.
pub(super) fn notes_of(repeated: HashSet<&Key>) -> Vec<String> {
    let mut repeated: Vec<_> = repeated.into_iter().collect();
    repeated.sort_unstable();
    let note = |key: &Key| format!("{key} is defined more than once, the first counts");
    repeated.into_iter().map(note).collect()
}
