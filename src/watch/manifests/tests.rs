// SPDX-License-Identifier: Apache-2.0
//! Real directories and real inotify.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::object::Reading;
use super::*;
use crate::model::{Event, Observed};

/// More than any machine under load needs for one change.
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for a change that should not be announced to be announced.
const SILENCE: Duration = Duration::from_millis(150);

const OURS: Reading<'static> = Reading {
    own: "n1",
    audience: Audience::Services,
};

struct Watched {
    dir: tempfile::TempDir,
    events: Receiver<Event>,
    task: JoinHandle<Result<(), Error>>,
}

impl Watched {
    /// Starts with these files and returns what is announced until all are read.
    async fn start(files: &[(&str, &str)]) -> (Self, Vec<String>) {
        let dir = tempfile::tempdir().expect("temporary directory");
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).expect("file written");
        }
        Self::start_in(dir).await
    }

    async fn start_in(dir: tempfile::TempDir) -> (Self, Vec<String>) {
        Self::start_for(Audience::Services, dir).await
    }

    async fn start_for(audience: Audience, dir: tempfile::TempDir) -> (Self, Vec<String>) {
        let (sender, events) = channel(1);
        let path = dir.path().to_owned();
        let task = tokio::spawn(read(path, "n1".into(), audience, sender));
        let mut watched = Self { dir, events, task };
        let mut first = Vec::new();
        loop {
            match watched.next().await.as_str() {
                "synced" => return (watched, first),
                other => first.push(other.to_owned()),
            }
        }
    }

    async fn next(&mut self) -> String {
        let event = timeout(PATIENCE, self.events.recv()).await;
        show(
            event
                .expect("an event in time")
                .expect("the source still runs"),
        )
    }

    async fn expect(&mut self, events: &[&str]) {
        let mut got = Vec::new();
        for _ in events {
            got.push(self.next().await);
        }
        assert_eq!(got, events);
    }

    async fn expect_silence(&mut self) {
        if let Ok(event) = timeout(SILENCE, self.events.recv()).await {
            panic!(
                "unexpected: {}",
                show(event.expect("the source still runs"))
            );
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("file written");
    }

    /// As editors and `kubectl` do it: a hidden file, moved over the old one.
    fn replace(&self, name: &str, text: &str) {
        self.write(".new", text);
        std::fs::rename(self.path(".new"), self.path(name)).expect("renamed");
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).expect("removed");
    }

    async fn stop(self) {
        drop(self.events);
        let ended = timeout(PATIENCE, self.task).await.expect("ends in time");
        ended.expect("no panic").expect("no error");
    }
}

/// One event in one line: kind, name, and something that tells versions apart.
fn show(event: Event) -> String {
    fn state<T>(observed: &Observed<T>, show: impl Fn(&T) -> String) -> String {
        match &observed.object {
            Some(object) => show(object),
            None => "gone".into(),
        }
    }
    match event {
        Event::Service(name, o) => {
            let ports = state(&o, |s| {
                s.ports
                    .iter()
                    .map(|p| p.port.to_string())
                    .collect::<Vec<_>>()
                    .join(",")
            });
            format!("service {name} {ports}")
        }
        Event::Slice(name, o) => {
            let addresses = state(&o, |s| {
                s.endpoints
                    .iter()
                    .map(|e| e.address.to_string())
                    .collect::<Vec<_>>()
                    .join(",")
            });
            format!("slice {name} {addresses}")
        }
        Event::Node(o) => format!("node {}", state(&o, |n| n.name.to_string())),
        Event::OtherNode(name, addresses) => format!("other node {name} {addresses:?}"),
        Event::ServiceCidr(name, o) => format!("cidr {name} {}", state(&o, |c| format!("{c:?}"))),
        Event::Ingress(event) => match (&*event, event.object_ref()) {
            (IngressEvent::Ingress(_, o), Some(object)) => {
                format!("{object} {}", state(o, |i| i.rules.len().to_string()))
            }
            (IngressEvent::Service(_, o), Some(object)) => {
                format!("{object} {}", state(o, |s| s.ports.len().to_string()))
            }
            (IngressEvent::Secret(_, o), Some(object)) => {
                format!("{object} {}", state(o, |s| format!("{:?}", s.key)))
            }
            (IngressEvent::Class(_, o), Some(object)) => {
                format!("{object} {}", state(o, |c| c.controller.to_string()))
            }
            (other, _) => format!("{other:?}"),
        },
        Event::Source { name, reason } => format!("source {name}: {reason}"),
        Event::Synced => "synced".into(),
        Event::LocalAddresses(_) => unreachable!("manifests know no addresses"),
    }
}

