// SPDX-License-Identifier: Apache-2.0
//! The block SERVER of the template.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::location::Here;
use super::model::{CATCH_ALL, Certificate, DEFAULT, Server, Source};
use super::{Page, Scheme, Text, put, quoted};

/// buildServerName: a wildcard covers one label.
fn server_name(host: &str) -> String {
    match host.strip_prefix("*.") {
        None => host.to_owned(),
        Some(rest) => format!("~^(?<subdomain>[\\w-]+)\\.{}$", rest.replace('.', "\\.")),
    }
}

impl Page<'_> {
    pub(super) fn server(
        &self,
        text: &mut Text,
        server: &Server<'_>,
        scheme: Scheme,
    ) -> Result<()> {
        let name = server_name(&server.host).replace('"', "\\\"");
        put!(text, "server {{\nserver_name \"{name}\"");
        for alias in &server.aliases {
            put!(text, "{}", quoted(alias));
        }
        text.line(";");
        self.listen(text, server, scheme);
        text.line("set $proxy_upstream_name \"-\";");
        if let Some(source) = &server.clients
            && let Some(name) = source.annotations.text("auth-tls-match-cn")
        {
            put!(text, "if ( $ssl_client_s_dn !~ \"{name}\" ) {{");
            text.line("return 403 \"client certificate unauthorized\"; }");
        }
        if server.clients_wrong {
            text.line("return 403;\n}");
            return Ok(());
        }
        self.clients(text, server, scheme);
        if let Some(source) = &server.endpoints {
            self.endpoint_tls(text, source);
        }
        if self.settings.on("allow-snippet-annotations", false)
            && let Some(snippet) = &server.snippet
        {
            text.line(snippet);
        }
        self.error_locations(text, server);
        self.mirrors(text, server);
        let regex = server.locations.iter().any(super::model::Location::regex);
        for (number, location) in server.locations.iter().enumerate() {
            let here = Here {
                server,
                location,
                number,
                scheme,
                regex,
            };
            self.location(text, &here)?;
        }
        if server.host == CATCH_ALL {
            text.line("location /healthz { access_log off; return 200; }");
        }
        text.line("}");
        Ok(())
    }

    fn listen(&self, text: &mut Text, server: &Server<'_>, scheme: Scheme) {
        let (address, folder) = (self.setup.address, self.setup.folder.display());
        let first = match server.host == CATCH_ALL {
            true => "default_server backlog=1024",
            false => "",
        };
        if scheme == Scheme::Http {
            put!(text, "listen {address}:80 {first};");
            return;
        }
        let http2 = match self.settings.on("use-http2", true) {
            true => "http2",
            false => "",
        };
        put!(text, "listen {address}:443 {first} ssl {http2};");
        if server.certificate == Some(Certificate::Own) {
            put!(text, "ssl_certificate {folder}/own.pem;");
            put!(text, "ssl_certificate_key {folder}/own.pem;");
        }
        if let Some(ciphers) = &server.ciphers {
            put!(text, "ssl_ciphers {ciphers};");
        }
        if let Some(prefer) = server.prefer_ciphers {
            let prefer = if prefer { "on" } else { "off" };
            put!(text, "ssl_prefer_server_ciphers {prefer};");
        }
    }

    fn clients(&self, text: &mut Text, server: &Server<'_>, scheme: Scheme) {
        let Some(source) = &server.clients else {
            return;
        };
        let annotations = &source.annotations;
        let secret = annotations.text("auth-tls-secret").unwrap_or_default();
        if scheme == Scheme::Https {
            let file = self.secret_file(&source.case.name, secret, "ca.crt");
            put!(text, "ssl_client_certificate {};", file.display());
            let verify = annotations.text("auth-tls-verify-client").unwrap_or("on");
            put!(text, "ssl_verify_client {verify};");
            let depth = annotations.number("auth-tls-verify-depth");
            put!(
                text,
                "ssl_verify_depth {};",
                depth.filter(|d| *d != 0).unwrap_or(1)
            );
        }
        if let Some(page) = annotations.text("auth-tls-error-page") {
            put!(text, "error_page 495 496 = {page};");
        }
    }

    /// What is said of a client's certificate.
    pub(super) fn client_certificate(&self, text: &mut Text, server: &Server<'_>, set: &str) {
        let Some(source) = &server.clients else {
            return;
        };
        if source
            .annotations
            .on("auth-tls-pass-certificate-to-upstream")
        {
            put!(text, "{set} ssl-client-cert $ssl_client_escaped_cert;");
        }
        put!(text, "{set} ssl-client-verify $ssl_client_verify;");
        put!(text, "{set} ssl-client-subject-dn $ssl_client_s_dn;");
        put!(text, "{set} ssl-client-issuer-dn $ssl_client_i_dn;");
    }

    /// How endpoints are believed: internal/ingress/annotations/proxyssl.
    pub(super) fn endpoint_tls(&self, text: &mut Text, source: &Source<'_>) {
        let annotations = &source.annotations;
        let Some(secret) = annotations.text("proxy-ssl-secret") else {
            return;
        };
        let get = |name, default| annotations.text(name).unwrap_or(default).to_owned();
        let file = |key| self.secret_file(&source.case.name, secret, key);
        put!(
            text,
            "proxy_ssl_trusted_certificate {};",
            file("ca.crt").display()
        );
        put!(
            text,
            "proxy_ssl_ciphers {};",
            get("proxy-ssl-ciphers", "DEFAULT")
        );
        let protocols = get("proxy-ssl-protocols", "TLSv1.2");
        put!(text, "proxy_ssl_protocols {protocols};");
        put!(text, "proxy_ssl_verify {};", get("proxy-ssl-verify", "off"));
        let depth = annotations.number("proxy-ssl-verify-depth");
        put!(
            text,
            "proxy_ssl_verify_depth {};",
            depth.filter(|d| *d != 0).unwrap_or(1)
        );
        if let Some(name) = annotations.text("proxy-ssl-name") {
            put!(text, "proxy_ssl_name {name};");
        }
        put!(
            text,
            "proxy_ssl_server_name {};",
            get("proxy-ssl-server-name", "off")
        );
        if file("tls.crt").exists() {
            put!(text, "proxy_ssl_certificate {};", file("tls.crt").display());
            put!(
                text,
                "proxy_ssl_certificate_key {};",
                file("tls.key").display()
            );
        }
    }

    fn error_locations(&self, text: &mut Text, server: &Server<'_>) {
        let mut codes: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        let all = self.settings.list("custom-http-errors");
        codes.entry(DEFAULT).or_default().extend(all);
        for location in &server.locations {
            let own = location
                .annotations()
                .map(|a| a.ranges("custom-http-errors"));
            let own = own.into_iter().flatten().map(str::to_owned);
            codes.entry(&location.errors).or_default().extend(own);
        }
        for (backend, codes) in codes {
            for code in codes {
                put!(text, "location @custom_{backend}_{code} {{\ninternal;");
                text.line("proxy_intercept_errors off;");
                put!(text, "proxy_set_header X-Code {code};");
                text.line("proxy_set_header X-Format $http_accept;");
                text.line("proxy_set_header X-Original-URI $request_uri;");
                text.line("proxy_set_header X-Namespace $namespace;");
                text.line("proxy_set_header X-Ingress-Name $ingress_name;");
                text.line("proxy_set_header X-Service-Name $service_name;");
                text.line("proxy_set_header X-Service-Port $service_port;");
                text.line("proxy_set_header X-Request-ID $req_id;");
                text.line("proxy_set_header X-Forwarded-For $remote_addr;");
                text.line("proxy_set_header Host $best_http_host;");
                text.line("rewrite (.*) / break;");
                put!(text, "proxy_pass http://{};\n}}", self.default_or(backend));
            }
        }
    }

    /// The backend of that name; for the default one, the server that answers 404.
    pub(super) fn default_or(&self, backend: &str) -> String {
        match backend {
            DEFAULT => match self.setup.default {
                Some(address) => address.to_string(),
                None => format!("{}:8181", self.setup.address),
            },
            other => other.to_owned(),
        }
    }

    fn mirrors(&self, text: &mut Text, server: &Server<'_>) {
        let mut done = BTreeSet::new();
        for source in server.locations.iter().filter_map(|l| l.source.as_ref()) {
            let Some(target) = source.annotations.text("mirror-target") else {
                continue;
            };
            let zone = self.zone(source);
            if !done.insert(zone.clone()) {
                continue;
            }
            let own = target.split_once("://").map_or("", |(_, rest)| rest);
            let own = own.split([':', '/', '$']).next().unwrap_or_default();
            let host = source.annotations.text("mirror-host").unwrap_or(own);
            put!(text, "location = \"/_mirror-{zone}\" {{\ninternal;");
            put!(
                text,
                "proxy_set_header Host \"{host}\";\nproxy_pass \"{target}\";\n}}"
            );
        }
    }
}
