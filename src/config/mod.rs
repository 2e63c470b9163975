//! What the operator wrote: the TOML file as plain values.
//!
//! These structs say which keys exist, what they default to and how they are
//! spelled; they do nothing. Every struct refuses unknown keys. What a request
//! reads is [`crate::table`], which is compiled from a [`Config`] and checks
//! everything that one key alone cannot show (does the target's provider
//! exist, does the certificate match its key).
//!
//! Serialising a [`Config`] gives its redacted form: secrets are written as
//! the references that they are in the file, literal header values and key
//! hashes are masked.

mod accounting;
pub mod capability;
mod diagnostic;
mod document;
mod load;
mod message;
mod name;
mod policy;
mod resilience;
mod secret;
mod value;

pub use accounting::{
    Durability, Ledger, Limit, OnFailure, Per, Prices, Priority, State, Store, Traces,
};
pub use capability::Capability;
pub use diagnostic::{Diagnostic, Path, Severity, printable};
pub use load::{Loaded, load, load_rest, locate, read, with_lines};
pub use message::choices;
pub use name::{TargetName, is_plain};
pub use policy::{
    Classifier, Containment, OnNone, Pool, Prefer, Qualities, Quality, Rule, Unknown,
};
pub use resilience::{Breaker, Covers, Hedge, OnBreak, RouteTimeouts, Timeouts};
pub use secret::{Reference, ResolveError, Secret};
pub use value::{Hash, HeaderSource, Output};

use crate::units::Allowance;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub server: Server,
    pub listen: Vec<Listen>,
    pub admin: Admin,
    pub demo: Option<Demo>,
    pub log: Log,
    pub access_log: AccessLog,
    pub limits: Limits,
    pub times: Times,
    #[serde(deserialize_with = "name::plain")]
    pub providers: BTreeMap<String, Provider>,
    #[serde(deserialize_with = "name::models")]
    pub models: BTreeMap<String, Model>,
    #[serde(deserialize_with = "name::plain")]
    pub keys: BTreeMap<String, Key>,
    pub capabilities: Vec<Capability>,
    pub limit: Vec<Limit>,
    #[serde(deserialize_with = "name::plain")]
    pub pools: BTreeMap<String, Pool>,
    pub quality: Qualities,
    pub classifier: Classifier,
    pub rules: Vec<Containment>,
    pub prices: Prices,
    pub ledger: Ledger,
    pub state: State,
    pub traces: Traces,
}

impl Config {
    /// The listeners, or the default one when the file names none.
    pub fn listeners(&self) -> Vec<Listen> {
        if self.listen.is_empty() {
            vec![Listen::default()]
        } else {
            self.listen.clone()
        }
    }
}

/// Process-wide settings. A change takes effect at the next start.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Worker threads of the data path; 0 means one per core.
    pub threads: usize,
    /// How long in-flight requests may take to finish after SIGTERM.
    #[serde(with = "value::duration::or_zero")]
    pub grace_period: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            threads: 0,
            grace_period: Duration::from_secs(60),
        }
    }
}

/// One address that clients connect to.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    pub address: SocketAddr,
    /// HTTP/2: by ALPN on TLS, by prior knowledge (h2c) on plain TCP.
    pub http2: bool,
    pub tls: Option<Tls>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            http2: true,
            tls: None,
        }
    }
}

/// A listener's certificate; both files are read again at every reload.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM, leaf first.
    pub certificate: PathBuf,
    /// PEM, unencrypted.
    pub key: PathBuf,
}

/// The operator's listener: metrics, health, the redacted config.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    pub listen: SocketAddr,
    /// What changes something, or shows keys, needs it as a bearer token. Nothing
    /// can be changed without one.
    pub token: Option<Reference>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
            token: None,
        }
    }
}

/// The embedded demo provider.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Demo {
    pub listen: SocketAddr,
}

/// The operator's log, JSON lines on standard error.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub level: Level,
}

