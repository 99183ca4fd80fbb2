// SPDX-License-Identifier: Apache-2.0
//! Which file defines which object.

use std::collections::HashMap;

use super::{Entry, FileName, Round, Store};
use crate::watch::manifests::object::Key;

impl Store {
    /// From now on a file defines these objects, and no others.
    pub(super) fn define(
        &mut self,
        name: &FileName,
        first: &HashMap<&Key, u64>,
        round: &mut Round,
    ) {
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

    pub(super) fn owns(&self, name: &FileName, key: &Key) -> bool {
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
}
