// SPDX-License-Identifier: Apache-2.0
//! The way to the API server.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{HeaderValue, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{AuthInfo, InClusterError, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tower::timeout::TimeoutLayer;
use tower::{BoxError, Service, ServiceBuilder};
use tracing::warn;

use super::{Error, Meters};

/// The most time for the TCP and the TLS handshake together (client-go: 30 s and 10 s).
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// How long an API server may be unreachable before the connection is given up. Watches are silent
/// for minutes, so without this a server that is gone without a word would be noticed only by the
/// end of the watch itself, after 5 (client-go: HTTP/2 pings, 30 s and 15 s).
const SILENCE: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 45 });

/// Of [`SILENCE`]: a connection that was quiet so long is probed, and then as often.
const PROBE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 15 });

/// A client for the cluster that a kubeconfig file names, or for the one that this pod runs in.
///
/// As in kube-proxy, the variable `KUBECONFIG` and `~/.kube/config` are not looked at. Certificate,
/// key and token files may be named relative to the kubeconfig; a token file and a certificate
/// authority file are read again when they change.
///
/// `server` goes before the server that kubeconfig or pod name (`--master`).
///
/// Must be called within a tokio runtime. No request is made yet.
///
/// # Errors
/// In one line, naming the file.
pub async fn client(
    kubeconfig: Option<&Path>,
    server: Option<&str>,
    meters: &Meters,
) -> Result<Client, Error> {
    let server = server.map(url).transpose()?;
    let Some(path) = kubeconfig else {
        let failed = |e: &dyn std::error::Error| Error::InCluster(one_line(e));
        let config = in_cluster(server).map_err(|e| failed(&e))?;
        tell(&config);
        return connect(config, meters).map_err(|e| failed(&*e));
    };
    let failed = |reason| Error::Kubeconfig {
        path: path.to_owned(),
        reason,
    };
    let config = read(path, server).map_err(|e| failed(reason(&e)))?;
    if !absolute(&config.cluster_url) {
        return Err(failed(format!(
            "server {} is not a URL",
            config.cluster_url
        )));
    }
    if let Some(proxy) = &config.proxy_url {
        let reason = format!("the proxy {proxy}, of proxy-url or HTTPS_PROXY, can't be used");
        return Err(failed(reason));
    }
    tell(&config);
    connect(config, meters).map_err(|e| failed(one_line(&*e)))
}

fn tell(config: &Config) {
    if let Some(danger) = danger(config) {
        warn!(server = %config.cluster_url, "{danger}");
    }
}

/// Why whoever is between this node and the API server may say what is served, if so. It is done as
/// asked for, as by client-go, but not in silence.
pub(super) fn danger(config: &Config) -> Option<&'static str> {
    if config.cluster_url.scheme_str() == Some("http") {
        let host = config.cluster_url.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let own = bare.parse().is_ok_and(|a: IpAddr| a.is_loopback()) || host == "localhost";
        return (!own).then_some("the API server is asked without TLS");
    }
    let told = "the API server's certificate is not verified (insecure-skip-tls-verify)";
    config.accept_invalid_certs.then_some(told)
}

/// What comes without a scheme parses as a URL, and then fails at each request.
fn absolute(url: &Uri) -> bool {
    matches!(url.scheme_str(), Some("http" | "https"))
}

fn url(server: &str) -> Result<Uri, Error> {
    let url = server.parse().ok().filter(absolute);
    url.ok_or_else(|| Error::Server(server.to_owned()))
}

/// The pod's service account. Outside of a pod, an API server that asks for no credentials does.
fn in_cluster(server: Option<Uri>) -> Result<Config, InClusterError> {
    match (Config::incluster(), server) {
        (Ok(mut config), server) => {
            config.cluster_url = server.unwrap_or(config.cluster_url);
            Ok(config)
        }
        (Err(InClusterError::ReadEnvironmentVariable(_)), Some(server)) => Ok(Config::new(server)),
        (Err(e), _) => Err(e),
    }
}

pub(super) fn read(path: &Path, server: Option<Uri>) -> Result<Config, KubeconfigError> {
    let mut kubeconfig = Kubeconfig::read_from(path)?;
    for cluster in &mut kubeconfig.clusters {
        let cluster = cluster.cluster.get_or_insert_default();
        let server = server.as_ref().map(Uri::to_string);
        cluster.server = server.or(cluster.server.take());
    }
    let authority = authority_file(&kubeconfig);
    let mut config = Config::try_from(kubeconfig)?;
    config.root_cert_file = authority;
    trim_token(&mut config.auth_info);
    Ok(config)
}

