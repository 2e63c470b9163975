//! Access tokens for Vertex: what to ask Google's token endpoint, how to read
//! its answer, and when to ask again.
//!
//! Nothing is sent from here, and nothing is signed: RS256 is a seam, `sign`.
//! Time is an argument, in Unix seconds. Secrets are not printed by `Debug`.

use crate::wire::sigv4::percent_encode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::json;
use std::fmt;

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// Where a machine of Google's gets its token: GET, with the header
/// [`METADATA_HEADER`].
pub const METADATA_URL: &str =
    "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token";
pub const METADATA_HEADER: (&str, &str) = ("metadata-flavor", "Google");

/// How long an assertion lives, in seconds; an hour is the most.
const LIFE: u64 = 3600;
/// How long before its end a token is renewed, in seconds: longer than a
/// request may wait for its turn, shorter than the metadata server's cache.
const EARLY: u64 = 225;

/// Why a credential file or an answer is none. Never holds any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("the credential file is no JSON of a service account or an authorized user")]
    Credential,
    #[error("the token endpoint refused the credential")]
    Refused,
    #[error("the token endpoint's answer holds no access token")]
    Answer,
}

/// What a credential file holds: `GOOGLE_APPLICATION_CREDENTIALS`, or gcloud's
/// application default credentials.
#[derive(Clone, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Credential {
    ServiceAccount(ServiceAccount),
    AuthorizedUser(AuthorizedUser),
}

#[derive(Clone, Deserialize)]
pub struct ServiceAccount {
    pub client_email: String,
    /// PEM of PKCS #8.
    pub private_key: String,
    pub private_key_id: Option<String>,
    pub project_id: Option<String>,
    token_uri: Option<String>,
}

#[derive(Clone, Deserialize)]
pub struct AuthorizedUser {
    client_id: String,
    client_secret: String,
    refresh_token: String,
    pub quota_project_id: Option<String>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServiceAccount(_) => "Credential::ServiceAccount(..)",
            Self::AuthorizedUser(_) => "Credential::AuthorizedUser(..)",
        })
    }
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceAccount(..)")
    }
}

impl fmt::Debug for AuthorizedUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthorizedUser(..)")
    }
}

impl Credential {
    /// Reads a credential file.
    ///
    /// # Errors
    /// [`Problem::Credential`].
    pub fn parse(json: &[u8]) -> Result<Self, Problem> {
        serde_json::from_slice(json).map_err(|_| Problem::Credential)
    }

    /// Where to POST [`Self::form`], as `application/x-www-form-urlencoded`.
    pub fn token_uri(&self) -> &str {
        match self {
            Self::ServiceAccount(account) => account.token_uri(),
            Self::AuthorizedUser(_) => TOKEN_URI,
        }
    }

    /// The body that asks for a token at `now`. `sign` makes the RSASSA-PKCS1-v1_5
    /// SHA-256 signature of its argument with [`ServiceAccount::private_key`];
    /// it is not called for a user's credential.
    pub fn form(&self, now: u64, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        match self {
            Self::ServiceAccount(account) => {
                let grant = segment("urn:ietf:params:oauth:grant-type:jwt-bearer");
                let assertion = account.assertion(now, sign);
                format!("grant_type={grant}&assertion={assertion}")
            }
            Self::AuthorizedUser(user) => format!(
                "grant_type=refresh_token&client_id={}&client_secret={}&refresh_token={}",
                segment(&user.client_id),
                segment(&user.client_secret),
                segment(&user.refresh_token),
            ),
        }
    }
}

fn segment(text: &str) -> String {
    let mut encoded = String::new();
    percent_encode(text, &mut encoded);
    encoded
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

impl ServiceAccount {
    fn token_uri(&self) -> &str {
        self.token_uri.as_deref().unwrap_or(TOKEN_URI)
    }

    /// What is signed: header and claims of a JWT.
    pub fn signing_input(&self, now: u64) -> String {
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
    pub fn assertion(&self, now: u64, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        let input = self.signing_input(now);
        let signature = URL_SAFE_NO_PAD.encode(sign(input.as_bytes()));
        format!("{input}.{signature}")
    }
}

/// An access token: `authorization: Bearer VALUE`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub value: String,
    /// Unix seconds.
    pub expires_at: u64,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(.., expires_at: {})", self.expires_at)
    }
}

