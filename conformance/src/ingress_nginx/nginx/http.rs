// SPDX-License-Identifier: Apache-2.0
//! The block `http` of the template, and what stands before it.

use std::collections::BTreeSet;

use anyhow::Result;

use super::model::CATCH_ALL;
use super::{Page, Scheme, Text, put, quoted};

/// Where Debian keeps modules.
const MODULES: &str = "/usr/lib/nginx/modules";
/// The types that are compressed: configmap.md, gzip-types.
const TYPES: &str = "application/atom+xml application/javascript application/x-javascript \
    application/json application/rss+xml application/vnd.ms-fontobject application/x-font-ttf \
    application/x-web-app-manifest+json application/xhtml+xml application/xml font/opentype \
    image/svg+xml image/x-icon text/css text/javascript text/plain text/x-component";
/// configmap.md, ssl-ciphers.
const CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
    ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:\
    ECDHE-RSA-CHACHA20-POLY1305:DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384";

impl Page<'_> {
    pub(super) fn http(&self) -> Result<String> {
        let mut text = Text::default();
        self.main(&mut text);
        text.line("http {");
        self.common(&mut text);
        self.requests(&mut text);
        self.tls(&mut text);
        self.compression(&mut text);
        self.maps(&mut text);
        self.limits(&mut text);
        self.backends(&mut text)?;
        self.www(&mut text);
        for server in self.model.servers.values() {
            for scheme in [Scheme::Http, Scheme::Https] {
                self.server(&mut text, server, scheme)?;
            }
        }
        let address = self.setup.address;
        // The backend of what nobody serves.
        put!(
            text,
            "server {{ listen {address}:8181; location / {{ return 404; }} }}"
        );
        text.line("}");
        Ok(text.0)
    }

    fn main(&self, text: &mut Text) {
        let folder = self.setup.folder.display();
        let brotli = self.settings.on("enable-brotli", false);
        let modules = [
            ("ndk_http_module", true),
            ("ngx_http_set_misc_module", true),
            ("ngx_http_headers_more_filter_module", true),
            ("ngx_http_brotli_filter_module", brotli),
        ];
        for (module, _) in modules.iter().filter(|(_, wanted)| *wanted) {
            put!(text, "load_module {MODULES}/{module}.so;");
        }
        put!(
            text,
            "user root;\ndaemon off;\nworker_processes 1;\npid {folder}/pid;"
        );
        put!(text, "error_log {folder}/error.log warn;");
        text.line("worker_rlimit_nofile 8192;");
        text.line("events { multi_accept on; worker_connections 4096; }");
    }

    fn common(&self, text: &mut Text) {
        let folder = self.setup.folder.display();
        let get = |key, default| self.settings.text(key, default);
        text.line("tcp_nopush on; tcp_nodelay on; log_subrequest on; access_log off;");
        text.line("reset_timedout_connection on;");
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            put!(text, "{kind}_temp_path {folder}/{kind};");
        }
        put!(text, "keepalive_timeout {}s;", get("keep-alive", "75"));
        put!(
            text,
            "keepalive_requests {};",
            get("keep-alive-requests", "1000")
        );
        put!(
            text,
            "proxy_cache_path {folder}/auth levels=1:2 keys_zone=auth_cache:10m max_size=128m \
             inactive=30m use_temp_path=off;"
        );
        text.line("types_hash_max_size 2048; server_names_hash_max_size 65536;");
        text.line("server_names_hash_bucket_size 256; map_hash_bucket_size 256;");
        text.line("proxy_headers_hash_max_size 512; proxy_headers_hash_bucket_size 64;");
        text.line("variables_hash_bucket_size 256; variables_hash_max_size 8192;");
        text.line("include /etc/nginx/mime.types; default_type text/html;");
        text.line("uninitialized_variable_warn off;");
        text.line("server_name_in_redirect off; port_in_redirect off;");
        text.line("proxy_ssl_session_reuse on;");
    }

    fn requests(&self, text: &mut Text) {
        let get = |key, default| self.settings.text(key, default);
        let switch = |key, default| match self.settings.on(key, default) {
            true => "on",
            false => "off",
        };
        let sizes = [
            (
                "client_header_buffer_size",
                get("client-header-buffer-size", "1k"),
            ),
            (
                "large_client_header_buffers",
                get("large-client-header-buffers", "4 8k"),
            ),
            ("client_header_timeout", get("client-header-timeout", "60")),
            (
                "client_body_buffer_size",
                get("client-body-buffer-size", "8k"),
            ),
            ("client_body_timeout", get("client-body-timeout", "60")),
            ("limit_req_status", get("limit-req-status-code", "503")),
            ("limit_conn_status", get("limit-conn-status-code", "503")),
        ];
        for (name, value) in sizes {
            put!(text, "{name} {value};");
        }
        let underscores = switch("enable-underscores-in-headers", false);
        put!(text, "underscores_in_headers {underscores};");
        let invalid = switch("ignore-invalid-headers", true);
        put!(text, "ignore_invalid_headers {invalid};");
        put!(text, "server_tokens {};", switch("server-tokens", false));
        if !self.settings.on("server-tokens", false) {
            text.line("more_clear_headers Server;");
        }
        if self.settings.on("allow-backend-server-header", false) {
            text.line("proxy_pass_header Server;");
        }
        for header in self.settings.list("hide-headers") {
            put!(text, "proxy_hide_header {header};");
        }
        for (name, value) in self.named_map("add-headers") {
            put!(
                text,
                "more_set_headers {};",
                quoted(&format!("{name}: {value}"))
            );
        }
        for range in self.settings.list("block-cidrs") {
            put!(text, "deny {range};");
        }
        if self.settings.on("relative-redirects", false) {
            text.line("absolute_redirect off;");
        }
        let codes = self.settings.list("custom-http-errors");
        if !codes.is_empty() && !self.settings.on("disable-proxy-intercept-errors", false) {
            text.line("proxy_intercept_errors on;");
        }
        for code in codes {
            put!(
                text,
                "error_page {code} = @custom_upstream-default-backend_{code};"
            );
        }
        if self.settings.forwarded() || self.settings.on("enable-real-ip", false) {
            put!(
                text,
                "real_ip_header {};",
                get("forwarded-for-header", "X-Forwarded-For")
            );
            text.line("real_ip_recursive on;");
            for range in get("proxy-real-ip-cidr", "0.0.0.0/0").split(',') {
                put!(text, "set_real_ip_from {range};");
            }
        }
    }

    /// The entries of a ConfigMap that the ConfigMap names.
    pub(super) fn named_map(&self, key: &str) -> Vec<(&str, &str)> {
        let name = self.settings.text(key, "");
        let map = name
            .rsplit('/')
            .next()
            .and_then(|name| self.setup.maps.get(name));
        let entries = map.into_iter().flatten();
        entries.map(|(name, value)| (&**name, &**value)).collect()
    }

    fn tls(&self, text: &mut Text) {
        let folder = self.setup.folder.display();
        let get = |key, default| self.settings.text(key, default);
        put!(
            text,
            "ssl_protocols {};",
            get("ssl-protocols", "TLSv1.2 TLSv1.3")
        );
        put!(text, "ssl_ciphers '{}';", get("ssl-ciphers", CIPHERS));
        text.line("ssl_prefer_server_ciphers on;");
        put!(text, "ssl_ecdh_curve {};", get("ssl-ecdh-curve", "auto"));
        text.line("ssl_session_cache shared:SSL:10m; ssl_session_timeout 10m;");
        text.line("ssl_session_tickets off; ssl_buffer_size 4k;");
        put!(text, "ssl_certificate {folder}/default.pem;");
        put!(text, "ssl_certificate_key {folder}/default.pem;");
    }

    fn compression(&self, text: &mut Text) {
        let get = |key, default| self.settings.text(key, default);
        if self.settings.on("enable-brotli", false) {
            let (level, least) = (get("brotli-level", "4"), get("brotli-min-length", "20"));
            put!(
                text,
                "brotli on; brotli_comp_level {level}; brotli_min_length {least};"
            );
            put!(text, "brotli_types {};", get("brotli-types", TYPES));
        }
        if self.settings.on("use-gzip", false) {
            let (level, least) = (get("gzip-level", "1"), get("gzip-min-length", "256"));
            put!(
                text,
                "gzip on; gzip_comp_level {level}; gzip_min_length {least};"
            );
            put!(
                text,
                "gzip_http_version 1.1; gzip_proxied any; gzip_vary on;"
            );
            put!(text, "gzip_types {};", get("gzip-types", TYPES));
        }
    }

    fn maps(&self, text: &mut Text) {
        text.line("map $http_upgrade $connection_upgrade { default upgrade; '' ''; }");
        let random = match self.settings.on("generate-request-id", true) {
            true => "'' $request_id;",
            false => "",
        };
        put!(
            text,
            "map $http_x_request_id $req_id {{ default $http_x_request_id; {random} }}"
        );
        text.line("geo $literal_dollar { default \"$\"; }");
        text.line("map $http_x_forwarded_for $full_x_forwarded_for {");
        text.line("default \"$http_x_forwarded_for, $realip_remote_addr\";");
        text.line("'' \"$realip_remote_addr\"; }");
        // What Lua takes from headers: lua_ingress.lua, rewrite.
        let (scheme, port, host) = match self.settings.forwarded() {
            true => (
                "$http_x_forwarded_proto",
                "$http_x_forwarded_port",
                "$http_x_forwarded_host",
            ),
            false => ("''", "''", "''"),
        };
        put!(
            text,
            "map {scheme} $access_scheme {{ default {scheme}; '' $scheme; }}"
        );
        put!(
            text,
            "map {port} $access_port {{ default {port}; '' $server_port; }}"
        );
        let own = "'' $own_host;";
        put!(
            text,
            "map {host} $access_host {{ \"~^([^,]+)\" $1; {own} }}"
        );
        text.line("map $http_host $own_host { default $http_host; '' $host; }");
        text.line("map $access_host $redirect_host { \"~^(?<bare_host>[^:]*)\" $bare_host; }");
        text.line("map $request_uri $redirect_uri {");
        text.line("\"~^(?<without_slash>.*)/$\" $without_slash; default $request_uri; }");
    }

    fn limits(&self, text: &mut Text) {
        let mut done = BTreeSet::new();
        for location in self.model.servers.values().flat_map(|s| &s.locations) {
            let Some(source) = &location.source else {
                continue;
            };
            let id = self.zone(source);
            let limits = ["limit-connections", "limit-rps", "limit-rpm"];
            let limits = limits.map(|name| source.annotations.number(name).unwrap_or(0));
            if limits.iter().all(|limit| *limit == 0) || !done.insert(id.clone()) {
                continue;
            }
            put!(text, "geo $remote_addr $allowlist_{id} {{ default 0;");
            for range in source.annotations.ranges("limit-allowlist") {
                put!(text, "{range} 1;");
            }
            put!(text, "}}\nmap $allowlist_{id} $limit_{id} {{");
            put!(text, "0 $binary_remote_addr; 1 \"\"; }}");
            if limits[0] > 0 {
                put!(text, "limit_conn_zone $limit_{id} zone={id}_conn:5m;");
            }
            if limits[1] > 0 {
                put!(
                    text,
                    "limit_req_zone $limit_{id} zone={id}_rps:5m rate={}r/s;",
                    limits[1]
                );
            }
            if limits[2] > 0 {
                put!(
                    text,
                    "limit_req_zone $limit_{id} zone={id}_rpm:5m rate={}r/m;",
                    limits[2]
                );
            }
        }
    }

    /// The name of an Ingress in names of variables and zones.
    pub(super) fn zone(&self, source: &super::model::Source<'_>) -> String {
        format!("{}_{}", source.case.name, source.name).replace(['-', '.'], "_")
    }

    /// Redirects from or to `www.`.
    fn www(&self, text: &mut Text) {
        let address = self.setup.address;
        let folder = self.setup.folder.display();
        for server in self.model.servers.values().filter(|s| s.www) {
            let to = &server.host;
            let from = match to.strip_prefix("www.") {
                Some(bare) => bare.to_owned(),
                None => format!("www.{to}"),
            };
            if to == CATCH_ALL || self.model.servers.contains_key(&from) {
                continue;
            }
            put!(text, "server {{ server_name {};", quoted(&from));
            put!(text, "listen {address}:80; listen {address}:443 ssl;");
            put!(
                text,
                "ssl_certificate {folder}/own.pem; ssl_certificate_key {folder}/own.pem;"
            );
            let code = self.settings.text("http-redirect-code", "308");
            put!(
                text,
                "return {code} $access_scheme://{to}:$access_port$redirect_uri; }}"
            );
        }
    }
}
