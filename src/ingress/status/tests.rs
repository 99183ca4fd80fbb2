// SPDX-License-Identifier: Apache-2.0
use std::sync::Mutex;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;

#[test]
fn what_differs_is_written_and_what_is_no_longer_ours_withdrawn() {
    let name = |name: &str| ServiceName::new("default", name);
    let ours: Vec<Arc<str>> = vec!["192.0.2.1".into()];
    let served = Served::from([
        (name("fresh"), Vec::new()),
        (name("done"), ours.clone()),
        (name("old"), vec!["192.0.2.9".into()]),
    ]);
    let written = BTreeSet::from([name("done"), name("left")]);
    let found = changes(&served, &written, &ours);
    let expected = [
        (name("fresh"), ours.clone()),
        (name("old"), ours.clone()),
        (name("left"), Vec::new()),
    ];
    assert_eq!(found, expected);
    assert_eq!(point("192.0.2.1"), json!({ "ip": "192.0.2.1" }));
    assert_eq!(point("lb.example"), json!({ "hostname": "lb.example" }));
}

#[test]
fn addresses_of_nodes_and_services() {
    let node = |addresses: Value, ready: &str| -> Node {
        let status = json!({ "conditions": [{ "type": "Ready", "status": ready }],
            "addresses": addresses });
        serde_json::from_value(json!({ "metadata": {}, "status": status })).expect("a Node")
    };
    let internal = json!({ "type": "InternalIP", "address": "10.0.0.1" });
    let external = json!({ "type": "ExternalIP", "address": "192.0.2.1" });
    let both = json!([internal, external]);
    assert_eq!(of_node(&node(both.clone(), "True")), ["192.0.2.1".into()]);
    assert_eq!(of_node(&node(both, "Unknown")), []);
    assert_eq!(
        of_node(&node(json!([internal]), "True")),
        ["10.0.0.1".into()]
    );
    let service = |status: Value| -> Service {
        let spec = json!({ "clusterIPs": ["10.96.0.7"] });
        let service = json!({ "metadata": {}, "spec": spec, "status": status });
        serde_json::from_value(service).expect("a Service")
    };
    assert_eq!(of_service(&service(Value::Null)), ["10.96.0.7".into()]);
    let balancer = json!({ "loadBalancer": { "ingress": [{ "hostname": "lb.example" }] } });
    assert_eq!(of_service(&service(balancer)), ["lb.example".into()]);
}

/// An API server with one Lease, nodes and pods.
#[derive(Clone, Default)]
struct Cluster(Arc<Mutex<BTreeMap<String, Value>>>);

impl Cluster {
    fn set(&self, path: &str, object: Value) {
        self.0
            .lock()
            .expect("whole")
            .insert(path.to_owned(), object);
    }

    fn get(&self, path: &str) -> Value {
        self.0
            .lock()
            .expect("whole")
            .get(path)
            .cloned()
            .unwrap_or_default()
    }

    fn holder(&self) -> Option<String> {
        let holder = &self.get(LEASE)["spec"]["holderIdentity"];
        holder.as_str().map(str::to_owned)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let method = request.method().clone();
        let body = request
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        let sent = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let object = match method {
            Method::POST => {
                self.set(&format!("{path}/leader"), sent.clone());
                sent
            }
            Method::PUT | Method::PATCH => {
                self.set(&path, sent.clone());
                sent
            }
            _ => self.get(&path),
        };
        let status = if object.is_null() { 404 } else { 200 };
        let object = match object.is_null() {
            true => json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "reason": "NotFound", "message": "no", "code": 404}),
            false => object,
        };
        let response = Response::builder().status(status);
        let body = Full::new(Bytes::from(object.to_string()));
        response.body(body).expect("a response")
    }

    async fn serve(&self) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let cluster = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let cluster = cluster.clone();
                let service = service_fn(move |request| {
                    let cluster = cluster.clone();
                    async move { Ok::<_, Infallible>(cluster.answer(request).await) }
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        let config = kube::Config::new(url.parse().expect("a URL"));
        Client::try_from(config).expect("a client")
    }
}

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/sys/leases/leader";

fn settings(identity: &str) -> Settings {
    Settings {
        namespace: "sys".into(),
        election: "leader".into(),
        identity: identity.into(),
        publish: Publish::Addresses(Vec::new()),
    }
}

async fn eventually(what: &str, so: impl Fn() -> bool) {
    let waited = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waited).await;
    waited.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn the_lease_is_given_back_at_the_end() {
    let cluster = Cluster::default();
    let client = cluster.serve().await;
    let (questions, _asked) = tokio::sync::mpsc::channel(1);
    let (leave, leaving) = tokio::sync::watch::channel(false);
    let first = run(client.clone(), settings("first"), questions, leaving);
    let first = tokio::spawn(first);
    eventually("it is elected", || {
        cluster.holder().as_deref() == Some("first")
    })
    .await;
    // Another one has to wait.
    let mut second = Election::new(client, &settings("second"));
    assert!(!second.elected().await.expect("an answer"));
    leave.send_replace(true);
    let left = tokio::time::timeout(Duration::from_secs(20), leave.closed());
    left.await.expect("it leaves");
    assert_eq!(cluster.holder().as_deref(), Some(""));
    assert!(second.elected().await.expect("an answer"), "at once");
    assert_eq!(cluster.holder().as_deref(), Some("second"));
    first.abort();
    // Who is not elected gives nothing back.
    let mut third = Election::new(cluster.serve().await, &settings("third"));
    assert!(!third.elected().await.expect("an answer"));
    third.leave().await.expect("nothing to do");
    assert_eq!(cluster.holder().as_deref(), Some("second"));
}

#[tokio::test]
async fn nodes_without_a_ready_sidecar_are_left_out() {
    let cluster = Cluster::default();
    let node = |n: u8| {
        json!({"metadata": {"name": format!("n{n}")}, "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": format!("10.0.0.{n}")}]}})
    };
    let nodes = json!({"kind": "NodeList", "apiVersion": "v1", "metadata": {},
        "items": [node(1), node(2), node(3), node(4)]});
    cluster.set("/api/v1/nodes", nodes);
    let pod = |n: u8, ready: &str, more: Value| {
        let mut pod = json!({"metadata": {"name": format!("p{n}")},
            "spec": {"nodeName": format!("n{n}"), "containers": []},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}});
        let metadata = pod["metadata"].as_object_mut().expect("an object");
        metadata.extend(more.as_object().cloned().unwrap_or_default());
        pod
    };
    let ending = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
    let pods = [
        pod(1, "True", Value::Null),
        pod(2, "False", Value::Null),
        pod(3, "True", ending),
    ];
    let list = |pods: &[Value]| json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods});
    let path = "/api/v1/namespaces/sys/pods";
    let mut writer = Writer {
        client: cluster.serve().await,
        publish: Publish::Nodes,
        written: BTreeSet::new(),
        addresses: Vec::new(),
        namespace: "sys".into(),
        read: None,
        said: String::new(),
    };
    for (pods, expected) in [
        (&pods[..], &["10.0.0.1"][..]),
        (&pods[1..], &[]),
        // It runs in no pod.
        (&[], &["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]),
    ] {
        cluster.set(path, list(pods));
        writer.read = None;
        writer.find().await.expect("answers");
        let addresses: Vec<&str> = writer.addresses.iter().map(|a| &**a).collect();
        assert_eq!(addresses, expected);
    }
}
