// SPDX-License-Identifier: Apache-2.0
//! What the sources and the lock file must not have.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// The lint `unsafe_code` denies it, unless a file allows it: then it has to say why here.
#[test]
fn there_is_no_unsafe_code_and_nobody_allows_it() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("\nunsafe_code = \"deny\"\n"));
    for member in ["netlink-ipvs", "conformance"] {
        let manifest = fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
        let lints = manifest.split_once("[lints]\n").expect(member).1;
        assert!(lints.starts_with("workspace = true"), "{member}");
    }
    let mut files = Vec::new();
    for folder in [
        "src",
        "netlink-ipvs/src",
        "conformance/src",
        "benches",
        "fuzz/fuzz_targets",
    ] {
        sources(&root().join(folder), &mut files);
    }
    assert!(files.len() > 300, "found only {}", files.len());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for word in [
            concat!("unsafe", "_code"),
            concat!("unsafe", " {"),
            concat!("unsafe", " fn"),
        ] {
            assert!(!text.contains(word), "{}: {word}", file.display());
        }
    }
}

#[test]
fn dependencies_are_checked_for_licences_bans_sources_and_advisories() {
    let deny = fs::read_to_string(root().join("deny.toml")).unwrap();
    for words in [
        "[licenses]",
        "multiple-versions = \"warn\"",
        "wildcards = \"deny\"",
        "unknown-registry = \"deny\"",
        "unknown-git = \"deny\"",
        "yanked = \"deny\"",
    ] {
        assert!(deny.contains(words), "{words}");
    }
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let registry = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let mut lines = lock.lines().filter(|line| line.starts_with("source = "));
    assert_eq!(lines.find(|line| *line != registry), None);
}
