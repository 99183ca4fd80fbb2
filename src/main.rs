// SPDX-License-Identifier: Apache-2.0
//! The `ferrule` program.

fn main() {}
