// SPDX-License-Identifier: Apache-2.0
//! Whatever somebody asks the admin socket for; for `fuzz/`.

use super::admin::Selection;

/// Reads a text as what follows the question mark in a question for Services.
pub fn check_query(text: &str) {
    let selection = Selection::from_query(text);
    selection.matches(&crate::model::ServiceName::new("a", "b"));
}
