// SPDX-License-Identifier: Apache-2.0
use super::*;

const RUN: &str = "proxy=ferrule\nmode=nftables\nversion=ferrule 0.1.0\nkubernetes=v1.36.3\n\
                   kernel=6.18.1\nnodes=6\nprocs=4\nfocus=quick\ndate=2026-01-02\nseconds=61\n";
const CASE: &str = r#"<testsuites><testsuite>
    <testcase name="[It] B" status="passed" time="1"/>
    <testcase name="[It] A" status="passed" time="2"/></testsuite></testsuites>"#;

fn directory(run: &str, xml: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("run.txt"), run).unwrap();
    fs::write(dir.path().join("junit_01.xml"), xml).unwrap();
    fs::write(dir.path().join("log"), "not looked at").unwrap();
    dir
}

fn spec(name: &str, result: Outcome) -> Spec {
    Spec {
        name: name.to_owned(),
        result,
        seconds: 1,
        reason: String::new(),
    }
}

#[test]
fn a_run_is_read_and_sorted() {
    let dir = directory(RUN, CASE);
    let results = Results::of_run(dir.path()).unwrap();
    assert_eq!(
        (results.proxy.as_str(), results.kubernetes.as_str()),
        ("ferrule", "v1.36.3")
    );
    assert_eq!((results.runs[0].nodes, results.runs[0].seconds), (6, 61));
    let names: Vec<&str> = results.specs.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["A", "B"]);
}

#[test]
fn what_is_missing_of_a_run_is_named() {
    for line in RUN.lines() {
        let key = line.split('=').next().unwrap();
        let dir = directory(&RUN.replace(line, ""), CASE);
        let error = Results::of_run(dir.path()).unwrap_err();
        assert!(
            format!("{error:#}").contains(&format!("no line {key}=")),
            "{error:#}"
        );
    }
    let dir = directory(RUN, "<testsuites/>");
    let error = Results::of_run(dir.path()).unwrap_err();
    assert!(format!("{error:#}").contains("no spec ran"), "{error:#}");
    assert!(Results::of_run(Path::new("nowhere")).is_err());
}

#[test]
fn written_results_read_the_same() {
    let dir = directory(RUN, CASE);
    let results = Results::of_run(dir.path()).unwrap();
    let file = dir.path().join("ferrule.json");
    results.write(&file).unwrap();
    assert_eq!(Results::read(&file).unwrap(), results);
}

#[test]
fn newer_results_replace_those_of_the_same_name() {
    let mut all = Results::of_run(directory(RUN, CASE).path()).unwrap();
    let mut newer = all.clone();
    newer.specs = vec![spec("B", Outcome::Failed), spec("C", Outcome::Passed)];
    newer.runs[0].focus = "lb".to_owned();
    all.merge(newer);
    let results: Vec<(&str, Outcome)> = all
        .specs
        .iter()
        .map(|s| (s.name.as_str(), s.result))
        .collect();
    assert_eq!(
        results,
        [
            ("A", Outcome::Passed),
            ("B", Outcome::Failed),
            ("C", Outcome::Passed)
        ]
    );
    let runs: Vec<&str> = all.runs.iter().map(|r| r.focus.as_str()).collect();
    assert_eq!(runs, ["lb", "quick"]);
}

#[test]
fn another_mode_or_kubernetes_starts_anew() {
    let old = Results::of_run(directory(RUN, CASE).path()).unwrap();
    for (from, to) in [("mode=nftables", "mode=ipvs"), ("v1.36.3", "v1.37.0")] {
        let only_c = CASE.replace("[It] A", "[It] C");
        let newer = Results::of_run(directory(&RUN.replace(from, to), &only_c).path()).unwrap();
        let mut all = old.clone();
        all.merge(newer.clone());
        assert_eq!(all, newer);
    }
}
