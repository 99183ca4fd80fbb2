// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use super::super::results::{Churn, Fill, Start};
use super::super::usage::Memory;
use super::*;

fn measured(proxy: &str, factor: f64, child_kb: u64) -> Measured {
    let start = |seconds| Start {
        seconds: seconds * factor,
        cpu_seconds: 0.5 * factor,
    };
    let millis = vec![2.0 * factor, 4.0 * factor];
    Measured {
        proxy: proxy.to_owned(),
        version: "1.2".to_owned(),
        load: 0.5,
        starts: vec![start(9.0), start(1.0), start(2.0)],
        changes: vec![Changes::new(
            Kind::Replaced.name(),
            millis.clone(),
            vec![5.0],
            Duration::from_millis(6),
        )],
        churn: Some(Churn::new(millis, 10.0, 0.04 * factor)),
        memory: Memory {
            process_kb: 20 << 10,
            child_kb,
            together_kb: 30 << 10,
        },
    }
}

fn run(proxies: Vec<Measured>) -> Run {
    Run {
        services: 200,
        endpoints: 3,
        date: "2026-01-02".to_owned(),
        kernel: "6.18".to_owned(),
        cores: 2,
        load: 0.25,
        fill: Fill {
            objects: 400,
            seconds: 0.4,
            per_second: 1_000.0,
        },
        proxies,
    }
}

#[test]
fn both_are_side_by_side_with_their_ratio() {
    let run = run(vec![
        measured("ferrule", 1.0, 0),
        measured("kube-proxy", 12.0, 40 << 10),
    ]);
    let page = page(&Results { runs: vec![run] });
    for line in [
        "## 200 Services, 3 endpoints each",
        "| start until every Service answers | 24 s | 2.0 s | 12x |",
        "| endpoints replaced: p50 | 24 ms | 2.0 ms | 12x |",
        "| endpoints replaced: p99 | 48 ms | 4.0 ms | 12x |",
        "| endpoints replaced: measured | 2 | 2 |  |",
        "| endpoints replaced: the write itself, p50 | 5.0 ms | 5.0 ms | 1.0x |",
        "| endpoints replaced: processor time of one | 3.0 ms | 3.0 ms | 1.0x |",
        "| amid other changes: processors in use | 0.48 | 0.040 | 12x |",
        "| peak memory of a program that it runs | 40 MiB | - |  |",
    ] {
        assert!(page.contains(&format!("\n{line}\n")), "{line}\n{page}");
    }
    assert!(
        !page.contains(&format!("| {}: ", Kind::Added.name())),
        "nothing measured, no line\n{page}"
    );
}

#[test]
fn the_terminal_gets_the_same_lines() {
    let run = run(vec![measured("ferrule", 1.0, 0)]);
    let table = table(&run);
    assert_eq!(table.matches("every Service answers").count(), 1, "{table}");
    assert!(table.contains("ferrule 1.2 at load 0.5"), "{table}");
}

#[test]
fn the_page_in_the_tree_is_that_of_the_results() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let results: Results = read(&root.join("results/scale.json")).unwrap();
    let written = std::fs::read_to_string(root.join("../docs/scale.md")).unwrap();
    assert!(
        page(&results) == written,
        "docs/scale.md is not that of conformance/results/scale.json: run `ferrule-scale page`"
    );
}
