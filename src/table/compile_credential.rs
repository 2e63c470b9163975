//! The compiler of credentials that are more than a fixed header: exactly one
//! way for a provider, with all that it needs and nothing else. One that stays
//! the same is carried over, with what it holds.

use super::compile::{Compiler, path};
use crate::config::{self, AwsSource, GoogleSource, Path, Reference, Secret};
use crate::credential::{Credential, Source, Url, aws, google};
use crate::route::endpoint::Origin;
use http::HeaderName;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Headers that a credential sets by itself.
const OWN: [&str; 3] = ["authorization", "x-amz-date", "x-amz-security-token"];

/// The environment of a container.
const RELATIVE_URI: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

/// Does a header belong to the provider's credential?
pub(super) fn owns(written: &config::Provider, header: &HeaderName) -> bool {
    let signs = written.aws.is_some() || written.google.is_some();
    signs && OWN.contains(&header.as_str())
}

/// A provider whose credential is being compiled.
struct Place<'a> {
    name: &'a str,
    /// `aws` or `google`.
    table: &'static str,
    optional: bool,
}

impl Place<'_> {
    fn at(&self, key: &str) -> Path {
        path(["providers", self.name, self.table, key])
    }
}

impl<'a> Compiler<'a> {
    /// The provider's credential, where it has one of its own; a provider that
    /// is optional and has not goes to the absent ones.
    pub(super) fn credential(
        &mut self,
        name: &'a str,
        written: &config::Provider,
        origins: &[(Arc<Origin>, usize)],
    ) -> Option<Arc<Credential>> {
        self.one_way(name, written);
        let place = |table| Place {
            name,
            table,
            optional: written.optional,
        };
        let source = match (&written.aws, &written.google) {
            (Some(aws), _) => {
                let region = self.region(name, written, origins);
                let from = self.aws(&place("aws"), aws)?;
                Source::Aws(aws::Source { region, from })
            }
            (None, Some(google)) => {
                let from = self.google(&place("google"), google)?;
                Source::Google(google::Source {
                    quota_project: quota_project(written, &from),
                    from,
                })
            }
            (None, None) => return None,
        };
        let before = self.previous.and_then(|table| table.providers.get(name));
        match before.and_then(|provider| provider.credential.as_ref()) {
            Some(credential) if *credential.source() == source => Some(Arc::clone(credential)),
            _ => Some(Arc::new(Credential::new(name.into(), source))),
        }
    }

    fn one_way(&mut self, name: &str, written: &config::Provider) {
        let ways = [
            ("credential", written.credential.is_some()),
            ("aws", written.aws.is_some()),
            ("google", written.google.is_some()),
        ];
        let given: Vec<&str> = ways.iter().filter(|w| w.1).map(|w| w.0).collect();
        if let [first, second, ..] = given.as_slice() {
            let message = format!("{first} and {second} are both given");
            self.error(
                path(["providers", name, second]),
                message,
                "keep one of them",
            );
        }
        for (key, given, dialect, word) in [
            (
                "aws",
                written.aws.is_some(),
                config::Dialect::Bedrock,
                "bedrock",
            ),
            (
                "google",
                written.google.is_some(),
                config::Dialect::Vertex,
                "vertex",
            ),
        ] {
            if given && written.dialect != dialect {
                self.error(
                    path(["providers", name, key]),
                    format!("only providers of the dialect {word} take this kind of credential"),
                    "others take credential = \"env:NAME\", \"file:PATH\" or \"credential:NAME\"",
                );
            }
        }
    }

    /// The region of the options. Without it each host must name one.
    fn region(
        &mut self,
        name: &str,
        written: &config::Provider,
        origins: &[(Arc<Origin>, usize)],
    ) -> Option<String> {
        let at = path(["providers", name, "options", "region"]);
        let hint = "options = { region = \"us-east-1\" }";
        if let Some(region) = written.options.get("region") {
            if !aws::is_region(region) {
                self.error(at, "not a region of AWS", hint);
            }
            return Some(region.clone());
        }
        let unnamed = origins
            .iter()
            .find(|(o, _)| aws::region_of(&o.host).is_none());
        if let Some((origin, _)) = unnamed {
            let message = format!("the host \"{}\" names no region to sign for", origin.host);
            self.error(at, message, hint);
        }
        None
    }

