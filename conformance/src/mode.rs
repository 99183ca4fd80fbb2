// SPDX-License-Identifier: Apache-2.0
//! The proxy mode that the packet table judges: `MODE=ipvs` in the environment, else nftables.

use std::sync::LazyLock;

use anyhow::{Result, bail};

/// A proxy mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// nftables.
    #[default]
    Nftables,
    /// IPVS. It needs a kernel with it: the guest, see conformance/guest.
    Ipvs,
}

/// What the environment said when it was first needed; nftables, if that was unusable.
pub fn mode() -> Mode {
    static MODE: LazyLock<Mode> = LazyLock::new(|| Mode::from_env().unwrap_or_default());
    *MODE
}

impl Mode {
    /// Reads the environment.
    ///
    /// # Errors
    /// If it names another mode.
    pub fn from_env() -> Result<Self> {
        match std::env::var("MODE").as_deref() {
            Err(_) | Ok("" | "nftables") => Ok(Self::Nftables),
            Ok("ipvs") => Ok(Self::Ipvs),
            Ok(other) => bail!("MODE={other}: neither nftables nor ipvs"),
        }
    }

    /// As `--proxy-mode` takes it.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Nftables => "nftables",
            Mode::Ipvs => "ipvs",
        }
    }
}
