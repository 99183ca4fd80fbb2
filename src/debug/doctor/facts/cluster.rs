// SPDX-License-Identifier: Apache-2.0
//! Objects of an API server, and its clock.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::objects::{Node, Objects, Pod, Service};
use super::{Fact, Unread};
use crate::watch::{self, Client, Meters, raw};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of how many Services without endpoints the Pods are looked up.
const PODS_OF: usize = 50;

/// The API server.
#[derive(Debug, Clone)]
pub enum Server {
    /// It does not answer: why.
    Silent(String),
    /// It answers.
    Answers {
        /// Its clock minus ours, seconds; none if it does not tell the time.
        ahead: Option<i64>,
    },
}

#[derive(Deserialize)]
struct List<T> {
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

pub(super) async fn client(
    kubeconfig: Option<&Path>,
    server: Option<&str>,
) -> Result<Client, watch::Error> {
    watch::client(kubeconfig, server, &Meters::default()).await
}

/// Reads all that may be read. Pods only of Services without endpoints.
pub(super) async fn read(client: &Client, node: Option<&str>) -> (Option<Server>, Fact<Objects>) {
    let answer = ask(client, "/version").await;
    let server = match answer {
        Err(reason) => {
            let why = Unread::Unavailable("the API server does not answer".into());
            return (Some(Server::Silent(reason)), Err(why));
        }
        Ok(answer) => Server::Answers {
            ahead: answer.date.as_deref().and_then(ahead),
        },
    };
    (Some(server), Ok(objects(client, node).await))
}

async fn objects(client: &Client, node: Option<&str>) -> Objects {
    let mut objects = Objects {
        services: list(client, "/api/v1/services").await,
        slices: list(client, "/apis/discovery.k8s.io/v1/endpointslices").await,
        ..Objects::default()
    };
    objects.node = match node {
        Some(name) => self::node(client, name).await,
        None => Err(Unread::Unavailable(
            "the Node's name is not known (--hostname-override)".into(),
        )),
    };
    for service in objects.in_need().into_iter().take(PODS_OF) {
        let pods: Fact<Vec<Pod>> = list(client, &pods_path(&service)).await;
        match (&mut objects.pods, pods) {
            (Ok(all), Ok(more)) => all.extend(more),
            (all, Err(unread)) => {
                *all = Err(unread);
                break;
            }
            (Err(_), Ok(_)) => {}
        }
    }
    objects
}

/// By listing, which is what the agent's role allows.
async fn node(client: &Client, name: &str) -> Fact<Option<Node>> {
    let path = format!("/api/v1/nodes?fieldSelector=metadata.name%3D{name}");
    let nodes: Vec<Node> = list(client, &path).await?;
    Ok(nodes.into_iter().find(|node| node.metadata.name == name))
}

/// The Pods of a Service, in its own words: commas and equals signs are those of the query.
fn pods_path(service: &Service) -> String {
    let namespace = &service.metadata.namespace;
    let terms = service
        .spec
        .selector
        .iter()
        .map(|(k, v)| format!("{k}%3D{v}"));
    let selector = terms.collect::<Vec<_>>().join("%2C").replace('/', "%2F");
    format!("/api/v1/namespaces/{namespace}/pods?labelSelector={selector}&limit=100")
}

async fn list<T: DeserializeOwned>(client: &Client, path: &str) -> Fact<Vec<T>> {
    let shown = path.split('?').next().unwrap_or_default();
    let unavailable = |why: String| Unread::Unavailable(format!("{shown}: {why}"));
    let answer = ask(client, path).await.map_err(unavailable)?;
    match answer.status {
        200 => {
            let list: Result<List<T>, _> = serde_json::from_slice(&answer.body);
            list.map(|list| list.items)
                .map_err(|e| unavailable(e.to_string()))
        }
        401 | 403 => Err(Unread::Forbidden(format!("{shown}: {}", answer.status))),
        status => Err(unavailable(status.to_string())),
    }
}

async fn ask(client: &Client, path: &str) -> Result<raw::Answer, String> {
    let asked = tokio::time::timeout(PATIENCE, raw::get(client, path)).await;
    asked.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
}

/// How far the other clock is ahead, seconds; the header has no parts of a second.
fn ahead(date: &str) -> Option<i64> {
    let theirs = rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(theirs.as_second() - Timestamp::now().as_second())
}
