// SPDX-License-Identifier: Apache-2.0
//! Whatever annotations and ConfigMaps say becomes a table, and each request a route or none. See
//! fuzz/run.sh.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(broken) = ferrule::ingress::fuzzing::check_objects(text) {
        panic!("{broken}");
    }
});