/// How much the operator's log says. Libraries never log below `warn`: their
/// debug lines can hold request heads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

impl From<Level> for log::LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
        }
    }
}

/// One JSON line per request.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    pub output: Output,
}

/// Sizes and counts above which a request is refused.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Request body, bytes.
    #[serde(with = "value::size")]
    pub body: usize,
    /// All header names and values of a request together, bytes.
    #[serde(with = "value::size")]
    pub header_bytes: usize,
    /// Header fields of a request.
    #[serde(deserialize_with = "value::count::deserialize")]
    pub header_fields: usize,
    /// Request target, bytes.
    #[serde(with = "value::size")]
    pub uri_bytes: usize,
    /// Client connections open at the same time. Read at start only.
    #[serde(deserialize_with = "value::count::deserialize")]
    pub connections: usize,
    /// Requests in flight at the same time.
    #[serde(deserialize_with = "value::count::deserialize")]
    pub in_flight: usize,
    /// Nesting of a JSON body.
    #[serde(deserialize_with = "value::count::deserialize")]
    pub json_depth: usize,
    /// A whole (not streamed) response of a provider, bytes.
    #[serde(with = "value::size")]
    pub response: usize,
    /// One event of a provider's stream, bytes.
    #[serde(with = "value::size")]
    pub event: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 32 << 20,
            header_bytes: 64 << 10,
            header_fields: 128,
            uri_bytes: 8 << 10,
            connections: 10_000,
            in_flight: 4_096,
            json_depth: 64,
            response: 64 << 20,
            event: 1 << 20,
        }
    }
}

/// Times after which something is given up.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Times {
    /// From the first byte of a request to the end of its head. Read at start only.
    #[serde(with = "value::duration")]
    pub header: Duration,
    /// From the end of the head to the end of the body.
    #[serde(with = "value::duration")]
    pub body: Duration,
    /// A connection without a request.
    #[serde(with = "value::duration")]
    pub idle: Duration,
    /// From the head to the answer's first byte, over all attempts.
    #[serde(with = "value::duration")]
    pub request: Duration,
    /// A client that takes no byte of its answer for so long is cut.
    #[serde(with = "value::duration")]
    pub client_stall: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(15),
            body: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            request: Duration::from_secs(600),
            client_stall: Duration::from_secs(30),
        }
    }
}

/// Somebody who serves models, reached at one or more base URLs.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    pub dialect: Dialect,
    /// One address; `base_urls` where there are several.
    #[serde(default)]
    pub base_url: Option<String>,
    #[serde(default)]
    pub base_urls: Vec<BaseUrl>,
    /// Sent as `Authorization: Bearer`; none when absent.
    #[serde(default)]
    pub credential: Option<Reference>,
    /// In place of `credential`: AWS access keys, which sign each request.
    #[serde(default)]
    pub aws: Option<Aws>,
    /// In place of `credential`: access tokens of Google.
    #[serde(default)]
    pub google: Option<Google>,
    /// Left out, with its targets, while its credential does not resolve.
    #[serde(default)]
    pub optional: bool,
    /// Added to every request to this provider.
    #[serde(default)]
    pub headers: BTreeMap<String, HeaderSource>,
    #[serde(default)]
    pub balance: Balance,
    #[serde(default)]
    pub http: HttpVersion,
    /// Models that may be asked for as `provider/model`.
    #[serde(default = "any")]
    pub models: Vec<String>,
    #[serde(default)]
    pub timeouts: Timeouts,
    #[serde(default)]
    pub health_check: HealthCheck,
    /// PEM file of the authorities to trust in place of the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Settings that only this dialect knows.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Run by the operator: it is told how much time a request has left.
    #[serde(default)]
    pub self_hosted: bool,
    /// When its targets and endpoints are left alone, and for how long.
    #[serde(default)]
    pub breaker: Breaker,
    /// Retries at it, as a share of the requests that it gets: 0 to 1.
    #[serde(
        default = "retry_budget",
        deserialize_with = "value::share::deserialize"
    )]
    pub retry_budget: f64,
}

