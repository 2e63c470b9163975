//! `tollgate explain`: where a request would go, and why not elsewhere.

use super::check::rendered;
use super::{EX_CONFIG, fail, print, remark};
use crate::chat::{self, Media, Operation};
use crate::config;
use crate::features::{self, Features, Head};
use crate::identity::Principal;
use crate::reload;
use crate::table::{Asked, Explained, Refusal, RoutingTable, Seen, Standing, Standings};
use crate::units::Moment;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[derive(clap::Args)]
pub struct Explain {
    /// The configuration, a TOML file
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: PathBuf,

    /// The request's body, a JSON file; - for standard input
    request: PathBuf,

    /// The endpoint that it is sent to
    #[arg(long, value_name = "NAME", default_value = "chat_completions")]
    endpoint: String,

    /// The key that sends it: a name in the keys section; by default one that may use everything
    #[arg(long, value_name = "NAME")]
    key: Option<String>,

    /// A tag that comes with it; may be repeated
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = super::usage::tag)]
    tags: Vec<(String, String)>,

    /// What is known of targets, a JSON file
    #[arg(long = "at", value_name = "FILE")]
    at: Option<PathBuf>,

    /// Stands for chance, where a route's order is one of weights
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum Format {
    #[default]
    Table,
    Json,
}

/// What is known of targets, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct State {
    targets: BTreeMap<String, TargetState>,
    /// The target that served the conversation last.
    last: Option<String>,
    /// Whether the request is among the hardest of its route; by the shipped
    /// scores when absent.
    hard: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TargetState {
    first_token_ms: Option<u64>,
    load: u64,
    open: bool,
}

impl Standings for State {
    fn of(&self, provider: &str, model: &str, _: bool) -> Standing {
        let Some(state) = self.targets.get(&format!("{provider}/{model}")) else {
            return Standing::default();
        };
        Standing {
            first_token: state.first_token_ms.map(Duration::from_millis),
            load: state.load,
            is_open: state.open,
        }
    }

    fn last(&self, _: u64) -> Option<Arc<str>> {
        self.last.as_deref().map(Into::into)
    }
}

/// Says where a request would go.
pub fn explain(asked: &Explain) -> ExitCode {
    let file = asked.config.display().to_string();
    let text = config::read(&asked.config).map_err(|problem| vec![problem]);
    let table = match text.and_then(|text| reload::compile_with(&text, RoutingTable::compile)) {
        Ok((_, table, _)) => table,
        Err(problems) => {
            remark(&rendered(&file, &problems));
            return ExitCode::from(EX_CONFIG);
        }
    };
    match told(asked, &table) {
        Ok((text, true)) => print(&text),
        Ok((text, false)) => {
            print(&text);
            ExitCode::FAILURE
        }
        Err(why) => fail(&why),
    }
}

