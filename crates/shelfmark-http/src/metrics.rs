//! Figures for Prometheus.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use shelfmark::CatalogActivity;

/// Seconds: from a read out of the cache to a commit that waits for a slow disk.
const BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
    method: &'static str,
}

/// The figures of one router.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    known: RwLock<HashMap<String, Vec<Known>>>,
}

/// The two figures of one kind of answer of a route, found without making labels.
#[derive(Clone)]
struct Known {
    method: &'static str,
    status: u16,
    requests: Counter,
    durations: Histogram,
}

impl Known {
    fn count(&self, duration: Duration) {
        self.requests.inc();
        self.durations.observe(duration.as_secs_f64());
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let requests = Family::<RequestLabels, Counter>::default();
        let durations = Family::<RouteLabels, Histogram, fn() -> Histogram>::new_with_constructor(|| {
            Histogram::new(BUCKETS)
        });
        let mut registry = Registry::with_prefix("shelfmark");
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register(
            "http_request_duration_seconds",
            "Seconds from a request's headers to its answer's",
            durations.clone(),
        );
        Self {
            registry,
            requests,
            durations,
            known: RwLock::default(),
        }
    }

    /// Counts an answer. `route` and `method` are of those that there are, so that what is kept stays small.
    pub(crate) fn request(&self, route: &str, method: &'static str, status: u16, duration: Duration) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &&Known| known.method == method && known.status == status;
        if let Some(known) = known.get(route).and_then(|known| known.iter().find(same)) {
            return known.count(duration);
        }
        drop(known);
        let labels = RequestLabels {
            route: route.to_owned(),
            method,
            status,
        };
        let requests = self.requests.get_or_create(&labels).clone();
        let RequestLabels { route, .. } = labels;
        let labels = RouteLabels { route, method };
        let durations = self.durations.get_or_create(&labels).clone();
        let new = Known {
            method,
            status,
            requests,
            durations,
        };
        new.count(duration);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let known = known.entry(labels.route).or_default();
        if !known.iter().any(|known| same(&known)) {
            known.push(new);
        }
    }

    /// All figures as OpenMetrics text. What the catalog counts is read now.
    pub(crate) fn text(&self, activity: &CatalogActivity, waiting: usize) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let mut figure = |name: &str, kind: &str, help: &str, value: u64| {
            let (suffix, kind) = if kind == "counter" {
                ("_total", "counter")
            } else {
                ("", "gauge")
            };
            writeln!(
                text,
                "# HELP shelfmark_{name} {help}.\n# TYPE shelfmark_{name} {kind}\nshelfmark_{name}{suffix} {value}"
            )
        };
        if let Some(open) = activity.backend.open_snapshots {
            figure("open_snapshots", "gauge", "Snapshots that are held", open)?;
        }
        if let Some(commits) = activity.backend.commits {
            figure("commits", "counter", "Commits of the backend", commits)?;
        }
        figure(
            "group_commits",
            "counter",
            "Groups that writes came together in, without a commit where nothing was to be written",
            activity.groups,
        )?;
        figure(
            "grouped_writes",
            "counter",
            "Writes in those groups, refused ones included",
            activity.grouped_writes,
        )?;
        figure(
            "queued_writes",
            "gauge",
            "Writes that wait for the next shared commit",
            activity.queued_writes,
        )?;
        figure(
            "waiting_requests",
            "gauge",
            "Requests that wait to be let into the catalog",
            waiting as u64,
        )?;
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
