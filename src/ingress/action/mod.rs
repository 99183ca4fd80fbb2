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
//! | [`template`] | text with nginx's variables |
//! | [`cors`] | who may read answers from other origins |
//! | [`headers`] | changes of headers, both ways |
//! | [`snippet`] | snippets of nginx's configuration |
//! | [`errors`] | answers in place of errors |
//! | [`mirror`] | copies of requests |
//! | [`compress`] | which answers are compressed |
//! | [`rate`] | how fast answers are sent |

pub mod compress;
pub mod cors;
pub mod errors;
pub mod headers;
pub mod mirror;
pub mod origin;
pub mod pattern;
pub mod rate;
pub mod redirect;
pub mod rewrite;
pub mod snippet;
pub mod template;
