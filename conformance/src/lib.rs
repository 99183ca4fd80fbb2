// SPDX-License-Identifier: Apache-2.0
//! Judges ferrule by real packets in network namespaces.
