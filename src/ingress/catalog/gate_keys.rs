// SPDX-License-Identifier: Apache-2.0
//! Keys of ingress-nginx's ConfigMap that keep somebody out of all routes. What cannot be read lets
//! nobody in rather than everybody. PURE.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hyper::StatusCode;
use ipnet::IpNet;

use crate::ingress::action::gate::{Blocks, Named};
use crate::ingress::annotation::access::networks;
use crate::ingress::annotation::gate;
use crate::ingress::annotation::value::{self, Wrong};
use crate::ingress::table::{RouteSettings, Settings};

/// `whitelist-source-range`: who may come in where no annotation says otherwise.
pub(super) fn allow(route: &mut RouteSettings, text: &str) -> Result<(), Wrong> {
    if text.is_empty() {
        return Ok(());
    }
    let access = &mut gate(route).access;
    access.allow = networks(text).map_err(|wrong| {
        // An address that no client has.
        access.allow = vec![IpNet::from(IpAddr::V4(Ipv4Addr::BROADCAST))];
        format!("{wrong}; nobody comes in")
    })?;
    Ok(())
}

/// `denylist-source-range`.
pub(super) fn deny(route: &mut RouteSettings, text: &str) -> Result<(), Wrong> {
    if text.is_empty() {
        return Ok(());
    }
    let access = &mut gate(route).access;
    access.deny = networks(text).map_err(|wrong| {
        access.deny = ["0.0.0.0/0", "::/0"]
            .iter()
            .flat_map(|net| net.parse())
            .collect();
        format!("{wrong}; nobody comes in")
    })?;
    Ok(())
}

/// `limit-req-status-code`.
pub(super) fn request_status(route: &mut RouteSettings, text: &str) -> Result<(), Wrong> {
    gate(route).statuses.0 = status(text)?;
    Ok(())
}

/// `limit-conn-status-code`.
pub(super) fn connection_status(route: &mut RouteSettings, text: &str) -> Result<(), Wrong> {
    gate(route).statuses.1 = status(text)?;
    Ok(())
}

/// As nginx takes it.
fn status(text: &str) -> Result<StatusCode, Wrong> {
    let status = value::status(400, 599, text)?;
    StatusCode::from_u16(status).map_err(|error| error.to_string())
}

/// `no-auth-locations`: beginnings of paths, between commas.
pub(super) fn open(route: &mut RouteSettings, text: &str) -> Result<(), Wrong> {
    let words = text
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    gate(route).open = words.map(Arc::from).collect();
    Ok(())
}

/// `block-cidrs`.
pub(super) fn block_networks(settings: &mut Settings, text: &str) -> Result<(), Wrong> {
    if !text.is_empty() {
        blocks(settings).networks = networks(text)?;
    }
    Ok(())
}

/// `block-user-agents`.
pub(super) fn block_agents(settings: &mut Settings, text: &str) -> Result<(), Wrong> {
    blocks(settings).agents = named(text)?;
    Ok(())
}

/// `block-referers`.
pub(super) fn block_referers(settings: &mut Settings, text: &str) -> Result<(), Wrong> {
    blocks(settings).referers = named(text)?;
    Ok(())
}

fn named(text: &str) -> Result<Vec<Named>, Wrong> {
    let words = text
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    words.map(Named::parse).collect()
}

fn blocks(settings: &mut Settings) -> &mut Blocks {
    Arc::make_mut(settings.blocks.get_or_insert_default())
}

#[cfg(test)]
mod tests {
    use super::super::settings;
    use super::*;
    use crate::ingress::action::access::Ruling;
    use crate::ingress::action::gate::Gate;
    use crate::ingress::table::Behaviour;

    fn read(data: &[(&str, &str)]) -> (Gate, Option<Arc<Blocks>>, Vec<String>) {
        let data = data
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect();
        let read = settings::read(
            &Settings::default(),
            (&RouteSettings::default(), Behaviour::Spec),
            &data,
        );
        let gate = read.spec().route.gate.as_deref().cloned();
        (gate.unwrap_or_default(), read.settings.blocks, read.notes)
    }

    #[test]
    fn keys_of_ingress_nginx_mean_the_same() {
        let (gate, blocks, notes) = read(&[
            ("allow-cross-namespace-resources", "true"),
            ("whitelist-source-range", "10.0.0.0/8, 192.0.2.1"),
            ("denylist-source-range", "10.1.0.0/16"),
            ("limit-req-status-code", "429"),
            ("limit-conn-status-code", "420"),
            ("limit-conn-zone-variable", "$binary_remote_addr"),
            ("no-auth-locations", "/open, /health"),
            ("block-cidrs", "198.51.100.0/24"),
            ("block-user-agents", "~*bot,Evil"),
            ("block-referers", "~spam"),
        ]);
        assert_eq!(notes, [""; 0]);
        assert_eq!((gate.access.allow.len(), gate.access.deny.len()), (2, 1));
        assert_eq!(
            (gate.statuses.0.as_u16(), gate.statuses.1.as_u16()),
            (429, 420)
        );
        assert!(gate.is_open("/health/x") && !gate.is_open("/.well-known/acme-challenge/x"));
        assert!(gate.cross_namespace);
        let blocks = blocks.expect("blocks");
        assert_eq!(
            (
                blocks.networks.len(),
                blocks.agents.len(),
                blocks.referers.len()
            ),
            (1, 2, 1)
        );
    }

    #[test]
    fn lists_that_cannot_be_read_let_nobody_in() {
        for name in ["whitelist-source-range", "denylist-source-range"] {
            let (gate, _, notes) = read(&[(name, "everybody")]);
            for address in ["192.0.2.1", "2001:db8::1"] {
                let address = address.parse().expect("an address");
                assert_eq!(gate.access.of(address), Ruling::Refused, "{name}");
            }
            assert!(notes[0].ends_with("; nobody comes in"), "{notes:?}");
            let (gate, _, notes) = read(&[(name, "")]);
            assert_eq!((gate, notes.len()), (Gate::default(), 0));
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let (_, _, notes) = read(&[
            ("limit-req-status-code", "200"),
            ("block-user-agents", "~("),
            ("block-cidrs", "x"),
            ("global-auth-url", "nowhere"),
        ]);
        assert_eq!(notes.len(), 4, "{notes:?}");
    }
}
