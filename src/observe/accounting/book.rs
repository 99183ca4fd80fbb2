// SPDX-License-Identifier: Apache-2.0
//! Adds up what Services and endpoints have used. PURE.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backend::conntrack::flow::Flow;
use crate::model::ServiceName;
use crate::observe::view::{ServiceView, Usage};

/// How many Services are told apart; further ones are summed up as one without a namespace, named
/// [`OTHER`].
const SERVICES: usize = 10_000;
/// Stands for all Services beyond the limit.
pub const OTHER: &str = "other";

/// Where clients send to: protocol's number, address (none for a NodePort) and port.
pub type Frontend = (u8, Option<IpAddr>, u16);

/// Connections and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Use {
    /// Connections, or flows of UDP and SCTP, since accounting began.
    pub connections: u64,
    /// Those of them that connection tracking still knows; some of them are closed already.
    pub live: u64,
    /// Bytes from clients, with IP headers.
    pub bytes_in: u64,
    /// Bytes to clients, with IP headers.
    pub bytes_out: u64,
}

impl Use {
    fn add(&mut self, flow: &Flow, weight: u64, live: bool) {
        let (bytes_in, bytes_out) = flow.bytes.unwrap_or_default();
        self.connections += weight;
        self.live += u64::from(live);
        self.bytes_in += weight * bytes_in;
        self.bytes_out += weight * bytes_out;
    }
}

/// All sums, as the admin socket shows them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountingView {
    /// By namespace and name.
    pub services: Vec<ServiceUse>,
    /// How often events were lost, so that sums are too small.
    pub lost: u64,
    /// Of so many new connections one is counted, for all of them; 1: each is.
    #[serde(default = "one")]
    pub one_in: u32,
}

fn one() -> u32 {
    1
}

impl AccountingView {
    /// Adds the sums to the views of their Services.
    pub(crate) fn add_to(self, views: &mut [ServiceView]) {
        let key = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
        let uses = self.services.into_iter();
        let mut uses: HashMap<_, _> = uses.map(|s| (key(&s.namespace, &s.name), s)).collect();
        for view in views {
            let found = uses.remove(&key(&view.namespace, &view.name));
            let (total, endpoints) = found.map(|s| (s.total, s.endpoints)).unwrap_or_default();
            view.usage = Some(Usage { total, endpoints });
        }
    }
}

/// What a Service has used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceUse {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// All of it.
    #[serde(flatten)]
    pub total: Use,
    /// By endpoint; endpoints beyond the limit are in the Service's sum alone.
    pub endpoints: Vec<EndpointUse>,
}

/// What an endpoint has used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointUse {
    /// Address and port.
    #[schemars(with = "String")]
    pub endpoint: SocketAddr,
    /// All of it.
    #[serde(flatten)]
    pub total: Use,
}

/// The sums.
#[derive(Debug)]
pub struct Book {
    frontends: HashMap<Frontend, usize>,
    numbers: HashMap<ServiceName, usize>,
    /// By number; 0 is [`OTHER`].
    names: Vec<Option<ServiceName>>,
    sums: Sums,
    /// How many endpoints are told apart.
    limit: usize,
    lost: u64,
}

#[derive(Debug, Clone, Default)]
struct Sums {
    services: HashMap<usize, Use>,
    endpoints: HashMap<(usize, SocketAddr), Use>,
}

impl Sums {
    fn add(&mut self, service: usize, flow: &Flow, weight: u64, live: bool, limit: usize) {
        let of_service = self.services.entry(service).or_default();
        of_service.add(flow, weight, live);
        let key = (service, flow.endpoint);
        if self.endpoints.contains_key(&key) || self.endpoints.len() < limit {
            let of_endpoint = self.endpoints.entry(key).or_default();
            of_endpoint.add(flow, weight, live);
        }
    }
}