    fn aws(&mut self, place: &Place<'a>, written: &config::Aws) -> Option<aws::Origin> {
        let keys = [
            ("access_key_id", written.access_key_id.is_some()),
            ("secret_access_key", written.secret_access_key.is_some()),
            ("session_token", written.session_token.is_some()),
        ];
        let endpoint = ("endpoint", written.endpoint.is_some());
        match written.source {
            AwsSource::Static => {
                self.only(place, &[endpoint], "the source static asks nobody");
                let secret = written.secret_access_key.as_ref();
                let id = self.needed(place, "access_key_id", written.access_key_id.as_ref());
                let secret = self.needed(place, "secret_access_key", secret);
                let token = match &written.session_token {
                    None => None,
                    Some(token) => Some(self.secret(place, "session_token", token)?),
                };
                Some(fixed(&id?, &secret?, token.as_ref()))
            }
            AwsSource::Environment => {
                self.only(place, &keys, "the source environment has its own");
                self.only(place, &[endpoint], "the source environment asks nobody");
                let id = self.variable(place, "AWS_ACCESS_KEY_ID");
                let secret = self.variable(place, "AWS_SECRET_ACCESS_KEY");
                let token = match std::env::var_os("AWS_SESSION_TOKEN") {
                    Some(token) if !token.is_empty() => {
                        Some(self.variable(place, "AWS_SESSION_TOKEN")?)
                    }
                    _ => None,
                };
                Some(fixed(&id?, &secret?, token.as_ref()))
            }
            AwsSource::Instance => {
                self.only(place, &keys, "the source instance fetches them");
                let base = written.endpoint.as_deref().unwrap_or(aws::INSTANCE);
                self.url(place, base).map(aws::Origin::Instance)
            }
            AwsSource::Container => {
                self.only(place, &keys, "the source container fetches them");
                let url = match &written.endpoint {
                    Some(url) => self.url(place, url)?,
                    None => self.container(place)?,
                };
                Some(aws::Origin::Container(url, self.authorization(place)?))
            }
        }
    }

    fn container(&mut self, place: &Place<'a>) -> Option<Url> {
        let variable = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
        let (relative, full) = (variable(RELATIVE_URI), variable(FULL_URI));
        match aws::container_url(relative.as_deref(), full.as_deref()) {
            Ok(url) => Some(url),
            Err(e) => {
                self.missing(place, "source", &e);
                None
            }
        }
    }

    fn authorization(&mut self, place: &Place<'a>) -> Option<aws::Authorization> {
        let set = |name| std::env::var_os(name).filter(|v: &std::ffi::OsString| !v.is_empty());
        if let Some(file) = set(TOKEN_FILE) {
            return Some(aws::Authorization::File(file.into()));
        }
        if set(TOKEN).is_none() {
            return Some(aws::Authorization::None);
        }
        let token = self.variable(place, TOKEN)?;
        let text = Zeroizing::new(token.expose().to_owned());
        Some(aws::Authorization::Text(text))
    }

    fn google(&mut self, place: &Place<'a>, written: &config::Google) -> Option<google::Origin> {
        let json = ("json", written.json.is_some());
        match written.source {
            GoogleSource::Metadata => {
                self.only(
                    place,
                    &[json],
                    "the source metadata asks the metadata server",
                );
                let base = written.endpoint.as_deref().unwrap_or(google::METADATA);
                self.url(place, base).map(google::Origin::Metadata)
            }
            GoogleSource::Json => {
                let Some(reference) = &written.json else {
                    self.lacks(place, "json", "json = \"credential:NAME\" or \"file:PATH\"");
                    return None;
                };
                let account = self.account(place, reference)?;
                let url = match &written.endpoint {
                    Some(url) => self.url(place, url)?,
                    None => self.token_url(place, account.token_uri())?,
                };
                Some(google::Origin::Endpoint(account, url))
            }
        }
    }

