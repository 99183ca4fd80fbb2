// SPDX-License-Identifier: Apache-2.0
//! Authentication: the locations that ask another server, and what a location says about it.

use super::annotations::Annotations;
use super::location::Here;
use super::{Page, Text, put, quoted};

/// Paths that nobody has to authenticate for: configmap.md, no-auth-locations.
const OPEN: &str = "/.well-known/acme-challenge";

/// External authentication, by annotations or for all.
pub(super) struct External {
    url: String,
    method: Option<String>,
    signin: Option<String>,
    param: String,
    response_headers: Vec<String>,
    redirect: Option<String>,
    cache_key: Option<String>,
    cache_for: Vec<String>,
    headers: Option<String>,
    always_cookie: bool,
}

impl External {
    fn of(annotations: &Annotations) -> Option<Self> {
        let text = |name| annotations.text(name).map(str::to_owned);
        let list = |value: Option<String>| {
            let value = value.unwrap_or_default();
            let parts = value.split(',').map(|part| part.trim().to_owned());
            parts.filter(|part| !part.is_empty()).collect::<Vec<_>>()
        };
        let mut cache_for = list(text("auth-cache-duration"));
        if cache_for.is_empty() {
            cache_for.push("200 202 401 5m".to_owned());
        }
        Some(Self {
            url: text("auth-url")?,
            method: text("auth-method"),
            signin: text("auth-signin"),
            param: text("auth-signin-redirect-param").unwrap_or_else(|| "rd".to_owned()),
            response_headers: list(text("auth-response-headers")),
            redirect: text("auth-request-redirect"),
            cache_key: text("auth-cache-key"),
            cache_for,
            headers: text("auth-proxy-set-headers"),
            always_cookie: annotations.on("auth-always-set-cookie"),
        })
    }

    /// Where who is not known signs in: buildAuthSignURL.
    fn signin(&self, url: &str) -> String {
        let param = &self.param;
        let back = format!("{param}=$pass_access_scheme://$http_host$escaped_request_uri");
        match url.split_once('?') {
            None => format!("{url}?{back}"),
            Some((_, query))
                if query
                    .split('&')
                    .any(|q| q.starts_with(&format!("{param}="))) =>
            {
                url.to_owned()
            }
            Some(_) => format!("{url}&{back}"),
        }
    }
}

impl Page<'_> {
    pub(super) fn external(&self, here: &Here<'_>) -> Option<External> {
        let annotations = here.location.annotations()?;
        External::of(annotations)
    }

    /// The locations beside the location itself.
    pub(super) fn auth_locations(&self, text: &mut Text, here: &Here<'_>) {
        // A location that is closed asks nobody.
        let Some(external) = self.external(here).filter(|_| here.denied().is_none()) else {
            return;
        };
        put!(text, "location = {} {{\ninternal;", here.auth_path());
        self.subrequest(text, here, &external);
        text.line("}");
        let Some(signin) = &external.signin else {
            return;
        };
        put!(text, "location @signin-{} {{\ninternal;", here.number);
        text.line("add_header Set-Cookie $auth_cookie;");
        if let Some(annotations) = here.location.annotations() {
            super::cors::render(text, annotations);
        }
        put!(text, "return 302 {};\n}}", external.signin(signin));
    }

    fn subrequest(&self, text: &mut Text, here: &Here<'_>, external: &External) {
        let host = &here.server.host;
        if let Some(key) = &external.cache_key {
            put!(
                text,
                "set $tmp_cache_key '{host}{}{key}';",
                here.auth_path()
            );
            text.line("proxy_cache auth_cache;");
            for valid in &external.cache_for {
                put!(text, "proxy_cache_valid {valid};");
            }
            text.line("proxy_cache_key \"$tmp_cache_key\";");
        }
        put!(
            text,
            "set $proxy_upstream_name {};",
            quoted(&here.location.backend)
        );
        text.line("proxy_intercept_errors off;\nproxy_pass_request_body off;");
        text.line(
            "proxy_set_header Content-Length \"\";\nproxy_set_header X-Forwarded-Proto \"\";",
        );
        text.line("proxy_set_header X-Request-ID $req_id;");
        if let Some(method) = &external.method {
            put!(text, "proxy_method {method};");
            text.line("proxy_set_header X-Original-URI $request_uri;");
            text.line("proxy_set_header X-Scheme $pass_access_scheme;");
        }
        let rest = external.url.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let name = authority.split(':').next().unwrap_or_default();
        put!(text, "proxy_set_header Host {name};");
        text.line("proxy_set_header X-Original-URL $scheme://$http_host$request_uri;");
        text.line("proxy_set_header X-Original-Method $request_method;");
        text.line("proxy_set_header X-Sent-From \"nginx-ingress-controller\";");
        text.line("proxy_set_header X-Real-IP $remote_addr;");
        put!(
            text,
            "proxy_set_header X-Forwarded-For {};",
            self.forwarded_for()
        );
        let redirect = external.redirect.as_deref().unwrap_or("$request_uri");
        put!(text, "proxy_set_header X-Auth-Request-Redirect {redirect};");
        if external.cache_key.is_some() {
            text.line("proxy_buffering \"on\";");
        }
        text.line("proxy_ssl_server_name on;\nproxy_pass_request_headers on;");
        self.client_certificate(text, here.server, "proxy_set_header");
        let map = external.headers.as_ref().and_then(|name| {
            let name = name.rsplit('/').next().unwrap_or(name);
            here.location.source.as_ref()?.case.config_maps.get(name)
        });
        for (name, value) in map.into_iter().flatten() {
            put!(text, "proxy_set_header {} {};", quoted(name), quoted(value));
        }
        text.line("proxy_http_version 1.1;");
        put!(
            text,
            "set $target {};\nproxy_pass $target;",
            quoted(&external.url)
        );
    }

    /// What the location itself says.
    pub(super) fn auth(&self, text: &mut Text, here: &Here<'_>, set_header: &str) {
        if here.location.path.starts_with(OPEN) {
            return;
        }
        if let Some(external) = self.external(here) {
            put!(text, "auth_request {};", here.auth_path());
            text.line("auth_request_set $auth_cookie $upstream_http_set_cookie;");
            let always = if external.always_cookie {
                " always"
            } else {
                ""
            };
            put!(text, "add_header Set-Cookie $auth_cookie{always};");
            for (index, header) in external.response_headers.iter().enumerate() {
                let variable = header.to_ascii_lowercase().replace('-', "_");
                put!(
                    text,
                    "auth_request_set $authHeader{index} $upstream_http_{variable};"
                );
                put!(text, "{set_header} '{header}' $authHeader{index};");
            }
            if external.signin.is_some() {
                text.line("set_escape_uri $escaped_request_uri $request_uri;");
                put!(text, "error_page 401 = @signin-{};", here.number);
            }
        }
        let Some(source) = &here.location.source else {
            return;
        };
        let annotations = &source.annotations;
        if annotations.text("auth-type") != Some("basic") {
            return;
        }
        let realm = annotations.text("auth-realm").unwrap_or_default();
        put!(text, "auth_basic {};", quoted(realm));
        let key = match annotations.text("auth-secret-type") {
            Some("auth-map") => "map",
            _ => "auth",
        };
        let secret = annotations.text("auth-secret").unwrap_or_default();
        let file = self.secret_file(&source.case.name, secret, key);
        put!(text, "auth_basic_user_file {};", file.display());
        put!(text, "{set_header} Authorization \"\";");
    }
}
