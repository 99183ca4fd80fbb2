// SPDX-License-Identifier: Apache-2.0
//! What the fuzz targets begin with, and what they have found: whole, and cut off. The same checks
//! as in `fuzz/`, without a fuzzer.

use std::fs;
use std::path::{Path, PathBuf};

use ferrule::{backend, config, ingress, watch};

/// How many bytes further the next cut is.
const STEP: usize = 5;

/// Inputs of a target that are kept here.
fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut found = Vec::new();
    for folder in ["seeds", "regressions"] {
        let Ok(entries) = fs::read_dir(fuzz.join(folder).join(target)) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    found
}

/// Holds a check on all of them, and on what they begin with.
fn hold(target: &str, at_least: usize, check: impl Fn(&[u8]) -> Result<(), String>) {
    let inputs = inputs(target);
    assert!(inputs.len() >= at_least, "{target}: {}", inputs.len());
    for (path, bytes) in inputs {
        // A step that meets all places of words sooner or later; the whole comes last.
        let ends = (0..bytes.len()).step_by(STEP).chain([bytes.len()]);
        for end in ends {
            if let Err(broken) = check(&bytes[..end]) {
                panic!("{} up to {end}: {broken}", path.display());
            }
        }
    }
}

fn text(bytes: &[u8], check: fn(&str) -> Result<(), String>) -> Result<(), String> {
    std::str::from_utf8(bytes).map_or(Ok(()), check)
}

#[test]
fn nothing_that_a_fuzzer_found_is_broken_again() {
    hold("netlink", 10, |bytes| {
        backend::nft::fuzzing::check(bytes);
        Ok(())
    });
    hold("wire", 9, ingress::fuzzing::check_bytes);
    hold("words", 8, |bytes| {
        text(bytes, |text| {
            ferrule::observe::fuzzing::check_query(text);
            let _ = ferrule::debug::explain::ask::Destination::parse(text, "default");
            // Lines of the state file are no command lines, and many.
            if !text.contains('{') {
                let words = ["ferrule"].into_iter().chain(text.split_whitespace());
                let _ = ferrule::cli::parse(words);
            }
            Ok(())
        })?;
        watch::cluster::fuzzing::check(bytes)
    });
    hold("ingress", 6, |bytes| {
        text(bytes, ingress::fuzzing::check_objects)
    });
    hold("config", 0, |bytes| text(bytes, config::fuzzing::check));
    hold("manifests", 0, |bytes| {
        text(bytes, watch::manifests::fuzzing::check)
    });
}
