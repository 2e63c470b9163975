//! Access tokens of Google: from a service account's key, from a user's refresh
//! token, or from the metadata server.
//!
//! A service account signs an assertion (RFC 7523) with its own key; the token
//! endpoint takes it for a token. Time is an argument, in Unix seconds.

use super::{Lease, Problem, Value, sensitive, unix};
use crate::fetch::{Answer, Question, Url};
use crate::wire::percent;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use std::fmt;
use std::time::SystemTime;
use zeroize::Zeroizing;

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// The metadata server.
pub const METADATA: &str = "http://metadata.google.internal";
const METADATA_TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

/// How long an assertion lives, in seconds; an hour is the most.
const LIFE: u64 = 3600;
/// How long before its end a token is renewed, in seconds: longer than a
/// request may wait for its turn, shorter than the metadata server's cache.
const EARLY: u64 = 225;

/// Where tokens come from.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    pub from: Origin,
    /// The project that is billed, where it is not the credential's own.
    pub quota_project: Option<String>,
}

/// Who gives the tokens.
#[derive(Debug, PartialEq, Eq)]
pub enum Origin {
    /// The token endpoint, for a credential of ours.
    Endpoint(Account, Url),
    /// The metadata server, at this base URL.
    Metadata(Url),
}

/// What a credential file holds: `GOOGLE_APPLICATION_CREDENTIALS`, or gcloud's
/// application default credentials.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Account {
    ServiceAccount(ServiceAccount),
    AuthorizedUser(AuthorizedUser),
}

#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct ServiceAccount {
    client_email: String,
    /// PEM.
    #[serde(deserialize_with = "secret")]
    private_key: Zeroizing<String>,
    private_key_id: Option<String>,
    token_uri: Option<String>,
    quota_project_id: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct AuthorizedUser {
    client_id: String,
    #[serde(deserialize_with = "secret")]
    client_secret: Zeroizing<String>,
    #[serde(deserialize_with = "secret")]
    refresh_token: Zeroizing<String>,
    quota_project_id: Option<String>,
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServiceAccount(_) => "ServiceAccount(..)",
            Self::AuthorizedUser(_) => "AuthorizedUser(..)",
        })
    }
}

impl Account {
    /// Reads a credential file, and proves that it can be used.
    ///
    /// # Errors
    /// Says what is wrong with it, for the operator.
    pub fn parse(json: &str) -> Result<Self, Problem> {
        const NONE: &str = "it is no JSON of a service account's key or an authorized user";
        let account = serde_json::from_str(json).map_err(|_| Problem::Unusable(NONE))?;
        if let Self::ServiceAccount(account) = &account {
            key_pair(&account.private_key)?;
        }
        Ok(account)
    }

    /// Where it says that tokens are to be had.
    pub fn token_uri(&self) -> &str {
        match self {
            Self::ServiceAccount(account) => account.token_uri(),
            Self::AuthorizedUser(_) => TOKEN_URI,
        }
    }

    /// The project that is billed for what is asked with its tokens.
    pub fn quota_project(&self) -> Option<&str> {
        match self {
            Self::ServiceAccount(account) => account.quota_project_id.as_deref(),
            Self::AuthorizedUser(user) => user.quota_project_id.as_deref(),
        }
    }

    /// The body that asks for a token, as `application/x-www-form-urlencoded`.
    fn form(&self, now: u64) -> Result<Zeroizing<String>, Problem> {
        let form = match self {
            Self::ServiceAccount(account) => {
                let grant = encoded("urn:ietf:params:oauth:grant-type:jwt-bearer");
                let assertion = account.assertion(now)?;
                format!("grant_type={grant}&assertion={assertion}")
            }
            Self::AuthorizedUser(user) => format!(
                "grant_type=refresh_token&client_id={}&client_secret={}&refresh_token={}",
                encoded(&user.client_id),
                encoded(&user.client_secret),
                encoded(&user.refresh_token),
            ),
        };
        Ok(Zeroizing::new(form))
    }
}

fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    percent::encode(text, &mut encoded);
    encoded
}

impl ServiceAccount {
    fn token_uri(&self) -> &str {
        self.token_uri.as_deref().unwrap_or(TOKEN_URI)
    }

    /// What is signed: header and claims of a JWT.
    fn signing_input(&self, now: u64) -> String {
        let mut header = json!({ "alg": "RS256", "typ": "JWT" });
        if let (Some(header), Some(id)) = (header.as_object_mut(), &self.private_key_id) {
            header.insert("kid".to_owned(), id.as_str().into());
        }
        let claims = json!({
            "iss": self.client_email,
            "sub": self.client_email,
            "scope": SCOPE,
            "aud": self.token_uri(),
            "iat": now,
            "exp": now.saturating_add(LIFE),
        });
        let encode = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        format!("{}.{}", encode(header), encode(claims))
    }

