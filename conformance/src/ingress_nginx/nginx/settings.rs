// SPDX-License-Identifier: Apache-2.0
//! What a ConfigMap says, and ingress-nginx's defaults: docs/user-guide/nginx-configuration/
//! configmap.md.

use std::collections::BTreeMap;

/// A ConfigMap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings<'a>(pub(super) &'a BTreeMap<String, String>);

impl Settings<'_> {
    pub(super) fn text(&self, key: &str, default: &str) -> String {
        let said = self.0.get(key).map(|value| value.trim());
        said.filter(|value| !value.is_empty())
            .unwrap_or(default)
            .to_owned()
    }

    pub(super) fn on(&self, key: &str, default: bool) -> bool {
        self.0
            .get(key)
            .map_or(default, |value| value.trim() == "true")
    }

    /// A list with commas between.
    pub(super) fn list(&self, key: &str) -> Vec<String> {
        let text = self.text(key, "");
        let parts = text.split(',').map(str::trim).filter(|p| !p.is_empty());
        parts.map(str::to_owned).collect()
    }

    /// Whether the headers that a proxy before this one has set are believed.
    pub(super) fn forwarded(&self) -> bool {
        self.on("use-forwarded-headers", false)
    }

    /// The value of HSTS, if it is on.
    pub(super) fn hsts(&self) -> Option<String> {
        let mut value = format!("max-age={}", self.text("hsts-max-age", "31536000"));
        if self.on("hsts-include-subdomains", true) {
            value.push_str("; includeSubDomains");
        }
        if self.on("hsts-preload", false) {
            value.push_str("; preload");
        }
        self.on("hsts", true).then_some(value)
    }
}
