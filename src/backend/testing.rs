// SPDX-License-Identifier: Apache-2.0
//! Network namespaces for tests against the real kernel.

use nix::sched::{CloneFlags, unshare};

/// Runs a test's body in a thread with a new network namespace, which goes with the thread and
/// the sockets made in it. Where that takes rights that we do not have the test is skipped, and
/// says so; with `REQUIRE_ROOT=1` it fails instead.
pub fn in_namespace(body: impl FnOnce() + Send + 'static) {
    let entered = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        body();
        Ok::<(), nix::Error>(())
    });
    match entered.join() {
        Ok(Ok(())) => {}
        Ok(Err(e)) => skip(&format!("no network namespace: {e}")),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Ends a test that cannot run here: it says so, or fails with `REQUIRE_ROOT=1`.
pub fn skip(reason: &str) {
    assert!(
        std::env::var_os("REQUIRE_ROOT").is_none_or(|v| v != "1"),
        "{reason}"
    );
    eprintln!("SKIP: {reason}");
}
