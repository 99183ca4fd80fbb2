// SPDX-License-Identifier: Apache-2.0
//! What the programs may do, where they listen and what they ask for: the real ones, in network
//! namespaces.

mod api;
mod capabilities;
mod listeners;
mod rig;
mod seeds;
mod sources;
