// SPDX-License-Identifier: Apache-2.0
//! A location of the template.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::model::{CATCH_ALL, Kind, Location, Server};
use super::{Page, Scheme, Text, cors, put, quoted};

/// Paths that are not redirected to HTTPS: configmap.md, no-tls-redirect-locations.
const PLAIN: &str = "/.well-known/acme-challenge";

/// The location that is written.
pub(super) struct Here<'a> {
    pub(super) server: &'a Server<'a>,
    pub(super) location: &'a Location<'a>,
    pub(super) number: usize,
    pub(super) scheme: Scheme,
    /// All paths of the host are regular expressions.
    pub(super) regex: bool,
}

impl Here<'_> {
    /// Why it answers 503.
    pub(super) fn denied(&self) -> Option<&str> {
        self.location.annotations()?.denied.as_deref()
    }

    /// buildAuthLocation.
    pub(super) fn auth_path(&self) -> String {
        let path = URL_SAFE_NO_PAD.encode(&self.location.path);
        format!("/_external-auth-{path}-{:?}", self.location.kind)
    }

    /// buildLocation.
    fn head(&self) -> String {
        let path = self
            .location
            .path
            .replace('\\', "\\\\")
            .replace('"', "\\\"");
        match (self.regex, self.location.kind) {
            (true, _) => format!("~* \"^{path}\""),
            (false, Kind::Exact) => format!("= \"{path}\""),
            (false, _) => format!("\"{path}\""),
        }
    }
}

