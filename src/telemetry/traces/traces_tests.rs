use super::*;
use crate::telemetry::Span;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::SpanData;

/// What a collector does with a batch.
#[derive(Debug)]
enum Does {
    Take,
    Refuse,
    /// Says nothing, for ever.
    Nothing,
}

/// A collector, and the spans that it was sent.
#[derive(Debug)]
struct Scripted {
    does: Does,
    seen: Arc<Mutex<Vec<usize>>>,
}

impl SpanExporter for Scripted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.seen.lock().unwrap().push(batch.len());
        match self.does {
            Does::Take => Ok(()),
            Does::Refuse => Err(OTelSdkError::InternalFailure("no".to_owned())),
            Does::Nothing => std::future::pending().await,
        }
    }
}

/// Hours are for what must not be waited for.
const HOURS: Duration = Duration::from_secs(36_000);

struct Rig {
    traces: Traces,
    metrics: Arc<Metrics>,
    seen: Arc<Mutex<Vec<usize>>>,
}

fn rig(does: Does, queue: usize, grace: Duration) -> Rig {
    let metrics = Arc::new(Metrics::new().unwrap());
    let seen = Arc::default();
    let exporter = Scripted {
        does,
        seen: Arc::clone(&seen),
    };
    let bounds = Bounds {
        queue,
        delay: HOURS,
        grace,
        notice: Duration::from_secs(60),
    };
    let closing = watch::Sender::new(false);
    let traces = Traces::with(exporter, 1.0, closing, Arc::clone(&metrics), bounds);
    Rig {
        traces: traces.unwrap(),
        metrics,
        seen,
    }
}

fn record(sampled: bool) -> Record {
    Record {
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        span: Span {
            id: "00f067aa0ba902b7".into(),
            parent: None,
            sampled,
        },
        ..Record::default()
    }
}

fn metric(metrics: &Metrics, line: &str) -> u64 {
    let text = metrics.render();
    let mut found = text.lines().filter_map(|l| l.strip_prefix(line));
    found.next().unwrap().trim().parse().unwrap()
}

const FULL: &str = "tollgate_traces_dropped_total{reason=\"queue_full\"}";
const UNSENT: &str = "tollgate_traces_dropped_total{reason=\"unsent\"}";
const SENT: &str = "tollgate_traces_sent_total";

#[test]
fn a_share_of_all_traces_is_kept_by_their_ids() {
    let id = |low: u64| format!("{:032x}", u128::from(low));
    let edge = |share| Sampler::new(share);
    assert!(edge(1.0).keeps(&id(u64::MAX)) && edge(1.0).keeps(&id(0)));
    assert!(!edge(0.0).keeps(&id(0)));
    assert!(edge(0.5).keeps(&id((1 << 63) - 1)));
    assert!(!edge(0.5).keeps(&id(1 << 63)));
    assert!(!edge(1.0).keeps("short"), "not an id");
    // The ids of a counter that is spread well: a tenth of them, nearly.
    let spread = (0..10_000_u64).map(|n| id(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let kept = spread.filter(|id| edge(0.1).keeps(id)).count();
    assert!((990..=1010).contains(&kept), "{kept}");
}

#[test]
fn without_a_collector_there_is_no_thread_and_nothing_is_lost() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let traces = Traces::start(None, Arc::clone(&metrics)).unwrap();
    assert!(traces.running.is_none());
    assert!(traces.samples("4bf92f3577b34da6a3ce929d0e0e4736"));
    traces.tell(record(true));
    traces.shutdown();
    assert_eq!(
        [FULL, UNSENT, SENT].map(|line| metric(&metrics, line)),
        [0; 3]
    );
}

#[test]
fn a_collector_that_says_nothing_costs_spans_and_no_more() {
    let rig = rig(Does::Nothing, 4, Duration::ZERO);
    for _ in 0..1000 {
        rig.traces.tell(record(true));
        rig.traces.tell(record(false));
    }
    rig.traces.shutdown();
    let full = metric(&rig.metrics, FULL);
    assert!(full >= 1000 - (BATCH as u64 + 4), "{full} were refused");
    assert_eq!(full + metric(&rig.metrics, UNSENT), 1000);
    assert_eq!(metric(&rig.metrics, SENT), 0);
    rig.traces.tell(record(true));
    assert_eq!(
        metric(&rig.metrics, FULL),
        full + 1,
        "one that came too late"
    );
    rig.traces.shutdown();
}

#[test]
fn the_end_waits_for_what_is_queued_and_not_for_a_batch_to_fill() {
    for (does, sent, unsent) in [(Does::Take, 300, 0), (Does::Refuse, 0, 300)] {
        let rig = rig(does, 300, HOURS);
        for _ in 0..300 {
            rig.traces.tell(record(true));
        }
        rig.traces.shutdown();
        assert_eq!(metric(&rig.metrics, SENT), sent);
        assert_eq!(metric(&rig.metrics, UNSENT), unsent);
        assert_eq!(metric(&rig.metrics, FULL), 0);
        let seen = rig.seen.lock().unwrap();
        assert_eq!(seen.iter().sum::<usize>(), 300);
        assert!(seen.iter().all(|spans| *spans <= BATCH), "{seen:?}");
    }
}
