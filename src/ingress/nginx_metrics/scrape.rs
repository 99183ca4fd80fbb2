// SPDX-License-Identifier: Apache-2.0
//! What a scraper is told: the rows of all threads added up, and what else there is.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use super::{BYTES, Inner, LABELS, NginxMetrics, SECONDS};

/// Seconds, bytes received and bytes sent of all rows with the same labels.
type Sums = BTreeMap<[String; 8], [Vec<u64>; 3]>;

impl Inner {
    fn sums(&self) -> Sums {
        let mut sums = Sums::new();
        let threads = self.threads.lock().map(|threads| threads.clone());
        for rows in threads.unwrap_or_default() {
            let rows = rows.lock().map(|rows| rows.clone()).unwrap_or_default();
            for row in rows {
                let read = [row.seconds.read(), row.received.read(), row.sent.read()];
                let sum = sums
                    .entry(row.labels.clone())
                    .or_insert_with(|| read.each_ref().map(|values| vec![0; values.len()]));
                for (sum, values) in sum.iter_mut().zip(read) {
                    sum.iter_mut()
                        .zip(values)
                        .for_each(|(sum, value)| *sum += value);
                }
            }
        }
        sums
    }

    /// Label pairs, with those that all metrics have, in the order of their names.
    fn pairs(&self, own: &[(&str, &str)]) -> Vec<LabelPair> {
        let names = &self.names;
        let all = [
            ("controller_namespace", names.namespace.as_str()),
            ("controller_class", &names.class),
            ("controller_pod", &names.pod),
        ];
        let mut all = [&all[..], own].concat();
        all.sort_unstable();
        let pair = |(name, value): (&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        all.into_iter().map(pair).collect()
    }

    fn metric(&self, own: &[(&str, &str)], value: Value) -> Metric {
        let mut metric = Metric::from_label(self.pairs(own));
        match value {
            Value::Counter(value) => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Value::Gauge(value) => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            Value::Histogram(histogram) => metric.set_histogram(histogram),
        }
        metric
    }

    fn requests(&self, families: &mut Vec<MetricFamily>) {
        let sums = self.sums();
        let mut metrics: [Vec<Metric>; 4] = Default::default();
        for (labels, [seconds, received, sent]) in &sums {
            let own = LABELS
                .iter()
                .copied()
                .zip(labels.iter().map(String::as_str));
            let own: Vec<_> = own
                .filter(|(n, _)| *n != "host" || self.names.per_host)
                .collect();
            let count = seconds[SECONDS.len()] as f64;
            let values = [
                Value::Counter(count),
                Value::Histogram(histogram(&SECONDS, seconds, 1e6)),
                Value::Histogram(histogram(&BYTES, received, 1.0)),
                Value::Histogram(histogram(&BYTES, sent, 1.0)),
            ];
            for (metrics, value) in metrics.iter_mut().zip(values) {
                metrics.push(self.metric(&own, value));
            }
        }
        let [requests, seconds, received, sent] = metrics;
        let histogram = MetricType::HISTOGRAM;
        families.push(family(&REQUESTS[0], MetricType::COUNTER, requests));
        families.push(family(&REQUESTS[1], histogram, seconds));
        families.push(family(&REQUESTS[2], histogram, received));
        families.push(family(&REQUESTS[3], histogram, sent));
    }

    fn process(&self, families: &mut Vec<MetricFamily>) {
        let seen = self.meters.seen();
        let state = |state, value| self.metric(&[("state", state)], value);
        let active = vec![state("active", Value::Gauge(seen.connections as f64))];
        let total = vec![
            state("accepted", Value::Counter(seen.accepted as f64)),
            state(
                "handled",
                Value::Counter((seen.accepted - seen.refused) as f64),
            ),
        ];
        let requests = vec![self.metric(&[], Value::Counter(seen.requests as f64))];
        families.push(family(&PROCESS[0], MetricType::GAUGE, active));
        families.push(family(&PROCESS[1], MetricType::COUNTER, total));
        families.push(family(&PROCESS[2], MetricType::COUNTER, requests));
    }

    fn controller(&self, families: &mut Vec<MetricFamily>) {
        let changes = &self.changes;
        let (tables, refused) = (changes.tables.load(Relaxed), changes.refused.load(Relaxed));
        let one = |value| vec![self.metric(&[], value)];
        let whole = f64::from(u8::from(tables > 0));
        let at = changes.last.load(Relaxed) as f64;
        families.push(family(
            &CONTROLLER[0],
            MetricType::GAUGE,
            one(Value::Gauge(whole)),
        ));
        families.push(family(
            &CONTROLLER[1],
            MetricType::GAUGE,
            one(Value::Gauge(at)),
        ));
        let success = one(Value::Counter(tables as f64));
        families.push(family(&CONTROLLER[2], MetricType::COUNTER, success));
        let errors = one(Value::Counter(refused as f64));
        families.push(family(&CONTROLLER[3], MetricType::COUNTER, errors));
        let expiry = changes.certificates.load();
        let expiry = expiry.iter().map(|(host, secret, not_after)| {
            let own = [
                ("class", self.names.class.as_str()),
                ("host", host),
                ("namespace", &secret.namespace),
                ("secret_name", &secret.name),
            ];
            self.metric(&own, Value::Gauge(*not_after as f64))
        });
        let expiry = expiry.collect();
        families.push(family(&CONTROLLER[4], MetricType::GAUGE, expiry));
    }
}

enum Value {
    Counter(f64),
    Gauge(f64),
    Histogram(Histogram),
}

const REQUESTS: [(&str, &str); 4] = [
    ("requests", "Requests of routes"),
    (
        "request_duration_seconds",
        "From the head of a request to the end of its response",
    ),
    ("request_size", "Head and body of requests, in bytes"),
    ("response_size", "Bodies of responses, in bytes"),
];

const PROCESS: [(&str, &str); 3] = [
    ("nginx_process_connections", "Client connections"),
    (
        "nginx_process_connections_total",
        "Client connections that were accepted, and that were not reset at once",
    ),
    ("nginx_process_requests_total", "Requests"),
];

const CONTROLLER: [(&str, &str); 5] = [
    (
        "config_last_reload_successful",
        "1 once a complete table is in place",
    ),
    (
        "config_last_reload_successful_timestamp_seconds",
        "When the last table was put in place",
    ),
    ("success", "Tables that were put in place"),
    ("errors", "Certificates that were refused"),
    (
        "ssl_expire_time_seconds",
        "When a certificate ends to be valid, since 1970",
    ),
];

fn family((name, help): &(&str, &str), kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(format!("nginx_ingress_controller_{name}"));
    family.set_help((*help).to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// Of buckets, count and sum, of which so many are one.
fn histogram(bounds: &[f64], values: &[u64], unit: f64) -> Histogram {
    let mut so_far = 0;
    let buckets = bounds.iter().zip(values).map(|(bound, count)| {
        so_far += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(so_far);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(values[bounds.len()]);
    histogram.set_sample_sum(values[bounds.len() + 1] as f64 / unit);
    histogram
}

impl Collector for NginxMetrics {
    /// None: labels and names are ours to keep apart.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Vec::new();
        self.0.requests(&mut families);
        self.0.process(&mut families);
        self.0.controller(&mut families);
        // The registry takes no family without metrics.
        families.retain(|family| !family.get_metric().is_empty());
        families
    }
}
