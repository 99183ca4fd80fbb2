// SPDX-License-Identifier: Apache-2.0
//! The keys of ingress-nginx's ConfigMap, and why some are not served.

/// All of them (its `docs/user-guide/nginx-configuration/configmap.md` and `config.go`), between
/// blanks.
const ALL: &str = "access-log-params access-log-path add-headers allow-backend-server-header \
    allow-cross-namespace-resources allow-snippet-annotations annotation-value-word-blocklist \
    annotations-risk-level app-root bind-address bind-address-ipv4 bind-address-ipv6 block-cidrs \
    block-referers block-user-agents brotli-level brotli-min-length brotli-types \
    client-body-buffer-size client-body-timeout client-header-buffer-size client-header-timeout \
    compute-full-forwarded-for custom-http-errors debug-connections default-type \
    denylist-source-range disable-access-log disable-http-access-log disable-ipv6 \
    disable-ipv6-dns disable-proxy-intercept-errors disable-stream-access-log \
    enable-access-log-for-default-backend enable-aio-write enable-auth-access-log enable-brotli \
    enable-modsecurity enable-multi-accept enable-ocsp enable-opentelemetry \
    enable-owasp-modsecurity-crs enable-real-ip enable-serial-reloads enable-syslog \
    enable-underscores-in-headers error-log-level error-log-path force-ssl-redirect \
    forwarded-for-header forwarded-for-proxy-protocol-header forwarded-host-header \
    generate-request-id geoip2-autoreload-in-minutes global-allowed-response-headers \
    global-auth-always-set-cookie global-auth-cache-duration global-auth-cache-key \
    global-auth-method global-auth-request-redirect global-auth-response-headers \
    global-auth-signin global-auth-signin-redirect-param global-auth-snippet global-auth-url \
    grpc-buffer-size-kb gzip-disable gzip-level gzip-min-length gzip-types hide-headers hsts \
    hsts-include-subdomains hsts-max-age hsts-preload http-access-log-path http-redirect-code \
    http-snippet http2-max-concurrent-streams http2-max-field-size http2-max-header-size \
    http2-max-requests ignore-invalid-headers jaeger-baggage-header jaeger-collector-host \
    jaeger-collector-port jaeger-debug-header jaeger-endpoint jaeger-propagation-format \
    jaeger-sampler-host jaeger-sampler-param jaeger-sampler-port jaeger-sampler-type \
    jaeger-service-name jaeger-trace-baggage-header-prefix jaeger-trace-context-header-name \
    keep-alive keep-alive-requests large-client-header-buffers limit-conn-status-code \
    limit-conn-zone-variable limit-rate limit-rate-after limit-req-status-code load-balance \
    location-snippet log-format-escape-json log-format-escape-none log-format-stream \
    log-format-upstream lua-shared-dicts main-snippet map-hash-bucket-size \
    max-worker-connections max-worker-open-files modsecurity-snippet nginx-status-ipv4-whitelist \
    nginx-status-ipv6-whitelist no-auth-locations no-tls-redirect-locations opentelemetry-config \
    opentelemetry-operation-name opentelemetry-trust-incoming-span otel-max-export-batch-size \
    otel-max-queuesize otel-sampler otel-sampler-parent-based otel-sampler-ratio \
    otel-schedule-delay-millis otel-service-name otlp-collector-host otlp-collector-port \
    preserve-trailing-slash proxy-add-original-uri-header proxy-body-size proxy-buffer-size \
    proxy-buffering proxy-buffers-number proxy-busy-buffers-size proxy-connect-timeout \
    proxy-cookie-domain proxy-cookie-path proxy-headers-hash-bucket-size \
    proxy-headers-hash-max-size proxy-http-version proxy-max-temp-file-size proxy-next-upstream \
    proxy-next-upstream-timeout proxy-next-upstream-tries proxy-protocol-header-timeout \
    proxy-read-timeout proxy-real-ip-cidr proxy-redirect-from proxy-redirect-to \
    proxy-request-buffering proxy-send-timeout proxy-set-headers proxy-ssl-location-only \
    proxy-stream-next-upstream proxy-stream-next-upstream-timeout \
    proxy-stream-next-upstream-tries proxy-stream-responses proxy-stream-timeout \
    relative-redirects retry-non-idempotent reuse-port server-name-hash-bucket-size \
    server-name-hash-max-size server-snippet server-tokens service-upstream skip-access-log-urls \
    ssl-buffer-size ssl-ciphers ssl-dh-param ssl-early-data ssl-ecdh-curve ssl-protocols \
    ssl-redirect ssl-reject-handshake ssl-session-cache ssl-session-cache-size \
    ssl-session-ticket-key ssl-session-tickets ssl-session-timeout stream-access-log-path \
    stream-snippet strict-validate-path-type syslog-host syslog-port upstream-hash-by \
    upstream-hash-by-subset upstream-hash-by-subset-size upstream-keepalive-connections \
    upstream-keepalive-requests upstream-keepalive-time upstream-keepalive-timeout \
    use-forwarded-headers use-geoip use-geoip2 use-gzip use-http2 use-port-in-redirects \
    use-proxy-protocol variables-hash-bucket-size variables-hash-max-size whitelist-source-range \
    worker-cpu-affinity worker-processes worker-shutdown-timeout";

