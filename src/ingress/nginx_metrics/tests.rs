// SPDX-License-Identifier: Apache-2.0
use prometheus::proto::{MetricFamily, MetricType};

use super::*;
use crate::ingress::meters::AnnotationGauge;
use crate::ingress::table::Backend;

fn counted(local: &mut Local, host: &str, status: u16, times: usize) {
    let upstream = crate::ingress::table::Upstream {
        id: crate::ingress::table::UpstreamId {
            service: crate::model::ServiceName::new("shop", "web"),
            port: "80".into(),
            protocol: crate::ingress::table::UpstreamProtocol::Http1,
        },
        endpoints: Arc::default(),
        protocol: crate::ingress::table::UpstreamProtocol::Http1,
        balance: crate::ingress::table::Balance::default(),
    };
    let route = Route {
        ingress: crate::model::ServiceName::new("shop", "i"),
        host: host.into(),
        path: "/x".into(),
        backend: Backend::Status(503),
        settings: Arc::default(),
    };
    for _ in 0..times {
        local.count(&Request {
            route: &route,
            upstream: &upstream,
            method: &Method::from_bytes(b"BREW").unwrap(),
            status: StatusCode::from_u16(status).unwrap(),
            took: Duration::from_millis(20),
            received: 150,
            sent: 5_000,
        });
    }
}

fn text(metrics: &NginxMetrics) -> String {
    let registry = prometheus::Registry::new();
    registry.register(Box::new(metrics.clone())).unwrap();
    let families = registry.gather();
    prometheus::TextEncoder::new()
        .encode_to_string(&families)
        .unwrap()
}

fn metrics(per_host: bool) -> NginxMetrics {
    let names = Names {
        namespace: "sys".into(),
        class: "k8s.io/ingress-nginx".into(),
        pod: "p".into(),
        per_host,
    };
    NginxMetrics::new(names, Meters::default(), Arc::default())
}

#[test]
fn threads_are_added_up() {
    let metrics = metrics(true);
    let (mut one, mut two) = (metrics.local(), metrics.local());
    counted(&mut one, "a.example", 200, 3);
    counted(&mut two, "a.example", 200, 4);
    counted(&mut two, "a.example", 502, 1);
    let text = text(&metrics);
    let labels = "canary=\"\",controller_class=\"k8s.io/ingress-nginx\",\
                  controller_namespace=\"sys\",controller_pod=\"p\",host=\"a.example\",\
                  ingress=\"i\",method=\"OTHER\",namespace=\"shop\",path=\"/x\",\
                  service=\"web\",status=\"200\"";
    let name = "nginx_ingress_controller_";
    for line in [
        format!("{name}requests{{{labels}}} 7"),
        format!("{name}request_duration_seconds_bucket{{{labels},le=\"0.01\"}} 0"),
        format!("{name}request_duration_seconds_bucket{{{labels},le=\"0.025\"}} 7"),
        format!("{name}request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 7"),
        format!("{name}request_duration_seconds_sum{{{labels}}} 0.14"),
        format!("{name}request_size_sum{{{labels}}} 1050"),
        format!("{name}response_size_bucket{{{labels},le=\"1000\"}} 0"),
        format!("{name}response_size_bucket{{{labels},le=\"10000\"}} 7"),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(text.contains("state=\"active\"} 0"), "{text}");
    assert!(text.contains("config_last_reload_successful{"), "{text}");
}

/// What a scraper is told, in the same words as docs/metrics.md has the names.
#[test]
fn the_docs_list_what_is_served() {
    const DOCS: &str = include_str!("../../../docs/metrics.md");
    let changes = Changes::default();
    let one = (
        "a.example".into(),
        crate::model::ServiceName::new("shop", "tls"),
        7,
    );
    changes.certificates.store(Arc::new(vec![one]));
    let meters = Meters::default();
    let metrics = NginxMetrics::new(Names::default(), meters.clone(), Arc::new(changes));
    counted(&mut metrics.local(), "a.example", 200, 1);
    meters.upstream_failed("connect");
    let registry = prometheus::Registry::new();
    registry.register(Box::new(metrics)).unwrap();
    let noted = [AnnotationGauge::default().collector()];
    for collector in meters.collectors().into_iter().chain(noted) {
        registry.register(collector).unwrap();
    }
    let families = registry.gather();
    let kind = |family: &MetricFamily| match family.get_field_type() {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        _ => "histogram",
    };
    let served = families
        .iter()
        .map(|f| format!("| {} | `{}` |", kind(f), f.name()));
    let served: std::collections::BTreeSet<String> = served.collect();
    let rows = DOCS.lines().filter_map(|line| {
        let end = line.match_indices(" |").nth(1)?.0 + 2;
        let row = &line[..end];
        let ours = row.contains("`ferrule_ingress_") || row.contains("`nginx_ingress_");
        ours.then(|| row.to_owned())
    });
    assert_eq!(rows.collect::<std::collections::BTreeSet<_>>(), served);
}

#[test]
fn rows_are_bounded() {
    let metrics = metrics(true);
    let mut local = metrics.local();
    for n in 0..MOST + 50 {
        counted(&mut local, &format!("h{n}.example"), 200, 1);
    }
    let rows = local.rows.lock().unwrap().len();
    assert_eq!(rows, MOST + 1);
    let others = local.known[&0].seconds.count.load(Relaxed);
    assert_eq!(others, 50);
}

#[test]
fn hosts_may_be_left_out() {
    let metrics = metrics(false);
    let mut local = metrics.local();
    counted(&mut local, "a.example", 200, 1);
    counted(&mut local, "b.example", 200, 1);
    let text = text(&metrics);
    assert!(
        !text.contains("example") && text.contains("status=\"200\"} 2"),
        "{text}"
    );
}
