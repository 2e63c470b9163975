//! Traces for OpenTelemetry: one span per request and one per attempt, sent to
//! a collector over OTLP (HTTP, protobuf).
//!
//! Spans are made after the fact, from the [`Record`] of a request that is
//! settled: a request only puts it into a queue, and a thread of its own makes
//! spans of what has gathered and sends them. A collector that is slow, away or
//! unwilling never holds up a request, nor the end of the process for longer
//! than two seconds: what the queue does not take, and what the collector has not
//! taken after a few tries, is dropped and counted in
//! `tollgate_traces_dropped_total`. Where there is no collector, nothing is
//! done at all.
//!
//! Not promised: that a span arrives. Traces are samples; the ledger counts.

mod collector;
mod counts;
mod spans;

pub use counts::{Counts, Loss};

use super::Record;
use super::metrics::Metrics;
use crate::fetch::Url;
use collector::Collector;
use http::{HeaderName, HeaderValue};
use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::trace::SpanExporter;
use std::sync::{Arc, Mutex, PoisonError, mpsc as threads};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Requests that are sent together.
const BATCH: usize = 256;

#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Requests that may wait to be sent.
    queue: usize,
    /// How long the first request of a batch waits for others.
    delay: Duration,
    /// How long the end of the process waits for what is left to be sent.
    grace: Duration,
    /// What the thread may take to notice that this time is over.
    notice: Duration,
}

const BOUNDS: Bounds = Bounds {
    queue: 4096,
    delay: Duration::from_secs(1),
    grace: Duration::from_secs(2),
    notice: Duration::from_millis(500),
};

/// Where traces go, and which.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the collector takes spans: `http://127.0.0.1:4318/v1/traces`.
    pub url: Url,
    /// Sent with each batch.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The share that is kept of the traces that begin here: 0 to 1.
    pub sample: f64,
}

/// The traces of a process; shared by reference.
#[derive(Debug)]
pub struct Traces {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    sampler: Sampler,
    queue: mpsc::Sender<Record>,
    metrics: Arc<Metrics>,
    closing: watch::Sender<bool>,
    /// How long to wait for its end.
    patience: Duration,
    /// Told when the thread has ended.
    ended: Mutex<threads::Receiver<()>>,
}

impl Traces {
    /// Starts the thread that sends; none where there is nobody to send to.
    ///
    /// # Errors
    /// The thread cannot be started, or the environment (`OTEL_EXPORTER_OTLP_*`)
    /// asks for what this exporter cannot do.
    pub fn start(settings: Option<Settings>, metrics: Arc<Metrics>) -> Result<Self, String> {
        let Some(settings) = settings else {
            return Ok(Self { running: None });
        };
        let closing = watch::Sender::new(false);
        let collector = Collector::new(&settings, closing.subscribe());
        let exporter = collector::exporter(collector)?;
        Self::with(exporter, settings.sample, closing, metrics, BOUNDS)
    }

