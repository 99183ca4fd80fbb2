// SPDX-License-Identifier: Apache-2.0
//! Faults of objects, of the agent and of the API server.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use ferrule::debug::doctor::Kind;
use serde_json::json;

use crate::rig::{Fault, Node, check, eventually};

const SERVICES: &str = "/api/v1/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
const PODS: &str = "/api/v1/namespaces/default/pods";
const NODES: &str = "/api/v1/nodes";

pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "the agent was killed",
        kind: Kind::AgentAbsent,
        cause: &["no agent runs here", "ferrule.sock", "killed"],
        seed: |node| {
            node.kill_agent();
            node.use_server();
        },
    },
    Fault {
        name: "no agent was ever there",
        kind: Kind::AgentAbsent,
        cause: &["there is no such socket"],
        seed: |node| {
            node.kill_agent();
            fs::remove_file(node.socket()).expect("the socket");
            node.arguments = ["--manifests", &node.directory.path().display().to_string()]
                .map(str::to_owned)
                .to_vec();
        },
    },
    Fault {
        name: "what listens does not answer",
        kind: Kind::AgentSilent,
        cause: &["the agent does not answer", "silent"],
        seed: |node| {
            node.kill_agent();
            fs::remove_file(node.socket()).expect("the socket");
            let listener = UnixListener::bind(Path::new(&node.socket())).expect("a socket");
            node.kept.push(Box::new(listener));
            node.use_server();
        },
    },
    Fault {
        name: "commits fail",
        kind: Kind::AgentBehind,
        cause: &["older than the cluster's state", "IPv4"],
        seed: |node| {
            // A chain of another's that leads to one of ours keeps the agent from removing it.
            let status = json!({"healthy": false, "waiting": {"IPv4": 61.5},
                "failures": {"IPv4": "add chain lb-3: Device or resource busy"}});
            stub_agent(node, status.to_string());
        },
    },
    Fault {
        name: "the node booted while the API server was away",
        kind: Kind::LastKnownState,
        cause: &["as the API server told them 3h", "state file"],
        seed: Node::boot_without_server,
    },
    Fault {
        name: "the API server does not answer",
        kind: Kind::ApiUnreachable,
        cause: &[
            "changes of the cluster are not followed",
            "Connection refused",
        ],
        seed: |node| {
            node.arguments = ["--master", "http://127.0.0.1:1"]
                .map(str::to_owned)
                .to_vec();
        },
    },
    Fault {
        name: "the API server's clock is a minute ahead",
        kind: Kind::ClockSkew,
        cause: &["s ahead of this host's", "Date"],
        seed: |node| {
            node.use_server();
            node.objects.lock().expect("objects").ahead = 60;
        },
    },
    Fault {
        name: "the API server's clock is an hour behind",
        kind: Kind::ClockSkew,
        cause: &["s behind this host's"],
        seed: |node| {
            node.use_server();
            node.objects.lock().expect("objects").ahead = -3600;
        },
    },
    Fault {
        name: "there is no Node of the name",
        kind: Kind::NodeMissing,
        cause: &["there is no Node node-1"],
        seed: |node| {
            node.use_server();
            let mut served = node.objects.lock().expect("objects");
            served.bodies.insert(NODES.to_owned(), json!({"items": []}));
        },
    },
    Fault {
        name: "the Node has another host's address",
        kind: Kind::NodeAddress,
        cause: &["InternalIP 192.0.2.77"],
        seed: |node| {
            node.use_server();
            node.change(NODES, "node-1", |object| {
                object["status"]["addresses"][0]["address"] = "192.0.2.77".into();
            });
        },
    },
    Fault {
        name: "a selector that matches nothing",
        kind: Kind::SelectorMatchesNothing,
        cause: &["default/web has no ready endpoint", "selector app=wbe"],
        seed: |node| {
            node.use_server();
            node.change(SERVICES, "web", |s| {
                s["spec"]["selector"] = json!({"app": "wbe"})
            });
            node.change(SLICES, "web-1", |s| s["endpoints"] = json!([]));
        },
    },
    Fault {
        name: "Pods whose image cannot be pulled",
        kind: Kind::PodsUnready,
        cause: &["web-1: container main: ImagePullBackOff"],
        seed: |node| {
            node.use_server();
            unready(node);
            for name in ["web-1", "web-2"] {
                node.change(PODS, name, |pod| {
                    pod["status"] = json!({"phase": "Pending",
                        "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}],
                        "containerStatuses": [{"name": "main", "ready": false,
                            "state": {"waiting": {"reason": "ImagePullBackOff"}}}]});
                });
            }
        },
    },
    Fault {
        name: "a readiness probe that fails",
        kind: Kind::PodsUnready,
        cause: &["web-2: ContainersNotReady containers with unready status: [main]"],
        seed: |node| {
            node.use_server();
            unready(node);
            for name in ["web-1", "web-2"] {
                node.change(PODS, name, |pod| {
                    pod["status"] = json!({"phase": "Running", "conditions": [
                        {"type": "Ready", "status": "False", "reason": "ContainersNotReady",
                        "message": "containers with unready status: [main]"}]});
                });
            }
        },
    },
    Fault {
        name: "a targetPort that no container has",
        kind: Kind::PortNameMismatch,
        cause: &["targetPort \"htpp\"", "\"http\""],
        seed: |node| {
            node.use_server();
            node.change(SERVICES, "web", |s| {
                s["spec"]["ports"][0]["targetPort"] = "htpp".into();
            });
            node.change(SLICES, "web-1", |s| s["ports"] = json!([]));
        },
    },
    Fault {
        name: "a slice by hand whose port has another name",
        kind: Kind::PortNameMismatch,
        cause: &["named \"http\"", "[\"web\"]"],
        seed: |node| {
            node.use_server();
            node.change(SERVICES, "web", |s| s["spec"]["selector"] = json!({}));
            node.change(SLICES, "web-1", |s| s["ports"][0]["name"] = "web".into());
        },
    },
    Fault {
        name: "all Pods are terminating",
        kind: Kind::EndpointsTerminating,
        cause: &["all its Pods are terminating", "web-1, web-2"],
        seed: |node| {
            node.use_server();
            node.change(SLICES, "web-1", |s| {
                for endpoint in s["endpoints"].as_array_mut().expect("endpoints") {
                    endpoint["conditions"] =
                        json!({"ready": false, "serving": false, "terminating": true});
                }
            });
            for name in ["web-1", "web-2"] {
                node.change(PODS, name, |pod| {
                    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
                });
            }
        },
    },
    Fault {
        name: "a Service without selector and endpoints",
        kind: Kind::NoEndpointsWritten,
        cause: &["default/web", "0 EndpointSlices"],
        seed: |node| {
            node.use_server();
            node.change(SERVICES, "web", |s| s["spec"]["selector"] = json!({}));
            node.change(SLICES, "web-1", |s| s["metadata"]["labels"] = json!({}));
        },
    },
    Fault {
        name: "ready Pods that no slice has",
        kind: Kind::NoReadyEndpoints,
        cause: &[
            "Pods are ready, and its EndpointSlices do not say so",
            "0 EndpointSlices",
        ],
        seed: |node| {
            node.use_server();
            node.change(SLICES, "web-1", |s| s["metadata"]["labels"] = json!({}));
        },
    },
    Fault {
        name: "internalTrafficPolicy Local without a local endpoint",
        kind: Kind::NoLocalEndpoints,
        cause: &[
            "default/web does not answer on this node",
            "internalTrafficPolicy: Local",
        ],
        seed: |node| {
            node.change(SERVICES, "web", |s| {
                s["spec"]["internalTrafficPolicy"] = "Local".into();
            });
            node.change(SLICES, "web-1", |s| {
                s["endpoints"].as_array_mut().expect("endpoints").remove(0);
            });
            node.write_manifests();
        },
    },
    Fault {
        name: "a load balancer that does not come",
        kind: Kind::LoadBalancerPending,
        cause: &["default/shop waits", "no loadBalancerClass"],
        seed: |node| {
            node.use_server();
            node.change(SERVICES, "shop", |s| {
                s["status"]["loadBalancer"] = json!({})
            });
        },
    },
    Fault {
        name: "an externalIP of two Services",
        kind: Kind::ClaimedTwice,
        cause: &[
            "2 Services want 198.51.100.30:80/TCP",
            "default/shop (loadBalancer)",
            "default/web (externalIPs)",
        ],
        seed: |node| {
            node.use_server();
            node.change(SERVICES, "web", |s| {
                s["spec"]["externalIPs"] = json!(["198.51.100.30"]);
            });
        },
    },
];

