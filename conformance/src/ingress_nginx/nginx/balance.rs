// SPDX-License-Identifier: Apache-2.0
//! Endpoints, canaries and cookies: what ingress-nginx does in Lua, balancer.lua and balancer/*.lua,
//! by maps and upstreams of nginx.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::annotations::Annotations;
use super::model::{Backend, Location, Server};
use super::{Page, Scheme, Text, put, quoted};

/// How often nginx may try endpoints of the same upstream at most.
const TRIES: usize = 4;

/// The name of a backend in names of variables.
fn variable(name: &str) -> String {
    name.replace(['-', '.'], "_")
}

/// The second part of the cookie: md5(md5(backend) + backend), balancer/sticky.lua.
fn cookie_key(backend: &str) -> Result<String> {
    let inner = md5(backend)?;
    md5(&format!("{inner}{backend}"))
}

fn md5(text: &str) -> Result<String> {
    let mut child = Command::new("md5sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("md5sum")?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(text.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let sum = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(sum.split(' ').next().unwrap_or_default().to_owned())
}

/// A whole text, as a pattern of a map, with the case of letters.
fn exactly(text: &str) -> String {
    let mut pattern = String::from("~^");
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() && c != '_' {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    quoted_pattern(&format!("{pattern}$"))
}

fn quoted_pattern(pattern: &str) -> String {
    format!("\"{}\"", pattern.replace('"', "\\\""))
}

/// The name of a header or cookie as nginx's variables have it.
fn lower(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

impl Page<'_> {
    pub(super) fn backends(&self, text: &mut Text) -> Result<()> {
        for backend in self.model.backends.values() {
            if let Some(annotations) = &backend.affinity {
                self.sticky_key(text, backend, annotations)?;
            }
            self.upstream(text, backend);
        }
        for backend in self.model.backends.values() {
            if let Some(canary) = self.canary(backend) {
                self.choice(text, backend, canary)?;
            }
        }
        Ok(())
    }

    /// The canary that shares a backend's requests: the first one that has endpoints.
    pub(super) fn canary(&self, backend: &Backend<'_>) -> Option<&Backend<'_>> {
        let first = backend.alternatives.first()?;
        let canary = self.model.backends.get(first)?;
        (!canary.endpoints.is_empty()).then_some(canary)
    }

    /// What stands for the backend in `proxy_pass`.
    pub(super) fn target(&self, backend: &Backend<'_>) -> String {
        match self.canary(backend) {
            Some(_) => format!("$choice_{}", variable(&backend.name)),
            None => backend.name.clone(),
        }
    }

    fn upstream(&self, text: &mut Text, backend: &Backend<'_>) {
        if backend.endpoints.is_empty() {
            return;
        }
        put!(text, "upstream {} {{", backend.name);
        let annotations = &backend.source.annotations;
        if backend.affinity.is_some() {
            put!(text, "hash $sticky_{} consistent;", variable(&backend.name));
        } else if let Some(by) = annotations.text("upstream-hash-by") {
            put!(text, "hash {by} consistent;");
        }
        // A single endpoint is tried again, too: balancer.lua, set_more_tries.
        let balanced = annotations.text("upstream-hash-by").is_some() || backend.affinity.is_some();
        let rounds = if balanced { 1 } else { TRIES };
        for endpoint in backend
            .endpoints
            .iter()
            .cycle()
            .take(rounds * backend.endpoints.len())
        {
            put!(text, "server {endpoint} max_fails=0;");
        }
        let get = |key, default| self.settings.text(key, default);
        put!(
            text,
            "keepalive {};",
            get("upstream-keepalive-connections", "320")
        );
        put!(
            text,
            "keepalive_time {};",
            get("upstream-keepalive-time", "1h")
        );
        put!(
            text,
            "keepalive_timeout {}s;",
            get("upstream-keepalive-timeout", "60")
        );
        put!(
            text,
            "keepalive_requests {}; }}",
            get("upstream-keepalive-requests", "10000")
        );
    }

    /// Which part of the cookie chooses the endpoint, and the cookie that a client without gets.
    fn sticky_key(
        &self,
        text: &mut Text,
        backend: &Backend<'_>,
        annotations: &Annotations,
    ) -> Result<()> {
        let (name, cookie) = (variable(&backend.name), cookie_name(annotations));
        put!(
            text,
            "map $cookie_{cookie} $sticky_{name} {{ '' $request_id;"
        );
        put!(text, "\"~^(?<sticky_part>[^|]+)\" $sticky_part; }}");
        let key = cookie_key(&backend.name)?;
        put!(
            text,
            "map $cookie_{cookie} $cookie_of_{name} {{ '' \"$request_id|{key}\";"
        );
        text.line("default ''; }");
        Ok(())
    }

    /// docs: annotations.md, Canary: header, cookie, weight; before them whoever has a cookie stays
    /// where it says (balancer.lua, route_to_alternative_balancer).
    fn choice(&self, text: &mut Text, main: &Backend<'_>, canary: &Backend<'_>) -> Result<()> {
        let name = variable(&main.name);
        let by = &canary.source.annotations;
        let (this, that) = (&main.name, &canary.name);
        let total = by.number("canary-weight-total").unwrap_or(100).max(100);
        let weight = by.number("canary-weight").unwrap_or(0).clamp(0, total);
        // split_clients knows hundredths of a percent.
        let percent = format!(
            "{}.{:02}",
            weight * 100 / total,
            weight * 10_000 / total % 100
        );
        match weight {
            0 => put!(text, "map '' $by_weight_{name} {{ default {this}; }}"),
            all if all == total => put!(text, "map '' $by_weight_{name} {{ default {that}; }}"),
            _ => put!(
                text,
                "split_clients $request_id $by_weight_{name} {{ {percent}% {that}; * {this}; }}"
            ),
        }
        let cookie = by
            .text("canary-by-cookie")
            .map_or("''".to_owned(), |c| format!("$cookie_{}", lower(c)));
        put!(
            text,
            "map {cookie} $by_cookie_{name} {{ default $by_weight_{name};"
        );
        put!(text, "\"~^always$\" {that}; \"~^never$\" {this}; }}");
        let header = by
            .text("canary-by-header")
            .map_or("''".to_owned(), |h| format!("$http_{}", lower(h)));
        put!(
            text,
            "map {header} $by_header_{name} {{ default $by_cookie_{name};"
        );
        match (
            by.text("canary-by-header-value"),
            by.text("canary-by-header-pattern"),
        ) {
            (Some(value), _) => put!(text, "{} {that}; }}", exactly(value)),
            (None, Some(pattern)) => {
                put!(
                    text,
                    "{} {that}; }}",
                    quoted_pattern(&format!("~{pattern}"))
                );
            }
            (None, None) => put!(text, "\"~^always$\" {that}; \"~^never$\" {this}; }}"),
        }
        match &main.affinity {
            None => put!(
                text,
                "map '' $choice_{name} {{ default $by_header_{name}; }}"
            ),
            Some(annotations) => {
                let (here, there) = (cookie_key(this)?, cookie_key(that)?);
                put!(
                    text,
                    "map $cookie_{} $choice_{name} {{",
                    cookie_name(annotations)
                );
                put!(text, "\"~\\|{here}$\" {this};");
                // Without the cookie's settings a canary does not know its own cookie.
                if canary.affinity.is_some() {
                    put!(text, "\"~\\|{there}$\" {that};");
                }
                put!(text, "default $by_header_{name}; }}");
            }
        }
        if main.affinity.is_some() {
            put!(
                text,
                "map $choice_{name} $given_{name} {{ {this} $cookie_of_{name};"
            );
            match canary.affinity {
                Some(_) => put!(text, "{that} $cookie_of_{}; }}", variable(that)),
                None => put!(text, "{that} ''; }}"),
            }
        }
        Ok(())
    }

    /// The cookie that keeps a client at its endpoint: annotations.md, Cookie affinity.
    pub(super) fn cookie(
        &self,
        text: &mut Text,
        server: &Server<'_>,
        location: &Location<'_>,
        scheme: Scheme,
    ) {
        let Some(backend) = self.model.backends.get(&location.backend) else {
            return;
        };
        let Some(by) = &backend.affinity else { return };
        let here = (server.host.clone(), location.ingress_path.clone());
        if !backend.cookie_for.contains(&here) {
            return;
        }
        let name = variable(&backend.name);
        let value = match self.canary(backend) {
            Some(_) => format!("$given_{name}"),
            None => format!("$cookie_of_{name}"),
        };
        let mut attributes = String::new();
        let mut add = |attribute: &str| {
            attributes.push_str("; ");
            attributes.push_str(attribute);
        };
        if let Some(age) = by.text("session-cookie-expires") {
            // The moment is not compared, that there is one is.
            let _ = age;
            add("Expires=Thu, 01 Jan 2037 00:00:00 GMT");
        }
        if let Some(age) = by.number("session-cookie-max-age") {
            add(&format!("Max-Age={age}"));
        }
        if let Some(domain) = by.text("session-cookie-domain") {
            add(&format!("Domain={domain}"));
        }
        let path = by.text("session-cookie-path");
        let path = path
            .unwrap_or(&location.ingress_path)
            .replace('$', "${literal_dollar}");
        add(&format!("Path={path}"));
        if by.on("session-cookie-secure") || scheme == Scheme::Https {
            add("Secure");
        }
        add("HttpOnly");
        let same_site = by.text("session-cookie-samesite");
        let same_site = same_site.filter(|s| ["Strict", "Lax", "None"].contains(s));
        let whole = |attributes: &str| {
            let cookie = by.text("session-cookie-name").unwrap_or("INGRESSCOOKIE");
            quoted(&format!("{cookie}={value}{attributes}")).replace("\\\\", "\\")
        };
        text.line("set $affinity_cookie '';");
        put!(text, "if ({value} != '') {{ set $affinity_cookie {}; }}", {
            let same = same_site.map_or(String::new(), |s| format!("; SameSite={s}"));
            whole(&format!("{attributes}{same}"))
        });
        if by.on("session-cookie-conditional-samesite-none") && same_site == Some("None") {
            // util/same_site.lua: these take None for Strict.
            let old = "(Chrome/[456]|CPU iPhone OS 12|iPad; CPU OS 12)";
            put!(text, "set $old_browser \"{value}\";");
            put!(
                text,
                "if ($http_user_agent !~ \"{old}\") {{ set $old_browser ''; }}"
            );
            put!(
                text,
                "if ($old_browser) {{ set $affinity_cookie {}; }}",
                whole(&attributes)
            );
        }
        text.line("add_header Set-Cookie $affinity_cookie always;");
    }
}

fn cookie_name(annotations: &Annotations) -> String {
    annotations
        .text("session-cookie-name")
        .unwrap_or("INGRESSCOOKIE")
        .to_owned()
}
