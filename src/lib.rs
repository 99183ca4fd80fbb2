// SPDX-License-Identifier: Apache-2.0
//! ferrule: a Service proxy for Kubernetes nodes.
//!
//! Data flows in one direction, and the middle of it is pure:
//!
//! ```text
//! watch ──Event──▶ model ──Changes──▶ plan ──Contribution──▶ ledger ──Transaction──▶ backend ──▶ kernel
//! (I/O)            (pure)             (pure)                 (pure)                  (I/O)
//!                      ▲ one loop drives them: sync; observe and debug only read ▲
//! ```
//!
//! | stage | does | never does |
//! |---|---|---|
//! | [`watch`] | turns Kubernetes objects (API server or manifest directory) into [`model::Event`]s | programs anything |
//! | [`model`] | keeps what the cluster says, in compact types of our own | I/O, clocks, logging |
//! | [`plan`] | computes the nftables objects that a service needs, and traces packets through them | I/O, clocks, logging |
//! | [`backend`] | writes transactions to the kernel over netlink and reads the kernel's state back | decide what should be there |
//! | [`sync`] | the loop: events in, one transaction out, retry, report | know netlink or Kubernetes types |
//! | [`observe`] | health endpoints, metrics, Kubernetes Events, the admin socket | change anything |
//! | [`ingress`] | the program `ferrule-ingress`: serves Ingress at layer 7 | program rules |
//! | [`localhost`] | serves NodePorts on loopback, as a client of the rules; opt-in | program rules |
//! | [`debug`] | the `ferrule debug` commands | change anything |
//!
//! [`config`] decides, [`reload`] follows its file, and [`run`] wires the stages together.
//! docs/architecture.md holds the rules that keep it so.

pub mod backend;
pub mod cli;
pub mod config;
pub mod debug;
pub mod ingress;
pub mod localhost;
pub mod model;
pub mod observe;
pub mod plan;
pub mod reload;
pub mod run;
pub mod sync;
pub mod watch;