fn unready(node: &mut Node) {
    node.change(SLICES, "web-1", |s| {
        for endpoint in s["endpoints"].as_array_mut().expect("endpoints") {
            endpoint["conditions"] =
                json!({"ready": false, "serving": false, "terminating": false});
        }
    });
}

/// An agent that says of itself what it is told to.
fn stub_agent(node: &mut Node, status: String) {
    use std::io::{Read, Write};
    node.kill_agent();
    fs::remove_file(node.socket()).expect("the socket");
    let listener = UnixListener::bind(Path::new(&node.socket())).expect("a socket");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            let services = String::from_utf8_lossy(&request[..read]).contains("/services");
            let body = if services { "[]" } else { &status };
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    node.use_server();
}

#[test]
fn faults_of_objects_are_found() {
    check(FAULTS);
}

/// Whoever looks at Services sees that they may be old.
#[test]
fn services_of_the_last_known_state_are_told_as_such() {
    ferrule::backend::testing::in_namespace(|| {
        let mut node = Node::healthy();
        let services = |node: &Node| {
            let socket = node.socket();
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_ferrule"))
                .args(["debug", "services", "--admin-socket", &socket])
                .output();
            String::from_utf8(output.expect("ferrule").stdout).expect("text")
        };
        let said = "the API server has not answered since the agent started";
        let text = services(&node);
        assert!(text.contains("web") && !text.contains(said), "{text}");
        node.boot_without_server();
        let text = services(&node);
        let last = text.lines().last().expect("lines");
        assert!(
            last.starts_with("as it was 3h") && last.ends_with(said),
            "{text}"
        );
        assert!(text.contains("web"), "{text}");
    });
}