/// Those that are not served, with the reason.
const NOT_SERVED: &[(&str, &str)] = &[
    (
        "tunes nginx itself, which is not there",
        "debug-connections enable-aio-write enable-multi-accept enable-serial-reloads \
        lua-shared-dicts map-hash-bucket-size max-worker-open-files \
        proxy-headers-hash-bucket-size proxy-headers-hash-max-size reuse-port \
        server-name-hash-bucket-size server-name-hash-max-size variables-hash-bucket-size \
        variables-hash-max-size worker-cpu-affinity",
    ),
    (
        "is an annotation only",
        "app-root upstream-hash-by upstream-hash-by-subset upstream-hash-by-subset-size",
    ),
    (
        "the Server of endpoints does not reach clients",
        "allow-backend-server-header",
    ),
    ("is the flag --threads", "worker-processes"),
    ("is the flag --connections", "max-worker-connections"),
    (
        "is the flag --listen-addresses",
        "bind-address bind-address-ipv4 bind-address-ipv6 disable-ipv6",
    ),
    ("addresses of both families are used", "disable-ipv6-dns"),
    (
        "is the flag --access-log",
        "access-log-params access-log-path disable-http-access-log \
        disable-stream-access-log enable-access-log-for-default-backend enable-auth-access-log \
        http-access-log-path log-format-escape-json log-format-escape-none log-format-stream \
        log-format-upstream skip-access-log-urls stream-access-log-path",
    ),
    (
        "is the flags --log-format and -v",
        "error-log-level error-log-path",
    ),
    (
        "lines go to standard output only",
        "enable-syslog syslog-host syslog-port",
    ),
    (
        "there is no ModSecurity: put a firewall in front, or keep ingress-nginx for those hosts",
        "enable-modsecurity enable-owasp-modsecurity-crs modsecurity-snippet",
    ),
    (
        "requests are not traced",
        "enable-opentelemetry jaeger-baggage-header jaeger-collector-host jaeger-collector-port \
        jaeger-debug-header jaeger-endpoint jaeger-propagation-format jaeger-sampler-host \
        jaeger-sampler-param jaeger-sampler-port jaeger-sampler-type jaeger-service-name \
        jaeger-trace-baggage-header-prefix jaeger-trace-context-header-name opentelemetry-config \
        opentelemetry-operation-name opentelemetry-trust-incoming-span \
        otel-max-export-batch-size otel-max-queuesize otel-sampler otel-sampler-parent-based \
        otel-sampler-ratio otel-schedule-delay-millis otel-service-name otlp-collector-host \
        otlp-collector-port",
    ),
    (
        "there is no GeoIP",
        "geoip2-autoreload-in-minutes use-geoip use-geoip2",
    ),
    (
        "no configuration of nginx is executed",
        "http-snippet location-snippet main-snippet server-snippet stream-snippet",
    ),
    ("no OCSP answers are stapled", "enable-ocsp"),
    (
        "heads may have 32 KiB and 100 headers",
        "client-header-buffer-size http2-max-field-size http2-max-header-size \
        large-client-header-buffers",
    ),
    (
        "bodies of answers are passed on as they come; nothing of them is buffered",
        "grpc-buffer-size-kb proxy-buffers-number proxy-busy-buffers-size",
    ),
    (
        "X25519, P-256 and P-384 are offered; no suite has Diffie-Hellman without curves",
        "ssl-dh-param ssl-ecdh-curve",
    ),
    (
        "sessions are resumed by tickets whose keys change every six hours",
        "ssl-session-cache ssl-session-cache-size ssl-session-ticket-key ssl-session-tickets \
        ssl-session-timeout",
    ),
    ("early data is not taken", "ssl-early-data"),
    (
        "records are as long as what is to be sent",
        "ssl-buffer-size",
    ),
    (
        "names without a certificate are shown the default one",
        "ssl-reject-handshake",
    ),
    (
        "addresses come from X-Forwarded-For, or from a PROXY header",
        "enable-real-ip forwarded-for-header forwarded-for-proxy-protocol-header \
        forwarded-host-header",
    ),
    (
        "connections to endpoints have no such limit",
        "upstream-keepalive-requests upstream-keepalive-time",
    ),
    (
        "connections of clients end by keep-alive-requests",
        "http2-max-requests",
    ),
    ("is 5 s", "proxy-protocol-header-timeout"),
    (
        "a TCP connection tries three endpoints",
        "proxy-stream-next-upstream proxy-stream-next-upstream-timeout \
        proxy-stream-next-upstream-tries proxy-stream-responses",
    ),
    (
        "there is no status page; see /metrics",
        "nginx-status-ipv4-whitelist nginx-status-ipv6-whitelist",
    ),
    (
        "answers go to clients that take them, old browsers or not",
        "gzip-disable",
    ),
    (
        "is an annotation of Ingresses only",
        "proxy-cookie-domain proxy-cookie-path proxy-redirect-from proxy-redirect-to",
    ),
    ("pages of our own are text/html", "default-type"),
    (
        "nothing is checked on admission: `ferrule debug ingress --lint` tells what it would have \
        refused",
        "annotation-value-word-blocklist strict-validate-path-type",
    ),
];

