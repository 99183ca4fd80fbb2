// SPDX-License-Identifier: Apache-2.0
//! Many Services in a real API server, and how fast a proxy follows it: `make scale`.
//!
//! | module | is |
//! |---|---|
//! | [`objects`] | the Services and EndpointSlices, and who has which address |
//! | [`machine`] | a node, and behind it one namespace that is every endpoint |
//! | [`dial`] | one connection, and which endpoint it reached |
//! | [`usage`] | processor time and memory of a proxy and of the programs that it runs |
//! | [`cluster`] | the API server, filled |
//! | [`proxy`] | one proxy on a node |
//! | [`start`], [`change`], [`churn`] | what is measured |
//! | [`progress`] | a line now and then |
//! | [`results`], [`page`] | numbers, and docs/scale.md |

pub mod change;
pub mod churn;
pub mod cluster;
pub mod dial;
pub mod machine;
pub mod objects;
pub mod page;
pub mod progress;
pub mod proxy;
pub mod results;
pub mod start;
pub mod usage;