/// RBAC that lets nothing be read makes no finding.
#[test]
fn forbidden_objects_are_told_and_are_no_finding() {
    ferrule::backend::testing::in_namespace(|| {
        let mut node = Node::healthy();
        node.use_server();
        unready(&mut node);
        {
            let mut served = node.objects.lock().expect("objects");
            served.refused = [(PODS, 403), (NODES, 403)]
                .map(|(p, s)| (p.to_owned(), s))
                .into();
        }
        let text = String::from_utf8(node.doctor(&[]).stdout).expect("text");
        for expected in [
            "[no-ready-endpoints]",
            "not checked: forbidden (/api/v1/nodes: 403): the Node node-1",
            "Pods of default/web",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        for list in [SERVICES, SLICES] {
            let mut served = node.objects.lock().expect("objects");
            served.refused.insert(list.to_owned(), 403);
        }
        let output = node.doctor(&[]);
        let text = String::from_utf8(output.stdout).expect("text");
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.contains("0 errors, 0 warnings"), "{text}");
        assert!(
            text.contains("not checked: forbidden (/api/v1/services: 403)"),
            "{text}"
        );
    });
}

/// The schema that docs/doctor.md tells.
#[test]
fn json_has_the_documented_fields() {
    ferrule::backend::testing::in_namespace(|| {
        let mut node = Node::healthy();
        node.use_server();
        node.change(SERVICES, "shop", |s| {
            s["status"]["loadBalancer"] = json!({})
        });
        node.objects
            .lock()
            .expect("objects")
            .refused
            .insert(NODES.to_owned(), 403);
        let mut found = json!(null);
        eventually("JSON", || {
            let output = node.doctor(&["-o", "json"]);
            found = serde_json::from_slice(&output.stdout).expect("JSON");
            output.status.code() == Some(1)
        });
        let finding = &found["findings"][0];
        assert_eq!(finding["kind"], "load-balancer-pending");
        assert_eq!(finding["severity"], "warning");
        for field in ["what", "evidence", "advice"] {
            assert!(finding[field].is_string(), "{field}: {found}");
        }
        assert!(found["notChecked"][0]["why"].is_string(), "{found}");
        assert!(found["checks"].as_u64().is_some_and(|n| n > 20), "{found}");
    });
}

/// What cannot be looked at at all ends with 2.
#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ferrule"))
        .args(["debug", "doctor", "--manifests", "/nonexistent"])
        .output()
        .expect("debug doctor");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(text.contains("--manifests /nonexistent"), "{text}");
}
