//! Access keys of AWS, and requests signed with them.
//!
//! Sources are what the operator wrote, the environment of this process, the
//! instance metadata service (its second version only: the first one answers
//! to anybody who can make a machine send a GET), and the endpoint that ECS and
//! EKS give to a container.

use super::{Lease, Outgoing, Problem, Value, sensitive, unix};
use crate::fetch::{Answer, Question, Url};
use crate::wire::sigv4::{self, Credentials, Scope, Time};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::SystemTime;
use zeroize::Zeroizing;

/// The name that signatures are made for; the host says `bedrock-runtime`.
const SERVICE: &str = "bedrock";

/// How long before their end keys are renewed, in seconds. The sources have new
/// ones five minutes before it at the latest.
const EARLY: u64 = 600;

/// How long a session with the instance metadata service may last, in seconds.
const SESSION: &str = "60";

/// The instance metadata service.
pub const INSTANCE: &str = "http://169.254.169.254";

/// Where ECS answers to `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
pub const CONTAINER: &str = "http://169.254.170.2";

/// Hosts that plain HTTP may name in `AWS_CONTAINER_CREDENTIALS_FULL_URI`: the
/// agents of ECS and EKS, besides this machine itself.
const AGENTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// An access key.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    access_key_id: String,
    secret_access_key: Zeroizing<String>,
    session_token: Option<Zeroizing<String>>,
}

impl Keys {
    pub fn new(id: &str, secret: &str, session_token: Option<&str>) -> Self {
        Self {
            access_key_id: id.to_owned(),
            secret_access_key: Zeroizing::new(secret.to_owned()),
            session_token: session_token.map(|token| Zeroizing::new(token.to_owned())),
        }
    }

    pub(super) fn secrets(&self) -> Vec<&str> {
        let token = self.session_token.as_deref().map(String::as_str);
        let both = [Some(self.secret_access_key.as_str()), token];
        both.into_iter().flatten().collect()
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// Where keys come from, and what they sign for.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// In place of the one in the host's name.
    pub region: Option<String>,
    pub from: Origin,
}

/// Who gives the keys.
#[derive(Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has to be asked.
    Fixed(Keys),
    /// The instance metadata service.
    Instance(Url),
    /// The endpoint of a container.
    Container(Url, Authorization),
}

/// What the endpoint of a container wants to see.
#[derive(PartialEq, Eq)]
pub enum Authorization {
    None,
    Text(Zeroizing<String>),
    /// Read at each fetch: it is rotated.
    File(PathBuf),
}

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Text(_) => f.write_str("Text(..)"),
            Self::File(path) => path.fmt(f),
        }
    }
}

impl Source {
    /// Keys that nobody has to be asked for.
    pub(super) fn fixed(&self) -> Option<Lease> {
        match &self.from {
            Origin::Fixed(keys) => Some(Lease {
                value: Value::Keys(keys.clone()),
                ends: None,
                early: 0,
            }),
            Origin::Instance(_) | Origin::Container(..) => None,
        }
    }

    pub(super) fn place(&self) -> String {
        match &self.from {
            Origin::Fixed(_) => "the config".to_owned(),
            Origin::Instance(url) | Origin::Container(url, _) => url.to_string(),
        }
    }

    pub(super) async fn fetch(&self) -> Result<Lease, Problem> {
        match &self.from {
            Origin::Fixed(_) => self.fixed().ok_or(Problem::BrokenOff),
            Origin::Instance(base) => instance(base).await,
            Origin::Container(url, authorization) => {
                let mut headers = Vec::new();
                if let Some(value) = authorization.value().await? {
                    headers.push((AUTHORIZATION, value));
                }
                let answer = get(url, headers).await?;
                keys(url, &answer)
            }
        }
    }

    /// The headers that make a request a signed one.
    pub(super) fn sign(
        &self,
        keys: &Keys,
        outgoing: &Outgoing<'_>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Problem> {
        let (path, query) = outgoing
            .target
            .split_once('?')
            .unwrap_or((outgoing.target, ""));
        let headers = signed_headers(outgoing.headers)?;
        let host = headers.iter().find(|(name, _)| *name == HOST.as_str());
        let host = host.map_or("", |(_, value)| value);
        let region = self.region.as_deref().or_else(|| region_of(host));
        let request = sigv4::Request {
            method: outgoing.method,
            path,
            query,
            headers: &headers,
            body: outgoing.body,
        };
        let credentials = Credentials {
            access_key: &keys.access_key_id,
            secret_key: &keys.secret_access_key,
            session_token: keys.session_token.as_deref().map(String::as_str),
        };
        let scope = Scope {
            region: region.ok_or(Problem::Unusable("the host's name holds no region"))?,
            service: SERVICE,
        };
        let time = Time::from_unix(unix(outgoing.now));
        let signed = sigv4::sign(&request, &credentials, scope, &time);
        let mut added = vec![
            (AUTHORIZATION, sensitive(&signed.authorization)?),
            (
                HeaderName::from_static("x-amz-date"),
                sensitive(&signed.date)?,
            ),
        ];
        if let Some(token) = &signed.security_token {
            let name = HeaderName::from_static("x-amz-security-token");
            added.push((name, sensitive(token)?));
        }
        Ok(added)
    }
}

