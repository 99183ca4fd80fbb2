// SPDX-License-Identifier: Apache-2.0

use super::*;

async fn get_unix(path: &Path, target: &str) -> Answer {
    for _ in 0..200 {
        match UnixStream::connect(path).await {
            Ok(stream) => return ask(stream, target).await,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("{} does not open", path.display());
}

fn view(namespace: &str, name: &str) -> ServiceView {
    serde_json::from_value(json!({
        "namespace": namespace,
        "name": name,
        "frontends": [{
            "kind": "LoadBalancer", "address": "192.0.2.1", "family": "IPv4", "port": 80,
            "protocol": "TCP", "portName": "http", "policy": "Local", "affinitySeconds": 10,
            "sourceRanges": ["10.0.0.0/8"],
            "endpoints": [{"address": "10.1.0.1", "port": 8080, "node": "n1", "zone": "z1",
                           "state": "serving-terminating", "used": null, "reason": "other node"}],
        }],
    }))
    .unwrap()
}

#[tokio::test]
async fn admin_socket_asks_the_loop_and_cleans_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/ferrule.sock");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the file of a killed agent");

    let status = Clock::default().status();
    let mut served = start(
        Listen {
            admin: Some(path.clone()),
            ..nowhere()
        },
        &status,
    );
    let answer = tokio::spawn({
        let path = path.clone();
        async move { get_unix(&path, "/services?namespace=ns&name=web").await }
    });
    let Some(AdminRequest::Services { selection, reply }) = served.requests.recv().await else {
        panic!("another question");
    };
    assert!(selection.matches(&ServiceName::new("ns", "web")));
    assert!(!selection.matches(&ServiceName::new("ns", "api")));
    assert!(Selection::default().matches(&ServiceName::new("any", "thing")));
    reply.send(vec![view("ns", "web")]).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.code, 200);
    let views: Vec<ServiceView> = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(views, [view("ns", "web")]);

    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(get_unix(&path, "/nothing").await.code, 404);
    status.failed(IpFamily::V4, "add chain: no");
    let answer = get_unix(&path, "/status").await;
    assert_eq!(
        answer.json(),
        json!({"healthy": true, "failures": {"IPv4": "add chain: no"}, "waiting": {"IPv4": 0.0}})
    );
    status.applied(IpFamily::V4);
    assert_eq!(
        get_unix(&path, "/status").await.json()["failures"],
        json!({})
    );
    served.task.abort();
    let _ = (&mut served.task).await;
    assert!(!path.exists(), "removed at exit");
}

#[tokio::test]
async fn admin_socket_takes_nothing_away_from_others() {
    let directory = tempfile::tempdir().unwrap();
    let (live, file) = (directory.path().join("live"), directory.path().join("file"));
    let _agent = std::os::unix::net::UnixListener::bind(&live).unwrap();
    std::fs::write(&file, "precious").unwrap();
    let status = Clock::default().status();
    tokio::time::pause();
    for path in [&live, &file] {
        let before = std::fs::symlink_metadata(path).unwrap().modified().unwrap();
        let served = start(
            Listen {
                admin: Some(path.clone()),
                ..nowhere()
            },
            &status,
        );
        tokio::time::sleep(Duration::from_secs(12)).await;
        drop(served);
        tokio::task::yield_now().await;
        assert_eq!(
            std::fs::symlink_metadata(path).unwrap().modified().unwrap(),
            before
        );
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[tokio::test]
async fn admin_socket_says_when_the_loop_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let status = Clock::default().status();
    let mut served = start(
        Listen {
            admin: Some(path.clone()),
            ..nowhere()
        },
        &status,
    );
    served.requests.close();
    assert_eq!(get_unix(&path, "/services").await.code, 503);
}
