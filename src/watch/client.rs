// SPDX-License-Identifier: Apache-2.0
//! The way to the API server: a kubeconfig, or what a pod is given.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::header::{HeaderValue, USER_AGENT};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{ClientBuilder, ConfigExt};
use kube::config::{AuthInfo, Config, InClusterError, Kubeconfig};
use tower::timeout::TimeoutLayer;
use tower::{BoxError, ServiceBuilder};

/// The most time for the TCP and the TLS handshake together (client-go: 30 s and 10 s).
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// How long an API server may be unreachable before the connection is given up. Watches are
/// silent for minutes, so without this a server that is gone without a word would be noticed only
/// by the watch's own end (client-go: HTTP/2 pings, 30 s and 15 s).
const SILENCE: Duration = Duration::from_secs(45);
/// Of [`SILENCE`]: a connection that was quiet so long is probed, and then as often.
const PROBE: Duration = Duration::from_secs(15);

/// Why there is no client. One line each.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig, or a file that it names, is unusable.
    #[error("{}: {reason}", path.display())]
    Kubeconfig {
        /// The kubeconfig.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Neither a kubeconfig nor a pod's service account.
    #[error("no kubeconfig, and not in a cluster: {0}")]
    InCluster(String),
    /// The API server's URL can't be used.
    #[error("API server {url:?}: {reason}")]
    Server {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Makes a client. Does not talk to the API server yet, but has to be called within a tokio
/// runtime.
///
/// With a `kubeconfig` its current context counts; without one, the service account of the pod
/// that this process runs in. `server` replaces the URL of the API server, as `--master` does, and
/// is enough on its own where nobody asks for credentials.
///
/// # Errors
///
/// See [`Error`].
pub fn client(kubeconfig: Option<&Path>, server: Option<&str>) -> Result<kube::Client, Error> {
    let server = server.filter(|s| !s.is_empty());
    if let Some(url) = server {
        check_url(url)?;
    }
    let mut config = match kubeconfig {
        Some(path) => from_file(path, server)?,
        None => in_cluster(server)?,
    };
    check_url(&config.cluster_url.to_string())?;
    let agent = concat!("ferrule/", env!("CARGO_PKG_VERSION"));
    let agent = (USER_AGENT, HeaderValue::from_static(agent));
    config.headers.push(agent);
    connect(config).map_err(|e| match kubeconfig {
        Some(path) => unusable(path, &*e),
        None => Error::InCluster(one_line(&*e)),
    })
}

fn unusable(path: &Path, error: &(dyn StdError + 'static)) -> Error {
    Error::Kubeconfig {
        path: path.to_owned(),
        reason: one_line(error),
    }
}

fn check_url(url: &str) -> Result<(), Error> {
    let refuse = |reason: String| Error::Server {
        url: url.to_owned(),
        reason,
    };
    let uri: hyper::Uri = url
        .parse()
        .map_err(|e: hyper::http::uri::InvalidUri| refuse(e.to_string()))?;
    match uri.scheme_str() {
        Some("http" | "https") => Ok(()),
        _ => Err(refuse("must begin with https:// or http://".into())),
    }
}

fn from_file(path: &Path, server: Option<&str>) -> Result<Config, Error> {
    let mut file = Kubeconfig::read_from(path).map_err(|e| unusable(path, &e))?;
    for cluster in &mut file.clusters {
        let cluster = cluster.cluster.get_or_insert_default();
        cluster.server = server.map(str::to_owned).or(cluster.server.take());
    }
    let authority = authority_file(&file);
    let mut config = Config::try_from(file).map_err(|e| unusable(path, &e))?;
    // Read again from time to time, so that a new authority needs no restart.
    config.root_cert_file = authority;
    trim_token(&mut config.auth_info).map_err(|e| unusable(path, &e))?;
    if let Some(proxy) = &config.proxy_url {
        let reason = format!("the API server by way of a proxy ({proxy}) is not supported");
        let path = path.to_owned();
        return Err(Error::Kubeconfig { path, reason });
    }
    Ok(config)
}

/// client-go takes the white space off a token file, kube does not and then can't use it. Such a
/// file was written by hand, so its token does not expire, and reading it once is enough.
fn trim_token(user: &mut AuthInfo) -> Result<(), TokenFile> {
    let (None, Some(path)) = (&user.token, &user.token_file) else {
        return Ok(());
    };
    let text = std::fs::read_to_string(path).map_err(|source| TokenFile {
        path: path.into(),
        source,
    })?;
    if text.trim() != text {
        user.token = Some(text.trim().to_owned().into());
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
#[error("tokenFile {}", path.display())]
struct TokenFile {
    path: PathBuf,
    source: std::io::Error,
}

/// The file of the current context's certificate authority, unless the kubeconfig holds the
/// certificates themselves.
fn authority_file(file: &Kubeconfig) -> Option<PathBuf> {
    let name = file.current_context.as_ref()?;
    let context = file.contexts.iter().find(|c| c.name == *name)?;
    let wanted = &context.context.as_ref()?.cluster;
    let cluster = file.clusters.iter().find(|c| c.name == *wanted)?;
    let cluster = cluster.cluster.as_ref()?;
    match cluster.certificate_authority_data {
        Some(_) => None,
        None => cluster.certificate_authority.as_ref().map(PathBuf::from),
    }
}

fn in_cluster(server: Option<&str>) -> Result<Config, Error> {
    let url = server.map(str::parse::<hyper::Uri>).and_then(Result::ok);
    match (Config::incluster(), url) {
        (Ok(mut config), url) => {
            config.cluster_url = url.unwrap_or(config.cluster_url);
            Ok(config)
        }
        (Err(InClusterError::ReadEnvironmentVariable(_)), Some(url)) => Ok(Config::new(url)),
        (Err(e), _) => Err(Error::InCluster(one_line(&e))),
    }
}

/// Like the client that kube makes of a configuration, but for three things: it notices a server
/// that is gone without a word, it retries nothing by itself (a watch has its own backoff, and
/// kube's would keep silent for minutes), and it does not log what its caller reports anyway.
fn connect(config: Config) -> Result<kube::Client, BoxError> {
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
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

/// An error with its causes, those left out that an outer one quotes, as one line.
pub(super) fn one_line(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        cause = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What kubeadm gives kube-proxy, but for the paths.
    const FILE: &str = "
apiVersion: v1
kind: Config
clusters:
- cluster: {certificate-authority: ca.crt, server: 'https://192.0.2.1:6443'}
  name: default
contexts:
- context: {cluster: default, namespace: default, user: default}
  name: default
current-context: default
users:
- name: default
  user: {tokenFile: token}
";

    fn error_of(text: Option<&str>, files: &[(&str, &str)], server: Option<&str>) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).expect("written");
        }
        let path = dir.path().join("kubeconfig");
        if let Some(text) = text {
            std::fs::write(&path, text).expect("written");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let _entered = runtime.as_ref().expect("a runtime").enter();
        let error = client(Some(&path), server).err().expect("an error");
        let error = error.to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error.replace(&*dir.path().to_string_lossy(), "DIR")
    }

    #[test]
    fn errors_name_the_file_and_what_is_wrong() {
        let missing = error_of(None, &[], None);
        assert!(missing.starts_with("DIR/kubeconfig: ") && missing.contains("No such file"));
        let malformed = error_of(Some("clusters: [a\nb: {"), &[], None);
        assert!(malformed.starts_with("DIR/kubeconfig: "), "{malformed}");
        assert!(error_of(Some(""), &[], None).contains("current context"));
        let other = FILE.replace("current-context: default", "current-context: x");
        assert!(error_of(Some(&other), &[], None).contains("context: x"));
        let authority = error_of(Some(FILE), &[], None);
        assert!(authority.contains("DIR/ca.crt"), "{authority}");
        let token = error_of(Some(FILE), &[("ca.crt", "")], None);
        assert!(token.contains("DIR/token"), "{token}");
    }

    #[test]
    fn a_server_needs_a_scheme() {
        let given = error_of(Some(FILE), &[], Some("192.0.2.9:6443"));
        assert!(given.starts_with("API server \"192.0.2.9:6443\": must begin"));
        let file = FILE.replace("https://", "");
        let written = error_of(Some(&file), &[("ca.crt", ""), ("token", "t")], None);
        assert!(written.contains("must begin with https://"), "{written}");
    }

    #[test]
    fn the_given_server_replaces_the_files() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("ca.crt"), "").expect("written");
        std::fs::write(dir.path().join("token"), "secret").expect("written");
        let path = dir.path().join("kubeconfig");
        std::fs::write(&path, FILE).expect("written");
        let config = |server| from_file(&path, server).expect("a configuration");
        assert_eq!(config(None).cluster_url, "https://192.0.2.1:6443");
        let replaced = config(Some("https://192.0.2.9"));
        assert_eq!(replaced.cluster_url, "https://192.0.2.9");
        assert_eq!(replaced.root_cert_file, Some(dir.path().join("ca.crt")));
        assert!(
            replaced.auth_info.token.is_none(),
            "read again as it expires"
        );
        std::fs::write(dir.path().join("token"), "secret\n").expect("written");
        let user = serde_json::to_value(config(None).auth_info).expect("JSON");
        assert_eq!(user["token"], "secret");
    }
}
