// SPDX-License-Identifier: Apache-2.0
//! What others can see of the proxy: health, metrics, views for `ferrule debug`. Changes nothing.
//!
//! The loop tells [`Status`] what it does, without ever waiting; [`serve`] answers requests from
//! it. Only the admin socket asks the loop back, through a channel of [`AdminRequest`]s.
//! [`events`] writes Kubernetes Events.
//!
//! | port | path | as kube-proxy v1.36 |
//! |---|---|---|
//! | 10256 | /healthz, /livez | yes |
//! | 10249 | /healthz, /proxyMode, /configz, /flagz, /statusz, /metrics/slis | yes |
//! | 10249 | /metrics | as docs/metrics.md says |
//! | 10249 | /debug/flags/v, /debug/pprof/, if profiling is on | yes, but no Go profiles |
//! | `spec.healthCheckNodePort` | any | yes; for both families of a Service |
//! | unix socket | /services, /wanted, /status, /accounting | no: ours |
//!
//! docs/health.md says more.

pub mod accounting;
mod admin;
mod checks;
pub mod events;
pub mod forward;
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod http;
pub(crate) mod listeners;
pub mod log;
pub mod metrics;
mod pages;
mod serve;
pub(crate) mod show;
pub mod sidecar;
pub mod sources;
mod status;
#[cfg(test)]
mod tests;
pub mod view;

pub use accounting::Accounting;
pub use admin::{AdminRequest, Selection};
pub use checks::HealthCheck;
pub use health::Moment;
pub use metrics::Metrics;
pub use pages::Pages;
pub use serve::{Error, serve};
pub use status::Status;