impl Book {
    /// An empty one that tells so many endpoints apart.
    pub fn new(endpoints: usize) -> Self {
        Self {
            frontends: HashMap::new(),
            numbers: HashMap::new(),
            names: vec![None],
            sums: Sums::default(),
            limit: endpoints,
            lost: 0,
        }
    }

    /// What a Service answers on from now on.
    pub fn service(&mut self, name: ServiceName, frontends: Vec<Frontend>) {
        let number = match self.numbers.get(&name) {
            Some(number) => *number,
            None if frontends.is_empty() => return,
            None if self.names.len() > SERVICES => 0,
            None => {
                self.names.push(Some(name.clone()));
                self.numbers.insert(name, self.names.len() - 1);
                self.names.len() - 1
            }
        };
        if number != 0 {
            let wanted: HashSet<&Frontend> = frontends.iter().collect();
            self.frontends
                .retain(|f, n| *n != number || wanted.contains(f));
        }
        self.frontends
            .extend(frontends.into_iter().map(|f| (f, number)));
    }

    /// The Service of a flow.
    fn find(&self, flow: &Flow) -> Option<usize> {
        if !flow.is_translated() {
            return None;
        }
        let (protocol, to) = (flow.protocol, flow.frontend);
        let vip = self.frontends.get(&(protocol, Some(to.ip()), to.port()));
        vip.or_else(|| self.frontends.get(&(protocol, None, to.port())))
            .copied()
    }

    /// Whether a flow is a Service's.
    pub fn concerns(&self, flow: &Flow) -> bool {
        self.find(flow).is_some()
    }

    /// A flow has ended that stands for so many. Returns whether it was a Service's.
    pub fn ended(&mut self, flow: &Flow, weight: u64) -> bool {
        let service = self.find(flow);
        if let Some(service) = service.filter(|_| weight > 0) {
            self.sums.add(service, flow, weight, false, self.limit);
        }
        service.is_some()
    }

    /// So many times events were lost.
    pub fn lost(&mut self, times: u64) {
        self.lost += times;
    }