fn service(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  clusterIP: 10.0.0.1\n  ports:\n  - port: {port}\n"
    )
}

fn slice(name: &str, address: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}\n  labels:\n    kubernetes.io/service-name: web\naddressType: IPv4\nports:\n- port: 8080\nendpoints:\n- addresses: [{address}]\n"
    )
}

fn endpoints(name: &str, addresses: &[&str]) -> String {
    let subsets: Vec<_> = addresses
        .iter()
        .map(|a| format!("{{addresses: [{{ip: {a}}}], ports: [{{port: 1}}]}}"))
        .collect();
    format!(
        "apiVersion: v1\nkind: Endpoints\nmetadata: {{name: {name}}}\nsubsets: [{}]\n",
        subsets.join(", ")
    )
}

#[tokio::test]
async fn all_kinds_in_all_formats() {
    let yaml = format!(
        "# first\n---\n{}---\n\n---\n{}",
        service("a", 1),
        slice("a-1", "10.1.0.1")
    );
    let others = "kind: Deployment\napiVersion: apps/v1\nspec: {ports: 3}\n---\n\
        apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: k}\nspec: {ports: x}\n---\n\
        {apiVersion: v1, kind: Node, metadata: {name: n2}}\n---\n\
        {apiVersion: v1, kind: Node, metadata: {name: n1}}\n---\n\
        \"kind\": ServiceCIDR\n\"apiVersion\": networking.k8s.io/v1\nmetadata: {name: kubernetes}\nspec: {cidrs: [10.0.0.0/16]}\n";
    let json = r#"{"kind": "Service", "apiVersion": "v1", "metadata": {"name": "j", "namespace": "x"},
        "spec": {"clusterIP": "10.0.0.2", "ports": [{"port": 2}]}}
        {"kind": "ConfigMap", "apiVersion": "v1"}"#;
    let (watched, first) = Watched::start(&[
        ("a.yaml", &yaml),
        ("b.yml", others),
        ("c.json", json),
        ("d.yaml", json),
        (".hidden.yaml", &service("hidden", 9)),
        ("readme.txt", "no manifest: ["),
        ("empty.yaml", ""),
    ])
    .await;
    assert_eq!(
        first,
        [
            "service default/a 1",
            "slice default/a-1 10.1.0.1",
            "other node n2 []",
            "node n1",
            "cidr kubernetes [10.0.0.0/16]",
            "service x/j 2",
            "source d.yaml: Service x/j is defined in c.json already",
        ]
    );
    watched.stop().await;
}

#[tokio::test]
async fn lists() {
    let indent = |text: &str| format!("- {}", text.trim_end().replace('\n', "\n  "));
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n{}\n{}\n",
        indent(&service("a", 1)),
        indent(&slice("s", "10.1.0.1"))
    );
    let typed = "apiVersion: v1\nkind: ServiceList\nitems:\n- metadata: {name: b}\n  spec: {clusterIP: 10.0.0.2, ports: [{port: 2}]}\n";
    let json = r#"{"items": [{"metadata": {"name": "s2", "labels": {"kubernetes.io/service-name": "b"}},
        "addressType": "IPv4", "endpoints": [{"addresses": ["10.1.0.2"]}]}],
        "kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1"}"#;
    let empty = "apiVersion: v1\nkind: List\nitems:\n---\napiVersion: apps/v1\nkind: DeploymentList\nitems: 5\n";
    let (mut watched, first) = Watched::start(&[
        ("a.yaml", &list),
        ("b.yaml", typed),
        ("c.json", json),
        ("d.yaml", empty),
    ])
    .await;
    let expected = [
        "service default/a 1",
        "slice default/s 10.1.0.1",
        "service default/b 2",
        "slice default/s2 10.1.0.2",
    ];
    assert_eq!(first, expected);

    // Only what changed of a list is announced.
    watched.write("a.yaml", &list.replace("10.1.0.1", "10.1.0.9"));
    watched.expect(&["slice default/s 10.1.0.9"]).await;
    watched.write(
        "c.json",
        r#"{"kind": "List", "apiVersion": "v1", "items": []}"#,
    );
    watched.expect(&["slice default/s2 gone"]).await;
    watched.expect_silence().await;
    watched.stop().await;
}

