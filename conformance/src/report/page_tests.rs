// SPDX-License-Identifier: Apache-2.0
use super::super::results::Run;
use super::*;

fn results(proxy: &str, specs: &[(&str, Outcome)]) -> Results {
    let run = Run {
        focus: "quick".to_owned(),
        date: "2026-01-02".to_owned(),
        version: format!("{proxy} 1.2"),
        kernel: "6.18.1".to_owned(),
        nodes: 3,
        procs: 4,
        seconds: 61,
    };
    let spec = |(name, result): &(&str, Outcome)| Spec {
        name: (*name).to_owned(),
        result: *result,
        seconds: 7,
        reason: match result {
            Outcome::Passed => String::new(),
            _ => "no `answer`".to_owned(),
        },
    };
    Results {
        proxy: proxy.to_owned(),
        mode: "nftables".to_owned(),
        kubernetes: "v1.36.3".to_owned(),
        runs: vec![run],
        specs: specs.iter().map(spec).collect(),
    }
}

use Outcome::{Failed, Passed, Skipped};

const SERVES: &str = "[sig-network] Services should serve [Conformance]";

#[test]
fn each_spec_has_a_line_with_both_results() {
    let judge = results("kube-proxy", &[(SERVES, Passed)]);
    let ferrule = results("ferrule", &[(SERVES, Failed)]);
    let page = page(Some(&judge), Some(&ferrule), &[]);
    let line = r"| Services should serve \[Conformance\] | passed | **failed** | 7 | 7 |";
    assert!(page.text.lines().any(|l| l == line), "{}", page.text);
    assert!(
        page.text.contains("| Services | 1 of 1 | 0 of 1 |"),
        "{}",
        page.text
    );
    assert!(
        page.text.contains("## Failed with ferrule only"),
        "{}",
        page.text
    );
    assert!(page.text.contains("`no 'answer'`"), "{}", page.text);
    assert!(
        page.text
            .contains("| kube-proxy 1.2 | nftables | v1.36.3 | quick |"),
        "{}",
        page.text
    );
    assert!(page.unexplained.is_empty());
}

#[test]
fn a_spec_that_did_not_run_with_one_is_said_to() {
    let judge = results("kube-proxy", &[(SERVES, Passed)]);
    let alone = page(Some(&judge), None, &[]);
    assert!(
        alone
            .text
            .contains(r"\[Conformance\] | passed | not run | 7 |  |"),
        "{}",
        alone.text
    );
    assert!(
        alone.text.contains("| Services | 1 of 1 | not run |"),
        "{}",
        alone.text
    );
    assert!(page(None, None, &[]).text.contains("## Every spec"));
}

#[test]
fn failed_with_both_needs_a_reason_and_is_not_counted() {
    let judge = results("kube-proxy", &[("A", Failed), (SERVES, Passed)]);
    let ferrule = results("ferrule", &[("A", Failed), (SERVES, Passed)]);
    let unknown = page(Some(&judge), Some(&ferrule), &[]);
    assert_eq!(unknown.unexplained, ["A"]);
    let known = [Known {
        spec: "A".to_owned(),
        reason: "no cloud".to_owned(),
    }];
    let page = page(Some(&judge), Some(&ferrule), &known);
    assert!(page.unexplained.is_empty());
    assert!(page.text.contains("- A: no cloud"), "{}", page.text);
    assert!(
        page.text.contains("| **all** | 1 of 1 | 1 of 1 |"),
        "{}",
        page.text
    );
    assert!(!page.text.contains("| A |"), "{}", page.text);
}

#[test]
fn a_known_reason_does_not_excuse_ferrule_alone() {
    let judge = results("kube-proxy", &[("A", Passed)]);
    let ferrule = results("ferrule", &[("A", Failed)]);
    let known = [Known {
        spec: "A".to_owned(),
        reason: "no cloud".to_owned(),
    }];
    let page = page(Some(&judge), Some(&ferrule), &known);
    assert!(
        page.text.contains("| A | passed | **failed** |"),
        "{}",
        page.text
    );
}

#[test]
fn skipped_with_both_is_listed_apart() {
    let judge = results("kube-proxy", &[("A", Skipped), ("B", Skipped)]);
    let ferrule = results("ferrule", &[("A", Skipped), ("B", Passed)]);
    let page = page(Some(&judge), Some(&ferrule), &[]);
    assert!(page.text.contains("- A: `no 'answer'`"), "{}", page.text);
    assert!(
        page.text.contains("| B | skipped | passed |"),
        "{}",
        page.text
    );
}

#[test]
fn suites_end_at_the_first_small_word() {
    let suite = |name| {
        Pair {
            name,
            judge: None,
            ferrule: None,
        }
        .suite()
    };
    assert_eq!(suite(SERVES), "Services");
    assert_eq!(
        suite("[sig-network] [Feature:IPv6DualStack] Granular Checks: Services should"),
        "[Feature:IPv6DualStack] Granular Checks: Services"
    );
}

#[test]
fn the_page_in_the_tree_is_generated_from_the_results() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = generate(&root).unwrap();
    let text = std::fs::read_to_string(root.join("docs/conformance.md")).unwrap();
    assert_eq!(
        text, page.text,
        "docs/conformance.md was edited, or not generated anew"
    );
    assert_eq!(page.unexplained, Vec::<String>::new());
}