    /// The sums of what has ended and of these, which live, each with the number of those that it
    /// stands for.
    pub fn view(&self, live: &[(Flow, u64)], one_in: u32) -> AccountingView {
        let mut sums = self.sums.clone();
        for (flow, weight) in live {
            if let Some(service) = self.find(flow) {
                sums.add(service, flow, *weight, true, self.limit);
            }
        }
        let mut endpoints: BTreeMap<usize, Vec<EndpointUse>> = BTreeMap::new();
        for ((service, endpoint), total) in sums.endpoints {
            let entry = endpoints.entry(service).or_default();
            entry.push(EndpointUse { endpoint, total });
        }
        let service = |(number, total): (usize, Use)| {
            let name = self.names.get(number).and_then(Option::as_ref);
            let mut endpoints = endpoints.remove(&number).unwrap_or_default();
            endpoints.sort_unstable_by_key(|e| e.endpoint);
            ServiceUse {
                namespace: name.map_or(String::new(), |n| n.namespace.to_string()),
                name: name.map_or(OTHER.to_owned(), |n| n.name.to_string()),
                total,
                endpoints,
            }
        };
        let mut services: Vec<ServiceUse> = sums.services.into_iter().map(service).collect();
        services.sort_unstable_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        AccountingView {
            services,
            lost: self.lost,
            one_in,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ServiceName {
        let (namespace, name) = text.split_once('/').unwrap();
        ServiceName {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    fn flow(to: &str, endpoint: &str, bytes: (u64, u64)) -> Flow {
        Flow {
            protocol: 6,
            client: "10.244.1.9:40000".parse().unwrap(),
            frontend: to.parse().unwrap(),
            endpoint: endpoint.parse().unwrap(),
            bytes: Some(bytes),
            answered: true,
            tcp_state: None,
            timeout: None,
            id: 0,
        }
    }

    fn book(endpoints: usize) -> Book {
        let mut book = Book::new(endpoints);
        let vip = |port| (6, Some([10, 96, 0, 10].into()), port);
        book.service(name("default/web"), vec![vip(80), (6, None, 30080)]);
        book.service(name("default/api"), vec![vip(81)]);
        book
    }

    #[test]
    fn flows_are_added_to_their_service_and_endpoint() {
        let mut book = book(10);
        book.ended(&flow("10.96.0.10:80", "10.244.1.5:8080", (10, 100)), 1);
        book.ended(&flow("192.0.2.10:30080", "10.244.1.6:8080", (1, 2)), 1);
        book.ended(&flow("10.96.0.10:81", "10.244.1.7:8080", (5, 5)), 1);
        // Never translated, and another's.
        book.ended(&flow("10.96.0.10:80", "10.96.0.10:80", (9, 9)), 1);
        book.ended(&flow("10.96.0.11:80", "10.244.1.5:8080", (9, 9)), 1);
        let living = [(flow("10.96.0.10:80", "10.244.1.5:8080", (20, 200)), 1)];
        let view = book.view(&living, 1);
        let names: Vec<&str> = view.services.iter().map(|s| &*s.name).collect();
        assert_eq!(names, ["api", "web"]);
        let web = &view.services[1];
        let expected = Use {
            connections: 3,
            live: 1,
            bytes_in: 31,
            bytes_out: 302,
        };
        assert_eq!(web.total, expected);
        assert_eq!(web.endpoints.len(), 2);
        assert_eq!(web.endpoints[0].total.connections, 2);
    }

    #[test]
    fn a_flow_stands_for_others() {
        let mut book = book(10);
        let one = || flow("10.96.0.10:80", "10.244.1.5:8080", (10, 100));
        assert!(book.ended(&one(), 16) && book.ended(&one(), 0));
        let view = book.view(&[(one(), 0), (one(), 4)], 4);
        let expected = Use {
            connections: 20,
            live: 2,
            bytes_in: 200,
            bytes_out: 2000,
        };
        assert_eq!(view.services[0].total, expected);
        assert_eq!(
            (view.services[0].endpoints[0].total, view.one_in),
            (expected, 4)
        );
    }

    #[test]
    fn only_so_many_endpoints_are_told_apart() {
        let mut book = book(1);
        for n in 1..4 {
            book.ended(
                &flow("10.96.0.10:80", &format!("10.244.1.{n}:8080"), (1, 1)),
                1,
            );
        }
        let view = book.view(&[], 1);
        assert_eq!(view.services[0].total.connections, 3);
        assert_eq!(view.services[0].endpoints.len(), 1);
    }

    #[test]
    fn what_is_gone_keeps_its_sums_and_gets_no_more() {
        let mut book = book(10);
        book.ended(&flow("10.96.0.10:81", "10.244.1.7:8080", (5, 5)), 1);
        book.service(name("default/api"), Vec::new());
        book.ended(&flow("10.96.0.10:81", "10.244.1.7:8080", (5, 5)), 1);
        let view = book.view(&[], 1);
        assert_eq!(view.services.len(), 1);
        assert_eq!(view.services[0].total.connections, 1);
    }

    #[test]
    fn services_beyond_the_limit_are_one() {
        let mut book = Book::new(0);
        for n in 0..=SERVICES {
            let address = std::net::Ipv4Addr::from(0x0a60_0000 + n as u32);
            let frontend = (6, Some(address.into()), 80);
            book.service(name(&format!("default/s{n}")), vec![frontend]);
        }
        let last = std::net::Ipv4Addr::from(0x0a60_0000 + SERVICES as u32);
        book.ended(&flow(&format!("{last}:80"), "10.244.1.7:8080", (5, 5)), 1);
        let view = book.view(&[], 1);
        assert_eq!(
            (&*view.services[0].name, view.services[0].total.connections),
            (OTHER, 1)
        );
    }
}
