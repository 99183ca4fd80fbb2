// SPDX-License-Identifier: Apache-2.0
//! The image: the Containerfile, and daemonset/image.sh, which needs no container builder.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::files::{path, text};

#[test]
fn the_last_stage_is_empty_but_for_the_program() {
    let file = text("daemonset/Containerfile");
    let stages: Vec<&str> = file.lines().filter(|l| l.starts_with("FROM ")).collect();
    assert_eq!(stages.len(), 2);
    assert_eq!(stages[1], "FROM scratch");
    let last = file.rsplit("FROM scratch").next().unwrap();
    let copies: Vec<&str> = last.lines().filter(|l| l.starts_with("COPY")).collect();
    assert_eq!(copies, ["COPY --from=build /image/ /"]);
    assert!(last.contains(r#"ENTRYPOINT ["/usr/local/bin/ferrule"]"#));
    assert!(file.contains("-C target-feature=+crt-static"));
    assert!(file.contains("ln -s ferrule /image/usr/local/bin/kube-proxy"));
    // Else gigabytes are sent to the builder.
    assert!(text(".dockerignore").lines().any(|line| line == "target"));
}

fn pack(binary: &Path, name: &str, archive: &Path) -> Output {
    Command::new(path("daemonset/image.sh"))
        .args([name.as_ref(), archive.as_os_str()])
        .env("BINARY", binary)
        .output()
        .unwrap()
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A static program for the archive: an ELF header of this machine without an interpreter.
fn static_program(file: &Path) {
    let mut bytes = fs::read(env::current_exe().unwrap()).unwrap();
    bytes.truncate(64);
    // e_phoff, e_shoff, e_phnum, e_shnum: no segments and no sections.
    bytes[32..48].fill(0);
    bytes[56..58].fill(0);
    bytes[60..64].fill(0);
    fs::write(file, bytes).unwrap();
}

#[test]
fn an_archive_holds_the_program_by_both_names() {
    let directory = tempfile::tempdir().unwrap();
    let (binary, archive) = (directory.path().join("p"), directory.path().join("a.tar"));
    static_program(&binary);
    let output = pack(&binary, "ferrule:1", &archive);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let archive = archive.to_str().unwrap();
    assert_eq!(
        run("tar", &["-tf", archive]),
        "config.json\nlayer.tar\nmanifest.json\n"
    );
    let into = directory.path().to_str().unwrap();
    run("tar", &["-xf", archive, "-C", into]);
    let manifest = fs::read_to_string(directory.path().join("manifest.json")).unwrap();
    assert!(manifest.contains(r#""RepoTags":["docker.io/library/ferrule:1"]"#));
    let layer = directory.path().join("layer.tar");
    let files = run("tar", &["-tvf", layer.to_str().unwrap()]);
    assert!(files.contains("usr/local/bin/ferrule\n"), "{files}");
    assert!(
        files.contains("usr/local/bin/kube-proxy -> ferrule\n"),
        "{files}"
    );
    let programs = files.lines().filter(|l| !l.starts_with('d')).count();
    assert_eq!(programs, 2, "{files}");
}

#[test]
fn what_is_not_static_or_has_no_tag_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("a.tar");
    // Tests are linked to the C library.
    let dynamic = pack(&env::current_exe().unwrap(), "ferrule:1", &archive);
    assert!(!dynamic.status.success());
    assert!(String::from_utf8_lossy(&dynamic.stderr).contains("is not static"));
    let untagged = pack(&env::current_exe().unwrap(), "registry/ferrule", &archive);
    assert!(!untagged.status.success());
    assert!(String::from_utf8_lossy(&untagged.stderr).contains("no tag in registry/ferrule"));
    assert!(!archive.exists());
}
