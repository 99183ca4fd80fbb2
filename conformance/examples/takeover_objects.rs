// SPDX-License-Identifier: Apache-2.0
//! Prints the objects whose rules `testdata/kube-proxy/record.sh` records, as one JSON list.

use ferrule_conformance::object::{Service, cluster};
use ferrule_conformance::scenario::takeover::showcase;

fn main() -> anyhow::Result<()> {
    let services = showcase();
    let objects = cluster(3)
        .into_iter()
        .filter(|o| o["kind"] != "ServiceCIDR")
        .chain(services.iter().flat_map(Service::objects));
    let items: Vec<_> = objects.collect();
    let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items });
    serde_json::to_writer_pretty(std::io::stdout().lock(), &list)?;
    Ok(())
}
