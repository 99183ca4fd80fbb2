// SPDX-License-Identifier: Apache-2.0
//! What holds for any content of the file of the last known state; for `fuzz/`.

use super::Follow;
use super::file::{self, Header, NewestLine};
use crate::watch::wire::{EndpointSlice, Node, Service, ServiceCidr};

/// Reads lines as those of a file after its first one. Each is an object that can be taken in, or
/// counts for nothing.
///
/// # Errors
/// What does not hold.
pub(in crate::watch) fn check(lines: &[u8]) -> Result<(), String> {
    let header = Header::new("n1");
    let mut file = serde_json::to_vec(&header).map_err(|e| e.to_string())?;
    file.push(b'\n');
    file.extend_from_slice(lines);
    let newest = file::newest_of(file.as_slice(), &header).map_err(|e| e.to_string())?;
    for ((kind, _), line) in &newest.lines {
        match kind.as_str() {
            Service::REMEMBERED => take::<Service>(line),
            EndpointSlice::REMEMBERED => take::<EndpointSlice>(line),
            Node::REMEMBERED => take::<Node>(line),
            ServiceCidr::REMEMBERED => take::<ServiceCidr>(line),
            _ => {}
        }
    }
    Ok(())
}

fn take<K: Follow>(line: &NewestLine) {
    if let Some(object) = line.object::<K>()
        && let Some(name) = object.name()
    {
        object.found(name);
    }
}
