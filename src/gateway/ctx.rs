//! What one request carries from step to step, and what will be told about it.

use super::bill::{Bill, Cover, Due};
use super::phases::{Phase, Stopwatch, seconds};
use super::returned::Returned;
use super::tally::Tally;
use super::trace::{TraceParent, seed};
use super::trip::Serving;
use super::vigil::Company;
use super::{Ending, Stop, attribution, estimated};
use crate::admission::Standing;
use crate::chat::{Operation, Request, Speech};
use crate::error::{Blame, ErrorKind, GatewayError};
use crate::identity::Principal;
use crate::table::{Decision, RoutingTable, Terms};
use crate::telemetry::metrics::Counted;
use crate::telemetry::{Attempt, AttemptOutcome, MODEL_CHARS, Metrics, Outcome, Record};
use crate::units::MicroUsd;
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
    pub(super) affinity: Arc<[u8]>,
    pub(super) record: Record,
    /// The client's format, also for errors.
    pub(super) speech: Speech,
    /// Fields of the client's that were left out.
    pub(super) dropped: Vec<String>,
    /// What the last answer of a provider's says beside its body.
    pub(super) returned: Returned,
    /// Where its time goes.
    pub(super) watch: Arc<Stopwatch>,
    /// Keeps the client company while it waits for a stream.
    pub(super) company: Company,
    /// From the head: the table's, then the route's, the client's where that is
    /// less.
    deadline: Duration,
    /// The client's own.
    asked_deadline: Option<Duration>,
    /// The deadline is for the whole answer.
    covers_answer: bool,
    /// For the operator's log: what the client was not told.
    pub(super) trouble: Option<String>,
    /// What tells its conversation from others, if it is one.
    pub(super) conversation: Option<u64>,
    /// The key may see why its requests go where they go.
    pub(super) explains: bool,
    /// Whose breaker hears of it when the answer breaks off.
    pub(super) serving_from: Option<Serving>,
    /// What the request holds and comes to; `None` before it is admitted.
    pub(super) bill: Option<Bill>,
    /// What the answer that the client is being served uses.
    pub(super) tally: Tally,
    /// What is left of the client's limits.
    pub(super) standing: Standing,
    /// The last attempt is what the client was served from.
    serving: bool,
    in_flight: Option<Counted>,
}

