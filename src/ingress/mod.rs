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
//! | [`action`] | what routes do with requests and responses besides handing them on | I/O, clocks, logging |
//! | [`annotation`] | reads what Ingresses say by ingress-nginx's annotations | I/O, clocks, logging |
//! | [`catalog`] | decides which Ingresses are ours and what follows from them | I/O, clocks, logging |
//! | [`control`] | takes events in, puts tables and certificates in place, says what is wrong | speak with Kubernetes |
//! | [`explain`] | what `ferrule debug` shows | change anything |
//! | [`lint`] | what of all Ingresses is not served as it is written | I/O, clocks, logging |
//! | [`status`] | writes where Ingresses are served, from one elected node | serve anything |
//! | [`resolve`] | the addresses of ExternalNames | |
//! | [`route`] | finds the route of a host and a path | I/O, clocks, logging |
//! | [`serve`] | listens, speaks HTTP/1.1, HTTP/2 and TLS with clients, bounds what they cost | share anything between threads |
//! | `proxy` | checks a request, hands it on, edits headers both ways | hold a body beyond a bound in memory |
//! | `guard` | what serving threads share to keep clients out: limits, passwords, answers of others | decide what to keep out |
//! | `filter` | a route's actions on a request, in a fixed order | I/O, clocks, logging |
//! | `services` | connections to services that are asked who may come in | decide who may |
//! | `upstream` | connections to endpoints, kept for the next request | choose an endpoint |
//! | [`pass`] | TCP and UDP ports that go to a Service byte by byte | look into them |
//! | `shape` | bodies of answers encoded, and held to a rate | hold more than a window |
//! | `keep` | memory for bodies of requests that may be sent again | take more than its bound |
//! | `copy` | bodies of requests once more, for mirrors | let the original wait |
//! | `idle` | bytes both ways between two sides | know what they are |
//! | `stream` | a connection, plain or over TLS, for clients and endpoints alike | count or time anything |
//! | [`balance`] | chooses an endpoint | I/O, clocks, logging |
//! | [`tls`] | certificates by name, swapped as a whole | verify endpoints |
//! | [`access_log`] | one line a request, off the requests' way | let a request wait |
//! | [`meters`] | what is counted | |
//! | [`nginx_metrics`] | the same by ingress-nginx's names, on request | take a lock for a request |

pub mod access_log;
pub mod action;
pub mod annotation;
pub mod balance;
mod body;
pub mod catalog;
pub mod control;
mod copy;
mod encode;
mod errors;
pub mod explain;
mod filter;
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod idle;
mod keep;
pub mod lint;
mod local;
pub mod meters;
pub mod nginx_metrics;
pub mod pass;
mod proxy;
pub mod resolve;
pub mod route;
pub mod serve;
mod services;
mod shape;
pub mod status;
mod stream;
pub mod table;
pub mod tls;
mod upstream;