/// What a YAML list holds, however it is written.
fn list_holds(text: &str) -> Vec<String> {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("list.yaml");
    std::fs::write(&path, text).expect("file written");
    match load::load(&path, &load::Content::default(), OURS) {
        Err(failure) => vec![failure.to_string()],
        Ok(loaded) => {
            let objects = loaded.expect("a file").content.objects;
            objects.iter().map(|(key, _)| key.to_string()).collect()
        }
    }
}

#[test]
fn lists_in_every_style() {
    let a = "kind: Service\n  metadata: {name: a}";
    let b = "metadata:\n    name: b\n  kind: Service";
    let both = ["Service default/a", "Service default/b"];
    for text in [
        format!("kind: List\nitems:\n- {a}\n- {b}\n"),
        format!("kind: List\nitems:\n- {a}\n# c\n\n- {b}\nmetadata:\n  resourceVersion: \"\"\n"),
        format!("items:\n- {a}\n- {b}\nkind: List\napiVersion: v1\n"),
        format!("kind: List\nitems:\n- {a}\n-\n  {b}\n"),
        format!("kind: List\nitems:\n-\n  {a}\n- {b}\n"),
        format!("kind: List\nitems:\n-   {}\n- {b}\n", a.replace("\n  ", "\n    ")),
        format!("kind: List\nitems:\n  - {}\n  - {}\n", a.replace('\n', "\n  "), b.replace('\n', "\n  ")),
        format!("kind: List\r\nitems:\r\n- {a}\r\n- {b}\r\n").replace("a}\n", "a}\r\n"),
        "kind: List\nitems: [{kind: Service, metadata: {name: a}}, {kind: Service, metadata: {name: b}}]\n".into(),
        "kind: List\nitems:\n- kind: &k Service\n  metadata: {name: a}\n- kind: *k\n  metadata: {name: b}\n".into(),
        // A text that looks like an item, and one that looks like a key.
        format!("kind: List\nitems:\n- {a}\n  data: \"x\n   - kind: Service\n   y\"\n- {b}\n"),
        format!("kind: List\nitems:\n- {a}\n  data: |\n    - kind: Service\n    kind: Node\n- {b}\n"),
    ] {
        assert_eq!(list_holds(&text), both, "{text}");
    }
    for (text, reason) in [
        (
            format!("kind: List\nitems:\n- {a}\nitems:\n- {b}\n"),
            "5:1: duplicate",
        ),
        (format!("kind: List\nitems:\n- {a}\nfoo: [\n"), ""),
        (format!("kind: List\nitems:\n- {a}\n- 5\n"), "5:"),
        (
            format!("kind: List\nitems:\n- {a}\n- metadata: {{}}\n"),
            "1:1: items[1]: no kind",
        ),
        (
            format!("kind: List\nitems:\n- {a}\n  spec:\n    ports: 5\n"),
            "",
        ),
    ] {
        let failure = list_holds(&text);
        assert!(
            failure.len() == 1 && failure[0] != both[0],
            "{text}: {failure:?}"
        );
        assert!(failure[0].starts_with(reason), "{text}: {failure:?}");
    }
}

#[tokio::test]
async fn only_what_changed_is_announced() {
    let both = |a, b| format!("{}---\n{}", service("a", a), service("b", b));
    let (mut watched, first) = Watched::start(&[("all.yaml", &both(1, 2))]).await;
    assert_eq!(first, ["service default/a 1", "service default/b 2"]);
    watched.write("all.yaml", &both(1, 3));
    watched.expect(&["service default/b 3"]).await;
    watched.replace("all.yaml", &both(4, 3));
    watched.expect(&["service default/a 4"]).await;
    watched.replace(
        "all.yaml",
        &format!(
            "# a comment\n{}",
            both(4, 3).replace("clusterIP: 1", "clusterIP:   1")
        ),
    );
    watched.expect_silence().await;
    watched.write("all.yaml", &service("b", 3));
    watched.expect(&["service default/a gone"]).await;
    watched.write("more.yaml", &service("c", 5));
    watched.expect(&["service default/c 5"]).await;
    watched.remove("all.yaml");
    watched.expect(&["service default/b gone"]).await;
    std::fs::rename(watched.path("more.yaml"), watched.path("most.yaml")).expect("renamed");
    watched.expect_silence().await;
    std::fs::rename(watched.path("most.yaml"), watched.path("most.txt")).expect("renamed");
    watched.expect(&["service default/c gone"]).await;
    watched.stop().await;
}

