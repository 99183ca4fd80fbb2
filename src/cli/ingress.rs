// SPDX-License-Identifier: Apache-2.0
//! The command line of `ferrule-ingress`: ingress-nginx's flags by their own names where they mean
//! the same, and a few of ours.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::ingress_nginx::{self, Foreign};
use super::value::{parse_bool, parse_path};
use super::with_dashes;
use crate::model::Behaviour;

/// Where the sidecar listens for `ferrule debug` unless told otherwise.
pub const INGRESS_SOCKET: &str = "/run/ferrule/ingress.sock";

/// Everything that a command line of `ferrule-ingress` can say.
#[derive(Debug, Clone, PartialEq, Parser)]
#[command(
    name = "ferrule-ingress",
    about = "Serves Ingress on this node's ports 80 and 443",
    version,
    args_override_self = true
)]
pub struct IngressCli {
    /// Read Ingresses, Services, EndpointSlices and Secrets from the files in this directory, not
    /// from an API server
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kubeconfig", "master"])]
    pub manifests: Option<PathBuf>,
    /// How to reach and authenticate to the API server; without it, the pod's service account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// URL of the API server, instead of the kubeconfig's
    #[arg(long, value_name = "URL", alias = "apiserver-host")]
    pub master: Option<String>,
    /// Name of the own Node [default: the host name in lower case]
    #[arg(long, value_name = "NAME")]
    pub hostname_override: Option<String>,

    /// Port for HTTP; 0: none
    #[arg(long, value_name = "PORT", default_value_t = 80)]
    pub http_port: u16,
    /// Port for HTTPS; 0: none
    #[arg(long, value_name = "PORT", default_value_t = 443)]
    pub https_port: u16,
    /// Addresses that both ports are opened on
    #[arg(
        long,
        value_name = "IP,…",
        value_delimiter = ',',
        default_value = "0.0.0.0,::"
    )]
    pub listen_addresses: Vec<IpAddr>,
    /// Serving threads; 0: one for each core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Connections at a time
    #[arg(long, value_name = "N", default_value_t = 16_384)]
    pub connections: usize,
    /// How long requests may take to end after SIGTERM, in seconds [default: what the ConfigMap
    /// says, or 30]
    #[arg(long, value_name = "SECONDS")]
    pub shutdown_grace_period: Option<u64>,
    /// Port for /healthz, /readyz and /metrics; 0: none
    #[arg(long, value_name = "PORT", default_value_t = 10_254)]
    pub healthz_port: u16,
    /// Address for that port
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    pub healthz_host: IpAddr,
    /// Unix socket that answers `ferrule debug`; empty: none
    #[arg(long, value_name = "PATH", default_value = INGRESS_SOCKET, value_parser = parse_path)]
    pub admin_socket: PathBuf,

    /// Controllers whose IngressClasses are served: ferrule.dev/ingress, k8s.io/ingress-nginx
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_value = "ferrule.dev/ingress",
          value_parser = ["ferrule.dev/ingress", "k8s.io/ingress-nginx"])]
    pub controller_class: Vec<String>,
    /// Value of the annotation kubernetes.io/ingress.class that is served without an IngressClass
    /// of that name, too
    #[arg(long, value_name = "NAME", default_value = "ferrule")]
    pub ingress_class: String,
    /// Serve Ingresses that name no class, too
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_value = "false",
          default_missing_value = "true", value_parser = parse_bool)]
    pub watch_ingress_without_class: bool,
    /// How Ingresses are read that have no IngressClass: spec, ingress-nginx [default: ingress-nginx
    /// if that is among the controllers, else spec]. Others as the annotation ferrule.dev/behaviour
    /// of their class has it, or its controller
    #[arg(long, value_name = "NAME")]
    pub behaviour: Option<Behaviour>,
    /// Serve only Ingresses of this namespace [default: all]
    #[arg(long, value_name = "NAMESPACE")]
    pub watch_namespace: Option<String>,
    /// Service whose first port answers what no Ingress does
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = namespaced)]
    pub default_backend_service: Option<(String, String)>,
    /// Secret whose certificate is shown for hosts without one
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = namespaced)]
    pub default_ssl_certificate: Option<(String, String)>,
    /// Prefer endpoints on the own node
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_value = "false",
          default_missing_value = "true", value_parser = parse_bool)]
    pub prefer_local_endpoints: bool,

    /// Write to the status of Ingresses where they are served
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_value = "true",
          default_missing_value = "true", value_parser = parse_bool)]
    pub update_status: bool,
    /// Service whose addresses are written there [default: the addresses of all ready nodes]
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = namespaced,
          conflicts_with = "publish_status_address")]
    pub publish_service: Option<(String, String)>,
    /// Addresses or host names that are written there
    #[arg(long, value_name = "ADDRESS,…", value_delimiter = ',')]
    pub publish_status_address: Vec<String>,
    /// Name of the Lease by which one of all nodes is elected to write, in the pod's namespace
    #[arg(long, value_name = "NAME", default_value = "ferrule-ingress-leader")]
    pub election_id: String,

    /// ConfigMap with settings, by ingress-nginx's names
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = namespaced)]
    pub configmap: Option<(String, String)>,
    /// ConfigMap with TCP ports that are passed on: PORT: namespace/name:port[:PROXY[:PROXY]]
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = namespaced)]
    pub tcp_services_configmap: Option<(String, String)>,
    /// The same for UDP
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = namespaced)]
    pub udp_services_configmap: Option<(String, String)>,

    /// Serve metrics by ingress-nginx's names, too
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_value = "false",
          default_missing_value = "true", value_parser = parse_bool)]
    pub nginx_metrics: bool,
    /// Count requests by host there
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_value = "true",
          default_missing_value = "true", value_parser = parse_bool)]
    pub metrics_per_host: bool,

    /// Format of the log
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Log each request on standard output in this format; off: not
    #[arg(long, value_enum, default_value_t = AccessLogFormat::Off)]
    pub access_log: AccessLogFormat,
    /// What was said in other flags of ingress-nginx.
    #[arg(skip)]
    pub foreign: Foreign,
    /// Verbosity of the log: 4 and more adds debugging, 6 and more tracing
    #[arg(short = 'v', long = "v", value_name = "LEVEL", default_value_t = 0)]
    pub verbosity: u32,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

