// SPDX-License-Identifier: Apache-2.0
//! Whatever a manifest holds is objects or a reason. See fuzz/run.sh.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(broken) = ferrule::watch::manifests::fuzzing::check(text) {
        panic!("{broken}");
    }
});
