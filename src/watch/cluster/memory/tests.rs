// SPDX-License-Identifier: Apache-2.0
use std::fs;

use super::*;
use crate::model::ServiceName;
use crate::watch::wire::Service;

const TEXT: &str = r#"{
    "metadata": {"name": "web", "namespace": "shop", "creationTimestamp": "2026-01-02T03:04:05Z",
        "annotations": {"ferrule.dev/ipvs-scheduler": "lc"}},
    "spec": {"type": "NodePort", "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"],
        "ports": [{"name": "http", "protocol": "TCP", "port": 80, "nodePort": 30080}],
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}},
        "externalTrafficPolicy": "Local"}}"#;

fn service(text: &str) -> Service {
    serde_json::from_str(text).expect("a Service")
}

fn changed(names: &[&str], there: bool) -> Changed {
    let line = || -> Option<Box<dyn Line>> { there.then(|| Box::new(Kept(service(TEXT))) as _) };
    let names = names.iter();
    names
        .map(|name| (("Service", (*name).to_owned()), line()))
        .collect()
}

struct Place {
    path: PathBuf,
    log: Log,
    _directory: tempfile::TempDir,
}

fn place() -> Place {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state.jsonl");
    Place {
        log: Log::new(path.clone(), Header::new("n1")),
        path,
        _directory: directory,
    }
}

fn names(path: &std::path::Path) -> Vec<String> {
    let newest = file::newest(path, &Header::new("n1")).expect("a file");
    let there = newest.lines.iter();
    let there = there.filter(|(_, line)| line.object::<Service>().is_some());
    let mut names: Vec<String> = there.map(|((_, name), _)| name.clone()).collect();
    names.sort();
    names
}

#[test]
fn an_object_is_the_same_after_it_was_kept() {
    let mut place = place();
    place
        .log
        .write(&changed(&["shop/web"], true), true, true)
        .expect("written");
    let newest = file::newest(&place.path, &Header::new("n1")).expect("a file");
    let line = newest.lines.values().next().expect("a line");
    let kept: Service = line.object().expect("an object");
    let name = ServiceName::new("shop", "web");
    let convert = |service: &Service| crate::watch::convert::service(&name, service);
    let observed = convert(&kept);
    assert_eq!(observed.skipped, [""; 0]);
    assert_eq!(observed, convert(&service(TEXT)));
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(&place.path)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_old_file_counts_until_everything_was_listed_once() {
    let mut place = place();
    let write = |log: &mut Log, names: &[&str], there, complete| {
        log.write(&changed(names, there), complete, true)
            .expect("written");
    };
    write(&mut place.log, &["a", "b"], true, true);
    write(&mut place.log, &["a"], false, true);
    assert_eq!(names(&place.path), ["b"]);
    let mut next = Log::new(place.path.clone(), Header::new("n1"));
    write(&mut next, &["c"], true, false);
    assert_eq!(
        names(&place.path),
        ["b"],
        "of the next process, nothing is complete"
    );
    write(&mut next, &["d"], true, true);
    assert_eq!(names(&place.path), ["c", "d"]);
}

#[test]
fn a_torn_line_costs_only_itself_and_another_node_all() {
    let mut place = place();
    place
        .log
        .write(&changed(&["a", "b"], true), true, true)
        .expect("written");
    let mut text = fs::read_to_string(&place.path).expect("a file");
    text.truncate(text.len() - 20);
    fs::write(&place.path, &text).expect("written");
    assert_eq!(names(&place.path).len(), 1);
    let newest = file::newest(&place.path, &Header::new("n1")).expect("a file");
    assert_eq!(newest.unreadable, 1);
    assert!(file::newest(&place.path, &Header::new("n2")).is_err());
}

#[test]
fn a_file_that_grows_is_written_anew() {
    let mut place = place();
    let names_of = |range: std::ops::Range<u32>| -> Vec<String> {
        range.map(|n| format!("shop/s{n}")).collect()
    };
    let all = names_of(0..100);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut most = 0;
    for _ in 0..400 {
        place
            .log
            .write(&changed(&all, true), true, true)
            .expect("written");
        most = most.max(fs::metadata(&place.path).expect("a file").len());
    }
    // Each round writes some 40 KB, so that without it there would be 16 MB.
    assert!(most < 6 << 20, "{most} bytes");
    assert_eq!(names(&place.path).len(), 100);
}