/// What is printed, and whether the request would be sent.
fn told(asked: &Explain, table: &RoutingTable) -> Result<(String, bool), String> {
    let body = read(&asked.request)?;
    let state = match &asked.at {
        Some(file) => {
            serde_json::from_slice(&read(file)?).map_err(|e| format!("{}: {e}", file.display()))?
        }
        None => State::default(),
    };
    let operation = Operation::ALL
        .into_iter()
        .find(|operation| operation.name() == asked.endpoint)
        .ok_or_else(|| format!("there is no endpoint '{}'", asked.endpoint))?;
    let who = match &asked.key {
        Some(name) => table
            .keys
            .written()
            .find(|who| *who.name == **name)
            .map(|who| Principal::clone(who))
            .ok_or_else(|| format!("there is no key '{name}' in the configuration"))?,
        None => Principal {
            direct: true,
            ..Principal::new("explain")
        },
    };
    let body = bytes::Bytes::from(body);
    let depth = table.limits.json_depth;
    let request = chat::inspect(operation, Media::Json, "application/json", &body, depth)
        .map_err(|e| e.to_string())?;
    let found = table
        .find(&who, &request.model)
        .map_err(|why| refusal(&why))?;
    let head = Head {
        endpoint: operation.name(),
        stream: request.stream,
        max_output: request.max_output,
        is_json: true,
    };
    let judge = table.judge().map(Arc::clone);
    let wanted = features::Wanted::ALL;
    let known = features::read(&head, &body, wanted, judge.as_deref());
    let said = known.features.said;
    let hard = state.hard.or(said.map(|said| found.is_hard(said.score)));
    let mut tags = (*who.metadata).clone();
    tags.extend(asked.tags.iter().cloned());
    let explained = table.explain(
        &found,
        &Asked {
            who: &who,
            model: &request.model,
            tags: &tags,
            features: &known.features,
            hard: hard.unwrap_or_default(),
            conversation: known.opening,
            now: Moment::from(SystemTime::now()),
            seed: asked.seed,
            standings: &state,
        },
    );
    let is_sent = explained.outcome.is_ok();
    let text = match asked.format {
        Format::Json => as_json(&request.model, &known.features, &explained),
        Format::Table => as_table(&request.model, &known.features, &explained),
    };
    Ok((text, is_sent))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let read = match path == Path::new("-") {
        true => {
            let mut all = Vec::new();
            std::io::stdin().lock().read_to_end(&mut all).map(|_| all)
        }
        false => std::fs::read(path),
    };
    read.map_err(|e| format!("{}: {e}", path.display()))
}

fn refusal(why: &Refusal) -> String {
    match why {
        Refusal::Unknown => "the model does not exist",
        Refusal::NotAllowed => "the key may not use the model",
        Refusal::RouteNotAllowed => "the key may not take the model's route",
        Refusal::NoCandidate(_) => "no target may serve the request",
    }
    .to_owned()
}

/// What became of a target: its place, from 1, or why it lost.
fn verdicts(explained: &Explained) -> BTreeMap<&str, String> {
    let (chosen, reason): (Vec<_>, _) = match &explained.outcome {
        Ok(decision) => {
            let names = decision.candidates.iter().map(|one| one.target.to_string());
            (names.collect(), Some(&decision.reason))
        }
        Err(Refusal::NoCandidate(reason)) => (Vec::new(), Some(&**reason)),
        Err(_) => (Vec::new(), None),
    };
    let lost = reason.map_or(&[][..], |reason| &reason.lost);
    let verdict = |seen: &Seen| {
        let place = chosen.iter().position(|name| **name == *seen.name);
        let why = lost.iter().find(|(name, _)| *name == seen.name);
        match (place, why) {
            (Some(place), _) => (place + 1).to_string(),
            (None, Some((_, why))) => why.label().to_owned(),
            (None, None) => "-".to_owned(),
        }
    };
    let all = explained.seen.iter();
    all.map(|seen| (&*seen.name, verdict(seen))).collect()
}

fn as_json(model: &str, features: &Features, explained: &Explained) -> String {
    let verdicts = verdicts(explained);
    let targets = explained.seen.iter().map(|seen| {
        let verdict = verdicts.get(&*seen.name);
        let place = verdict.and_then(|verdict| verdict.parse::<usize>().ok());
        json!({
            "target": seen.name,
            "place": place,
            "lost": verdict.filter(|_| place.is_none()),
            "quality": seen.quality.map(|quality| quality.name()),
            "price_usd": seen.price.map(|price| price.to_string()),
            "first_token_ms": seen.standing.first_token.map(|time| time.as_millis() as u64),
            "load": seen.standing.load,
            "open": seen.standing.is_open,
            "last": seen.is_last,
            "fallback": seen.is_fallback,
        })
    });
    let targets: Vec<Value> = targets.collect();
    let reason = match &explained.outcome {
        Ok(decision) => Some(&decision.reason),
        Err(Refusal::NoCandidate(reason)) => Some(&**reason),
        Err(_) => None,
    };
    let pools = reason.map(|reason| {
        let pools = reason.pools.iter();
        pools
            .map(|(pool, rule)| json!({"pool": pool, "rule": rule}))
            .collect::<Vec<_>>()
    });
    let text = json!({
        "model": model,
        "route": explained.outcome.as_ref().ok().map(|decision| &decision.route),
        "rule": reason.and_then(|reason| reason.rule.as_ref()),
        "pools": pools,
        "passed": reason.map(|reason| &reason.passed),
        "refused": explained.outcome.as_ref().err().map(refusal),
        "features": features,
        "targets": targets,
    });
    format!("{text:#}\n")
}