/// client-go takes the white space off a token file; kube does not, and then can't use it. Such a
/// file was written by hand, so its token is no short-lived one, and reading it once is enough. A
/// file that can't be read is reported when it is used.
fn trim_token(user: &mut AuthInfo) {
    if let (None, Some(path)) = (&user.token, &user.token_file)
        && let Ok(text) = std::fs::read_to_string(path)
        && text.trim() != text
    {
        user.token = Some(text.trim().to_owned().into());
    }
}

/// Like the client that kube makes of a configuration, but for three things: it notices a server
/// that is gone without a word; it retries nothing by itself, as a watch has its own pauses, and
/// kube's retries are silent for minutes; and it logs no error, as its caller reports them.
fn connect(mut config: Config, meters: &Meters) -> Result<Client, BoxError> {
    let agent = HeaderValue::from_static(concat!("ferrule/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
    let auth = config.auth_layer()?;
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_keepalive(Some(PROBE));
    http.set_keepalive_interval(Some(PROBE));
    http.set_keepalive_retries(Some(2));
    http.set_tcp_user_timeout(Some(SILENCE));
    let https = config.rustls_https_connector_with_connector(http)?;
    let https = ServiceBuilder::new()
        .map_future(Box::pin)
        .layer(TimeoutLayer::new(CONNECT))
        .service(https);
    let http = HttpClient::builder(TokioExecutor::new()).build(https);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(auth)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(counted(http, meters.clone()));
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

/// Counts the requests of a client. Nearest to the connection, so that the URI is whole.
fn counted<C>(
    http: HttpClient<C, Body>,
    meters: Meters,
) -> impl Service<
    Request<Body>,
    Response = Response<Incoming>,
    Error = hyper_util::client::legacy::Error,
    Future: Send,
> + Clone
where
    C: Connect + Clone + Send + Sync + 'static,
{
    tower::service_fn(move |request: Request<Body>| {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let (begun, meters) = (Instant::now(), meters.clone());
        let answer = http.request(request);
        async move {
            let answer = answer.await;
            let code = answer.as_ref().ok().map(|a| a.status().as_u16());
            meters.request(method.as_str(), &uri, code, begun.elapsed());
            answer
        }
    })
}

/// The certificate authority file of the current context, unless the data is in the kubeconfig.
fn authority_file(kubeconfig: &Kubeconfig) -> Option<PathBuf> {
    let current = kubeconfig.current_context.as_ref()?;
    let context = kubeconfig
        .contexts
        .iter()
        .find(|c| c.name == *current)?
        .context
        .as_ref()?;
    let cluster = kubeconfig
        .clusters
        .iter()
        .find(|c| c.name == context.cluster)?;
    let cluster = cluster.cluster.as_ref()?;
    match cluster.certificate_authority_data {
        Some(_) => None,
        None => cluster.certificate_authority.as_ref().map(PathBuf::from),
    }
}

/// The file that can't be read is named by the error around this one, unless it is another file.
fn reason(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(source, _) => one_line(source),
        KubeconfigError::CurrentContextNotSet => "has no current-context".into(),
        KubeconfigError::LoadContext(name) => format!("has no context {name:?}"),
        KubeconfigError::LoadClusterOfContext(name) => format!("has no cluster {name:?}"),
        other => one_line(other),
    }
}

/// An error with its sources in one line, leaving out what an outer error has said already.
pub(super) fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        next = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::testing;

    async fn error_of(text: &str) -> String {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("config");
        std::fs::write(&path, text).expect("file written");
        let error = client(Some(&path), None, &Meters::default())
            .await
            .err()
            .expect("an error")
            .to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
            .strip_prefix(&format!("kubeconfig {}: ", path.display()))
            .expect(&error)
            .to_owned()
    }

    const PROXY: &str = "
apiVersion: v1
kind: Config
clusters:
- {name: default, cluster: {certificate-authority: CA, server: 'https://192.0.2.1:6443'}}
contexts:
- {name: default, context: {cluster: default, namespace: default, user: default}}
current-context: default
users:
- {name: default, user: {tokenFile: token}}
";

    #[tokio::test]
    async fn a_wrong_kubeconfig_is_named_with_the_reason() {
        assert!(error_of("").await.contains("no current-context"));
        assert!(error_of("contexts: [").await.contains("line 1"));
        assert!(
            error_of("current-context: x")
                .await
                .contains("no context \"x\"")
        );
        let missing = error_of(&PROXY.replace("CA", "ca.crt")).await;
        assert!(
            missing.contains("ca.crt") && missing.contains("No such file"),
            "{missing}"
        );
        let none = client(
            Some(Path::new("/nonexistent/config")),
            None,
            &Meters::default(),
        )
        .await
        .err()
        .expect("an error");
        assert_eq!(
            none.to_string(),
            "kubeconfig /nonexistent/config: No such file or directory (os error 2)"
        );
    }

    #[tokio::test]
    async fn files_beside_the_kubeconfig_are_found() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("config");
        std::fs::write(&path, PROXY.replace("certificate-authority: CA, ", "")).expect("written");
        let missing = client(Some(&path), None, &Meters::default())
            .await
            .err()
            .expect("no token file yet")
            .to_string();
        assert!(missing.contains("token"), "{missing}");
        std::fs::write(dir.path().join("token"), "secret").expect("file written");
        client(Some(&path), None, &Meters::default())
            .await
            .expect("a client");
    }

    #[tokio::test]
    async fn a_server_needs_a_scheme() {
        let given = client(None, Some("192.0.2.9:6443"), &Meters::default())
            .await
            .err();
        let given = given.expect("an error").to_string();
        assert_eq!(given, "--master \"192.0.2.9:6443\" is not a URL");
        let file = PROXY.replace("certificate-authority: CA, ", "");
        let written = error_of(&file.replace("https://", "")).await;
        assert_eq!(written, "server 192.0.2.1:6443 is not a URL");
    }

    #[test]
    fn the_given_server_goes_first_and_tokens_are_trimmed() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("config");
        std::fs::write(&path, PROXY.replace("certificate-authority: CA, ", "")).expect("written");
        let token = |text: &str| {
            std::fs::write(dir.path().join("token"), text).expect("written");
            let config = read(&path, None).expect("a configuration");
            assert_eq!(config.cluster_url, "https://192.0.2.1:6443");
            serde_json::to_value(config.auth_info).expect("JSON")["token"].clone()
        };
        assert!(token("secret").is_null(), "read again as it expires");
        assert_eq!(token("secret\n"), "secret");
        let server = url("https://192.0.2.9").expect("a URL");
        let config = read(&path, Some(server)).expect("a configuration");
        assert_eq!(config.cluster_url, "https://192.0.2.9");
    }

    fn set_loopback(state: &str) {
        let mut ip = std::process::Command::new("ip");
        let status = ip.args(["link", "set", "lo", state]).status();
        assert!(status.expect("ip runs").success(), "{state}");
    }

    /// The head of an answer, and then nothing more: first for want of news, then for ever.
    #[test]
    fn a_server_that_vanishes_without_a_word_is_given_up() {
        let (told, outcome) = std::sync::mpsc::channel();
        testing::in_namespace(move || {
            set_loopback("up");
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
            let address = listener.local_addr().expect("an address");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let asked = runtime.block_on(async {
                let url = format!("http://{address}");
                let client = client(None, Some(&url), &Meters::default()).await;
                let client = client.expect("a client");
                let request = Request::get("/api/v1/services?watch=true").body(Vec::new());
                let asked =
                    tokio::spawn(
                        async move { client.request_text(request.expect("a request")).await },
                    );
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                let accepted = tokio::task::spawn_blocking(move || {
                    use std::io::{Read, Write};
                    let (mut server, _) = listener.accept().expect("a client");
                    let mut request = [0; 4096];
                    let _ = server.read(&mut request).expect("a request");
                    server.write_all(head.as_bytes()).expect("written");
                    server
                });
                let _server = accepted.await.expect("no panic");
                set_loopback("down");
                tokio::time::timeout(Duration::from_secs(20), asked).await
            });
            let ended = asked.map(|done| done.expect("no panic").is_err());
            told.send(ended.ok()).expect("the test");
        });
        if let Ok(ended) = outcome.recv() {
            assert_eq!(ended, Some(true), "given up within 20 s");
        }
    }
}
