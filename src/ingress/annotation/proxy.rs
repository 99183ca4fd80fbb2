// SPDX-License-Identifier: Apache-2.0
//! How requests are handed on: time-outs, sizes, tries.

use std::sync::Arc;

use super::value::{number, seconds, size};
use super::{Draft, Reader};
use crate::ingress::action::headers::Text;

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
    if let Some(host) = reader.value("upstream-vhost", Text::parse) {
        route.upstream_host = Some(Arc::new(host));
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::super::tests::{notes, read_all};
    use super::*;

    #[test]
    fn a_host_may_have_variables_that_are_known() {
        let read = |host| {
            let read = read_all(&[("upstream-vhost", host)]);
            (read.plain.upstream_host.as_deref().cloned(), notes(&read))
        };
        let fixed = Text::Fixed(HeaderValue::from_static("a.example:81"));
        assert_eq!(read("a.example:81"), (Some(fixed), vec![]));
        for host in ["$host", "${service_name}.$namespace.svc:$service_port"] {
            let (made, told) = read(host);
            assert!(matches!(made, Some(Text::Made(_))), "{host}");
            assert_eq!(told, [""; 0]);
        }
        for host in ["$proxy_host", "a.$1.example", "$", "a\u{1}"] {
            let (none, told) = read(host);
            assert_eq!((none, told.len()), (None, 1), "{host}");
        }
    }
}