    fn with(
        exporter: impl SpanExporter + 'static,
        sample: f64,
        closing: watch::Sender<bool>,
        metrics: Arc<Metrics>,
        bounds: Bounds,
    ) -> Result<Self, String> {
        let (queue, waiting) = mpsc::channel(bounds.queue);
        let (end, ended) = threads::channel();
        let sending = Sending {
            queue: waiting,
            batch: Vec::new(),
            exporter,
            scope: InstrumentationScope::builder("tollgate")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
            closing: closing.subscribe(),
            metrics: Arc::clone(&metrics),
            bounds,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        std::thread::Builder::new()
            .name("traces".to_owned())
            .spawn(move || {
                runtime.block_on(sending.until_closed());
                // Nobody listens when the process did not wait.
                let _ = end.send(());
                // A name that still resolves is not waited for.
                runtime.shutdown_background();
            })
            .map_err(|e| e.to_string())?;
        Ok(Self {
            running: Some(Running {
                sampler: Sampler::new(sample),
                queue,
                metrics,
                closing,
                patience: bounds.grace + bounds.notice,
                ended: Mutex::new(ended),
            }),
        })
    }

    /// Whether a trace that begins here is to be kept. Where none are sent that
    /// is for others to say: a provider may keep traces of its own.
    pub fn samples(&self, trace_id: &str) -> bool {
        let running = self.running.as_ref();
        running.is_none_or(|running| running.sampler.keeps(trace_id))
    }

    /// Queues a request that is settled. Never waits.
    pub fn tell(&self, record: Record) {
        if let Some(running) = &self.running
            && record.span.sampled
            && running.queue.try_send(record).is_err()
        {
            running.metrics.traces.dropped(Loss::QueueFull, 1);
        }
    }

    /// Sends what is queued and ends. What is not sent after two seconds is
    /// dropped and counted, and so is what comes later.
    pub fn shutdown(&self) {
        let Some(running) = &self.running else {
            return;
        };
        running.closing.send_replace(true);
        let ended = running.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // It has ended before, or never will: there is nothing to be done.
        let _ = ended.recv_timeout(running.patience);
    }
}

/// Keeps the same traces wherever it is asked, by their ids: the rule of
/// OpenTelemetry's `TraceIdRatioBased`.
#[derive(Debug, Clone, Copy)]
struct Sampler {
    /// Of 2^63.
    below: u64,
}

impl Sampler {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share is 0 to 1, and the cast of a larger number saturates"
    )]
    fn new(share: f64) -> Self {
        Self {
            below: (share * (1_u64 << 63) as f64) as u64,
        }
    }

    fn keeps(self, trace_id: &str) -> bool {
        let low = trace_id.get(16..).unwrap_or_default();
        u64::from_str_radix(low, 16).is_ok_and(|low| low >> 1 < self.below)
    }
}

/// What the thread does.
struct Sending<E> {
    queue: mpsc::Receiver<Record>,
    /// Taken from the queue, and not yet told of.
    batch: Vec<Record>,
    exporter: E,
    scope: InstrumentationScope,
    closing: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
    bounds: Bounds,
}

impl<E: SpanExporter> Sending<E> {
    /// Sends until the process ends, and what is left for as long as that may
    /// take.
    async fn until_closed(mut self) {
        let mut closing = self.closing.clone();
        let grace = self.bounds.grace;
        let overdue = async {
            // An error says that nobody can ask any more: the same.
            let _ = closing.wait_for(|closing| *closing).await;
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            () = self.run() => {}
            () = overdue => {}
        }
        self.queue.close();
        let lost = self.batch.len() + self.queue.len();
        if lost > 0 {
            self.metrics.traces.dropped(Loss::Unsent, lost as u64);
            log::warn!(requests = lost; "traces were not sent before the end");
        }
    }

    async fn run(&mut self) {
        while self.gather().await {
            let spans = self.batch.iter();
            let spans = spans.flat_map(|record| spans::of(record, &self.scope));
            let sent = self.exporter.export(spans.collect()).await;
            let requests = self.batch.len() as u64;
            self.batch.clear();
            match sent {
                Ok(()) => self.metrics.traces.sent(requests),
                // The collector's side has told why.
                Err(_) => self.metrics.traces.dropped(Loss::Unsent, requests),
            }
        }
    }

    /// Takes a batch from the queue; `false` when there will be none.
    async fn gather(&mut self) -> bool {
        let mut due = std::pin::pin!(None);
        loop {
            let room = BATCH - self.batch.len();
            let started = !self.batch.is_empty();
            if room == 0 || (started && self.queue.is_closed()) {
                return true;
            }
            if started && due.is_none() {
                due.set(Some(tokio::time::sleep(self.bounds.delay)));
            }
            let late = async {
                match due.as_mut().as_pin_mut() {
                    Some(due) => due.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                taken = self.queue.recv_many(&mut self.batch, room) => {
                    if taken == 0 {
                        return started;
                    }
                }
                () = late => return true,
                // Takes no more, and gives what it has without waiting.
                _ = self.closing.wait_for(|closing| *closing), if !self.queue.is_closed() => {
                    self.queue.close();
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "traces_tests.rs"]
mod tests;
