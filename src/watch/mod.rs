// SPDX-License-Identifier: Apache-2.0
//! From Kubernetes objects to [`Event`](crate::model::Event)s. The only stage that knows
//! Kubernetes types, and only [`convert`] knows their fields.
//!
//! Objects come from an API server or from a directory of [`manifests`]; both end in the same
//! conversion, so a bad field means the same in either.

pub mod addresses;
mod client;
pub mod cluster;
pub mod convert;
mod listing;
pub mod manifests;

pub use client::{Error as ClientError, client};
