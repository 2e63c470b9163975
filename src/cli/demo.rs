//! `tollgate demo`: serve the config that is built in, and say what to try.

use super::run::Prepared;
use super::{VERSION, print};
use crate::config::Config;
use crate::server::Source;
use std::process::ExitCode;

const NAME: &str = "conf/demo.toml";
const TEXT: &str = include_str!("../../conf/demo.toml");

/// The key whose hash is in the demo's config. It is public.
const KEY: &str = "tg-demo";

/// Serves the demo until the process is told to stop.
pub fn demo() -> ExitCode {
    match Prepared::new(Source::Embedded {
        name: NAME,
        text: TEXT,
    }) {
        Ok(prepared) => {
            // Without a reader the demo still serves.
            let _ = print(&banner(&prepared.config));
            prepared.serve()
        }
        Err(code) => code,
    }
}

fn banner(config: &Config) -> String {
    let gateway = config
        .listeners()
        .first()
        .map(|listen| listen.address.to_string());
    let gateway = gateway.unwrap_or_default();
    let admin = config.admin.listen;
    let mut text = format!(
        "tollgate {VERSION}: a demo, not for production (the key is public)\n\n\
         \x20 gateway   http://{gateway}/v1 with the key {KEY}\n\
         \x20 metrics   http://{admin}/metrics\n\
         \x20 health    http://{admin}/healthz /readyz, the config in use: /config\n"
    );
    for (name, provider) in &config.providers {
        let state = match provider
            .credential
            .as_ref()
            .map(|reference| reference.resolve())
        {
            Some(Err(error)) => format!("off: {error}"),
            _ => provider.base_url.clone().unwrap_or_default(),
        };
        text.push_str(&format!("  provider  {name}: {state}\n"));
    }
    text.push_str(&format!("\nAsk:\n{}\n", request(&gateway, "")));
    text.push_str(&format!(
        "\nAsk for a stream:\n{}\n",
        request(&gateway, "\"stream\":true,")
    ));
    text.push_str(&format!(
        "\nOr point any OpenAI SDK here:\n\
         \x20 export OPENAI_BASE_URL=http://{gateway}/v1 OPENAI_API_KEY={KEY}\n\n\
         Ctrl-C stops. One line per request follows.\n\n"
    ));
    text
}

/// A request that can be pasted into a shell.
fn request(gateway: &str, options: &str) -> String {
    let unbuffered = if options.is_empty() { "" } else { "N" };
    format!(
        "  curl -s{unbuffered} http://{gateway}/v1/chat/completions -H 'Authorization: Bearer {KEY}' \
         -H 'Content-Type: application/json' \
         -d '{{\"model\":\"demo\",{options}\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use sha2::{Digest as _, Sha256};

    #[test]
    fn the_config_has_the_key_and_the_model_of_the_banner() {
        let config = config::load(TEXT).0.expect("a config");
        let hash = config::Hash(Sha256::digest(KEY).into());
        assert_eq!(config.keys["demo"].hash, hash);
        assert!(config.models.contains_key("demo"));
    }

    #[test]
    fn the_banner_names_what_runs_where() {
        let text = banner(&config::load(TEXT).0.expect("a config"));
        let wanted = [
            "gateway   http://127.0.0.1:8080/v1 with the key tg-demo\n",
            "metrics   http://127.0.0.1:9090/metrics\n",
            "provider  demo: http://127.0.0.1:8088/v1\n",
            "curl -s http://127.0.0.1:8080/v1/chat/completions -H 'Authorization: Bearer tg-demo'",
            "-d '{\"model\":\"demo\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'\n",
            "curl -sN ",
            "{\"model\":\"demo\",\"stream\":true,\"messages\"",
        ];
        for part in wanted {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }
}
