// SPDX-License-Identifier: Apache-2.0
//! Whose an Ingress is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Options;
use crate::model::{Behaviour, Ingress, IngressClass};

/// `spec.controller` of our classes.
pub const CONTROLLER: &str = "ferrule.dev/ingress";
/// That of ingress-nginx, whose classes we may take over.
pub const NGINX_CONTROLLER: &str = "k8s.io/ingress-nginx";

/// Whether an Ingress is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Served,
    /// It is not, for this reason.
    Other(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Served => f.write_str("served"),
            Verdict::Other(reason) => f.write_str(reason),
        }
    }
}

/// All classes of the cluster.
#[derive(Debug, Default)]
pub(super) struct Classes(BTreeMap<Arc<str>, IngressClass>);

impl Classes {
    pub(super) fn replace(&mut self, name: &Arc<str>, class: Option<IngressClass>) {
        match class {
            Some(class) => self.0.insert(name.clone(), class),
            None => self.0.remove(name),
        };
    }

    /// The class of Ingresses that name none: of several the newest, as in the API server's
    /// admission (`getDefaultClass`).
    fn default(&self) -> Option<&IngressClass> {
        let all = self.0.values().filter(|class| class.is_default);
        // A class without a time is one that no server has seen: the newest.
        all.min_by_key(|class| (std::cmp::Reverse(class.created), class.name.clone()))
    }

    /// The annotation goes before the field, which no API server lets stand together.
    pub(super) fn verdict(&self, ingress: &Ingress, options: &Options) -> Verdict {
        let namespace = &ingress.name.namespace;
        if let Some(own) = options.namespace.as_ref().filter(|own| *own != namespace) {
            return Verdict::Other(format!("only namespace {own} is served"));
        }
        match (&ingress.class_annotation, &ingress.class) {
            (Some(name), _) if *name == options.class => Verdict::Served,
            (Some(name), _) | (None, Some(name)) => self.ours(name, options),
            (None, None) if options.without_class => Verdict::Served,
            (None, None) => match self.default() {
                None => Verdict::Other("names no class, and there is no default class".into()),
                Some(class) => self.ours(&class.name, options),
            },
        }
    }

    /// How an Ingress is read that is ours: as its class says, else as the controller of its class
    /// does it, else as the user chose.
    pub(super) fn behaviour(&self, ingress: &Ingress, options: &Options) -> Behaviour {
        let class = match (&ingress.class_annotation, &ingress.class) {
            (Some(name), _) | (None, Some(name)) => self.0.get(name),
            (None, None) => self
                .default()
                .filter(|class| options.controllers.contains(&class.controller)),
        };
        let of_class = |class: &IngressClass| match (class.behaviour, &*class.controller) {
            (Some(chosen), _) => chosen,
            (None, NGINX_CONTROLLER) => Behaviour::IngressNginx,
            (None, _) => Behaviour::Spec,
        };
        class.map_or(options.behaviour, of_class)
    }

    fn ours(&self, name: &str, options: &Options) -> Verdict {
        let Some(class) = self.0.get(name) else {
            return Verdict::Other(format!("IngressClass {name} is not there"));
        };
        if options.controllers.contains(&class.controller) {
            return Verdict::Served;
        }
        let controller = &class.controller;
        Verdict::Other(format!("IngressClass {name} is of controller {controller}"))
    }
}

/// Whether it may depend on a class whose an Ingress is.
pub(super) fn concerns(ingress: &Ingress, class: &str) -> bool {
    match (&ingress.class_annotation, &ingress.class) {
        (Some(name), _) | (None, Some(name)) => **name == *class,
        (None, None) => true,
    }
}