/// Host, content type and what is AWS's own. Others may be changed on the way.
fn signed_headers(headers: &http::HeaderMap) -> Result<Vec<(&str, &str)>, Problem> {
    let own = |name: &HeaderName| name.as_str().starts_with("x-amz-");
    let signed = headers
        .iter()
        .filter(|(name, _)| *name == HOST || *name == CONTENT_TYPE || own(name));
    signed
        .map(|(name, value)| match value.to_str() {
            Ok(value) => Ok((name.as_str(), value)),
            Err(_) => Err(Problem::Unusable("a header that cannot be signed")),
        })
        .collect()
}

/// The region in the name of one of Bedrock's hosts, with or without a port:
/// `bedrock-runtime.us-east-1.amazonaws.com`, of FIPS or of a VPC endpoint too.
pub fn region_of(host: &str) -> Option<&str> {
    let name = host.split(':').next()?;
    let mut labels = name.split('.');
    labels.find(|label| matches!(*label, "bedrock-runtime" | "bedrock-runtime-fips"))?;
    labels.next().filter(|region| is_region(region))
}

/// `us-east-1`, `us-gov-west-1`.
pub fn is_region(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let ends = text.ends_with(|c: char| c.is_ascii_digit());
    (3..=32).contains(&text.len()) && text.contains('-') && ends && text.bytes().all(plain)
}

/// The URL of a container's endpoint, from the two variables that name it.
///
/// # Errors
/// When it is none, or a host that must not be asked over plain HTTP.
pub fn container_url(relative: Option<&str>, full: Option<&str>) -> Result<Url, String> {
    match (relative, full) {
        (Some(path), _) if path.starts_with('/') => Url::parse(&format!("{CONTAINER}{path}")),
        (Some(_), _) => Err("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is no path".to_owned()),
        (None, Some(full)) => {
            let url = Url::parse(full)?;
            let address: Option<std::net::IpAddr> = url.host().parse().ok();
            let local = address.is_some_and(|a| a.is_loopback()) || url.host() == "localhost";
            match url.is_https() || local || AGENTS.contains(&url.host()) {
                true => Ok(url),
                false => {
                    Err("plain HTTP to a host that is neither this machine nor AWS's agent".into())
                }
            }
        }
        (None, None) => Err("neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor \
             AWS_CONTAINER_CREDENTIALS_FULL_URI is set"
            .to_owned()),
    }
}

impl Authorization {
    async fn value(&self) -> Result<Option<HeaderValue>, Problem> {
        let text = match self {
            Self::None => return Ok(None),
            Self::Text(text) => text.clone(),
            Self::File(path) => {
                let shown = path.display().to_string();
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path));
                let text = read.await.map_err(|_| Problem::BrokenOff)?;
                Zeroizing::new(text.map_err(|e| Problem::Unreadable(shown, e.to_string()))?)
            }
        };
        sensitive(text.trim_end_matches(['\r', '\n'])).map(Some)
    }
}

/// Asks the instance metadata service: for a session, for the role's name, and
/// for its keys.
async fn instance(base: &Url) -> Result<Lease, Problem> {
    let url = base.join("/latest/api/token");
    let session = Question {
        method: "PUT",
        url: &url,
        headers: vec![(
            HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds"),
            HeaderValue::from_static(SESSION),
        )],
        body: Zeroizing::default(),
    };
    let session = sensitive(text(&url, &succeeded(&url, session.ask().await?)?)?)?;
    let name = HeaderName::from_static("x-aws-ec2-metadata-token");
    let header = || vec![(name.clone(), session.clone())];
    let roles = base.join("/latest/meta-data/iam/security-credentials/");
    let role = get(&roles, header()).await?;
    let role = text(&roles, &role)?.lines().next().unwrap_or_default();
    if !is_role(role) {
        return Err(Problem::NoCredential(roles.to_string()));
    }
    let url = roles.join(&format!("/{role}"));
    keys(&url, &get(&url, header()).await?)
}

/// A name as IAM allows it, which is one segment of a path.
fn is_role(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b);
    (1..=128).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.')
}

async fn get(url: &Url, headers: Vec<(HeaderName, HeaderValue)>) -> Result<Answer, Problem> {
    let question = Question {
        method: "GET",
        url,
        headers,
        body: Zeroizing::default(),
    };
    succeeded(url, question.ask().await?)
}

fn succeeded(url: &Url, answer: Answer) -> Result<Answer, Problem> {
    match answer.status {
        200..=299 => Ok(answer),
        status => Err(Problem::Refused(url.to_string(), status, String::new())),
    }
}

fn text<'a>(url: &Url, answer: &'a Answer) -> Result<&'a str, Problem> {
    let text = std::str::from_utf8(&answer.body).map(str::trim);
    text.map_err(|_| Problem::NoCredential(url.to_string()))
}

