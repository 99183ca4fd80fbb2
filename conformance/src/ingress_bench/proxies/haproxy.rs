// SPDX-License-Identifier: Apache-2.0
//! HAProxy: one thread, connections to endpoints kept, hosts and paths in a map, as its Ingress
//! controllers do it.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use anyhow::Result;

use super::{ADDRESS, ENDPOINTS, HOST, PATHS, Routes, Setting, host};

const HEADERS: &str = "
    http-request set-header X-Request-ID %[uuid()] unless { req.hdr(X-Request-ID) -m found }
    http-request set-header X-Original-Forwarded-For %[req.hdr(X-Forwarded-For)] if { \
req.hdr(X-Forwarded-For) -m found }
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Real-IP %[src]
    http-request set-header X-Forwarded-Host %[req.hdr(Host)]
    http-request set-header X-Forwarded-Port %[dst_port]
    http-request set-header X-Forwarded-Proto SCHEME
    http-request set-header X-Forwarded-Scheme SCHEME
    http-request set-header X-Scheme SCHEME
    http-request del-header Proxy
    http-response del-header Server
";

pub(super) fn command(setting: &Setting) -> Result<Command> {
    // Key and certificate in one file.
    let pem = fs::read_to_string(&setting.certificate.chain)?
        + &fs::read_to_string(&setting.certificate.key)?;
    fs::write(setting.folder.join("pem"), pem)?;
    let path = setting.folder.join("haproxy.cfg");
    fs::write(&path, configuration(setting)?)?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(path);
    Ok(command)
}

const DEFAULTS: &str = "global
    nbthread 1
    maxconn 4096
    tune.ssl.default-dh-param 2048
defaults
    mode http
    option http-keep-alive
    http-reuse always
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 75s
    timeout http-request 60s
    retry-on conn-failure empty-response
";

fn configuration(setting: &Setting) -> Result<String> {
    let at = setting.folder.display();
    let mut text = DEFAULTS.to_owned();
    let mut backends = vec!["web".to_owned()];
    let mut map = String::new();
    let mut rule = format!(
        "    use_backend %[base,map_beg({at}/map)] if {{ base,map_beg({at}/map) -m found }}"
    );
    match setting.routes {
        Routes::One => rule = format!("    use_backend web if {{ req.hdr(Host) -m beg {HOST} }}"),
        Routes::Many(hosts) => {
            for n in 0..hosts {
                for p in 0..PATHS {
                    writeln!(map, "{}/p{p} web", host(n))?;
                }
            }
        }
        Routes::Ingresses(count) => {
            backends = (0..count).map(|n| format!("web-{n}")).collect();
            for n in 0..count {
                writeln!(map, "{}/ web-{n}\n{}/api web-{n}", host(n), host(n))?;
            }
        }
    }
    fs::write(setting.folder.join("map"), map)?;
    let tls = format!("ssl crt {at}/pem alpn h2,http/1.1 ssl-min-ver TLSv1.2 curves X25519:P-256");
    for (scheme, address, tls) in [("http", setting.http, ""), ("https", setting.https, &tls)] {
        let headers = HEADERS.replace("SCHEME", scheme);
        writeln!(
            text,
            "frontend {scheme}\n    bind {address} {tls}{headers}{rule}"
        )?;
    }
    for backend in backends {
        writeln!(
            text,
            "backend {backend}\n    server one {ADDRESS}:{} pool-max-conn 320",
            ENDPOINTS[0]
        )?;
    }
    Ok(text)
}
