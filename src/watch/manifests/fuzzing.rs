// SPDX-License-Identifier: Apache-2.0
//! What holds for any text of a manifest; for `fuzz/`.

use super::object::{Audience, Reading};
use super::parse;

/// Reads a text as a manifest, for the agent and for the sidecar, whole and cut into items. It
/// must become objects or a reason with a place; cut into items, there are as many objects.
///
/// # Errors
/// What does not hold.
pub fn check(text: &str) -> Result<(), String> {
    for audience in [Audience::Services, Audience::Ingress] {
        let reading = Reading {
            own: "n1",
            audience,
        };
        let [whole, items] = [false, true].map(|split| objects(text, split, reading));
        if let (Ok(whole), Ok(items)) = (whole, items)
            && whole != items
        {
            return Err(format!("{whole} objects as a whole, {items} in items"));
        }
    }
    Ok(())
}

fn objects(text: &str, split: bool, reading: Reading<'_>) -> Result<usize, parse::Failure> {
    let mut count = 0;
    for unit in parse::units(text, 1, false, split)? {
        count += unit.parse(reading)?.fresh.len();
    }
    Ok(count)
}