/// How the access log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AccessLogFormat {
    /// Not at all
    Off,
    /// For people
    Text,
    /// For programs
    Json,
}

impl IngressCli {
    /// How Ingresses are read that have no IngressClass.
    pub fn behaviour(&self) -> Behaviour {
        let nginx = |name: &String| name == "k8s.io/ingress-nginx";
        let implied = match self.controller_class.iter().any(nginx) {
            true => Behaviour::IngressNginx,
            false => Behaviour::Spec,
        };
        self.behaviour.unwrap_or(implied)
    }

    /// Parses a command line, program name first.
    ///
    /// # Errors
    /// The first mistake that clap finds; also a request for help.
    pub fn parse_from_args<T: Into<OsString>>(
        argv: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        let argv = argv.into_iter().map(|arg| with_dashes(arg.into()));
        let (argv, foreign) = ingress_nginx::take(argv);
        let cli = Self::try_parse_from(argv)?;
        Ok(Self { foreign, ..cli })
    }
}

/// `NAMESPACE/NAME`.
pub(super) fn namespaced(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("must be NAMESPACE/NAME".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<IngressCli, String> {
        let argv = std::iter::once(&"ferrule-ingress").chain(flags);
        IngressCli::parse_from_args(argv).map_err(|error| crate::cli::reason(&error))
    }

    #[test]
    fn flags_of_ingress_nginx_mean_the_same() {
        let cli = parse(&[
            "--controller-class=k8s.io/ingress-nginx",
            "--ingress-class=nginx",
            "--watch-ingress-without-class=true",
            "--watch-namespace=shop",
            "--default-backend-service=infra/echo",
            "--default_ssl_certificate=infra/tls",
        ])
        .expect("flags");
        assert_eq!(cli.controller_class, ["k8s.io/ingress-nginx"]);
        assert_eq!(cli.behaviour(), Behaviour::IngressNginx);
        assert_eq!(cli.ingress_class, "nginx");
        assert!(cli.watch_ingress_without_class);
        assert_eq!(cli.watch_namespace.as_deref(), Some("shop"));
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(cli.default_backend_service, pair("infra", "echo"));
        assert_eq!(cli.default_ssl_certificate, pair("infra", "tls"));
        assert_eq!(cli.foreign, Foreign::default());
    }

    #[test]
    fn what_is_not_given_has_a_default() {
        let cli = parse(&[]).expect("no flags");
        assert_eq!(
            (cli.http_port, cli.https_port, cli.healthz_port),
            (80, 443, 10_254)
        );
        assert_eq!(cli.controller_class, ["ferrule.dev/ingress"]);
        assert_eq!(cli.behaviour(), Behaviour::Spec);
        let chosen = parse(&["--behaviour=ingress-nginx"]).expect("flags");
        assert_eq!(chosen.behaviour(), Behaviour::IngressNginx);
        assert!(parse(&["--behaviour=nginx"]).is_err());
        assert_eq!(cli.listen_addresses.len(), 2);
        assert!(!cli.watch_ingress_without_class);
        let none = parse(&["--admin-socket="]).expect("flags");
        assert_eq!(none.admin_socket, PathBuf::new());
    }

    #[test]
    fn what_cannot_be_served_is_refused_in_one_line() {
        let cli = parse(&["--configmap=a/b", "--enable_ssl_passthrough"]).expect("flags");
        assert_eq!(cli.configmap, Some(("a".to_owned(), "b".to_owned())));
        let [refused] = &cli.foreign.refused[..] else {
            panic!("{:?}", cli.foreign)
        };
        assert!(refused.starts_with("--enable-ssl-passthrough is not served: "));
        let wrong = parse(&["--default-ssl-certificate=tls"]).expect_err("no namespace");
        assert!(wrong.contains("NAMESPACE/NAME"), "{wrong}");
        assert!(parse(&["--controller-class=example.com/other"]).is_err());
        assert!(parse(&["--manifests=d", "--kubeconfig=k"]).is_err());
    }
}
