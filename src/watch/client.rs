// SPDX-License-Identifier: Apache-2.0
//! The way to the API server.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::Error;

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
pub async fn client(kubeconfig: Option<&Path>, server: Option<&str>) -> Result<Client, Error> {
    let Some(path) = kubeconfig else {
        let mut config = Config::incluster().map_err(|e| Error::InCluster(one_line(&e)))?;
        replace_server(&mut config, server)?;
        return Client::try_from(config).map_err(|e| Error::InCluster(one_line(&e)));
    };
    let failed = |reason| Error::Kubeconfig {
        path: path.to_owned(),
        reason,
    };
    let mut config = read(path).await.map_err(|e| failed(reason(&e)))?;
    replace_server(&mut config, server)?;
    Client::try_from(config).map_err(|e| failed(one_line(&e)))
}

fn replace_server(config: &mut Config, server: Option<&str>) -> Result<(), Error> {
    if let Some(server) = server {
        let error = |_| Error::Server(server.to_owned());
        config.cluster_url = server.parse().map_err(error)?;
    }
    Ok(())
}

async fn read(path: &Path) -> Result<Config, KubeconfigError> {
    let kubeconfig = Kubeconfig::read_from(path)?;
    let authority = authority_file(&kubeconfig);
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.root_cert_file = authority;
    Ok(config)
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

    async fn error_of(text: &str) -> String {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("config");
        std::fs::write(&path, text).expect("file written");
        let error = client(Some(&path), None)
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
        let none = client(Some(Path::new("/nonexistent/config")), None)
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
        let missing = client(Some(&path), None)
            .await
            .err()
            .expect("no token file yet")
            .to_string();
        assert!(missing.contains("token"), "{missing}");
        std::fs::write(dir.path().join("token"), "secret").expect("file written");
        client(Some(&path), None).await.expect("a client");
    }
}
