// SPDX-License-Identifier: Apache-2.0
//! Whatever a configuration file holds is a configuration or a reason. See fuzz/run.sh.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(broken) = ferrule::config::fuzzing::check(text) {
        panic!("{broken}");
    }
});
