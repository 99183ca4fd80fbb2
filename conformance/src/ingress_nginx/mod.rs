// SPDX-License-Identifier: Apache-2.0
//! The Ingress sidecar against real nginx, with the configuration that ingress-nginx would render
//! for the same objects: `make differential-ingress`.
//!
//! ```text
//! cases (YAML) ──▶ objects ──▶ ferrule-ingress ──┐
//!      │                                         ├──▶ answers and what endpoints saw, compared
//!      └─────────▶ nginx.conf ──▶ nginx ─────────┘
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`case`](mod@case) | reads the cases of conformance/ingress-nginx |
//! | [`request`] | what a case asks, and what nginx must answer |
//! | [`objects`] | a case as Kubernetes objects |
//! | [`nginx`] | a case as nginx's configuration, by ingress-nginx's documented rules |
//! | [`world`] | both proxies with the same settings and many cases |
//! | [`certificates`] | who is who, for TLS |
//! | [`echo`] | endpoints: they do as they are told, and remember what they saw |
//! | [`client`] | asks a proxy |
//! | [`compare`] | what counts of an answer, and what differs |
//! | [`run`] | all cases on both proxies |
//! | [`allowed`] | differences that are intended, and annotations that are not compared |
//! | [`report`], [`page`] | n of m by annotation, in a table, as JSON, as a page |

pub mod allowed;
pub mod case;
pub mod certificates;
pub mod client;
pub mod compare;
pub mod echo;
pub mod nginx;
pub mod objects;
pub mod page;
pub mod report;
pub mod request;
pub mod run;
pub mod world;
