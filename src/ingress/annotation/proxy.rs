// SPDX-License-Identifier: Apache-2.0
//! How requests are handed on: time-outs, sizes, tries.

use super::value::{number, seconds, size};
use super::{Draft, Kind, Reader};

pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) {
    let route = &mut draft.route;
    for (name, limit) in [
        ("proxy-connect-timeout", &mut route.connect_timeout),
        ("proxy-read-timeout", &mut route.read_timeout),
        ("proxy-send-timeout", &mut route.send_timeout),
    ] {
        if let Some(time) = reader.value(name, |value| seconds(1, value)) {
            *limit = time;
        }
    }
    if let Some(most) = reader.value("proxy-body-size", size) {
        route.body_limit = most;
    }
    if let Some(tries) = reader.value("proxy-next-upstream-tries", |value| number(0, value)) {
        route.tries = tries as usize;
    }
    if let Some(host) = reader.text("upstream-vhost") {
        match hyper::header::HeaderValue::from_str(host) {
            Ok(_) => route.upstream_host = Some(host.into()),
            Err(_) => reader.note("upstream-vhost", Kind::Invalid, "must be a name of a host"),
        }
    }
}
