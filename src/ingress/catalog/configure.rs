// SPDX-License-Identifier: Apache-2.0
//! Takes in ConfigMaps.

use std::sync::Arc;

use super::{Catalog, Dirty, Update, index, settings};
use crate::ingress::table::Streams;
use crate::model::{Protocol, ServiceName};

impl Catalog {
    /// The ConfigMaps that the command line names.
    fn own_maps(&self) -> impl Iterator<Item = &ServiceName> {
        let options = &self.options;
        let named = [
            &options.config_map,
            &options.tcp_services,
            &options.udp_services,
        ];
        named.into_iter().flatten()
    }

    /// The ConfigMaps that are used.
    pub(super) fn config_map_names(&self) -> impl Iterator<Item = &ServiceName> {
        self.own_maps().chain(self.linked.names())
    }

    /// Takes in those that have changed. Whether a setting has, for all routes.
    pub(super) fn configure(&mut self, dirty: &mut Dirty) -> bool {
        // Annotations look at them, too.
        let changed = dirty.config_maps.clone();
        let mut configured = false;
        for name in &changed {
            self.remarks.remove(name);
        }
        let linked = [self.linked.add.clone(), self.linked.set.clone()];
        let mut named = linked.into_iter().chain([self.options.config_map.clone()]);
        if named.any(|name| name.is_some_and(|name| changed.contains(&name)))
            && let Some(name) = self.options.config_map.clone()
        {
            self.remarks.remove(&name);
            configured = self.set(&name, dirty);
            dirty.remarked.insert(name);
        }
        let streams = [
            (Protocol::Tcp, self.options.tcp_services.clone()),
            (Protocol::Udp, self.options.udp_services.clone()),
        ];
        for (protocol, name) in streams {
            let Some(name) = name.filter(|name| changed.contains(name)) else {
                continue;
            };
            let map = self.config_maps.get(&name).cloned();
            let data = map.map(|map| map.data.clone()).unwrap_or_default();
            self.aims
                .replace(protocol, &data, &self.options.reserved_ports);
            dirty.streams = true;
        }
        if dirty.streams {
            let touched = self.upstreams.want_streams(self.aims.wanted());
            dirty.services.extend(touched);
        }
        let used = |name: &ServiceName| self.own_maps().any(|own| own == name);
        let used: Vec<_> = changed.into_iter().filter(used).collect();
        for name in used {
            if !self.config_maps.contains_key(&name) {
                let missing = "is not there".to_owned();
                self.remarks.entry(name.clone()).or_default().push(missing);
            }
            dirty.remarked.insert(name);
        }
        configured
    }

    fn set(&mut self, name: &ServiceName, dirty: &mut Dirty) -> bool {
        let map = self.config_maps.get(name).cloned();
        let data = map.map(|map| map.data.clone()).unwrap_or_default();
        let options = &self.options;
        let mut read = settings::read(
            &options.settings,
            (&options.route, options.behaviour),
            &data,
        );
        let maps = &self.config_maps;
        let notes = settings::follow(&mut read, |name| maps.get(name).map(|map| &map.data));
        read.notes.extend(notes);
        if self.linked != read.linked {
            self.annotations.links_changed();
            self.linked = read.linked;
        }
        let remarks = self.remarks.entry(name.clone()).or_default();
        remarks.extend(read.notes);
        let mut changed = *self.table.settings != read.settings;
        if *self.annotations.defaults() != read.defaults {
            changed = true;
            dirty.default = true;
            self.annotations.set_defaults(read.defaults);
            dirty.annotated.extend(self.served.keys().cloned());
            let all = self.served.values();
            let hosts = all.flat_map(|ingress| index::hosts(ingress));
            dirty.hosts.extend(hosts);
            dirty.hosts.extend(self.names.redirected().cloned());
        }
        dirty.default |= changed;
        if changed {
            self.table.settings = Arc::new(read.settings);
        }
        changed
    }

    pub(super) fn build_streams(&mut self, dirty: &Dirty, update: &mut Update) {
        if dirty.streams {
            let (streams, wrong) = self.aims.build(&self.upstreams);
            let names = [
                (Protocol::Tcp, &self.options.tcp_services),
                (Protocol::Udp, &self.options.udp_services),
            ];
            for (protocol, name) in names {
                let Some(name) = name else { continue };
                let reasons = wrong.get(&protocol).cloned().unwrap_or_default();
                self.stream_remarks.insert(name.clone(), reasons);
                update.remarks.insert(name.clone(), self.remarks(name));
            }
            if *self.streams != streams {
                self.streams = Arc::new(streams);
                update.streams = Some(self.streams.clone());
            }
        }
        for name in &dirty.remarked {
            update.remarks.insert(name.clone(), self.remarks(name));
        }
    }

    /// What of a ConfigMap is not served, and why.
    pub fn remarks(&self, name: &ServiceName) -> Vec<String> {
        let of = |all: &std::collections::BTreeMap<ServiceName, Vec<String>>| {
            all.get(name).cloned().unwrap_or_default()
        };
        [of(&self.remarks), of(&self.stream_remarks)].concat()
    }

    /// All ports that are passed on byte by byte.
    pub fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }

    /// The ConfigMaps that are used, each with what of it is not served.
    pub fn config_maps(&self) -> impl Iterator<Item = (&ServiceName, Vec<String>)> {
        self.config_map_names()
            .map(|name| (name, self.remarks(name)))
    }
}
