// SPDX-License-Identifier: Apache-2.0
//! Whatever command lines, questions to the admin socket and the file of the last known state say.
//! See fuzz/run.sh.

#![no_main]

use ferrule::cli::{self, IngressCli};
use ferrule::config::Config;
use ferrule::debug::explain::ask::{Destination, From};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = ferrule::watch::cluster::fuzzing::check(bytes) {
        panic!("{broken}");
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    ferrule::observe::fuzzing::check_query(text);
    let _ = Destination::parse(text, "default");
    let _ = text.parse::<From>();
    let words = || ["ferrule"].into_iter().chain(text.split_whitespace());
    if let Ok(cli) = cli::parse(words()) {
        let _ = Config::resolve(&cli, None, "n");
    }
    let _ = IngressCli::parse_from_args(words());
});
