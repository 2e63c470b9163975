//! Where traces go, which and with which headers. Compiled with all the rest,
//! so that a check finds what is wrong with it, but read at the start only.

use super::compile::{Compiler, Unresolved, path};
use crate::config::{self, HeaderSource};
use crate::fetch::Url;
use crate::telemetry::traces::Settings;
use http::{HeaderName, HeaderValue};

/// Where a collector takes spans, below its endpoint (OTLP/HTTP).
const PATH: &str = "/v1/traces";

/// Headers of each batch that are not the operator's to choose.
const RESERVED: [&str; 6] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "expect",
];

impl Compiler<'_> {
    /// Reads `[traces]`; `None` where nothing is sent, or nothing can be.
    pub(super) fn traces(&mut self) -> Option<Settings> {
        let config = &self.config.traces;
        let headers = self.trace_headers(config);
        let url = match place(config.endpoint.as_deref()?) {
            Ok(url) => url,
            Err(e) => {
                let hint = "the collector's OTLP endpoint over HTTP: \"http://127.0.0.1:4318\"";
                self.error(path(["traces", "endpoint"]), e, hint);
                return None;
            }
        };
        Some(Settings {
            url,
            headers,
            sample: config.sample,
        })
    }

    fn trace_headers(&mut self, config: &config::Traces) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        for (key, source) in &config.headers {
            let at = path(["traces", "headers", key]);
            let Ok(name) = HeaderName::try_from(key.as_str()) else {
                self.error(at, "not a header name", "letters, digits and dashes");
                continue;
            };
            if RESERVED.contains(&name.as_str()) {
                self.error(at, "this header belongs to the gateway", "remove it");
                continue;
            }
            match value(source) {
                Ok(value) => headers.push((name, value)),
                Err(e) => {
                    let hint = "set it where the gateway runs";
                    match self.unresolved {
                        Unresolved::Warn => self.warn(at, e, hint),
                        Unresolved::Fail => self.error(at, e, hint),
                    }
                }
            }
        }
        headers
    }
}

fn place(endpoint: &str) -> Result<Url, String> {
    if endpoint.contains(['?', '#']) {
        return Err("an endpoint has no query and no fragment".to_owned());
    }
    let url = Url::parse(endpoint)?;
    // Some write it with the path, as other programs want it.
    Ok(match endpoint.ends_with(PATH) {
        true => url,
        false => url.join(PATH),
    })
}

fn value(source: &HeaderSource) -> Result<HeaderValue, String> {
    let secret = source.resolve().map_err(|e| e.to_string())?;
    let value = HeaderValue::from_str(secret.expose());
    let mut value = value.map_err(|_| "not a header value".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::RoutingTable;

    fn compile(toml: &str) -> (Option<Settings>, Vec<String>) {
        let (config, problems) = config::load(&format!("[traces]\n{toml}"));
        assert!(problems.is_empty(), "{problems:?}");
        let (table, problems) = RoutingTable::compile(&config.unwrap());
        let told = problems.iter().map(|problem| problem.render("f"));
        let about = told.filter(|told| told.contains("traces"));
        (table.and_then(|table| table.traces), about.collect())
    }

    #[test]
    fn spans_go_below_the_endpoint() {
        for (endpoint, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://x/otlp", "https://x/otlp/v1/traces"),
            ("https://x/v1/traces", "https://x/v1/traces"),
        ] {
            let toml = format!("endpoint = \"{endpoint}\"\nsample = 0.5");
            let (settings, problems) = compile(&toml);
            assert!(problems.is_empty(), "{problems:?}");
            let settings = settings.unwrap();
            assert_eq!(settings.url.to_string(), url);
            assert!((settings.sample - 0.5).abs() < f64::EPSILON);
        }
        assert!(compile("").0.is_none(), "off by default");
    }

    #[test]
    fn what_is_wrong_is_told_by_its_key() {
        for (toml, wanted) in [
            (
                "endpoint = \"127.0.0.1:4318\"",
                "error: f: traces.endpoint: ",
            ),
            ("endpoint = \"http://u:p@x\"", "error: f: traces.endpoint: "),
            (
                "endpoint = \"http://x/?a=b\"",
                "error: f: traces.endpoint: ",
            ),
            (
                "headers.\"a b\" = \"c\"",
                "error: f: traces.headers.\"a b\": not a header name",
            ),
            (
                "headers.host = \"c\"",
                "error: f: traces.headers.host: this header belongs to the gateway",
            ),
            // A check may run where the secrets are not.
            (
                "endpoint = \"http://x\"\nheaders.a = \"env:TOLLGATE_TEST_ABSENT\"",
                "warning: f: traces.headers.a: ",
            ),
        ] {
            let (_, problems) = compile(toml);
            assert_eq!(problems.len(), 1, "{toml}: {problems:?}");
            assert!(problems[0].starts_with(wanted), "{problems:?}");
        }
    }

    #[test]
    fn a_header_is_not_printed() {
        let toml = "endpoint = \"http://x\"\nheaders.x-key = \"sesame\"";
        let settings = compile(toml).0.unwrap();
        assert_eq!(settings.headers[0].1, "sesame");
        assert!(!format!("{settings:?}").contains("sesame"));
    }
}