fn retry_budget() -> f64 {
    0.2
}

fn any() -> Vec<String> {
    vec!["*".to_owned()]
}

/// Where access keys of AWS come from.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Aws {
    pub source: AwsSource,
    #[serde(default)]
    pub access_key_id: Option<Reference>,
    #[serde(default)]
    pub secret_access_key: Option<Reference>,
    #[serde(default)]
    pub session_token: Option<Reference>,
    /// Who is asked, where it is not at its usual address.
    #[serde(default)]
    pub endpoint: Option<String>,
}

/// The ways to get access keys of AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AwsSource {
    /// The keys of this table.
    Static,
    /// `AWS_ACCESS_KEY_ID` and its kin.
    Environment,
    /// The instance metadata service of EC2.
    Instance,
    /// The endpoint that ECS or EKS names to a container.
    Container,
}

/// Where access tokens of Google come from.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Google {
    pub source: GoogleSource,
    /// The JSON itself is at this place.
    #[serde(default)]
    pub json: Option<Reference>,
    /// Who is asked, where it is not at its usual address.
    #[serde(default)]
    pub endpoint: Option<String>,
}

/// The ways to get access tokens of Google.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GoogleSource {
    /// A service account's key, or gcloud's application default credentials.
    Json,
    /// The metadata server of a machine of Google's.
    Metadata,
}

/// One base URL among several, with its share of the requests.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BaseUrl {
    pub url: String,
    #[serde(default = "one", deserialize_with = "value::weight::deserialize")]
    pub weight: usize,
}

fn one() -> usize {
    1
}

/// The wire format that a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// OpenAI's API and everything compatible with it.
    #[serde(rename = "openai")]
    OpenAi,
    /// OpenAI's API as Azure serves it.
    Azure,
    /// Anthropic's Messages.
    Anthropic,
    /// Gemini on Google's AI Studio.
    Gemini,
    /// Gemini on Vertex AI.
    Vertex,
    /// AWS Bedrock's Converse.
    Bedrock,
    /// Cohere's second version.
    Cohere,
}

impl Dialect {
    /// As it is written, also in files of prices.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Azure => "azure",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Vertex => "vertex",
            Self::Bedrock => "bedrock",
            Self::Cohere => "cohere",
        }
    }
}

/// How a provider's endpoints share its requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    #[default]
    RoundRobin,
    /// By the end user (or the key, when the body names no user).
    ConsistentHash,
    /// The lower recent time to first byte of two random endpoints.
    LeastLatency,
}

/// The HTTP version towards a provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum HttpVersion {
    #[default]
    #[serde(rename = "1.1")]
    Http11,
    #[serde(rename = "2")]
    Http2,
    /// HTTP/2 where TLS negotiates it, else HTTP/1.1.
    #[serde(rename = "auto")]
    Auto,
}

/// How a provider's endpoints are probed. Probes never cost money: the kinds
/// stop at a free path.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthCheck {
    pub kind: HealthKind,
    /// For `http`: appended to the base URL.
    pub path: String,
    #[serde(with = "value::duration")]
    pub interval: Duration,
    #[serde(with = "value::duration")]
    pub timeout: Duration,
    /// Consecutive good probes that bring an endpoint back.
    #[serde(deserialize_with = "value::count::deserialize")]
    pub healthy_after: usize,
    /// Consecutive bad probes that take an endpoint out.
    #[serde(deserialize_with = "value::count::deserialize")]
    pub unhealthy_after: usize,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            kind: HealthKind::Off,
            path: "/models".to_owned(),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            healthy_after: 1,
            unhealthy_after: 3,
        }
    }
}

/// What a probe does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthKind {
    #[default]
    Off,
    /// Connects.
    Tcp,
    /// Connects and verifies the certificate.
    Tls,
    /// `GET base_url + path` with the provider's credential answers below 400.
    Http,
}

