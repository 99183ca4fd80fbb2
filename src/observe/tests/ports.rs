// SPDX-License-Identifier: Apache-2.0

use super::*;

#[tokio::test]
async fn healthz_and_livez_follow_updates_and_node() {
    let (clock, address) = (Clock::default(), free("127.0.0.1"));
    let status = clock.status();
    let _served = start(
        Listen {
            healthz: Some(address),
            ..nowhere()
        },
        &status,
    );

    let answer = get(address, "/healthz").await;
    assert_eq!(answer.code, 503, "no Node is known yet");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(
        answer.body,
        "{\"lastUpdated\":\"0001-01-01T00:00:00Z\",\"currentTime\":\"2026-01-01T00:00:00Z\",\
         \"nodeEligible\":false,\"healthy\":true}"
    );
    assert_eq!(get(address, "/livez").await.code, 200);

    status.node(Some(false));
    IpFamily::ALL
        .iter()
        .for_each(|family| status.applied(*family));
    clock.set(100);
    status.queued(IpFamily::V6);
    clock.set(159);
    status.queued(IpFamily::V6);
    let answer = get(address, "/healthz").await;
    assert_eq!(answer.code, 200, "59 s are not too long");
    assert_eq!(
        answer.body,
        "{\"lastUpdated\":\"2026-01-01T00:02:39Z\",\"currentTime\":\"2026-01-01T00:02:39Z\",\
         \"nodeEligible\":true,\"healthy\":true,\
         \"status\":{\"IPv4\":{\"lastUpdated\":\"2026-01-01T00:00:00Z\",\"healthy\":true},\
         \"IPv6\":{\"lastUpdated\":\"2026-01-01T00:00:00Z\",\"healthy\":true}}}"
    );

    clock.set(160);
    for path in ["/healthz", "/livez"] {
        let answer = get(address, path).await;
        assert_eq!(answer.code, 503, "{path} after 60 s");
        assert_eq!(answer.json()["lastUpdated"], "2026-01-01T00:00:00Z");
        assert_eq!(answer.json()["healthy"], false);
        assert_eq!(answer.json()["status"]["IPv4"]["healthy"], true);
        assert_eq!(answer.json()["status"]["IPv6"]["healthy"], false);
    }
    status.applied(IpFamily::V6);
    assert_eq!(get(address, "/healthz").await.code, 200);

    for leaving in [Some(true), None] {
        status.node(leaving);
        assert_eq!(get(address, "/healthz").await.code, 503, "{leaving:?}");
        let answer = get(address, "/livez").await;
        assert_eq!(answer.code, 200, "{leaving:?}");
        assert_eq!(answer.json().get("nodeEligible"), None);
    }
    assert_eq!(get(address, "/").await.code, 404);
}

#[test]
fn a_family_that_is_never_applied_is_unhealthy() {
    let clock = Clock::default();
    let status = clock.status();
    status.failed(IpFamily::V4, "no such feature");
    assert!(status.healthy());
    clock.set(60);
    assert!(!status.healthy());
    let report = serde_json::to_value(status.livez()).unwrap();
    assert_eq!(
        report["status"]["IPv4"]["lastUpdated"],
        "0001-01-01T00:00:00Z"
    );
}

#[tokio::test]
async fn metrics_port_answers_as_kube_proxys() {
    let (clock, address) = (Clock::default(), free("127.0.0.1"));
    let status = clock.status();
    let _served = start(
        Listen {
            metrics: Some(address),
            ..nowhere()
        },
        &status,
    );
    assert_eq!(get(address, "/healthz").await.body, "ok");
    let answer = get(address, "/proxyMode").await;
    assert_eq!((answer.code, answer.body.as_str()), (200, "nftables"));
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");

    status.queued(IpFamily::V4);
    clock.set(1);
    status.applied(IpFamily::V4);
    status
        .meters()
        .synced(IpFamily::V4, Duration::from_millis(3), true);
    status.failed(IpFamily::V6, "reason");
    let _ = status.healthz();
    let answer = get(address, "/metrics").await;
    // By version 0.0.4, what Prometheus and kube-proxy agree on.
    assert!(
        answer
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    let text = answer.body;
    for line in [
        "# TYPE kubeproxy_sync_proxy_rules_duration_seconds histogram",
        "kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family=\"IPv4\",le=\"0.002\"} 0",
        "kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family=\"IPv4\",le=\"0.004\"} 1",
        "kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family=\"IPv4\",le=\"16.384\"} 1",
        "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} 1767225601",
        "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family=\"IPv4\"} 1767225600",
        "kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family=\"IPv6\"} 1",
        "kubeproxy_proxy_healthz_total{code=\"503\"} 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line}\nis not in\n{text}"
        );
    }
}

#[tokio::test]
async fn an_address_in_use_is_tried_again_or_fatal() {
    let taken = StdTcp::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let status = Clock::default().status();
    let listen = Listen {
        healthz: Some(address),
        hard_fail: true,
        ..nowhere()
    };
    let mut served = start(listen.clone(), &status);
    let error = (&mut served.task).await.unwrap().unwrap_err();
    assert_eq!(error.event_reason(), "FailedToStartProxierHealthcheck");
    let error = error.to_string();
    assert!(
        error.starts_with(&format!("--healthz-bind-address {address}: ")),
        "{error}"
    );
    let metrics = Listen {
        healthz: None,
        metrics: Some(address),
        ..listen.clone()
    };
    let error = (&mut start(metrics, &status).task)
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.event_reason(), "FailedToStartMetricServer");

    tokio::time::pause();
    let _served = start(
        Listen {
            hard_fail: false,
            ..listen
        },
        &status,
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(taken);
    tokio::time::sleep(Duration::from_secs(5)).await;
    tokio::time::resume();
    assert_eq!(get(address, "/livez").await.code, 200);
}

#[tokio::test]
async fn an_unspecified_address_serves_both_families() {
    if StdTcp::bind("[::1]:0").is_err() {
        assert!(
            std::env::var_os("REQUIRE_ROOT").is_none(),
            "no IPv6 on loopback"
        );
        println!("SKIP: no IPv6 on loopback");
        return;
    }
    let port = free("127.0.0.1").port();
    let status = Clock::default().status();
    let listen = Listen {
        healthz: Some(([0, 0, 0, 0], port).into()),
        ..nowhere()
    };
    let _served = start(listen, &status);
    for ip in ["127.0.0.1", "::1"] {
        let address = SocketAddr::new(ip.parse().unwrap(), port);
        assert_eq!(get(address, "/livez").await.code, 200, "{ip}");
    }
}
