// SPDX-License-Identifier: Apache-2.0
//! How a location hands requests on: time-outs, sizes, tries, rewriting, protocols.

use super::annotations::Annotations;
use super::location::Here;
use super::model::DEFAULT;
use super::{Page, Text, put, quoted};

impl Page<'_> {
    pub(super) fn proxy(&self, text: &mut Text, here: &Here<'_>) {
        let empty = Annotations::default();
        let annotations = here.location.annotations().unwrap_or(&empty);
        let get = |name: &str, default: &str| {
            let own = annotations.text(name).map(str::to_owned);
            own.unwrap_or_else(|| self.settings.text(name, default))
        };
        put!(
            text,
            "client_max_body_size {};",
            get("proxy-body-size", "1m")
        );
        if let Some(size) = annotations.text("client-body-buffer-size") {
            put!(text, "client_body_buffer_size {size};");
        }
        let buffer = get("proxy-buffer-size", "4k");
        for (directive, name, default, unit) in [
            ("connect_timeout", "proxy-connect-timeout", "5", "s"),
            ("send_timeout", "proxy-send-timeout", "60", "s"),
            ("read_timeout", "proxy-read-timeout", "60", "s"),
            ("buffering", "proxy-buffering", "off", ""),
            ("buffer_size", "proxy-buffer-size", "4k", ""),
            (
                "max_temp_file_size",
                "proxy-max-temp-file-size",
                "1024m",
                "",
            ),
            ("request_buffering", "proxy-request-buffering", "on", ""),
            ("http_version", "proxy-http-version", "1.1", ""),
            ("cookie_domain", "proxy-cookie-domain", "off", ""),
            ("cookie_path", "proxy-cookie-path", "off", ""),
            (
                "next_upstream_timeout",
                "proxy-next-upstream-timeout",
                "0",
                "",
            ),
            ("next_upstream_tries", "proxy-next-upstream-tries", "3", ""),
        ] {
            put!(text, "proxy_{directive} {}{unit};", get(name, default));
        }
        let number = get("proxy-buffers-number", "4");
        put!(text, "proxy_buffers {number} {buffer};");
        let busy = get("proxy-busy-buffers-size", "");
        if !busy.is_empty() {
            put!(text, "proxy_busy_buffers_size {busy};");
        }
        let mut next = get("proxy-next-upstream", "error timeout");
        if self.settings.on("retry-non-idempotent", false) {
            next.push_str(" non_idempotent");
        }
        put!(text, "proxy_next_upstream {next};");
        if self.grpc(annotations) {
            let connect = get("proxy-connect-timeout", "5");
            let (send, read) = (
                get("proxy-send-timeout", "60"),
                get("proxy-read-timeout", "60"),
            );
            put!(
                text,
                "grpc_connect_timeout {connect}s; grpc_send_timeout {send}s;"
            );
            put!(text, "grpc_read_timeout {read}s;");
        }
    }

    fn grpc(&self, annotations: &Annotations) -> bool {
        let protocol = annotations.text("backend-protocol").map(str::to_uppercase);
        protocol.is_some_and(|protocol| protocol.starts_with("GRPC"))
    }

    /// buildProxyPass.
    pub(super) fn pass(&self, text: &mut Text, here: &Here<'_>) {
        let empty = Annotations::default();
        let annotations = here.location.annotations().unwrap_or(&empty);
        let location = here.location;
        let backend = self.model.backends.get(&location.backend);
        let protocol = annotations.text("backend-protocol").map(str::to_uppercase);
        let (directive, scheme) = match protocol.as_deref() {
            _ if location.backend == DEFAULT => ("proxy_pass", "http://"),
            Some("AUTO_HTTP") => ("proxy_pass", "$scheme://"),
            Some("HTTPS") => ("proxy_pass", "https://"),
            Some("GRPC") => ("grpc_pass", "grpc://"),
            Some("GRPCS") => ("grpc_pass", "grpcs://"),
            _ => ("proxy_pass", "http://"),
        };
        // balancer.lua, rewrite: nobody is there.
        if location.backend != DEFAULT && backend.is_none_or(|b| b.endpoints.is_empty()) {
            text.line("return 503;");
        }
        let set = if directive == "grpc_pass" {
            "grpc_set_header"
        } else {
            "proxy_set_header"
        };
        if annotations.rewrites(&location.path)
            && let Some(target) = annotations.text("rewrite-target")
        {
            let path = location.path.replace('\\', "\\\\").replace('"', "\\\"");
            put!(text, "rewrite \"(?i){path}\" {target} break;");
            if let Some(prefix) = annotations.text("x-forwarded-prefix") {
                put!(text, "{set} X-Forwarded-Prefix {};", quoted(prefix));
            }
        }
        if location.backend == DEFAULT || backend.is_some_and(|b| !b.endpoints.is_empty()) {
            let target = match backend {
                Some(backend) => self.target(backend),
                None => self.default_or(&location.backend),
            };
            put!(text, "{directive} {scheme}{target};");
        }
        let from = annotations.text("proxy-redirect-from").unwrap_or("off");
        let to = annotations.text("proxy-redirect-to").unwrap_or("off");
        match (from, to) {
            ("default", _) if self.has_variables(here, scheme) => {}
            ("default" | "off", _) => put!(text, "proxy_redirect {from};"),
            (_, "off") => {}
            (from, to) => put!(text, "proxy_redirect {from} {to};"),
        }
        if let Some(source) = &location.source {
            self.endpoint_tls(text, source);
        }
    }

    /// nginx has no default redirect for a `proxy_pass` with variables.
    fn has_variables(&self, here: &Here<'_>, scheme: &str) -> bool {
        let backend = self.model.backends.get(&here.location.backend);
        scheme.contains('$') || backend.is_some_and(|b| self.target(b).contains('$'))
    }
}