#[tokio::test]
async fn a_broken_file_keeps_its_last_good_content() {
    let (mut watched, _) = Watched::start(&[("a.yaml", &service("a", 1))]).await;
    watched.write(
        "a.yaml",
        &format!("{}---\nkind: Service\nmetadata: [\nx: y\n", service("a", 2)),
    );
    watched
        .expect(&["source a.yaml: 11:11: expected mapping start"])
        .await;
    watched.expect_silence().await;
    watched.write("a.yaml", &service("a", 3));
    watched
        .expect(&["service default/a 3", "source a.yaml: "])
        .await;

    for (text, reason) in [
        ("metadata: {name: x}\n", "1:1: no kind"),
        ("# c\n\nfoo\n", "3:1: "),
        (
            "kind: Service\nmetadata:\n  name: x\nspec:\n  ports: 5\n",
            "5:10: ",
        ),
    ] {
        watched.write("a.yaml", text);
        let said = watched.next().await;
        assert!(
            said.starts_with(&format!("source a.yaml: {reason}")),
            "{said}"
        );
    }
    std::fs::write(watched.path("a.yaml"), b"a: 1\n\xff\n").expect("file written");
    watched.expect(&["source a.yaml: line 2: not UTF-8"]).await;
    watched.remove("a.yaml");
    watched
        .expect(&["service default/a gone", "source a.yaml: "])
        .await;
    watched.stop().await;
}

#[tokio::test]
async fn broken_json_is_reported_where_it_breaks() {
    let json = "{\"kind\": \"List\", \"items\": [\n  {\"kind\": \"Service\",\n   \"spec\": {\"ports\": 5}}]}";
    let (mut watched, first) = Watched::start(&[("a.json", json)]).await;
    assert_eq!(first.len(), 1);
    assert!(
        first[0].starts_with("source a.json: 3:22: invalid type: integer `5`"),
        "{first:?}"
    );
    watched.write("a.json", "{\"kind\":\n \"Service\" oops}");
    let said = watched.next().await;
    assert!(
        said.starts_with("source a.json: 2:12: expected `,` or `}`"),
        "{said}"
    );
    watched.write("a.json", "[1]");
    watched
        .expect(&["source a.json: 1:1: expected an object"])
        .await;
    watched.write(
        "a.json",
        "{\"kind\": \"List\", \"items\": [{\"kind\": \"x\"},\n 7]}",
    );
    watched
        .expect(&["source a.json: 2:2: expected an object"])
        .await;
    watched.stop().await;
}

#[tokio::test]
async fn objects_without_a_name_cost_only_themselves() {
    let text = format!("{}---\nkind: Service\nspec: {{}}\n", service("a", 1));
    let (mut watched, first) = Watched::start(&[("a.yaml", &text)]).await;
    let said = "source a.yaml: line 9: Service without metadata.name";
    assert_eq!(first, ["service default/a 1", said]);
    watched.write("a.yaml", &text.replace("port: 1", "port: 2"));
    watched.expect(&["service default/a 2"]).await;
    watched.write("a.yaml", &service("a", 2));
    watched.expect(&["source a.yaml: "]).await;
    watched.stop().await;
}

