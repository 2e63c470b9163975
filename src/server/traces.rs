//! Where traces go, read from the config once: when the process starts.

use crate::config::{self, HeaderSource};
use crate::fetch::Url;
use crate::telemetry::Metrics;
use crate::telemetry::traces::{Settings, Traces};
use http::{HeaderName, HeaderValue};
use std::sync::Arc;

/// Where a collector takes spans, below its endpoint (OTLP/HTTP).
const PATH: &str = "/v1/traces";

/// Starts to send traces, if the config says where to.
///
/// # Errors
/// What is wrong with the config or the place of a secret, for the operator.
pub(super) fn start(config: &config::Traces, metrics: &Arc<Metrics>) -> Result<Traces, String> {
    let settings = config.endpoint.as_deref();
    let settings = settings.map(|endpoint| settings_of(endpoint, config));
    let started = Traces::start(settings.transpose()?, Arc::clone(metrics));
    started.map_err(|e| format!("traces: {e}"))
}

fn settings_of(endpoint: &str, config: &config::Traces) -> Result<Settings, String> {
    let url = Url::parse(endpoint).map_err(|e| format!("traces.endpoint: {e}"))?;
    if endpoint.contains('?') {
        return Err("traces.endpoint: an endpoint has no query".to_owned());
    }
    // Some are written with it, as other programs want it.
    let url = match endpoint.trim_end_matches('/').ends_with(PATH) {
        true => url,
        false => url.join(PATH),
    };
    let headers = config.headers.iter().map(|(name, source)| {
        header(name, source).map_err(|e| format!("traces.headers.{name}: {e}"))
    });
    Ok(Settings {
        url,
        headers: headers.collect::<Result<_, _>>()?,
        sample: config.sample,
    })
}

fn header(name: &str, source: &HeaderSource) -> Result<(HeaderName, HeaderValue), String> {
    let name = HeaderName::try_from(name).map_err(|_| "not a header name")?;
    let secret = source.resolve().map_err(|e| e.to_string())?;
    let mut value = HeaderValue::from_str(secret.expose()).map_err(|_| "not a header value")?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn config(endpoint: &str, headers: &[(&str, &str)]) -> config::Traces {
        let literal = |text: &str| HeaderSource::Literal(text.to_owned());
        config::Traces {
            endpoint: Some(endpoint.to_owned()),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), literal(value)))
                .collect::<BTreeMap<_, _>>(),
            sample: 0.5,
        }
    }

    fn settings(endpoint: &str, headers: &[(&str, &str)]) -> Result<Settings, String> {
        settings_of(endpoint, &config(endpoint, headers))
    }

    #[test]
    fn spans_go_below_the_endpoint() {
        for (endpoint, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://x/otlp", "https://x/otlp/v1/traces"),
            ("https://x/v1/traces/", "https://x/v1/traces/"),
        ] {
            let settings = settings(endpoint, &[]).unwrap();
            assert_eq!(settings.url.to_string(), url);
        }
    }

    #[test]
    fn what_is_wrong_names_its_key() {
        let bad = [
            (settings("127.0.0.1:4318", &[]), "traces.endpoint"),
            (settings("http://u:p@x", &[]), "traces.endpoint"),
            (settings("http://x/?a=b", &[]), "traces.endpoint"),
            (
                settings("http://x", &[("a b", "c")]),
                "traces.headers.a b: not a header name",
            ),
            (
                settings("http://x", &[("a", "b\nc")]),
                "traces.headers.a: not a header value",
            ),
        ];
        for (settings, wrong) in bad {
            let told = settings.unwrap_err();
            assert!(told.starts_with(wrong), "{told}");
        }
    }

    #[test]
    fn a_header_is_not_printed() {
        let settings = settings("http://x", &[("authorization", "sesame")]).unwrap();
        assert!(!format!("{settings:?}").contains("sesame"));
    }
}