/// All keys that ingress-nginx knows.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    ALL.split(' ')
}

/// Whether ingress-nginx knows a key.
pub(crate) fn is_known(name: &str) -> bool {
    all().any(|known| known == name)
}

/// Why a key is not served that ingress-nginx knows; none for those that it does not know.
pub(crate) fn why_not(name: &str) -> Option<&'static str> {
    explained(name).or_else(|| is_known(name).then_some("is not served"))
}

fn explained(name: &str) -> Option<&'static str> {
    let mut groups = NOT_SERVED.iter();
    let found = groups.find(|(_, names)| names.split(' ').any(|known| known == name));
    found.map(|(why, _)| *why)
}

/// The reasons, each with its keys, in the order of the documentation.
#[cfg(test)]
pub(crate) fn not_served()
-> impl Iterator<Item = (&'static str, impl Iterator<Item = &'static str>)> {
    NOT_SERVED
        .iter()
        .map(|(why, names)| (*why, names.split(' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_explained_once_and_known() {
        let mut seen = std::collections::BTreeSet::new();
        for name in not_served().flat_map(|(_, names)| names) {
            assert!(is_known(name), "{name}: not in the list of all");
            assert!(seen.insert(name), "{name}: twice");
        }
        assert_eq!(why_not("enable-ocsp"), Some("no OCSP answers are stapled"));
        assert_eq!(why_not("keep-alive"), Some("is not served"));
        assert_eq!(why_not("keepalive"), None);
    }
}
