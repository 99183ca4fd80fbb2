// SPDX-License-Identifier: Apache-2.0
//! Rules, sets and elements in nft syntax, for people, golden files and fingerprints.