impl Page<'_> {
    pub(super) fn location(&self, text: &mut Text, here: &Here<'_>) -> Result<()> {
        let empty = super::annotations::Annotations::default();
        let annotations = here.location.annotations().unwrap_or(&empty);
        if let Some(root) = annotations
            .text("app-root")
            .filter(|root| root.starts_with('/'))
        {
            put!(
                text,
                "if ($uri = /) {{ return 302 $scheme://$http_host{root}; }}"
            );
        }
        self.auth_locations(text, here);
        put!(text, "location {} {{", here.head());
        self.variables(text, here);
        if annotations.denied.is_some() {
            text.line("return 503;\n}");
            return Ok(());
        }
        if let Some(source) = &here.location.source
            && annotations.text("mirror-target").is_some()
        {
            put!(text, "mirror \"/_mirror-{}\";", self.zone(source));
            let body = annotations.text("mirror-request-body");
            put!(
                text,
                "mirror_request_body {};",
                body.filter(|b| *b == "off").unwrap_or("on")
            );
        }
        self.ranges(text, here);
        cors::render(text, annotations);
        let set = match annotations
            .text("backend-protocol")
            .map(str::to_uppercase)
            .as_deref()
        {
            Some("GRPC" | "GRPCS") => "grpc_set_header",
            _ => "proxy_set_header",
        };
        self.auth(text, here, set);
        self.rates(text, here);
        self.headers(text, here, set);
        self.proxy(text, here);
        self.cookie(text, here.server, here.location, here.scheme);
        if self.settings.on("allow-snippet-annotations", false)
            && let Some(snippet) = annotations.text("configuration-snippet")
        {
            text.line(snippet);
        }
        self.answers(text, here);
        self.redirects(text, here);
        self.pass(text, here);
        text.line("}");
        Ok(())
    }

    fn variables(&self, text: &mut Text, here: &Here<'_>) {
        let location = here.location;
        let source = location.source.as_ref();
        let [namespace, name] = source.map_or(["", ""], |s| [&s.case.name, &s.name]);
        for (variable, value) in [
            ("namespace", namespace),
            ("ingress_name", name),
            ("service_name", &location.service),
            ("service_port", &location.port),
            ("proxy_upstream_name", &location.backend),
        ] {
            put!(text, "set ${variable} {};", quoted(value));
        }
        text.line("set $pass_access_scheme $access_scheme;\nset $pass_port $access_port;");
        text.line("set $best_http_host $access_host;");
        let port = location
            .annotations()
            .is_some_and(|a| a.on("use-port-in-redirects"));
        put!(
            text,
            "port_in_redirect {};",
            if port { "on" } else { "off" }
        );
    }

    /// annotations.md, Whitelist and Denylist source range; the global lists hold without.
    fn ranges(&self, text: &mut Text, here: &Here<'_>) {
        let own = |name: &str| {
            let own = here.location.annotations().map(|a| a.ranges(name));
            let own = own.filter(|own| !own.is_empty());
            match own {
                Some(own) => own.into_iter().map(str::to_owned).collect(),
                None if here.location.source.is_some() => self.settings.list(name),
                None => Vec::new(),
            }
        };
        for range in own("denylist-source-range") {
            put!(text, "deny {range};");
        }
        let allowed = own("whitelist-source-range");
        for range in &allowed {
            put!(text, "allow {range};");
        }
        if !allowed.is_empty() {
            text.line("deny all;");
        }
    }

    /// annotations.md, Rate Limiting: buildRateLimit.
    fn rates(&self, text: &mut Text, here: &Here<'_>) {
        let Some(source) = &here.location.source else {
            return;
        };
        let (zone, annotations) = (self.zone(source), &source.annotations);
        let number = |name| annotations.number(name).unwrap_or(0);
        let factor = annotations.number("limit-burst-multiplier").unwrap_or(5);
        if number("limit-connections") > 0 {
            put!(
                text,
                "limit_conn {zone}_conn {};",
                number("limit-connections")
            );
        }
        for (name, kind) in [("limit-rps", "rps"), ("limit-rpm", "rpm")] {
            let limit = number(name);
            if limit > 0 {
                put!(
                    text,
                    "limit_req zone={zone}_{kind} burst={} nodelay;",
                    limit * factor
                );
            }
        }
        let default = |key: &str| self.settings.text(key, "0").parse().unwrap_or(0);
        let or = |name| annotations.number(name).unwrap_or_else(|| default(name));
        if or("limit-rate-after") > 0 {
            put!(text, "limit_rate_after {}k;", or("limit-rate-after"));
        }
        if or("limit-rate") > 0 {
            put!(text, "limit_rate {}k;", or("limit-rate"));
        }
    }

    pub(super) fn forwarded_for(&self) -> &'static str {
        let full = self.settings.on("compute-full-forwarded-for", false);
        match full && self.settings.forwarded() {
            true => "$full_x_forwarded_for",
            false => "$remote_addr",
        }
    }

    fn headers(&self, text: &mut Text, here: &Here<'_>, set: &str) {
        let annotations = here.location.annotations();
        let own = |name: &str| annotations.and_then(|a| a.text(name));
        match own("upstream-vhost") {
            Some(host) => put!(text, "{set} Host {};", quoted(host)),
            None => put!(text, "{set} Host $best_http_host;"),
        }
        self.client_certificate(text, here.server, set);
        put!(text, "{set} Upgrade $http_upgrade;");
        let connection = own("connection-proxy-header").unwrap_or("$connection_upgrade");
        put!(text, "{set} Connection {connection};");
        let lower = |name: &str| format!("$http_{}", name.to_lowercase().replace('-', "_"));
        let original = self
            .settings
            .text("forwarded-for-header", "X-Forwarded-For");
        let original_host = self
            .settings
            .text("forwarded-host-header", "X-Forwarded-Host");
        for (name, value) in [
            ("X-Request-ID", "$req_id"),
            ("X-Real-IP", "$remote_addr"),
            ("X-Forwarded-For", self.forwarded_for()),
            ("X-Forwarded-Host", "$best_http_host"),
            ("X-Forwarded-Port", "$pass_port"),
            ("X-Forwarded-Proto", "$pass_access_scheme"),
            ("X-Forwarded-Scheme", "$pass_access_scheme"),
            ("X-Scheme", "$pass_access_scheme"),
            ("X-Original-Forwarded-For", &lower(&original)),
            ("X-Original-Forwarded-Host", &lower(&original_host)),
            ("Proxy", "\"\""),
        ] {
            put!(text, "{set} {name} {value};");
        }
        if self.settings.on("proxy-add-original-uri-header", false) {
            put!(text, "{set} X-Original-URI $request_uri;");
        }
        for (name, value) in self.named_map("proxy-set-headers") {
            put!(text, "{set} {name} {};", quoted(value));
        }
    }

    /// What is done with answers.
    fn answers(&self, text: &mut Text, here: &Here<'_>) {
        let Some(source) = &here.location.source else {
            return;
        };
        let annotations = &source.annotations;
        if let Some(map) = annotations.text("custom-headers") {
            let map = map
                .rsplit('/')
                .next()
                .and_then(|map| source.case.config_maps.get(map));
            for (name, value) in map.into_iter().flatten() {
                let header = format!("{name}: {value}").replace('$', "${literal_dollar}");
                put!(text, "more_set_headers {};", quoted(&header));
            }
        }
        if here.location.backend.starts_with("custom-default-backend-") {
            text.line("proxy_set_header X-Code 503;\nproxy_set_header X-Format $http_accept;");
            text.line("proxy_set_header X-Namespace $namespace;");
            text.line("proxy_set_header X-Ingress-Name $ingress_name;");
            text.line("proxy_set_header X-Service-Name $service_name;");
            text.line("proxy_set_header X-Service-Port $service_port;");
        }
        if let Some(satisfy) = annotations.text("satisfy") {
            put!(text, "satisfy {satisfy};");
        }
        if annotations.on("relative-redirects") {
            text.line("absolute_redirect off;");
        }
        let codes = annotations.ranges("custom-http-errors");
        if !codes.is_empty() && !annotations.on("disable-proxy-intercept-errors") {
            text.line("proxy_intercept_errors on;");
        }
        for code in codes {
            put!(
                text,
                "error_page {code} = @custom_{}_{code};",
                here.location.errors
            );
        }
        if let Some(hsts) = self
            .settings
            .hsts()
            .filter(|_| here.scheme == Scheme::Https)
        {
            put!(
                text,
                "more_set_headers \"Strict-Transport-Security: {hsts}\";"
            );
        }
    }

    /// annotations.md, Permanent and Temporal Redirect, Server-side HTTPS enforcement.
    fn redirects(&self, text: &mut Text, here: &Here<'_>) {
        let Some(annotations) = here.location.annotations() else {
            return;
        };
        let get = |name| annotations.text(name).filter(|url| url.starts_with("http"));
        let code = |name, most, usual| {
            let code = annotations
                .number(name)
                .filter(|code| (300..=most).contains(code));
            code.unwrap_or(usual)
        };
        if annotations.text("temporal-redirect").is_some() {
            // One that is no URL takes the permanent one along.
            if let Some(url) = get("temporal-redirect") {
                let code = code("temporal-redirect-code", 307, 302);
                put!(text, "return {code} {url};");
            }
        } else if let Some(url) = annotations.text("permanent-redirect") {
            let code = code("permanent-redirect-code", 308, 301);
            put!(text, "return {code} {url};");
        }
        let or = |name, default| {
            let usual = self.settings.on(name, default);
            annotations.switch(name).unwrap_or(usual)
        };
        let forced = or("force-ssl-redirect", false);
        // The server of all other hosts has a certificate, but none of them has (certificate.lua).
        let own = here.server.certificate.is_some() && here.server.host != CATCH_ALL;
        let secured = or("ssl-redirect", true) && own;
        if here.location.path.starts_with(PLAIN) || !(forced || secured) {
            return;
        }
        let uri = match or("preserve-trailing-slash", false) {
            true => "$request_uri",
            false => "$redirect_uri",
        };
        let port = if annotations.on("use-port-in-redirects") {
            ":443"
        } else {
            ""
        };
        let code = self.settings.text("http-redirect-code", "308");
        let answer = format!("return {code} https://$redirect_host{port}{uri}; }}");
        if annotations.on("enable-cors") {
            // Lua redirects within the location that `if ($cors = "true")` made, with its headers.
            // Of two blocks of `if` only the last one's would be there.
            text.line("set $cors_scheme $cors-$pass_access_scheme;");
            text.line("if ($cors_scheme = \"true-http\") {");
            cors::headers(text, annotations);
            text.line(answer.as_str());
        }
        text.line("if ($pass_access_scheme = http) {");
        text.line(answer.as_str());
    }
}
