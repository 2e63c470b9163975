//! The golden tree of requests: every case, as a client sends it, against what each dialect makes of it.
//!
//! `tests/golden/requests/CASE/client.json` is what a client sent. `case.toml` beside it, where one is needed, says
//! in which format (`face`: chat, completions, messages, responses, embeddings; chat by default), to which models,
//! with which options of the provider, and whether the route is strict. `DIALECT.json` is what leaves for the
//! provider, or why nothing does; `refused.json` stands alone where the request is refused before any dialect sees it.
//!
//! `TOLLGATE_BLESS=1` writes what is found. Read it: these files say what the gateway promises.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed assertion is a test's way to speak"
)]

use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use tollgate::chat::{Conversation, Unsupported, models};
use tollgate::dialect::anthropic::Anthropic;
use tollgate::dialect::bedrock::Bedrock;
use tollgate::dialect::cohere::Cohere;
use tollgate::dialect::gemini::{Flavour, Gemini};
use tollgate::dialect::messages_face::MessagesFace;
use tollgate::dialect::openai_chat::{Chat, Compatible};
use tollgate::dialect::openai_completions::Completions;
use tollgate::dialect::responses_face::Responses;
use tollgate::dialect::{Dialect, Embeddings, Face, Rendered, Target, embeddings};
use tollgate::error::GatewayError;

/// A provider that every case is sent to.
struct Provider {
    /// The name of its files.
    name: &'static str,
    wire: &'static dyn Dialect,
    /// The key of its models in the capability table.
    family: &'static str,
    model: &'static str,
    embedder: &'static str,
    options: &'static [(&'static str, &'static str)],
}

/// Of each generation of Gemini one: AI Studio is asked for a model that thinks by budget, Vertex for one that
/// thinks by level.
const PROVIDERS: [Provider; 8] = [
    Provider {
        name: "openai",
        wire: &Compatible { think_tags: false },
        family: "openai",
        model: "gpt-4o",
        embedder: "text-embedding-3-small",
        options: &[("cache_marks", "breakpoint")],
    },
    Provider {
        name: "mistral",
        wire: &Compatible { think_tags: false },
        family: "openai",
        model: "mistral-large-latest",
        embedder: "mistral-embed",
        options: &[
            ("drop", "logit_bias,metadata,service_tier,user"),
            ("max_tokens_field", "max_tokens"),
            ("no_stream_options", "true"),
            ("prefill", "prefix"),
            ("rename", "seed:random_seed"),
            ("required", "any"),
            ("tool_id", "mistral9"),
            ("tool_name", "true"),
        ],
    },
    Provider {
        name: "azure",
        wire: &Compatible { think_tags: false },
        family: "openai",
        model: "gpt-4o",
        embedder: "text-embedding-3-small",
        options: &[("api_version", "2024-10-21"), ("deployment", "true")],
    },
    Provider {
        name: "anthropic",
        wire: &Anthropic,
        family: "anthropic",
        model: "claude-sonnet-4-5",
        embedder: "claude-sonnet-4-5",
        options: &[],
    },
    Provider {
        name: "gemini",
        wire: &Gemini::new(Flavour::AiStudio),
        family: "gemini",
        model: "gemini-2.5-flash",
        embedder: "gemini-embedding-001",
        options: &[],
    },
    Provider {
        name: "vertex",
        wire: &Gemini::new(Flavour::Vertex),
        family: "gemini",
        model: "gemini-3.1-pro-preview",
        embedder: "text-embedding-005",
        options: &[("location", "europe-west4"), ("project", "p1")],
    },
    Provider {
        name: "bedrock",
        wire: &Bedrock,
        family: "bedrock",
        model: "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        embedder: "amazon.titan-embed-text-v2:0",
        options: &[],
    },
    Provider {
        name: "cohere",
        wire: &Cohere,
        family: "cohere",
        model: "command-a-plus",
        embedder: "embed-v4.0",
        options: &[],
    },
];

/// `case.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    face: Speech,
    #[serde(default)]
    strict: bool,
    /// In place of a provider's usual model.
    #[serde(default)]
    models: BTreeMap<String, String>,
    /// Laid over a provider's usual options.
    #[serde(default)]
    options: BTreeMap<String, BTreeMap<String, String>>,
}

/// A client's format.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Speech {
    #[default]
    Chat,
    Completions,
    Messages,
    Responses,
    Embeddings,
}

impl Speech {
    fn face(self, body: &[u8]) -> Box<dyn Face> {
        match self {
            Self::Chat | Self::Embeddings => Box::new(Chat::of(body)),
            Self::Completions => Box::new(Completions),
            Self::Messages => Box::new(MessagesFace),
            Self::Responses => Box::new(Responses::echoing(body)),
        }
    }

    fn read(self, body: &[u8]) -> Result<Asked, GatewayError> {
        match self {
            Self::Embeddings => embeddings::parse(body).map(Asked::Embeddings),
            speech => {
                let asked = speech.face(body).parse(body)?;
                Ok(Asked::Answer(Box::new(asked)))
            }
        }
    }
}

/// What a client wants, once its request is read.
enum Asked {
    Answer(Box<Conversation>),
    Embeddings(Embeddings),
}

