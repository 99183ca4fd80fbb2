// SPDX-License-Identifier: Apache-2.0
//! nginx: one worker, connections to endpoints kept, nothing logged.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use anyhow::Result;

use super::{ADDRESS, ENDPOINTS, HOST, PATHS, Routes, Setting, host};

/// What ingress-nginx sets for a location, but for what only its Lua modules know.
const LOCATION: &str = r#"
            set $namespace "default";
            set $ingress_name "NAME";
            set $service_name "NAME";
            set $service_port "80";
            set $location_path "PATH";
            set $balancer_ewma_score -1;
            set $proxy_upstream_name "default-NAME-80";
            set $proxy_host $proxy_upstream_name;
            set $pass_access_scheme $scheme;
            set $pass_server_port $server_port;
            set $best_http_host $http_host;
            set $pass_port $pass_server_port;
            set $proxy_alternative_upstream_name "";
            port_in_redirect off;
            client_max_body_size 1m;
            proxy_set_header Host $best_http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Request-ID $req_id;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Host $best_http_host;
            proxy_set_header X-Forwarded-Port $pass_port;
            proxy_set_header X-Forwarded-Proto $pass_access_scheme;
            proxy_set_header X-Forwarded-Scheme $pass_access_scheme;
            proxy_set_header X-Scheme $pass_access_scheme;
            proxy_set_header X-Original-Forwarded-For $http_x_forwarded_for;
            proxy_set_header Proxy "";
            proxy_connect_timeout 5s;
            proxy_send_timeout 60s;
            proxy_read_timeout 60s;
            proxy_buffering off;
            proxy_buffer_size 4k;
            proxy_buffers 4 4k;
            proxy_max_temp_file_size 1024m;
            proxy_request_buffering on;
            proxy_http_version 1.1;
            proxy_cookie_domain off;
            proxy_cookie_path off;
            proxy_next_upstream error timeout;
            proxy_next_upstream_timeout 0;
            proxy_next_upstream_tries 3;
            proxy_pass http://endpoints;
            proxy_redirect off;
"#;

/// Tuned: headers are set once, so that locations inherit them.
const HEADERS: &str = r#"
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Request-ID $req_id;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Port $server_port;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Scheme $scheme;
    proxy_set_header X-Scheme $scheme;
    proxy_set_header X-Original-Forwarded-For $http_x_forwarded_for;
    proxy_set_header Proxy "";
    proxy_buffers 8 16k;
    proxy_buffer_size 16k;
"#;

pub(super) fn command(setting: &Setting) -> Result<Command> {
    let path = setting.folder.join("nginx.conf");
    fs::write(&path, configuration(setting)?)?;
    let mut command = Command::new("nginx");
    command
        .arg("-c")
        .arg(path)
        .args(["-g", "daemon off;", "-e"])
        .arg(setting.folder.join("error"));
    Ok(command)
}

/// What holds for all servers.
fn common(setting: &Setting) -> String {
    let at = setting.folder.display();
    format!(
        "worker_processes 1;\npid {at}/pid;\n\
         events {{ worker_connections 4096; multi_accept on; }}\nhttp {{\n\
         access_log off; tcp_nodelay on; server_tokens off;\n\
         keepalive_timeout 75s; keepalive_requests 1000;\n\
         client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
         uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
         server_names_hash_max_size 65536; server_names_hash_bucket_size 128;\n\
         variables_hash_max_size 2048; map_hash_bucket_size 128;\n\
         proxy_headers_hash_max_size 512; proxy_headers_hash_bucket_size 64;\n\
         map $http_x_request_id $req_id {{ default $http_x_request_id; '' $request_id; }}\n\
         map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n\
         upstream endpoints {{ server {ADDRESS}:{}; keepalive 320; keepalive_requests 10000; }}\n\
         ssl_certificate {}; ssl_certificate_key {};\n\
         ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519:P-256;\n\
         ssl_session_cache shared:SSL:10m; ssl_session_timeout 10m; ssl_session_tickets on;\n",
        ENDPOINTS[0],
        setting.certificate.chain.display(),
        setting.certificate.key.display()
    )
}

fn configuration(setting: &Setting) -> Result<String> {
    let mut text = common(setting);
    match setting.routes {
        Routes::One => {
            text.push_str(HEADERS);
            let location = "location / { proxy_pass http://endpoints; }";
            server(&mut text, setting, HOST, location, true)?;
        }
        Routes::Many(hosts) => {
            text.push_str(HEADERS);
            let mut locations = String::new();
            for p in 0..PATHS {
                for start in [format!("/p{p}/"), format!("= /p{p}")] {
                    writeln!(
                        locations,
                        "location {start} {{ proxy_pass http://endpoints; }}"
                    )?;
                }
            }
            for n in 0..hosts {
                server(&mut text, setting, &host(n), &locations, n == 0)?;
            }
        }
        Routes::Ingresses(count) => {
            for n in 0..count {
                let (name, mut locations) = (format!("web-{n}"), String::new());
                for (start, path) in [("/", "/"), ("/api/", "/api"), ("= /api", "/api")] {
                    let location = LOCATION.replace("NAME", &name).replace("PATH", path);
                    writeln!(locations, "location {start} {{{location}}}")?;
                }
                locations.push_str("set $proxy_upstream_name \"-\";\n");
                server(&mut text, setting, &host(n), &locations, n == 0)?;
            }
        }
    }
    text.push_str("}\n");
    Ok(text)
}

fn server(
    text: &mut String,
    setting: &Setting,
    name: &str,
    locations: &str,
    first: bool,
) -> Result<()> {
    let options = if first { "reuseport backlog=4096" } else { "" };
    writeln!(
        text,
        "server {{ listen {} {options}; listen {} ssl http2 {options};\nserver_name {name};\n\
         {locations}\n}}",
        setting.http, setting.https
    )?;
    Ok(())
}