impl Ctx {
    pub(super) fn new(table: Arc<RoutingTable>, metrics: Arc<Metrics>, ending: Ending) -> Self {
        let in_flight = Some(metrics.in_flight());
        let started = Instant::now();
        Self {
            deadline: table.times.request,
            table,
            metrics,
            ending,
            started,
            watch: Arc::new(Stopwatch::new(Phase::Receiving, started)),
            company: Company::default(),
            asked_deadline: None,
            covers_answer: false,
            // Both are set by intake, which sees every request first.
            request_id: String::new(),
            trace: TraceParent::default(),
            seed: seed(),
            affinity: Arc::default(),
            record: Record {
                time: SystemTime::now(),
                ..Record::default()
            },
            speech: Speech::OpenAi,
            dropped: Vec::new(),
            returned: Returned::default(),
            trouble: None,
            conversation: None,
            explains: false,
            serving_from: None,
            bill: None,
            tally: Tally::default(),
            standing: Standing::default(),
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

    /// When this request must have an answer. One that is continued has the
    /// same time again, from the break on.
    pub(super) fn deadline(&self) -> Instant {
        self.started + self.deadline
    }

    /// Time since the head, and the deadline on the same clock.
    pub(super) fn clock(&self) -> (Duration, Duration) {
        (self.started.elapsed(), self.deadline)
    }

    /// When the whole answer must be there, if that is asked.
    pub(super) fn answer_by(&self) -> Option<Instant> {
        self.covers_answer.then(|| self.deadline())
    }

    /// The client gives it less time than the config does.
    pub(super) fn lower_deadline(&mut self, to: Duration) {
        self.asked_deadline = Some(to);
        self.deadline = self.deadline.min(to);
    }

    /// A stream that broke off is to be gone on with. Where the deadline is for
    /// its beginning only, that is a new beginning.
    pub(super) fn renew_deadline(&mut self, terms: &Terms) {
        if !self.covers_answer {
            self.deadline = self.started.elapsed().saturating_add(self.given(terms));
        }
    }

    /// How long a request may take: as the route has it, or the client where
    /// that is less.
    fn given(&self, terms: &Terms) -> Duration {
        terms
            .deadline
            .min(self.asked_deadline.unwrap_or(Duration::MAX))
    }

    /// Whether the client gives it less time than the route does.
    pub(super) fn is_hurried(&self, terms: &Terms) -> bool {
        self.given(terms) < terms.deadline
    }

    /// What the client is told when the deadline has passed.
    pub(super) fn out_of_time(&self) -> GatewayError {
        let told = self.watch.told(Instant::now());
        let deadline = seconds(self.deadline);
        let text = match told.is_empty() {
            true => format!("No answer within the deadline of {deadline}."),
            false => format!("No answer within the deadline of {deadline}: {told}."),
        };
        GatewayError::new(ErrorKind::DeadlineExceeded, text)
    }

    /// Chance, each time another one (the multiplier is Knuth's MMIX).
    pub(super) fn chance(&mut self) -> u64 {
        let next = self.seed.wrapping_mul(6_364_136_223_846_793_005);
        self.seed = next.wrapping_add(1_442_695_040_888_963_407);
        self.seed ^ (self.seed >> 33)
    }

    /// The stream broke off, and another attempt may go on with it: what served
    /// the client so far turned out so, and is counted.
    pub(super) fn broke_off(&mut self) {
        self.lost();
        self.count_serving();
        self.take_tally();
        self.serving = false;
        if let Some(bill) = &mut self.bill {
            bill.ended();
        }
    }

    /// What the client was served so far belongs to the attempt that served it.
    pub(super) fn take_tally(&mut self) {
        let tally = std::mem::take(&mut self.tally);
        let charges = self.bill.as_mut().map(|bill| &mut bill.charges);
        let last = charges.and_then(|charges| charges.last_mut());
        if let (true, Some(charge)) = (self.serving, last) {
            charge.due = Due::Answer(Box::new(tally));
        }
    }

    /// What the request costs, if that is known without counting anything.
    pub(super) fn cost_so_far(&self) -> Option<MicroUsd> {
        let bill = self.bill.as_ref()?;
        let (last, before) = bill.charges.split_last()?;
        let before: Option<MicroUsd> = before
            .iter()
            .map(|charge| match charge.due {
                Due::Nothing => Some(MicroUsd::ZERO),
                _ => None,
            })
            .sum();
        let own = estimated::cost_if_told(last, &self.tally, &bill.prompt, bill.price(last.at)?)?;
        Some(before?.saturating_add(own).min(bill.reserved().cost))
    }

    /// An event of the provider's could not be read and is left out.
    pub(super) fn malformed(&mut self, provider: &str) {
        self.record.malformed_events = self.record.malformed_events.saturating_add(1);
        self.metrics.failover.malformed_event(provider);
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
        self.record.tags = Arc::clone(&who.metadata);
        self.affinity = who.name.as_bytes().into();
        self.explains = who.explain;
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.record.request_bytes = bytes as u64;
        self.record.client_time = self.started.elapsed();
    }

    pub(super) fn asked(&mut self, request: &Request) {
        self.record.model = Some(request.model.chars().take(MODEL_CHARS).collect());
        self.record.stream = request.stream;
        if let Some(user) = &request.user {
            self.affinity = user.as_bytes().into();
            self.record.user = Some(attribution::user(user));
        }
    }

    pub(super) fn routed(&mut self, decision: &Decision, operation: Operation) {
        self.record.route = Some(Arc::clone(&decision.route));
        let terms = &decision.terms;
        self.covers_answer = terms.covers_answer;
        self.deadline = self.given(terms);
        if self.record.stream && operation.promises_stream() {
            self.company = Company::of(terms, Instant::now());
        }
    }

    /// Writes an attempt down, with what it holds and has to be paid for; the
    /// last one names the provider. One that succeeded is counted when the
    /// request is settled: it may yet break.
    pub(super) fn attempted(
        &mut self,
        mut attempt: Attempt,
        (at, cover): (usize, Cover),
        due: Due,
    ) {
        // It is written down when it ends.
        attempt.began = self.started.elapsed().saturating_sub(attempt.duration);
        if let Some(bill) = &mut self.bill {
            bill.charge(at, cover, due);
        }
        if attempt.outcome != AttemptOutcome::Ok {
            self.metrics
                .attempt_finished(&attempt.provider, attempt.outcome);
        }
        self.record.upstream_time += attempt.duration;
        self.record.provider = Some(Arc::clone(&attempt.provider));
        self.record.upstream_model = Some(Arc::clone(&attempt.model));
        self.serving = attempt.outcome == AttemptOutcome::Ok;
        if let (false, Some(bill)) = (self.serving, &mut self.bill) {
            bill.ended();
        }
        self.record.attempts.push(attempt);
    }

    /// Writes down an attempt that another one has overtaken: nobody waited for
    /// it longer than for that.
    pub(super) fn attempted_beside(&mut self, attempt: Attempt, charge: (usize, Cover), due: Due) {
        let waited = self.record.upstream_time;
        self.attempted(attempt, charge, due);
        self.record.upstream_time = waited;
    }

    /// The attempt that the client is being served from turned out otherwise.
    pub(super) fn serving_turned(&mut self, outcome: AttemptOutcome) {
        if let (true, Some(last)) = (self.serving, self.record.attempts.last_mut()) {
            last.outcome = outcome;
        }
    }

    /// The provider broke off what the client is being served.
    pub(super) fn lost(&mut self) {
        self.serving_turned(AttemptOutcome::Truncated);
        if let Some(serving) = self.serving_from.take() {
            serving.broke();
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
            | ErrorKind::RouteNotAllowed
            | ErrorKind::EndpointNotAllowed
            | ErrorKind::Overloaded
            | ErrorKind::LimitReached
            | ErrorKind::BudgetExceeded
            | ErrorKind::LedgerUnavailable
            | ErrorKind::LimitsUnavailable
            | ErrorKind::PriceUnknown
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

    /// The request no longer counts as in flight, once what this gives is gone.
    pub(super) fn leave(&mut self) -> Option<Counted> {
        self.in_flight.take()
    }
}