/// What clients ask for.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub targets: Vec<TargetName>,
    #[serde(default)]
    pub strategy: Strategy,
    /// Tried in order when every target has failed.
    #[serde(default)]
    pub fallbacks: Vec<TargetName>,
    /// In place of `fallbacks`, after a failure.
    #[serde(default)]
    pub on_error: Option<Vec<TargetName>>,
    /// In place of `fallbacks`, after a rate limit.
    #[serde(default)]
    pub on_rate_limit: Option<Vec<TargetName>>,
    /// Asked when a prompt is too long for the model.
    #[serde(default)]
    pub on_context_length: Option<Vec<TargetName>>,
    /// Asked when a provider refuses the content. Without it nobody is.
    #[serde(default)]
    pub on_content_policy: Option<Vec<TargetName>>,
    /// What becomes of harmless fields that a target cannot carry.
    #[serde(default)]
    pub policy: Policy,
    /// From a request's head to what `deadline_covers`; `times.request` when absent.
    #[serde(default, with = "value::duration::optional")]
    pub deadline: Option<Duration>,
    #[serde(default)]
    pub deadline_covers: Covers,
    /// In place of the providers' own.
    #[serde(default)]
    pub timeouts: RouteTimeouts,
    /// How often a target is asked again after a transient fault.
    #[serde(default = "one", deserialize_with = "value::few::deserialize")]
    pub retries: usize,
    /// What becomes of a stream that breaks off after its first token.
    #[serde(default)]
    pub on_break: OnBreak,
    /// The head of a stream is sent before anybody has answered.
    #[serde(default)]
    pub early_headers: bool,
    /// A waiting client of a stream hears a comment so often; never when absent.
    #[serde(default, with = "value::duration::optional")]
    pub keep_alive: Option<Duration>,
    #[serde(default)]
    pub hedge: Option<Hedge>,
    /// An answer that a budget does not cover any more may be a shorter one: its
    /// limit of tokens is lowered to what is left.
    #[serde(default)]
    pub clamp_output: bool,
    /// What a request needs by what it is; the first rule that holds counts.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// The share of its requests that is `hard`.
    #[serde(default, deserialize_with = "value::share::optional")]
    pub strong_share: Option<f64>,
}

/// What becomes of a field that a provider has no counterpart for and that
/// changes no meaning (a seed, an end user). What changes the meaning is always
/// a 400.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Left out, and named in `x-tollgate-dropped`.
    #[default]
    Lenient,
    /// A 400 that names it.
    Strict,
}

/// In which order a model's targets are tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// As written.
    #[default]
    Ordered,
    /// By chance, in proportion to the weights.
    Weighted,
}

/// A client's key. The key itself is nowhere in the file.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    pub hash: Hash,
    /// Who owns it.
    #[serde(default)]
    pub team: Option<String>,
    /// Names that it may ask for; `*` matches any run of characters.
    #[serde(default = "any")]
    pub models: Vec<String>,
    /// Names in `[models]` that these may lead to.
    #[serde(default = "any")]
    pub routes: Vec<String>,
    /// Endpoints of the API that it may call: `chat_completions`, `embeddings`.
    #[serde(default = "any")]
    pub endpoints: Vec<String>,
    /// May it ask for `provider/model` past the aliases?
    #[serde(default)]
    pub direct: bool,
    /// Its answers say why its requests went where they went.
    #[serde(default)]
    pub explain: bool,
    #[serde(default)]
    pub disabled: bool,
    /// It is refused from then on (RFC 3339).
    #[serde(default, with = "value::moment::optional")]
    pub expires: Option<SystemTime>,
    /// Limits of this key alone.
    #[serde(default)]
    pub limits: Vec<Allowance>,
    /// Who goes first where requests wait for their turn.
    #[serde(default)]
    pub priority: Priority,
    /// Tags of every request of this key, in the access log and the ledger.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

#[cfg(test)]
#[path = "conf_tests.rs"]
mod conf_tests;
