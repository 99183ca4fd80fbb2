// SPDX-License-Identifier: Apache-2.0
//! Asks a health check, and says what counts of the answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::netns::Namespace;

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
    }
}