#[tokio::test]
async fn the_first_file_by_name_wins() {
    let (mut watched, first) =
        Watched::start(&[("b.yaml", &service("a", 1)), ("c.yaml", &service("a", 2))]).await;
    let said = "source c.yaml: Service default/a is defined in b.yaml already";
    assert_eq!(first, ["service default/a 1", said]);
    watched.write("c.yaml", &service("a", 3));
    watched.expect_silence().await;
    // An earlier one takes over,
    watched.write("a.yaml", &service("a", 4));
    watched
        .expect(&[
            "service default/a 4",
            "source b.yaml: Service default/a is defined in a.yaml already",
        ])
        .await;
    // and gives back; then the next, and the last.
    watched.remove("a.yaml");
    watched
        .expect(&["service default/a 1", "source b.yaml: "])
        .await;
    watched.write("b.yaml", &service("b", 1));
    watched
        .expect(&[
            "service default/b 1",
            "service default/a 3",
            "source c.yaml: ",
        ])
        .await;
    watched.remove("c.yaml");
    watched.expect(&["service default/a gone"]).await;
    watched.stop().await;
}

#[tokio::test]
async fn what_is_gone_is_announced_before_what_is_new() {
    let files = [
        ("a.yaml", &*service("a", 1)),
        ("c.yaml", &*service("c", 1)),
        ("d.yaml", &*service("d", 1)),
    ];
    let (mut watched, _) = Watched::start(&files).await;
    // Both are read together, as events queue while the first removal is thought over.
    watched.remove("c.yaml");
    watched.remove("d.yaml");
    // One of them moves to another file: it is not gone in between.
    let moved = format!("{}---\n{}", service("b", 1), service("d", 2));
    watched.replace("a.yaml", &moved);
    let mut events = [watched.next().await, watched.next().await];
    events.sort_unstable();
    assert_eq!(events, ["service default/a gone", "service default/c gone"]);
    watched
        .expect(&["service default/b 1", "service default/d 2"])
        .await;
    watched.expect_silence().await;
    watched.stop().await;
}

#[tokio::test]
async fn twice_in_one_file() {
    let text = format!("{}---\n{}", service("a", 1), service("a", 2));
    let (mut watched, first) = Watched::start(&[("a.yaml", &text)]).await;
    let said = "source a.yaml: Service default/a is defined more than once, the first counts";
    assert_eq!(first, ["service default/a 1", said]);
    // The text of the second is known, but only now it counts.
    watched.write("a.yaml", &service("a", 2));
    watched
        .expect(&["service default/a 2", "source a.yaml: "])
        .await;
    watched.stop().await;
}

#[tokio::test]
async fn endpoints_of_services_without_selector() {
    let selected = format!("{}  selector: {{app: x}}\n", service("db", 1));
    let two = endpoints("db", &["10.1.0.1", "10.1.0.2"]);
    let (mut watched, first) =
        Watched::start(&[("e.yaml", &two), ("s.yaml", &service("db", 1))]).await;
    let found = [
        "slice default/endpoints/db 10.1.0.1",
        "slice default/endpoints/db/2 10.1.0.2",
    ];
    let gone = [
        "slice default/endpoints/db gone",
        "slice default/endpoints/db/2 gone",
    ];
    assert_eq!(first, [&["service default/db 1"], &found[..]].concat());

    watched.write("s.yaml", &selected);
    watched
        .expect(&[&["service default/db 1"], &gone[..]].concat())
        .await;
    watched.write("e.yaml", &endpoints("db", &["10.1.0.3"]));
    watched.expect_silence().await;
    watched.write("e.yaml", &two);
    watched.expect_silence().await;
    watched.write("s.yaml", &service("db", 1));
    watched
        .expect(&[&["service default/db 1"], &found[..]].concat())
        .await;

    watched.write("e.yaml", &endpoints("db", &["10.1.0.3"]));
    watched
        .expect(&[
            "slice default/endpoints/db/2 gone",
            "slice default/endpoints/db 10.1.0.3",
        ])
        .await;
    watched.remove("e.yaml");
    watched.expect(&["slice default/endpoints/db gone"]).await;
    watched.stop().await;
}

#[tokio::test]
async fn endpoints_of_a_service_with_selector_are_never_announced() {
    let selected = format!("{}  selector: {{app: x}}\n", service("db", 1));
    let (watched, first) = Watched::start(&[
        ("a.yaml", &endpoints("db", &["10.1.0.1"])),
        ("b.yaml", &selected),
    ])
    .await;
    assert_eq!(first, ["service default/db 1"]);
    watched.stop().await;
}

