//! What the server counts and measures, as Prometheus reads it. Names begin with `mplug_`; times are in seconds.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::work::Times;

/// Upper ends of the classes of times, in seconds.
const CLASSES: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRoute {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPicture {
    task: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStage {
    stage: &'static str,
}

/// All of it.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<OfRequest, Counter>,
    request_time: Family<OfRoute, Histogram, fn() -> Histogram>,
    pictures: Family<OfPicture, Counter>,
    stage_time: Family<OfStage, Histogram, fn() -> Histogram>,
    given_up: Counter,
    queue: Gauge,
    texts: Gauge,
    connections: Gauge,
    body_bytes: Gauge<f64, AtomicU64>,
}

fn times() -> Histogram {
    Histogram::new(CLASSES)
}

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("mplug");
        let requests = Family::default();
        registry.register("requests", "Requests answered", requests.clone());
        let request_time = Family::new_with_constructor(times as fn() -> Histogram);
        let help = "Time of requests from their head to their answer";
        registry.register_with_unit("request", help, Unit::Seconds, request_time.clone());
        let pictures = Family::default();
        registry.register("pictures", "Pictures answered, by task and result", pictures.clone());
        let stage_time = Family::new_with_constructor(times as fn() -> Histogram);
        let help = "Time of a picture in each stage: decode, queue, model";
        registry.register_with_unit("stage", help, Unit::Seconds, stage_time.clone());
        let given_up = Counter::default();
        registry.register(
            "given_up",
            "Pictures whose client hung up or whose time was over",
            given_up.clone(),
        );
        let queue = Gauge::default();
        registry.register("queue_pictures", "Pictures that are accepted and not answered yet", queue.clone());
        let texts = Gauge::default();
        registry.register("texts_in_progress", "Texts that are being written", texts.clone());
        let connections = Gauge::default();
        registry.register("connections", "Open connections", connections.clone());
        let body_bytes = Gauge::default();
        let help = "Bodies of requests that are held";
        registry.register_with_unit("bodies", help, Unit::Bytes, body_bytes.clone());
        Arc::new(Self {
            registry,
            requests,
            request_time,
            pictures,
            stage_time,
            given_up,
            queue,
            texts,
            connections,
            body_bytes,
        })
    }

    /// A request was answered.
    pub(crate) fn request(&self, route: &str, status: u16, time: Duration) {
        let route = route.to_owned();
        self.request_time.get_or_create(&OfRoute { route: route.clone() }).observe(time.as_secs_f64());
        self.requests.get_or_create(&OfRequest { route, status }).inc();
    }

    /// A picture was answered, or failed.
    pub(crate) fn picture(&self, task: &'static str, is_good: bool) {
        let result = if is_good { "good" } else { "failed" };
        self.pictures.get_or_create(&OfPicture { task, result }).inc();
    }

    /// A picture was decoded.
    pub(crate) fn decoded(&self, time: Duration) {
        self.stage_time.get_or_create(&OfStage { stage: "decode" }).observe(time.as_secs_f64());
    }

    /// A model answered.
    pub(crate) fn answered(&self, times: Times) {
        self.stage_time.get_or_create(&OfStage { stage: "queue" }).observe(times.queue.as_secs_f64());
        self.stage_time.get_or_create(&OfStage { stage: "model" }).observe(times.model.as_secs_f64());
    }

    /// Nobody waits for `count` pictures any more.
    pub(crate) fn given_up(&self, count: usize) {
        self.given_up.inc_by(count as u64);
    }

    /// Texts that are being written now.
    pub(crate) fn texts(&self, count: usize) {
        self.texts.set(count as i64);
    }

    /// Connections that are open now.
    pub(crate) fn connections(&self, count: usize) {
        self.connections.set(count as i64);
    }

    /// Everything in Prometheus' text format; the other arguments are what is known elsewhere.
    pub(crate) fn text(&self, queue: usize, body_bytes: usize) -> String {
        self.queue.set(queue as i64);
        self.body_bytes.set(body_bytes as f64);
        let mut text = String::new();
        // A string takes whatever is written.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_documentation() {
        let metrics = Metrics::new();
        metrics.request("/v1/caption", 200, Duration::from_millis(30));
        metrics.picture("caption", true);
        metrics.answered(Times::default());
        let text = metrics.text(3, 10);
        for line in [
            r#"mplug_requests_total{route="/v1/caption",status="200"} 1"#,
            r#"mplug_pictures_total{task="caption",result="good"} 1"#,
            r#"mplug_stage_seconds_count{stage="queue"} 1"#,
            "mplug_queue_pictures 3",
            "mplug_given_up_total 0",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
