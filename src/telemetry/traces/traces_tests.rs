use super::*;
use crate::telemetry::Span;
use std::net::TcpListener;

fn settings(url: &str, sample: f64) -> Settings {
    Settings {
        url: Url::parse(url).unwrap(),
        headers: Vec::new(),
        sample,
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
    // Connections wait in the backlog, and nobody ever reads them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/traces", silent.local_addr().unwrap());
    let metrics = Arc::new(Metrics::new().unwrap());
    let bounds = Bounds {
        queue: 4,
        delay: Duration::from_secs(3600),
        grace: Duration::from_millis(50),
    };
    let traces = Traces::with(&settings(&url, 1.0), Arc::clone(&metrics), bounds).unwrap();
    for _ in 0..1000 {
        traces.tell(record(true));
        traces.tell(record(false));
    }
    traces.shutdown();
    let full = metric(&metrics, FULL);
    assert!(full >= 1000 - (BATCH as u64 + 4), "{full} were refused");
    assert_eq!(full + metric(&metrics, UNSENT), 1000);
    assert_eq!(metric(&metrics, SENT), 0);
    traces.tell(record(true));
    assert_eq!(metric(&metrics, FULL), full + 1, "one that came too late");
    traces.shutdown();
}

#[test]
fn the_end_does_not_wait_for_a_batch_to_fill() {
    // Nobody listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let metrics = Arc::new(Metrics::new().unwrap());
    let bounds = Bounds {
        queue: 4,
        delay: Duration::from_secs(3600),
        grace: Duration::from_secs(3600),
    };
    let url = format!("http://{}/", gone.unwrap());
    let traces = Traces::with(&settings(&url, 1.0), Arc::clone(&metrics), bounds).unwrap();
    traces.tell(record(true));
    traces.shutdown();
    assert_eq!(metric(&metrics, UNSENT), 1);
}
