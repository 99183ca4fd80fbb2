// SPDX-License-Identifier: Apache-2.0
//! `ferrule-ingress`: serves Ingress at layer 7.
//!
//! ```text
//! watch ──Event──▶ catalog ──▶ Table ──(swapped as a whole)──▶ serve ──▶ upstream
//! (I/O)            (pure)      (pure)                          (I/O, one thread a core)
//! ```
//!
//! | module | does | never does |
//! |---|---|---|
//! | [`table`] | everything that a request needs to know, immutable | I/O, clocks, logging |
//! | [`catalog`] | decides which Ingresses are ours and what follows from them | I/O, clocks, logging |
//! | [`route`] | finds the route of a host and a path | I/O, clocks, logging |

pub mod catalog;
pub mod route;
pub mod table;
