// SPDX-License-Identifier: Apache-2.0
//! From Kubernetes objects to [`Event`](crate::model::Event)s. The only stage that knows
//! Kubernetes types, and only [`convert`] knows their fields.
//!
//! Objects come from an API server ([`cluster`], through a [`client()`]) or from a directory of
//! [`manifests`]; both end in the same conversion, so a bad field means the same in either. The
//! host's own [`addresses`] come from the kernel.

pub mod addresses;
mod client;
pub mod cluster;
pub mod convert;
mod listing;
pub mod manifests;
mod stream;

pub use client::{Error as ClientError, client};
