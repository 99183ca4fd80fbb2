// SPDX-License-Identifier: Apache-2.0
//! Asks a health check, and says what counts of the answer.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;
use ferrule::model::IpFamily;
use serde_json::Value;

use super::probe::{From, Probe};
use crate::netns::Namespace;
use crate::object::node_name;

/// Status, weight and number of local endpoints in words; or why there was no answer.
///
/// # Errors
/// If the namespace cannot be entered.
pub fn get(namespace: &Namespace, to: SocketAddr) -> Result<String> {
    namespace.enter(|| Ok(ask(to).unwrap_or_else(|e| format!("health: {:?}", e.kind()))))
}

fn ask(to: SocketAddr) -> std::io::Result<String> {
    let limit = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&to, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(
        format!("GET / HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(words(&text))
}

fn words(text: &str) -> String {
    let status = text.split(' ').nth(1).unwrap_or("?");
    let header = |name: &str| {
        let line = text.lines().find_map(|l| {
            let (key, value) = l.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        });
        line.unwrap_or_default()
    };
    let body = text.find('{').and_then(|at| {
        let end = text.rfind('}')?;
        serde_json::from_str::<Value>(&text[at..=end]).ok()
    });
    let body = body.unwrap_or_default();
    format!(
        "health: {status}, weight {:?}, {} local, proxy healthy {}",
        header("X-Load-Balancing-Endpoint-Weight"),
        body["localEndpoints"],
        body["serviceProxyHealthy"]
    )
}

/// What a healthy proxy answers, in the same words, that has so many local endpoints.
pub(super) fn expected(count: usize) -> String {
    let status = if count > 0 { 200 } else { 503 };
    format!("health: {status}, weight \"{count}\", {count} local, proxy healthy true")
}

/// How many ready endpoints the Service of a health check has on the node that asks: in the family
/// that is asked, and in the one of its families that has most. None if there is no such Service.
pub(super) fn local_endpoints(objects: &[Value], probe: &Probe) -> Option<(usize, usize)> {
    let From::Node(node) = probe.from else {
        return None;
    };
    let service = objects
        .iter()
        .find(|o| o["kind"] == "Service" && o["spec"]["healthCheckNodePort"] == probe.to.port())?;
    let count = |family: &str| -> usize {
        let own = |o: &&Value| {
            o["kind"] == "EndpointSlice"
                && o["metadata"]["labels"]["kubernetes.io/service-name"]
                    == service["metadata"]["name"]
                && o["addressType"] == family
        };
        let ready = |e: &&Value| {
            e["nodeName"] == node_name(node).as_str() && e["conditions"]["ready"] != false
        };
        let slices = objects.iter().filter(own);
        let endpoints = slices.flat_map(|o| o["endpoints"].as_array().into_iter().flatten());
        let addresses = endpoints.filter(ready).map(|e| e["addresses"][0].as_str());
        addresses.collect::<BTreeSet<_>>().len()
    };
    let families = service["spec"]["ipFamilies"].as_array()?;
    let larger = families.iter().filter_map(Value::as_str).map(count).max()?;
    let asked = IpFamily::of(probe.to.ip()).to_string();
    Some((count(&asked), larger))
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_what_kube_proxy_says() {
        let text = "HTTP/1.1 200 OK\r\nx-load-balancing-endpoint-weight: 2\r\n\r\n\
            {\"service\":{\"namespace\":\"a\",\"name\":\"b\"},\"localEndpoints\":2,\"serviceProxyHealthy\":true}";
        assert_eq!(
            super::words(text),
            "health: 200, weight \"2\", 2 local, proxy healthy true"
        );
        assert_eq!(super::words(text), super::expected(2));
    }
}
