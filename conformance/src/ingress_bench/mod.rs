// SPDX-License-Identifier: Apache-2.0
//! The Ingress sidecar, nginx and HAProxy in turn, measured on the same core with the same clients
//! and endpoints: `make bench-ingress`.
//!
//! | module | does |
//! |---|---|
//! | [`machine`] | cores, what processes use, and how little of a core they get |
//! | [`upstream`] | endpoints that cost next to nothing |
//! | [`load`], [`handshake`], [`h2load`] | clients: HTTP/1.1, new TLS connections, HTTP/2 |
//! | [`proxies`] | starts each proxy with the same routes |
//! | [`scenario`] | what is asked of each proxy, round after round |
//! | [`memory`], [`edits`] | 5,000 Ingresses: what they take, and how fast one changes |
//! | [`stats`], [`results`], [`page`] | ratios with their spread, kept and shown |

pub mod edits;
pub mod h2load;
pub mod handshake;
pub mod load;
pub mod machine;
pub mod memory;
pub mod page;
pub mod proxies;
pub mod results;
pub mod scenario;
pub mod stats;
pub mod upstream;
