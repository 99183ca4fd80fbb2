// SPDX-License-Identifier: Apache-2.0
//! What `ferrule debug explain` tells.

use std::collections::BTreeSet;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::observe::view::{EndpointState, FrontendKind, Policy, Protocol};

/// What becomes of a connection, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The connection.
    pub packet: PacketView,
    /// `nftables` or `ipvs`, as the kernel's table tells.
    pub mode: String,
    /// Why there is no answer of the agent; nothing: it has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// What becomes of the connection.
    pub verdict: Verdict,
    /// Why, in a sentence.
    pub because: String,
    /// The frontend that answers there, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frontend: Option<FrontendAnswer>,
    /// The endpoints that it may go to.
    pub endpoints: Vec<EndpointAnswer>,
    /// The Service's endpoints that it can't go to. Only the agent knows them.
    pub not_chosen: Vec<NotChosen>,
    /// The endpoint that this client is held at, if there is session affinity and it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<AffinityAnswer>,
    /// The elements of the kernel's sets and maps that say so, in the order they were found.
    pub elements: Vec<ElementView>,
    /// What else to know.
    pub notes: Vec<String>,
}

/// The first packet of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PacketView {
    /// Who sends it, in words.
    pub from: String,
    /// Its source address.
    pub source: IpAddr,
    /// The interface it comes in by; none if this host sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Its destination address.
    pub destination: IpAddr,
    /// Its destination port.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It goes to one of the endpoints.
    Forwarded,
    /// It fails at once: ICMP port unreachable.
    Refused,
    /// It vanishes: the client waits until it gives up.
    Dropped,
    /// No rule of ours touches it.
    Untouched,
}

/// The frontend that a connection goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrontendAnswer {
    /// The Service, as `NAMESPACE/NAME`, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What kind of address it is, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<FrontendKind>,
    /// Name of the service port, if it is known; possibly empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_name: Option<String>,
    /// The traffic policy, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// Timeout of session affinity in seconds, if there is any and it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity_seconds: Option<u32>,
    /// Who may connect, if that is limited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_ranges: Vec<String>,
}

/// An endpoint that a connection may go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointAnswer {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Its node, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its zone, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Whether it sees an address of this node in place of the client's.
    pub masqueraded: bool,
    /// Why.
    pub because: String,
}

/// An endpoint that a connection can't go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotChosen {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Its node, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its zone, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Readiness.
    pub state: EndpointState,
    /// Why not.
    pub reason: String,
}

/// A sticky client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AffinityAnswer {
    /// The map that holds it.
    pub map: String,
    /// The client.
    pub client: IpAddr,
    /// Where it goes.
    pub endpoint: IpAddr,
}

/// An element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ElementView {
    /// The set or map.
    pub set: String,
    /// Key and data, as nft writes them.
    pub element: String,
}

impl Explanation {
    /// Address, port and masquerade of each endpoint.
    pub fn reaches(&self) -> BTreeSet<(IpAddr, u16, bool)> {
        let all = self.endpoints.iter();
        all.map(|e| (e.address, e.port, e.masqueraded)).collect()
    }
}
