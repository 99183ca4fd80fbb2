// SPDX-License-Identifier: Apache-2.0
//! What holds for any content of the file of the last known state; for `fuzz/`.

/// Reads lines as those of the file after its first one.
///
/// # Errors
/// What does not hold.
pub fn check(lines: &[u8]) -> Result<(), String> {
    super::memory::fuzzing::check(lines)
}
