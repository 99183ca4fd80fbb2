// SPDX-License-Identifier: Apache-2.0
//! `ferrule debug …`: asks the running agent and the kernel, changes nothing.

mod client;
pub mod doctor;
pub mod ingress;
pub mod rules;
pub mod services;
