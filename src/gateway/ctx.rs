//! What one request carries from step to step, and what will be told about it.

use super::returned::Returned;
use super::trace::{TraceParent, seed};
use super::{Ending, Stop};
use crate::chat::{Operation, Request, Speech};
use crate::error::{Blame, ErrorKind, GatewayError};
use crate::identity::Principal;
use crate::table::{Decision, RoutingTable};
use crate::telemetry::metrics::Counted;
use crate::telemetry::{Attempt, AttemptOutcome, MODEL_CHARS, Metrics, Outcome, Record};
use http::Version;
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// One request.
pub struct Ctx {
    /// Pinned once: a reload in mid-request changes nothing for it.
    pub(super) table: Arc<RoutingTable>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) ending: Ending,
    pub(super) started: Instant,
    pub(super) request_id: String,
    pub(super) trace: TraceParent,
    /// Chance, for this request's decision.
    pub(super) seed: u64,
    /// Names whom consistent hashing keeps together: the end user, else the key.
    pub(super) affinity: Vec<u8>,
    pub(super) record: Record,
    /// The client's format, also for errors.
    pub(super) speech: Speech,
    /// Fields of the client's that were left out.
    pub(super) dropped: Vec<String>,
    /// What the last answer of a provider's says beside its body.
    pub(super) returned: Returned,
    /// For the operator's log: what the client was not told.
    pub(super) trouble: Option<String>,
    /// The last attempt is what the client was served from.
    serving: bool,
    in_flight: Option<Counted>,
}

impl Ctx {
    pub(super) fn new(table: Arc<RoutingTable>, metrics: Arc<Metrics>, ending: Ending) -> Self {
        let in_flight = Some(metrics.in_flight());
        Self {
            table,
            metrics,
            ending,
            started: Instant::now(),
            // Both are set by intake, which sees every request first.
            request_id: String::new(),
            trace: TraceParent::default(),
            seed: seed(),
            affinity: Vec::new(),
            record: Record {
                time: SystemTime::now(),
                ..Record::default()
            },
            speech: Speech::OpenAi,
            dropped: Vec::new(),
            returned: Returned::default(),
            trouble: None,
            serving: false,
            in_flight,
        }
    }

    /// Refuses what is more than the gateway was told to carry.
    pub(super) fn admit(&self) -> Result<(), GatewayError> {
        if self.metrics.in_flight_now() <= self.table.limits.in_flight {
            return Ok(());
        }
        let text = "The gateway is at its limit of requests in flight.";
        Err(GatewayError::new(ErrorKind::Overloaded, text)
            .with_retry_after(Some(Duration::from_secs(1))))
    }

    /// When this request must have an answer.
    pub(super) fn deadline(&self) -> Instant {
        self.started + self.table.times.request
    }

    pub(super) fn arrived(&mut self, session: &Session) {
        let head = session.req_header();
        let anthropic = head.headers.contains_key("anthropic-version");
        self.speech = Speech::of(head.uri.path(), anthropic);
        self.record.client = session.client_addr().and_then(|a| a.as_inet()).copied();
        self.record.protocol = match head.version {
            Version::HTTP_2 => "HTTP/2",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        };
        // Methods are a closed set before anybody has said who they are.
        self.record.method = match head.method.as_str() {
            m @ ("GET" | "POST" | "PUT" | "DELETE" | "PATCH" | "HEAD" | "OPTIONS") => m.to_owned(),
            _ => "other".to_owned(),
        };
        self.record.path = match head.uri.path() {
            "/v1/models" => "/v1/models",
            path if path.starts_with("/v1/models/") => "/v1/models/{id}",
            path => Operation::from_path(path).map_or("other", Operation::full_path),
        };
    }

    pub(super) fn identified(&mut self, who: &Principal) {
        self.record.key = Some(Arc::clone(&who.name));
        self.record.metadata = Arc::clone(&who.metadata);
        self.affinity = who.name.as_bytes().to_vec();
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.record.request_bytes = bytes as u64;
        self.record.client_time = self.started.elapsed();
    }

    pub(super) fn asked(&mut self, request: &Request) {
        self.record.model = Some(request.model.chars().take(MODEL_CHARS).collect());
        self.record.stream = request.stream;
        if let Some(user) = &request.user {
            self.affinity = user.as_bytes().to_vec();
        }
    }

    pub(super) fn routed(&mut self, decision: &Decision) {
        self.record.route = Some(Arc::clone(&decision.route));
    }

    /// Writes an attempt down; the last one names the provider. One that
    /// succeeded is counted when the request is settled: it may yet break.
    pub(super) fn attempted(&mut self, attempt: Attempt) {
        if attempt.outcome != AttemptOutcome::Ok {
            self.metrics
                .attempt_finished(&attempt.provider, attempt.outcome);
        }
        if attempt.outcome == AttemptOutcome::AuthFailed {
            self.metrics.provider_auth_failure(&attempt.provider);
        }
        self.record.upstream_time += attempt.duration;
        self.record.provider = Some(Arc::clone(&attempt.provider));
        self.record.upstream_model = Some(Arc::clone(&attempt.model));
        self.serving = attempt.outcome == AttemptOutcome::Ok;
        self.record.attempts.push(attempt);
    }

    /// The attempt that the client is being served from turned out otherwise.
    pub(super) fn serving_turned(&mut self, outcome: AttemptOutcome) {
        if let Some(last) = self.record.attempts.last_mut() {
            last.outcome = outcome;
        }
    }

    /// Counts the attempt that served the client, as it turned out.
    pub(super) fn count_serving(&self) {
        if let (true, Some(last)) = (self.serving, self.record.attempts.last()) {
            self.metrics.attempt_finished(&last.provider, last.outcome);
        }
    }

    /// No provider gave the answer, whoever was tried.
    pub(super) fn answered_here(&mut self) {
        self.record.provider = None;
        self.record.upstream_model = None;
        self.serving = false;
    }

    /// The client got an error.
    pub(super) fn refused(&mut self, error: &GatewayError) {
        let row = error.kind.row();
        self.record.error = Some(row.code);
        self.record.outcome = match error.kind {
            ErrorKind::DeadlineExceeded => Outcome::Timeout,
            ErrorKind::Internal => Outcome::Internal,
            ErrorKind::Unauthenticated
            | ErrorKind::ModelNotAllowed
            | ErrorKind::Overloaded
            | ErrorKind::Stopping => Outcome::Refused,
            _ if row.blame == Blame::Client => Outcome::ClientError,
            _ => Outcome::ProviderError,
        };
        self.trouble = error.source().map(str::to_owned);
    }

    /// The answer was left incomplete.
    pub(super) fn stopped(&mut self, stop: Stop) {
        match stop {
            Stop::Gone => self.record.outcome = Outcome::Canceled,
            Stop::Refuse(error) | Stop::Cut(Some(error)) => {
                self.record.error = Some(error.kind.row().code);
                self.record.outcome = Outcome::Truncated;
                self.trouble = error.source().map(str::to_owned);
            }
            Stop::Cut(None) => self.record.outcome = Outcome::Truncated,
        }
    }

    /// The first byte of the answer's body goes out now.
    pub(super) fn first_byte(&mut self) {
        if self.record.first_byte.is_none() {
            self.record.first_byte = Some(self.started.elapsed());
        }
    }

    /// The request no longer counts as in flight.
    pub(super) fn leave(&mut self) {
        self.in_flight = None;
    }
}