    fn account(&mut self, place: &Place<'a>, reference: &Reference) -> Option<google::Account> {
        let json = match reference.resolve_document() {
            Ok(json) => json,
            Err(e) => {
                self.missing(place, "json", &e.to_string());
                return None;
            }
        };
        match google::Account::parse(json.expose()) {
            Ok(account) => Some(account),
            Err(e) => {
                let message = format!("{reference} is of no use: {e}");
                let hint = "a key of a service account, or what gcloud auth application-default login writes";
                self.error(place.at("json"), message, hint);
                None
            }
        }
    }

    /// Where the file says that its tokens are. An assertion is a credential,
    /// so it goes nowhere in the clear unless the config itself says so.
    fn token_url(&mut self, place: &Place<'a>, url: &str) -> Option<Url> {
        match Url::parse(url) {
            Ok(url) if url.is_https() => Some(url),
            _ => {
                let hint = "endpoint = \"https://...\" in this table says where tokens are";
                self.error(place.at("json"), "its token_uri is no https URL", hint);
                None
            }
        }
    }

    fn url(&mut self, place: &Place<'a>, url: &str) -> Option<Url> {
        match Url::parse(url) {
            Ok(url) => Some(url),
            Err(e) => {
                self.error(
                    place.at("endpoint"),
                    e,
                    "write it as http://host[:port]/path",
                );
                None
            }
        }
    }

    /// Refuses keys that mean nothing with this source.
    fn only(&mut self, place: &Place<'a>, others: &[(&str, bool)], why: &str) {
        for (key, _) in others.iter().filter(|(_, given)| *given) {
            let message = format!("{key} means nothing here: {why}");
            self.error(
                place.at(key),
                message,
                "remove it, or choose another source",
            );
        }
    }

    fn lacks(&mut self, place: &Place<'a>, key: &str, hint: &str) {
        let at = path(["providers", place.name, place.table]);
        self.error(at, format!("this source needs {key}"), hint);
    }

    fn needed(
        &mut self,
        place: &Place<'a>,
        key: &str,
        given: Option<&Reference>,
    ) -> Option<Secret> {
        let Some(reference) = given else {
            self.lacks(
                place,
                key,
                &format!("{key} = \"credential:NAME\", \"file:PATH\" or \"env:NAME\""),
            );
            return None;
        };
        self.secret(place, key, reference)
    }

    fn variable(&mut self, place: &Place<'a>, name: &str) -> Option<Secret> {
        self.secret(place, "source", &Reference::Env(name.to_owned()))
    }

    fn secret(&mut self, place: &Place<'a>, key: &str, reference: &Reference) -> Option<Secret> {
        match reference.resolve() {
            Ok(secret) => Some(secret),
            Err(e) => {
                self.missing(place, key, &e.to_string());
                None
            }
        }
    }

    /// What is not on this machine: the provider is left out, or it is told.
    fn missing(&mut self, place: &Place<'a>, key: &str, reason: &str) {
        if place.optional {
            self.absent.insert(place.name);
        } else {
            self.unresolved(place.at(key), reason);
        }
    }
}

fn fixed(id: &Secret, secret: &Secret, token: Option<&Secret>) -> aws::Origin {
    let token = token.map(Secret::expose);
    aws::Origin::Fixed(aws::Keys::new(id.expose(), secret.expose(), token))
}

/// The credential's own, unless the operator names one among the headers.
fn quota_project(written: &config::Provider, from: &google::Origin) -> Option<String> {
    let mut headers = written.headers.keys();
    if headers.any(|name| name.eq_ignore_ascii_case("x-goog-user-project")) {
        return None;
    }
    match from {
        google::Origin::Endpoint(account, _) => account.quota_project().map(str::to_owned),
        google::Origin::Metadata(_) => None,
    }
}
