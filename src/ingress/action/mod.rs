// SPDX-License-Identifier: Apache-2.0
//! What routes do with requests and responses besides handing them on: typed, compiled when
//! annotations are read, never for a request. PURE.
//!
//! | module | does |
//! |---|---|
//! | [`access`] | who may come in by address |
//! | [`basic`] | who may by name and password |
//! | [`client_certificate`] | who may by what they show when TLS begins |
//! | [`external`] | what another service is asked, and what its answer means |
//! | [`gate`] | all of these in order, and how they are combined |
//! | [`limit`] | how often clients may ask |
//! | [`password`] | hashes of passwords |
//! | [`search`] | patterns in linear time |
//! | [`template`] | text with nginx's variables |

pub mod access;
pub mod basic;
pub mod client_certificate;
pub mod external;
pub mod gate;
pub mod limit;
pub mod password;
pub mod search;
pub mod template;
