// SPDX-License-Identifier: Apache-2.0
use super::*;

fn report(cases: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"3\">\
         <testsuite name=\"Kubernetes e2e suite\">{cases}</testsuite></testsuites>"
    )
}

fn one(case: &str) -> Option<Spec> {
    let mut all = specs(&report(case)).unwrap();
    assert!(all.len() <= 1, "{all:?}");
    all.pop()
}

#[test]
fn a_passed_spec_has_its_full_name_and_whole_seconds() {
    let spec = one(
        r#"<testcase name="[It] [sig-network] Services should serve [Conformance]"
        classname="Kubernetes e2e suite" status="passed" time="13.570462739"></testcase>"#,
    );
    let spec = spec.unwrap();
    assert_eq!(
        spec.name,
        "[sig-network] Services should serve [Conformance]"
    );
    assert_eq!((spec.result, spec.seconds), (Outcome::Passed, 14));
    assert_eq!(spec.reason, "");
}

#[test]
fn specs_that_were_not_chosen_are_left_out() {
    for skipped in [
        "<skipped message=\"skipped\"></skipped>",
        "<skipped></skipped>",
        "",
    ] {
        let case = format!(
            "<testcase name=\"[It] [sig-apps] Job should run\" status=\"skipped\" time=\"0\">\
             {skipped}</testcase>"
        );
        assert_eq!(one(&case), None, "{case}");
    }
}

#[test]
fn a_spec_that_skips_itself_says_why() {
    let spec = one(
        r#"<testcase name="[It] Topology Hints" status="skipped" time="0.2">
        <skipped message="skipped - Need at least 3 zones"></skipped></testcase>"#,
    );
    let spec = spec.unwrap();
    assert_eq!(spec.result, Outcome::Skipped);
    assert_eq!(spec.reason, "Need at least 3 zones");
}

#[test]
fn a_failure_is_one_line_without_paths() {
    let spec = one(
        r#"<testcase name="[It] Services should" status="failed" time="121.4">
        <failure type="failed">[FAILED] no answer&#xA;  In [It] at: /root/go/pkg/mod/e2e/x.go:31
        </failure></testcase>"#,
    );
    let spec = spec.unwrap();
    assert_eq!((spec.result, spec.seconds), (Outcome::Failed, 121));
    assert_eq!(spec.reason, "[FAILED] no answer In [It] at: x.go:31");
}

#[test]
fn only_absolute_paths_are_shortened() {
    for (word, short) in [
        (
            "--kubeconfig=/var/tmp/run/admin.kubeconfig",
            "--kubeconfig=admin.kubeconfig",
        ),
        ("'/usr/bin/kubectl", "'kubectl"),
        ("/healthz/", "healthz/"),
        ("https://172.30.0.2:6443", "https://172.30.0.2:6443"),
        ("172.30.0.13:32730/hostname:", "172.30.0.13:32730/hostname:"),
        ("and/or", "and/or"),
    ] {
        assert_eq!(one_line(word), short);
    }
}

#[test]
fn other_ends_are_failures() {
    for (status, tag) in [
        ("timedout", "error"),
        ("panicked", "error"),
        ("interrupted", "failure"),
    ] {
        let case = format!(
            "<testcase name=\"[It] Services\" status=\"{status}\" time=\"1\">\
             <{tag} type=\"{status}\">at last {}</{tag}></testcase>",
            "x".repeat(400)
        );
        let spec = one(&case).unwrap();
        assert_eq!(spec.result, Outcome::Failed);
        assert!(spec.reason.starts_with("at last xxx"));
        assert_eq!(spec.reason.chars().count(), REASON);
    }
}

#[test]
fn a_failure_without_words_keeps_its_kind() {
    let spec = one(r#"<testcase name="[It] Services" status="aborted" time="1"></testcase>"#);
    assert_eq!(spec.unwrap().reason, "aborted");
}

#[test]
fn steps_of_the_suite_are_no_specs() {
    let case = r#"<testcase name="[SynchronizedBeforeSuite]" status="passed" time="3"></testcase>"#;
    assert_eq!(one(case), None);
}

#[test]
fn what_is_no_report_is_an_error() {
    assert!(specs("not XML").is_err());
    for (attributes, message) in [
        ("status=\"passed\" time=\"1\"", "without name"),
        ("name=\"[It] A\" time=\"1\"", "no status"),
        ("name=\"[It] A\" status=\"passed\" time=\"soon\"", "no time"),
        (
            "name=\"[It] A\" status=\"lost\" time=\"1\"",
            "unknown status",
        ),
    ] {
        let error = specs(&report(&format!("<testcase {attributes}/>"))).unwrap_err();
        assert!(format!("{error:#}").contains(message), "{error:#}");
    }
}