fn as_table(model: &str, features: &Features, explained: &Explained) -> String {
    let mut out = format!("{:<12} {model}\n", "model");
    let mut line = |name: &str, text: String| out.push_str(&format!("{name:<12} {text}\n"));
    describe(features, &mut line);
    let reason = match &explained.outcome {
        Ok(decision) => {
            line("route", decision.route.to_string());
            Some(&decision.reason)
        }
        Err(Refusal::NoCandidate(reason)) => Some(&**reason),
        Err(_) => None,
    };
    if let Some(reason) = reason {
        line("rule", reason.rule.as_deref().unwrap_or("none").to_owned());
        for (pool, rule) in &reason.pools {
            line("pool", format!("{pool} (rule {rule})"));
        }
        if !reason.passed.is_empty() {
            line("passed on", reason.passed.join(", "));
        }
    }
    if let Err(why) = &explained.outcome {
        line("refused", refusal(why));
    }
    let verdicts = verdicts(explained);
    let width = explained.seen.iter().map(|seen| seen.name.len()).max();
    let width = width.unwrap_or_default().max("target".len());
    out.push_str(&format!(
        "\n{:<width$}  {:<10}  {:<8}  {:>12}  {:>12}  {:>6}\n",
        "target", "verdict", "quality", "price usd", "first token", "load"
    ));
    for seen in &explained.seen {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let time = seen.standing.first_token;
        out.push_str(&format!(
            "{:<width$}  {:<10}  {:<8}  {:>12}  {:>12}  {:>6}{}{}\n",
            seen.name,
            verdicts.get(&*seen.name).map_or("-", String::as_str),
            seen.quality.map_or("-", |quality| quality.name()),
            or_none(seen.price.map(|price| price.to_string())),
            or_none(time.map(|time| format!("{} ms", time.as_millis()))),
            seen.standing.load,
            if seen.standing.is_open { "  open" } else { "" },
            if seen.is_fallback { "  fallback" } else { "" },
        ));
    }
    out
}

/// What is known of the request.
fn describe(features: &Features, line: &mut impl FnMut(&str, String)) {
    if let Some(said) = &features.said {
        let text = format!("{} ({:.0} %)", said.kind.name(), 100.0 * said.confidence);
        line("kind", text);
        line("difficulty", format!("{:.2}", said.difficulty));
        line("script", said.script.name().to_owned());
    }
    if let Some(pii) = &features.pii {
        let found = pii.findings.iter();
        let mut found: Vec<_> = found
            .map(|(kind, n)| format!("{} {}", n, kind.name()))
            .collect();
        if pii.unread {
            found.push("parts that were not looked through".to_owned());
        }
        if found.is_empty() {
            found.push("none".to_owned());
        }
        line("pii", found.join(", "));
    }
    if let Some(shape) = &features.shape {
        let text = format!(
            "about {} tokens, {} turns, {} images, {} sounds, {} documents, {} tools{}{}",
            shape.tokens(),
            shape.turns,
            shape.images,
            shape.sounds,
            shape.documents,
            shape.tools,
            if shape.schema { ", a schema" } else { "" },
            if shape.code { ", code" } else { "" },
        );
        line("shape", text);
    }
}
