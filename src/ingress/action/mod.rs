// SPDX-License-Identifier: Apache-2.0
//! What routes do with requests and responses besides handing them on: typed, compiled when
//! annotations are read, never for a request. PURE.
//!
//! | module | does |
//! |---|---|
//! | [`affinity`] | cookies that keep a session at its endpoint |
//! | [`canary`] | which requests go to another Service |
//! | [`cookies`] | finds a cookie |
//! | [`retry`] | which failures make a request be tried again |
//! | [`template`] | text with nginx's variables |

pub mod affinity;
pub mod canary;
pub mod cookies;
pub mod retry;
pub mod template;