impl Asked {
    fn of(
        &mut self,
        model: &str,
        wire: &dyn Dialect,
        target: Target<'_>,
    ) -> Result<Rendered, Unsupported> {
        match self {
            Self::Answer(asked) => {
                model.clone_into(&mut asked.model);
                wire.chat(asked, target)
            }
            Self::Embeddings(asked) => {
                model.clone_into(&mut asked.model);
                wire.embeddings(asked, target)
            }
        }
    }
}

impl Case {
    fn of(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join("case.toml")).unwrap_or_default();
        let case: Self =
            toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let known = |name: &String| PROVIDERS.iter().any(|provider| provider.name == name);
        assert!(
            case.models.keys().chain(case.options.keys()).all(known),
            "{}: a provider that is none",
            folder.display()
        );
        case
    }

    fn send(&self, provider: &Provider, body: &[u8], asked: &mut Asked) -> Value {
        let usual = match self.face {
            Speech::Embeddings => provider.embedder,
            _ => provider.model,
        };
        let model = self.models.get(provider.name).map_or(usual, String::as_str);
        let mut options: BTreeMap<String, String> = provider
            .options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        options.extend(self.options.get(provider.name).cloned().unwrap_or_default());
        let capabilities = models::shipped()
            .expect("the shipped table is sound")
            .lookup(provider.family, model);
        let target = Target {
            capabilities: &capabilities,
            options: &options,
            strict: self.strict,
        };
        let face = self.face.face(body);
        match asked.of(model, provider.wire, target) {
            Ok(mut rendered) => {
                let words = rendered.dropped.iter().map(|name| face.field(body, name));
                rendered.dropped = words.collect();
                sent(rendered)
            }
            Err(e) => {
                let e = face.worded(body, e);
                refused(&e.param, &e.reason)
            }
        }
    }
}

fn sent(mut rendered: Rendered) -> Value {
    rendered.dropped.sort();
    let mut told = Map::from_iter([("path".to_owned(), rendered.path.into())]);
    if !rendered.headers.is_empty() {
        let headers = rendered
            .headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()));
        told.insert("headers".to_owned(), Value::Object(headers.collect()));
    }
    if !rendered.dropped.is_empty() {
        told.insert("dropped".to_owned(), rendered.dropped.into());
    }
    let body: Value = serde_json::from_slice(&rendered.body).expect("a body is JSON");
    told.insert("body".to_owned(), body);
    Value::Object(told)
}

fn refused(param: &str, reason: &str) -> Value {
    json!({ "refused": { "param": param, "reason": reason } })
}

/// What a case gives, by the name of its file.
fn found(folder: &Path) -> BTreeMap<String, Value> {
    let case = Case::of(folder);
    let body = fs::read(folder.join("client.json"))
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    match case.face.read(&body) {
        Err(e) => BTreeMap::from([(
            "refused.json".to_owned(),
            refused(e.param().unwrap_or_default(), e.public()),
        )]),
        Ok(mut asked) => PROVIDERS
            .iter()
            .map(|provider| {
                let name = format!("{}.json", provider.name);
                (name, case.send(provider, &body, &mut asked))
            })
            .collect(),
    }
}

fn cases() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/requests");
    let entries = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// The files of a case that hold expectations.
fn kept(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries
        .filter(|name| name != "client.json" && name != "case.toml")
        .collect()
}

/// Writes what is found, and removes what is not.
fn bless(folder: &Path, found: &BTreeMap<String, Value>) {
    for name in kept(folder)
        .iter()
        .filter(|name| !found.contains_key(*name))
    {
        fs::remove_file(folder.join(name)).unwrap();
    }
    for (name, value) in found {
        fs::write(folder.join(name), format!("{value:#}\n")).unwrap();
    }
}

#[test]
fn every_request_in_every_dialect() {
    let blessing = std::env::var_os("TOLLGATE_BLESS").is_some();
    let folders = cases();
    assert!(
        folders.len() > 60,
        "only {} cases were found",
        folders.len()
    );
    let mut report = String::new();
    for folder in folders {
        let found = found(&folder);
        if blessing {
            bless(&folder, &found);
        }
        let case = folder.file_name().unwrap().to_string_lossy().into_owned();
        for name in kept(&folder)
            .iter()
            .filter(|name| !found.contains_key(*name))
        {
            writeln!(report, "{case}/{name}: nothing gives this any more").unwrap();
        }
        for (name, value) in &found {
            let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
            let expected: Value = serde_json::from_str(&text).unwrap_or_default();
            if expected != *value {
                write!(report, "{case}/{name}:\n{}", difference(&expected, value)).unwrap();
            }
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

/// The lines that differ, with those around them: `-` is expected, `+` is found.
fn difference(expected: &Value, found: &Value) -> String {
    const AROUND: usize = 3;
    let (old, new) = (format!("{expected:#}"), format!("{found:#}"));
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let lines = aligned(&old, &new);
    let near = |at: usize| {
        let to = lines.len().min(at + AROUND + 1);
        lines[at.saturating_sub(AROUND)..to]
            .iter()
            .any(|(mark, _)| *mark != ' ')
    };
    let shown = (0..lines.len()).filter(|at| near(*at));
    shown.fold(String::new(), |mut text, at| {
        let (mark, line) = lines[at];
        writeln!(text, "  {mark} {line}").unwrap();
        text
    })
}

/// The lines of both, those in common once: the longest common subsequence.
fn aligned<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = match old[i] == new[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(('-', old[i]));
            i += 1;
        } else {
            lines.push(('+', new[j]));
            j += 1;
        }
    }
    lines
}