/// What kubelet does: a directory with a new name, a new link to it, renamed over the old link.
fn swap(dir: &Path, version: &str, files: &[(&str, &str)]) {
    let data = dir.join(format!("..{version}"));
    std::fs::create_dir(&data).expect("directory made");
    for (name, text) in files {
        std::fs::write(data.join(name), text).expect("file written");
    }
    symlink(format!("..{version}"), dir.join("..data_tmp")).expect("link made");
    std::fs::rename(dir.join("..data_tmp"), dir.join("..data")).expect("renamed");
    for (name, _) in files {
        let link = dir.join(name);
        if link.symlink_metadata().is_err() {
            symlink(Path::new("..data").join(name), link).expect("link made");
        }
    }
}

#[tokio::test]
async fn a_config_map_is_swapped_as_a_whole() {
    let dir = tempfile::tempdir().expect("temporary directory");
    swap(
        dir.path(),
        "1",
        &[("a.yaml", &service("a", 1)), ("b.yaml", &service("b", 1))],
    );
    let (mut watched, first) = Watched::start_in(dir).await;
    assert_eq!(first, ["service default/a 1", "service default/b 1"]);
    let path = watched.dir.path().to_owned();
    swap(
        &path,
        "2",
        &[("a.yaml", &service("a", 2)), ("b.yaml", &service("b", 1))],
    );
    std::fs::remove_dir_all(path.join("..1")).expect("removed");
    // Twice "everything": the second time nothing is new.
    let mut events = vec![watched.next().await];
    while let Ok(Some(event)) = timeout(SILENCE, watched.events.recv()).await {
        events.push(show(event));
    }
    assert_eq!(events, ["service default/a 2"]);
    // A key more, a key less.
    swap(
        &path,
        "3",
        &[("a.yaml", &service("a", 2)), ("c.yaml", &service("c", 3))],
    );
    std::fs::remove_file(path.join("b.yaml")).expect("removed");
    let mut events = [watched.next().await, watched.next().await];
    events.sort();
    assert_eq!(events, ["service default/b gone", "service default/c 3"]);
    watched.expect_silence().await;
    watched.stop().await;
}

#[tokio::test]
async fn links_and_half_written_files() {
    let (mut watched, _) = Watched::start(&[]).await;
    let text = service("a", 1);
    let mut file = std::fs::File::create(watched.path("a.yaml")).expect("file made");
    std::io::Write::write_all(&mut file, &text.as_bytes()[..40]).expect("written");
    watched.expect_silence().await;
    std::io::Write::write_all(&mut file, &text.as_bytes()[40..]).expect("written");
    drop(file);
    watched.expect(&["service default/a 1"]).await;
    watched.write("elsewhere.txt", &service("b", 2));
    symlink(watched.path("elsewhere.txt"), watched.path("b.yaml")).expect("link made");
    watched.expect(&["service default/b 2"]).await;
    std::fs::hard_link(watched.path("elsewhere.txt"), watched.path("0.yaml")).expect("link made");
    watched
        .expect(&["source b.yaml: Service default/b is defined in 0.yaml already"])
        .await;
    std::fs::create_dir(watched.path("dir.yaml")).expect("directory made");
    nix::unistd::mkfifo(&watched.path("pipe.yaml"), nix::sys::stat::Mode::S_IRWXU)
        .expect("pipe made");
    watched.write("z.yaml", &service("z", 3));
    watched.expect(&["service default/z 3"]).await;
    watched.stop().await;
}

#[tokio::test]
async fn a_missing_directory_is_an_error_that_names_it() {
    let (sender, _events) = channel(1);
    let error = run("/nonexistent/dir".into(), "n1".into(), sender)
        .await
        .expect_err("an error");
    assert_eq!(error.to_string(), "manifest directory /nonexistent/dir");
    let source = std::error::Error::source(&error)
        .expect("a source")
        .to_string();
    assert!(source.contains("No such file"), "{source}");
}

