// SPDX-License-Identifier: Apache-2.0
//! What `ferrule debug` shows. Reads from the running agent or from the kernel, changes nothing.

pub mod rules;
