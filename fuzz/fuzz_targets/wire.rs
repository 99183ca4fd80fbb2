// SPDX-License-Identifier: Apache-2.0
//! Whatever a connection to the sidecar begins with, and whatever a Secret holds. See fuzz/run.sh.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = ferrule::ingress::fuzzing::check_bytes(bytes) {
        panic!("{broken}");
    }
});