    /// The signed JWT.
    fn assertion(&self, now: u64) -> Result<String, Problem> {
        let input = self.signing_input(now);
        let signature = rs256(&self.private_key, input.as_bytes())?;
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Read at each use, once an hour, so that it lies around in one form only.
fn key_pair(pem: &str) -> Result<RsaKeyPair, Problem> {
    const NONE: Problem = Problem::Unusable("its private_key is no RSA key in PEM");
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| NONE)?;
    match der {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(NONE),
    }
    .map_err(|_| NONE)
}

fn rs256(pem: &str, input: &[u8]) -> Result<Vec<u8>, Problem> {
    let pair = key_pair(pem)?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        input,
        &mut signature,
    )
    .map_err(|_| Problem::Unusable("its private_key does not sign"))?;
    Ok(signature)
}

impl Source {
    pub(super) fn place(&self) -> String {
        match &self.from {
            Origin::Endpoint(_, url) | Origin::Metadata(url) => url.to_string(),
        }
    }

    pub(super) async fn fetch(&self) -> Result<Lease, Problem> {
        let now = unix(SystemTime::now());
        match &self.from {
            Origin::Endpoint(account, url) => {
                let form = "application/x-www-form-urlencoded";
                let question = Question {
                    method: "POST",
                    url,
                    headers: vec![(CONTENT_TYPE, HeaderValue::from_static(form))],
                    body: Zeroizing::new(account.form(now)?.as_bytes().to_vec()),
                };
                self.read(url, &question.ask().await?, now)
            }
            Origin::Metadata(base) => {
                let url = base.join(METADATA_TOKEN);
                let question = Question {
                    method: "GET",
                    url: &url,
                    headers: vec![(
                        HeaderName::from_static("metadata-flavor"),
                        HeaderValue::from_static("Google"),
                    )],
                    body: Zeroizing::default(),
                };
                self.read(&url, &question.ask().await?, now)
            }
        }
    }

    /// Reads what was answered to a question of `now`.
    fn read(&self, url: &Url, answer: &Answer, now: u64) -> Result<Lease, Problem> {
        #[derive(Deserialize)]
        struct Reply {
            access_token: String,
            expires_in: Option<f64>,
        }
        if !(200..300).contains(&answer.status) {
            let code = error_code(&answer.body);
            return Err(Problem::Refused(url.to_string(), answer.status, code));
        }
        let reply: Result<Reply, _> = serde_json::from_slice(&answer.body);
        match reply {
            Ok(reply) if !reply.access_token.is_empty() => {
                let life = reply.expires_in.map_or(LIFE, seconds);
                let token = Token::new(reply.access_token, self.quota_project.clone());
                Ok(Lease {
                    value: Value::Token(token),
                    ends: Some(now.saturating_add(life)),
                    early: EARLY,
                })
            }
            _ => Err(Problem::NoCredential(url.to_string())),
        }
    }
}

/// Whole seconds; what is out of range is none.
fn seconds(number: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range and not negative"
    )]
    if (0.0..=1e9).contains(&number) {
        number as u64
    } else {
        0
    }
}

/// The error code of RFC 6749 (5.2), for the log: `: invalid_grant`. Whatever
/// is not a word in lower case is not shown.
fn error_code(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let refusal: Result<Refusal, _> = serde_json::from_slice(body);
    match refusal {
        Ok(Refusal { error })
            if error.len() <= 64 && error.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') =>
        {
            format!(": {error}")
        }
        _ => String::new(),
    }
}

/// An access token, with the project that is billed.
#[derive(PartialEq, Eq)]
pub struct Token {
    value: Zeroizing<String>,
    project: Option<String>,
}

impl Token {
    pub fn new(value: String, project: Option<String>) -> Self {
        Self {
            value: Zeroizing::new(value),
            project,
        }
    }

    pub(super) fn secret(&self) -> &str {
        &self.value
    }

    pub(super) fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, Problem> {
        let bearer = Zeroizing::new(format!("Bearer {}", &*self.value));
        let mut headers = vec![(AUTHORIZATION, sensitive(&bearer)?)];
        if let Some(project) = &self.project {
            let name = HeaderName::from_static("x-goog-user-project");
            headers.push((name, sensitive(project)?));
        }
        Ok(headers)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
#[path = "google_tests.rs"]
mod tests;
