// SPDX-License-Identifier: Apache-2.0
//! What counts, and what is put.

use super::pages::{by, everything, metrics_port};
use super::*;

#[tokio::test]
async fn slis_count_the_answers_of_healthz() {
    let (address, _served, _) = metrics_port(everything());
    let answer = get(address, "/metrics/slis").await;
    let started: i64 = answer.header("process-start-time-unix").parse().unwrap();
    let now = jiff::Timestamp::now().as_second();
    assert!((now - 60..=now).contains(&started), "{started}");
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    );
    let names = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
            .collect()
    };
    assert_eq!(names(&answer.body), ["process_start_time_seconds"]);

    for path in [
        "/healthz",
        "/healthz?verbose",
        "/healthz?exclude=ping",
        "/healthz/ping",
    ] {
        get(address, path).await;
    }
    by("HEAD", address, "/healthz").await;
    let body = get(address, "/metrics/slis").await.body;
    let (lines, last) = body.trim_end().rsplit_once(' ').unwrap();
    assert_eq!(
        lines,
        "# HELP kubernetes_healthcheck [STABLE] This metric records the result of a single \
         healthcheck.\n\
         # TYPE kubernetes_healthcheck gauge\n\
         kubernetes_healthcheck{name=\"ping\",type=\"healthz\"} 1\n\
         # HELP kubernetes_healthchecks_total [STABLE] This metric records the results of all \
         healthcheck.\n\
         # TYPE kubernetes_healthchecks_total counter\n\
         kubernetes_healthchecks_total{name=\"ping\",status=\"success\",type=\"healthz\"} 3\n\
         # HELP process_start_time_seconds [ALPHA] Start time of the process since unix epoch in \
         seconds.\n\
         # TYPE process_start_time_seconds gauge\n\
         process_start_time_seconds"
    );
    assert_eq!(last.parse::<f64>().unwrap().trunc(), started as f64);

    let answer = by("DELETE", address, "/metrics/slis").await;
    assert_eq!(
        (answer.code, answer.body.as_str()),
        (200, "metrics reset\n")
    );
    assert_eq!(get(address, "/metrics/slis").await.body, "", "as upstream");
    get(address, "/healthz").await;
    let body = get(address, "/metrics/slis").await.body;
    assert!(body.ends_with("type=\"healthz\"} 1\n"), "{body}");
    let answer = get(address, "/metrics").await;
    assert_eq!(
        answer.header("process-start-time-unix"),
        started.to_string()
    );
}

#[tokio::test]
async fn the_log_level_is_put() {
    let (address, _served, _) = metrics_port(everything());
    let put = async |body: &str| {
        let answer = send(connect(address).await, Request::put("/debug/flags/v"), body).await;
        assert_eq!(answer.header("content-type"), "text/plain");
        (answer.code, answer.body.trim_end_matches('\n').to_owned())
    };
    let parsing = "strconv.ParseUint: parsing";
    for (body, error) in [
        ("-1", format!("{parsing} \"-1\": invalid syntax")),
        ("x", format!("{parsing} \"x\": invalid syntax")),
        ("4\n", format!("{parsing} \"4\\n\": invalid syntax")),
        ("", format!("{parsing} \"\": invalid syntax")),
        ("+4", format!("{parsing} \"+4\": invalid syntax")),
        ("0x4", format!("{parsing} \"0x4\": invalid syntax")),
        (
            "99999999999",
            format!("{parsing} \"99999999999\": value out of range"),
        ),
        (
            "2147483648",
            "failed set klog.logging.verbosity 2147483648: strconv.ParseInt: parsing \
             \"2147483648\": value out of range"
                .to_owned(),
        ),
    ] {
        assert_eq!(put(body).await, (400, error));
    }
    for (body, level) in [
        ("4", 4),
        ("007", 7),
        ("2147483647", 2_147_483_647),
        ("0", 0),
    ] {
        let said = format!("successfully set klog.logging.verbosity to {body}");
        assert_eq!(put(body).await, (200, said));
        assert_eq!(log::verbosity(), level);
    }
    let (code, error) = put(&"1".repeat(5000)).await;
    assert_eq!(code, 400);
    assert!(error.starts_with("error reading request body: "), "{error}");
}