/// Reads keys, as both endpoints write them.
fn keys(url: &Url, answer: &Answer) -> Result<Lease, Problem> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Reply {
        access_key_id: String,
        secret_access_key: String,
        token: Option<String>,
        expiration: String,
    }
    let none = || Problem::NoCredential(url.to_string());
    let reply: Reply = serde_json::from_slice(&answer.body).map_err(|_| none())?;
    let keys = Keys {
        access_key_id: reply.access_key_id,
        secret_access_key: Zeroizing::new(reply.secret_access_key),
        session_token: reply.token.map(Zeroizing::new),
    };
    let ends = humantime::parse_rfc3339(&reply.expiration).map_err(|_| none())?;
    if ends <= SystemTime::now() {
        return Err(Problem::Ended(url.to_string()));
    }
    Ok(Lease {
        value: Value::Keys(keys),
        ends: Some(unix(ends)),
        early: EARLY,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(body: &str) -> Result<Lease, Problem> {
        let body = Zeroizing::new(body.as_bytes().to_vec());
        let url = Url::parse("http://127.0.0.1/x").unwrap();
        let answer = Answer {
            status: 200,
            retry_after: None,
            body,
        };
        keys(&url, &answer)
    }

    #[test]
    fn regions_are_read_off_hosts() {
        for (host, region) in [
            ("bedrock-runtime.us-east-1.amazonaws.com", Some("us-east-1")),
            (
                "bedrock-runtime-fips.us-gov-west-1.amazonaws.com:8443",
                Some("us-gov-west-1"),
            ),
            (
                "bedrock-runtime.cn-north-1.amazonaws.com.cn",
                Some("cn-north-1"),
            ),
            ("bedrock-runtime.eu-west-3.api.aws", Some("eu-west-3")),
            (
                "vpce-1-2.bedrock-runtime.us-east-1.vpce.amazonaws.com",
                Some("us-east-1"),
            ),
            ("bedrock-runtime.example.com", None),
            ("gateway.internal", None),
            ("127.0.0.1:9000", None),
            ("", None),
        ] {
            assert_eq!(region_of(host), region, "{host}");
        }
    }

    #[test]
    fn keys_are_read_with_their_end() {
        let read = lease(
            r#"{"Code":"Success","AccessKeyId":"ASIA1","SecretAccessKey":"s","Token":"t",
                "Expiration":"2999-01-02T03:04:05Z"}"#,
        );
        let expected = Lease {
            value: Value::Keys(Keys::new("ASIA1", "s", Some("t"))),
            ends: Some(32_472_241_445),
            early: EARLY,
        };
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn what_holds_no_keys_is_a_problem() {
        let url = "http://127.0.0.1/x".to_owned();
        for body in [
            "",
            "<html>",
            r#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"EC2 cannot assume the role"}"#,
            r#"{"AccessKeyId":"A","SecretAccessKey":"s","Expiration":"soon"}"#,
        ] {
            assert_eq!(
                lease(body),
                Err(Problem::NoCredential(url.clone())),
                "{body}"
            );
        }
        let ended =
            r#"{"AccessKeyId":"A","SecretAccessKey":"s","Expiration":"2020-01-01T00:00:00Z"}"#;
        assert_eq!(lease(ended), Err(Problem::Ended(url)));
    }

    #[test]
    fn a_containers_endpoint_is_this_machine_or_an_agent() {
        let url = |relative, full| container_url(relative, full).map(|url| url.to_string());
        let relative = url(Some("/v2/credentials/u"), Some("http://example.com/"));
        assert_eq!(relative.unwrap(), "http://169.254.170.2/v2/credentials/u");
        for good in [
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
            "http://localhost:8080/a",
            "http://127.0.0.1:8080/a",
            "https://credentials.example.com/a",
        ] {
            assert!(url(None, Some(good)).is_ok(), "{good}");
        }
        for bad in [
            "http://example.com/",
            "http://169.254.169.254/",
            "x",
            "http://10.0.0.1/",
        ] {
            assert!(url(None, Some(bad)).is_err(), "{bad}");
        }
        assert!(url(None, None).is_err() && url(Some("x"), None).is_err());
    }

    #[test]
    fn what_is_secret_is_not_printed() {
        let source = Source {
            region: None,
            from: Origin::Fixed(Keys::new("AKIA1", "canary", Some("canary"))),
        };
        let text = Authorization::Text(Zeroizing::new("canary".to_owned()));
        let printed = format!("{source:?} {:?} {text:?}", source.fixed());
        assert!(
            !printed.contains("canary") && !printed.contains("AKIA1"),
            "{printed}"
        );
    }

    #[test]
    fn roles_are_one_segment_of_a_path() {
        assert!(is_role("gateway-role_1@x"));
        for bad in ["", "..", "a/b", "a b", "<html>", "a?b", "a%2f"] {
            assert!(!is_role(bad), "{bad}");
        }
    }
}
