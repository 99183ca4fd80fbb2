// SPDX-License-Identifier: Apache-2.0
//! What others can see of the proxy: health, metrics, views for `ferrule debug`. Changes nothing.
//!
//! The loop tells [`Status`] what it does, without ever waiting; [`serve`] answers requests from
//! it. Only the admin socket asks the loop back, through a channel of [`AdminRequest`]s.
//!
//! | port | path | as kube-proxy v1.36 |
//! |---|---|---|
//! | 10256 | /healthz, /livez | yes |
//! | 10249 | /healthz, /proxyMode, /metrics | yes; metrics as docs/metrics.md says |
//! | `spec.healthCheckNodePort` | any | yes; for both families of a Service |
//! | unix socket | /services, /status | no: ours |

mod admin;
mod checks;
mod health;
mod http;
pub mod log;
pub mod metrics;
mod serve;
pub(crate) mod show;
mod status;
#[cfg(test)]
mod tests;
pub mod view;

pub use admin::{AdminRequest, Selection};
pub use checks::HealthCheck;
pub use health::Moment;
pub use metrics::Metrics;
pub use serve::{Error, serve};
pub use status::Status;
