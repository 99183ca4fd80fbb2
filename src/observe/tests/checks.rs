// SPDX-License-Identifier: Apache-2.0

use super::*;

#[tokio::test]
async fn health_check_ports_open_answer_and_close() {
    let (clock, address, other) = (Clock::default(), free("127.0.0.1"), free("127.0.0.1"));
    let status = clock.status();
    let _served = start(nowhere(), &status);
    let on = |services| status.health_checks(vec![address.ip(), address.ip()], services);

    on(vec![check("web", address.port(), 2)]);
    let answer = get(address, "/any/path").await;
    assert_eq!(answer.code, 200, "whatever the state of the Node");
    assert_eq!(answer.header("x-load-balancing-endpoint-weight"), "2");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(
        answer.body,
        "{\n\t\"service\": {\n\t\t\"namespace\": \"ns\",\n\t\t\"name\": \"web\"\n\t},\n\
         \t\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}"
    );

    on(vec![check("web", address.port(), 0)]);
    let answer = get(address, "/").await;
    assert_eq!(answer.code, 503, "no endpoint here");
    assert_eq!(answer.header("x-load-balancing-endpoint-weight"), "0");

    on(vec![
        check("web", address.port(), 1),
        check("api", other.port(), 1),
    ]);
    status.queued(IpFamily::V4);
    clock.set(60);
    for address in [address, other] {
        let answer = get(address, "/").await;
        assert_eq!(answer.code, 503, "rules are late");
        assert_eq!(answer.json()["serviceProxyHealthy"], false);
        assert_eq!(answer.json()["localEndpoints"], 1);
    }

    status.applied(IpFamily::V4);
    on(vec![check("next", address.port(), 3)]);
    closed(other).await;
    assert_eq!(
        get(address, "/").await.json()["service"]["name"],
        "next",
        "the port moved on"
    );
    on(vec![]);
    closed(address).await;
}

#[tokio::test]
async fn a_health_check_port_in_use_is_taken_when_it_is_free() {
    let taken = StdTcp::bind("127.0.0.1:0").unwrap();
    let (address, other) = (taken.local_addr().unwrap(), free("127.0.0.1"));
    let (recorder, mut inbox) = events::channel("n1");
    let status = Clock::default().status().with_events(recorder);
    let _served = start(nowhere(), &status);
    let checks = vec![
        check("web", address.port(), 1),
        check("api", other.port(), 1),
    ];
    status.health_checks(vec![address.ip()], checks);
    assert_eq!(get(other, "/").await.code, 200, "others are not held up");
    let notices = inbox.take();
    assert_eq!(notices.len(), 1, "once, however often it is tried");
    assert_eq!(notices[0].reason, "FailedToStartServiceHealthcheck");
    assert_eq!(notices[0].regarding.to_string(), "Service ns/web");
    tokio::time::pause();
    drop(taken);
    tokio::time::sleep(Duration::from_secs(6)).await;
    tokio::time::resume();
    assert_eq!(get(address, "/").await.json()["service"]["name"], "web");
}
