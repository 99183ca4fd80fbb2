// SPDX-License-Identifier: Apache-2.0
//! Redirects to HTTPS.

use super::value::switch;
use super::{Draft, Reader};

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    if let Some(on) = reader.value("ssl-redirect", switch) {
        draft.https.secured = on;
    }
    if let Some(on) = reader.value("force-ssl-redirect", switch) {
        draft.https.forced = on;
    }
}