#[tokio::test]
async fn a_directory_that_comes_back_is_read_again() {
    let (mut watched, _) =
        Watched::start(&[("a.yaml", &service("a", 1)), ("b.yaml", &service("b", 1))]).await;
    let (path, aside) = (watched.path(""), watched.dir.path().with_extension("aside"));
    std::fs::rename(&path, &aside).expect("renamed");
    let name = path.display().to_string();
    let name = name.trim_end_matches('/');
    watched
        .expect(&[&format!(
            "source {name}: the directory is gone; what it held stays"
        )])
        .await;
    std::fs::write(aside.join("a.yaml"), service("a", 2)).expect("file written");
    std::fs::remove_file(aside.join("b.yaml")).expect("removed");
    std::fs::rename(&aside, &path).expect("renamed");
    watched
        .expect(&[
            &format!("source {name}: "),
            "service default/b gone",
            "service default/a 2",
        ])
        .await;
    watched.stop().await;
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        failure_persistence: None, ..proptest::prelude::ProptestConfig::with_cases(512)
    })]

    /// Whatever a file holds: an error or objects, but no panic; and known text changes nothing.
    #[test]
    fn any_text_is_read_or_refused(text in fuzzy(), name in "x\\.(yaml|json)") {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join(name);
        std::fs::write(&path, &text).expect("file written");
        if let Ok(Some(first)) = load::load(&path, &load::Content::default(), OURS) {
            let again = load::load(&path, &first.content, OURS).expect("readable").expect("there");
            proptest::prop_assert_eq!(&again.content.objects, &first.content.objects);
        }
    }
}

/// Lines of manifests in any order, with something odd between.
fn fuzzy() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let line = prop_oneof![
        6 => prop::sample::select(vec![
            "---", "...", "apiVersion: v1", "kind: Service", "kind: List", "kind: Node", "kind: Endpoints",
            "kind: ServiceList", "items:", "- kind: Service", "metadata: {name: a}", "metadata:", "  name: b",
            "  labels: {kubernetes.io/service-name: a}", "spec:", "  clusterIP: 10.0.0.1", "  ports:",
            "  - port: 80", "    name: &x y", "    protocol: *x", "subsets: []", "# c", "%YAML 1.2", "",
            "{\"kind\": \"Service\",", "\"metadata\": {\"name\": \"j\"}}", "{\"kind\":\"List\",\"items\":[{}]}",
            "  selector: {a: b}", "  - port: 0x50", "\t", "addressType: IPv4",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,12}",
    ];
    prop::collection::vec(line, 0..24).prop_map(|lines| lines.join("\n"))
}

const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: ferrule}
spec: {controller: ferrule.dev/ingress}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {rules: [{host: a.com, http: {paths: [
  {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
---
apiVersion: v1
kind: Secret
metadata: {name: tls}
stringData: {tls.key: k}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: None, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web,
  service.kubernetes.io/headless: ''}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.1]}]
ports: [{port: 80}]
---
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: kubernetes}
spec: {cidrs: [10.0.0.0/16]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: web}
subsets: [{addresses: [{ip: 10.0.0.2}], ports: [{port: 80}]}]
";

#[tokio::test]
async fn each_reader_gets_the_kinds_that_are_its_own() {
    let directory = || {
        let dir = tempfile::tempdir().expect("temporary directory");
        std::fs::write(dir.path().join("a.yaml"), INGRESS).expect("file written");
        dir
    };
    let (mut watched, events) = Watched::start_for(Audience::Ingress, directory()).await;
    let expected = [
        "IngressClass ferrule ferrule.dev/ingress",
        "Ingress default/web 1",
        "Secret default/tls Some([107])",
        "Service default/web 1",
        "slice default/web-1 10.0.0.1",
        "slice default/endpoints/web 10.0.0.2",
        "SecretsListed",
    ];
    assert_eq!(events, expected);
    watched.write("a.yaml", "");
    let mut gone = Vec::new();
    for _ in 0..6 {
        gone.push(watched.next().await);
    }
    gone.sort();
    let expected = [
        "Ingress default/web gone",
        "IngressClass ferrule gone",
        "Secret default/tls gone",
        "Service default/web gone",
        "slice default/endpoints/web gone",
        "slice default/web-1 gone",
    ];
    assert_eq!(gone, expected);
    let (_, events) = Watched::start_in(directory()).await;
    let expected = [
        "service default/web gone",
        "slice default/web-1 gone",
        "cidr kubernetes [10.0.0.0/16]",
        "slice default/endpoints/web 10.0.0.2",
    ];
    assert_eq!(events, expected, "the L4 agent sees none of it");
}
