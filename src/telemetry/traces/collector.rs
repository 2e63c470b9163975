//! The way to a collector: OpenTelemetry's exporter over the gateway's own
//! connector.
//!
//! The exporter writes OTLP; where it goes and which headers it carries is the
//! config's word alone, whatever `OTEL_EXPORTER_OTLP_*` say. What a collector
//! cannot take just now is sent again a few times (OTLP 1.x, "Retryable
//! Response Codes"), unless the process is about to end.

use super::Settings;
use crate::fetch::{Answer, Question, Unanswered, Url};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Request, Response};
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    Protocol, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::SpanExporter as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use zeroize::Zeroizing;

/// Times that a batch is sent.
const TRIES: u32 = 3;

/// Before the second time; twice as long before the third.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest that a collector may ask to be left alone.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Between two warnings.
const QUIET: Duration = Duration::from_secs(60);

/// A bound for the exporter, which is never reached: the exchange has its own.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Who takes spans.
#[derive(Debug)]
pub(super) struct Collector {
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
    closing: watch::Receiver<bool>,
    warned: Mutex<Option<Instant>>,
}

/// The exporter that sends to `collector`.
///
/// # Errors
/// What the environment asks for and cannot be had, such as a compression.
pub(super) fn exporter(collector: Collector) -> Result<SpanExporter, String> {
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(collector.url.to_string())
        .with_http_client(collector)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(TIMEOUT)
        .with_retry_policy(RetryPolicy::disabled())
        .build()
        .map_err(|e| e.to_string())?;
    exporter.set_resource(&resource());
    Ok(exporter)
}

/// Who speaks: this gateway, and what the environment says of it in
/// `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`.
fn resource() -> Resource {
    let named = std::env::var("OTEL_SERVICE_NAME").ok();
    let named = named.filter(|name| !name.is_empty());
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "tollgate"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .with_detector(Box::new(EnvResourceDetector::new()))
        .with_attributes(named.map(|name| KeyValue::new("service.name", name)))
        .build()
}

impl Collector {
    pub(super) fn new(settings: &Settings, closing: watch::Receiver<bool>) -> Self {
        Self {
            url: settings.url.clone(),
            headers: settings.headers.clone(),
            closing,
            warned: Mutex::new(None),
        }
    }

    async fn send(&self, content_type: HeaderValue, body: &[u8]) -> Result<Answer, Unanswered> {
        let mut headers = vec![(CONTENT_TYPE, content_type)];
        headers.extend(self.headers.iter().cloned());
        let question = Question {
            method: "POST",
            url: &self.url,
            headers,
            body: Zeroizing::new(body.to_vec()),
        };
        question.ask().await
    }

    /// Waits before the next try; `false` when the process is about to end.
    async fn rest(&self, pause: Duration) -> bool {
        let mut closing = self.closing.clone();
        let closed = closing.wait_for(|closing| *closing);
        tokio::time::timeout(pause, closed).await.is_err()
    }

    /// Says what is wrong, once a minute.
    fn warn(&self, answered: &Result<Answer, Unanswered>) {
        let reason = match answered {
            Ok(answer) if (200..300).contains(&answer.status) => return,
            Ok(answer) => format!("{} answered with status {}", self.url, answer.status),
            Err(unanswered) => unanswered.to_string(),
        };
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|last| last.elapsed() >= QUIET) {
            *warned = Some(Instant::now());
            log::warn!(reason = reason.as_str(); "traces not sent");
        }
    }
}

/// How long to wait before the same is sent again, after `tries`; `None` when
/// that is no use.
fn pause(answered: &Result<Answer, Unanswered>, tries: u32) -> Option<Duration> {
    let own = PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(8));
    match answered {
        _ if tries >= TRIES => None,
        Ok(answer) if matches!(answer.status, 429 | 502 | 503 | 504) => {
            Some(answer.retry_after.unwrap_or(own).min(LONGEST_PAUSE))
        }
        Ok(_) | Err(Unanswered::TooLong(_)) => None,
        Err(_) => Some(own),
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let content_type = head.headers.get(CONTENT_TYPE);
        let content_type = content_type.ok_or("no content type")?;
        let mut tries = 1;
        let answered = loop {
            let answered = self.send(content_type.clone(), &body).await;
            match pause(&answered, tries) {
                Some(pause) if self.rest(pause).await => tries += 1,
                _ => break answered,
            }
        };
        self.warn(&answered);
        let answer = answered?;
        let body = Bytes::copy_from_slice(&answer.body);
        Ok(Response::builder().status(answer.status).body(body)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<u64>) -> Result<Answer, Unanswered> {
        Ok(Answer {
            status,
            retry_after: retry_after.map(Duration::from_secs),
            body: Zeroizing::default(),
        })
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let seconds = |n| Some(Duration::from_secs(n));
        for (answered, first, second) in [
            (answer(200, None), None, None),
            (answer(400, None), None, None),
            (answer(500, None), None, None),
            (answer(503, None), seconds(1), seconds(2)),
            (answer(429, Some(7)), seconds(7), seconds(7)),
            (answer(429, Some(7000)), seconds(30), seconds(30)),
            (Err(Unanswered::Silent("x".into())), seconds(1), seconds(2)),
            (Err(Unanswered::TooLong("x".into())), None, None),
        ] {
            let status = answered.as_ref().map_or(0, |answer| answer.status);
            assert_eq!(pause(&answered, 1), first, "{status}");
            assert_eq!(pause(&answered, 2), second, "{status}");
            assert_eq!(pause(&answered, TRIES), None, "{status}");
        }
    }
}
