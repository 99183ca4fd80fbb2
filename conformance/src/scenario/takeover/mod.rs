// SPDX-License-Identifier: Apache-2.0
//! The node had kube-proxy before.

mod showcase;

pub use showcase::showcase;
