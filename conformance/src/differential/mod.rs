// SPDX-License-Identifier: Apache-2.0
//! kube-proxy itself as the judge: the same random Services, the same packets, two worlds.
//!
//! | module | is |
//! |---|---|
//! | [`spec`], [`generate`] | cases as small numbers, and random ones |
//! | [`render`] | the Kubernetes objects that they become |
//! | [`probe`], [`ask`](mod@ask), [`health`] | what is asked, and the asking |
//! | [`outcome`] | what happened, in words |
//! | [`world`] | the namespaces of one proxy |
//! | [`api`], [`proxies`] | a real API server, and who watches it |
//! | [`rig`] | rounds of cases in both worlds |
//! | [`shrink`](mod@shrink), [`allowed`] | what to make of a difference |
//! | [`summary`] | what came of a run, as a file |
//! | [`record`] | kube-proxy's answers as files |
//! | [`fault`] | whether a fault would be noticed |

pub mod allowed;
pub mod api;
pub mod ask;
mod dial;
pub mod fault;
pub mod generate;
pub mod health;
pub mod outcome;
pub mod probe;
pub mod proxies;
pub mod record;
pub mod render;
pub mod rig;
pub mod shrink;
pub mod spec;
pub mod summary;
pub mod world;
