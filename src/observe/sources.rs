// SPDX-License-Identifier: Apache-2.0
//! Which sources of objects cannot be read: said in the log, once each.

use std::collections::HashMap;

use tracing::{info, warn};

/// Why each of them cannot be read.
#[derive(Debug, Default)]
pub struct Sources(HashMap<String, String>);

impl Sources {
    /// A source cannot be read for this reason; an empty one: it can be read again.
    pub fn tell(&mut self, name: &str, reason: &str) {
        if reason.is_empty() {
            if self.0.remove(name).is_some() {
                info!("{name}: readable again");
            }
        } else if self.0.insert(name.into(), reason.into()).as_deref() != Some(reason) {
            warn!("{name}: {reason}; what was known of it stays");
        }
    }
}
