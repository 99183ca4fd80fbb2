// SPDX-License-Identifier: Apache-2.0
//! Reads what there is to know. Everything is public, so that tests can say otherwise.
//!
//! | module | reads |
//! |---|---|
//! | `agent` | the admin socket |
//! | `node` | the kernel: features, settings, links, routes, rules, sockets |
//! | `cluster` | the API server, and its clock |
//! | `manifests` | a directory of objects |
//! | [`objects`] | the shape of objects, as far as it matters, and the frontends that they mean |

mod agent;
mod cluster;
mod manifests;
pub mod node;
pub mod objects;

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;

pub use self::agent::Agent;
pub use self::cluster::Server;
pub use self::node::NodeFacts;
pub use self::objects::Objects;
use crate::cli::DoctorArgs;
use crate::observe::view::{About, ServiceView};

/// Why something is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// We may not read it: 403, EPERM or EACCES.
    Forbidden(String),
    /// It is not there, or could not be read.
    Unavailable(String),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unread::Forbidden(why) => write!(f, "forbidden ({why})"),
            Unread::Unavailable(why) => f.write_str(why),
        }
    }
}

impl From<std::io::Error> for Unread {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::PermissionDenied => Unread::Forbidden(error.to_string()),
            _ => Unread::Unavailable(error.to_string()),
        }
    }
}

impl From<crate::backend::Error> for Unread {
    fn from(error: crate::backend::Error) -> Self {
        use nix::libc::{EACCES, EPERM};
        match error.errno() {
            Some(EPERM | EACCES) => Unread::Forbidden(format!("needs CAP_NET_ADMIN: {error}")),
            _ if error.to_string().contains("CAP_NET_ADMIN") => {
                Unread::Forbidden(error.to_string())
            }
            _ => Unread::Unavailable(error.to_string()),
        }
    }
}

/// Something that may not be known.
pub type Fact<T> = Result<T, Unread>;

/// Everything that checks judge.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What the agent says.
    pub agent: Agent,
    /// The API server, if objects come from one.
    pub server: Option<Server>,
    /// Services, EndpointSlices, Pods and Nodes.
    pub objects: Fact<Objects>,
    /// Every frontend with its endpoints: the agent's word or, without an agent, what the objects
    /// mean.
    pub services: Fact<Vec<ServiceView>>,
    /// The own Node's name, if it is known.
    pub node_name: Option<String>,
    /// The kernel.
    pub node: NodeFacts,
}

impl Facts {
    /// Reads everything.
    ///
    /// # Errors
    /// The directory of manifests or the kubeconfig that was asked for cannot be read. What else
    /// cannot be read is told in the facts.
    pub fn gather(args: &DoctorArgs) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let agent = Agent::ask(&args.admin_socket);
        let source = Source::choose(args, agent.about());
        let given = args.hostname_override.clone();
        let node_name = given.or_else(|| agent.about().map(|about| about.node.clone()));
        let (server, objects) = match &source {
            Source::Manifests(directory) => match manifests::read(directory) {
                Ok(objects) => (None, Ok(objects)),
                Err(error) if args.manifests.is_some() => return Err(error),
                Err(error) => (None, Err(Unread::Unavailable(format!("{error:#}")))),
            },
            Source::Cluster { kubeconfig, server } => {
                let client = cluster::client(kubeconfig.as_deref(), server.as_deref());
                match runtime.block_on(client) {
                    Ok(client) => runtime.block_on(cluster::read(&client, node_name.as_deref())),
                    Err(error) if args.kubeconfig.is_some() || args.master.is_some() => {
                        return Err(error.into());
                    }
                    Err(error) => (None, Err(Unread::Unavailable(error.to_string()))),
                }
            }
        };
        let services = match (agent.services(), &objects) {
            (Some(services), _) => Ok(services.clone()),
            (None, Ok(objects)) => Ok(objects.views(node_name.as_deref())),
            (None, Err(unread)) => Err(unread.clone()),
        };
        let node = NodeFacts::gather(services.as_deref().unwrap_or_default());
        Ok(Self {
            agent,
            server,
            objects,
            services,
            node_name,
            node,
        })
    }

    /// The frontends; none where they are not known.
    pub(super) fn frontends(
        &self,
    ) -> impl Iterator<Item = (&ServiceView, &crate::observe::view::FrontendView)> {
        let services = self.services.as_deref().unwrap_or_default().iter();
        services.flat_map(|service| service.frontends.iter().map(move |f| (service, f)))
    }
}

/// Where objects come from.
#[derive(Debug)]
enum Source {
    Manifests(PathBuf),
    Cluster {
        kubeconfig: Option<PathBuf>,
        server: Option<String>,
    },
}

impl Source {
    /// What the command line says; else where the agent has them from; else the pod's account.
    fn choose(args: &DoctorArgs, about: Option<&About>) -> Self {
        let said = args.kubeconfig.is_some() || args.master.is_some() || args.manifests.is_some();
        let (manifests, kubeconfig, server) = match about.filter(|_| !said) {
            Some(about) => (&about.manifests, &about.kubeconfig, &about.server),
            None => (&args.manifests, &args.kubeconfig, &args.master),
        };
        match manifests {
            Some(directory) => Self::Manifests(directory.clone()),
            None => Self::Cluster {
                kubeconfig: kubeconfig.clone(),
                server: server.clone(),
            },
        }
    }
}
