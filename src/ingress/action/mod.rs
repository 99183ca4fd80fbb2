// SPDX-License-Identifier: Apache-2.0
//! What routes do with requests and responses besides handing them on: typed, compiled when
//! annotations are read, never for a request. PURE.
//!
//! | module | does |
//! |---|---|
//! | [`origin`] | what endpoints say of where they are, in the clients' terms |
//! | [`pattern`] | regular expressions as nginx has them, in linear time |
//! | [`redirect`] | answers that send the client elsewhere |
//! | [`rewrite`] | another path for the endpoint |
//! | [`access`] | who may come in by address |
//! | [`basic`] | who may by name and password |
//! | [`client_certificate`] | who may by what they show when TLS begins |
//! | [`external`] | what another service is asked, and what its answer means |
//! | [`gate`] | all of these in order, and how they are combined |
//! | [`limit`] | how often clients may ask |
//! | [`password`] | hashes of passwords |
//! | [`search`] | patterns in linear time |
//! | [`affinity`] | cookies that keep a session at its endpoint |
//! | [`canary`] | which requests go to another Service |
//! | [`cookies`] | finds a cookie |
//! | [`retry`] | which failures make a request be tried again |
//! | [`template`] | text with nginx's variables |
//! | [`cors`] | who may read answers from other origins |
//! | [`handshake`] | how TLS begins |
//! | [`headers`] | changes of headers, both ways |
//! | [`snippet`] | snippets of nginx's configuration |
//! | [`errors`] | answers in place of errors |
//! | [`mirror`] | copies of requests |
//! | [`compress`] | which answers are compressed |
//! | [`rate`] | how fast answers are sent |

pub mod access;
pub mod affinity;
pub mod basic;
pub mod canary;
pub mod client_certificate;
pub mod compress;
pub mod cookies;
pub mod cors;
pub mod errors;
pub mod external;
pub mod gate;
pub mod handshake;
pub mod headers;
pub mod limit;
pub mod mirror;
pub mod origin;
pub mod password;
pub mod pattern;
pub mod rate;
pub mod redirect;
pub mod retry;
pub mod rewrite;
pub mod search;
pub mod snippet;
pub mod template;