impl Token {
    /// Reads what the token endpoint or the metadata server answered; `now` is
    /// when it was asked.
    ///
    /// # Errors
    /// [`Problem::Refused`] for an OAuth error, [`Problem::Answer`] for anything
    /// else that is no token.
    pub fn parse(json: &[u8], now: u64) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct Reply {
            access_token: Option<String>,
            expires_in: Option<f64>,
            error: Option<serde_json::Value>,
        }
        let reply: Reply = serde_json::from_slice(json).map_err(|_| Problem::Answer)?;
        match (reply.access_token, reply.error) {
            (_, Some(error)) if !error.is_null() => Err(Problem::Refused),
            (Some(value), _) if !value.is_empty() => {
                let life = reply.expires_in.map_or(LIFE, seconds);
                Ok(Self {
                    value,
                    expires_at: now.saturating_add(life),
                })
            }
            _ => Err(Problem::Answer),
        }
    }

    /// Whether to ask for another: early, while this one still serves.
    pub fn is_due(&self, now: u64) -> bool {
        now.saturating_add(EARLY) >= self.expires_at
    }

    /// Whether it serves no more.
    pub fn is_expired(&self, now: u64) -> bool {
        now >= self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const ACCOUNT: &str = r#"{"type":"service_account","project_id":"p","private_key_id":"k1",
        "private_key":"-----BEGIN PRIVATE KEY-----\nAA\n-----END PRIVATE KEY-----\n",
        "client_email":"a@p.iam.gserviceaccount.com","client_id":"1",
        "token_uri":"https://oauth2.googleapis.com/token","universe_domain":"googleapis.com"}"#;

    #[test]
    fn an_assertion_is_header_claims_and_signature() {
        let credential = Credential::parse(ACCOUNT.as_bytes()).unwrap();
        let form = credential.form(1000, |input| {
            assert_eq!(input.iter().filter(|b| **b == b'.').count(), 1);
            vec![0xFF, 0xFE]
        });
        let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
        let parts: Vec<&str> = form.strip_prefix(grant).unwrap().split('.').collect();
        let read = |part: &str| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!(
            read(parts[0]),
            json!({"alg":"RS256","typ":"JWT","kid":"k1"})
        );
        assert_eq!(
            read(parts[1]),
            json!({
                "iss":"a@p.iam.gserviceaccount.com","sub":"a@p.iam.gserviceaccount.com",
                "scope":"https://www.googleapis.com/auth/cloud-platform",
                "aud":"https://oauth2.googleapis.com/token","iat":1000,"exp":4600
            })
        );
        assert_eq!(parts[2], "__4");
        assert_eq!(
            credential.token_uri(),
            "https://oauth2.googleapis.com/token"
        );
    }

    #[test]
    fn a_users_credential_is_refreshed_without_a_signature() {
        let json = br#"{"type":"authorized_user","client_id":"c","client_secret":"s/1","refresh_token":"1//r"}"#;
        let credential = Credential::parse(json).unwrap();
        let form = credential.form(0, |_| panic!("nothing is signed"));
        assert_eq!(
            form,
            "grant_type=refresh_token&client_id=c&client_secret=s%2F1&refresh_token=1%2F%2Fr"
        );
    }

    #[test]
    fn what_is_secret_is_not_printed() {
        let credential = Credential::parse(ACCOUNT.as_bytes()).unwrap();
        let token = Token {
            value: "ya29.secret".to_owned(),
            expires_at: 7,
        };
        let Credential::ServiceAccount(account) = &credential else {
            panic!("an account")
        };
        let printed = format!("{credential:?} {account:?} {token:?}");
        assert!(
            !printed.contains("PRIVATE") && !printed.contains("ya29"),
            "{printed}"
        );
    }

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        let json = br#"{"access_token":"t","expires_in":3599.0,"token_type":"Bearer"}"#;
        let token = Token::parse(json, 100).unwrap();
        assert_eq!(token.expires_at, 3699);
        assert!(!token.is_due(3473) && token.is_due(3474));
        assert!(!token.is_expired(3698) && token.is_expired(3699));
    }

    #[test]
    fn what_is_no_token_is_a_problem() {
        let refused = br#"{"error":"invalid_grant","error_description":"Invalid JWT"}"#;
        assert_eq!(Token::parse(refused, 0), Err(Problem::Refused));
        assert_eq!(Token::parse(b"{}", 0), Err(Problem::Answer));
        assert_eq!(Token::parse(b"<html>", 0), Err(Problem::Answer));
        assert_eq!(Credential::parse(b"{}").unwrap_err(), Problem::Credential);
    }
}
