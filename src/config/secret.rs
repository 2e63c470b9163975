//! Secrets by reference.
//!
//! The file names where a secret is; [`Reference::resolve`] fetches it. The
//! result can be neither printed nor serialised and is wiped when dropped. No
//! error holds a secret's text.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// No key or token is near this size; a wrong path (a log, a disk image) is.
const LARGEST: u64 = 64 << 10;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// An environment variable.
    Env(String),
    /// A file, whose last line end does not count. A relative path is seen
    /// from the working directory.
    File(PathBuf),
    /// A systemd credential: a file in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// Why a reference gave no secret.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    #[error("environment variable {0} is not set")]
    Unset(String),
    #[error("no credentials were passed to this process (CREDENTIALS_DIRECTORY is not set)")]
    NoCredentials,
    #[error("cannot read {path}: {source}")]
    Unreadable {
        path: String,
        source: std::io::Error,
    },
    #[error("{0} is not a regular file")]
    NotAFile(String),
    #[error("{0} is larger than 64 KiB")]
    TooLarge(String),
    #[error("{0} is empty")]
    Empty(Reference),
    #[error("{0} holds blanks at its ends, line ends or other characters that no header can carry")]
    NotAHeaderValue(Reference),
    #[error("{0} is not UTF-8")]
    NotText(Reference),
}

impl Reference {
    /// Is `text` meant as a reference? It may still be a malformed one.
    pub(super) fn looks_like(text: &str) -> bool {
        ["env:", "file:", "credential:"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
    }

    /// Reads `env:NAME`, `file:PATH` or `credential:NAME`; `None` for all
    /// else. The text is not in the error: it may be the secret itself.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        match scheme {
            "env" if is_variable(rest) => Some(Self::Env(rest.to_owned())),
            "file" if is_path(rest) => Some(Self::File(PathBuf::from(rest))),
            "credential" if is_credential(rest) => Some(Self::Credential(rest.to_owned())),
            _ => None,
        }
    }

    /// Fetches the secret, now. Blocks on the file system.
    ///
    /// # Errors
    /// When it is absent, empty, over 64 KiB, or not fit for a header.
    pub fn resolve(&self) -> Result<Secret, ResolveError> {
        self.resolve_in(|name| std::env::var_os(name))
    }

    /// Fetches a secret that is a whole document, of as many lines as it has:
    /// a key file, which no header carries.
    ///
    /// # Errors
    /// When it is absent, empty, over 64 KiB, or not UTF-8.
    pub fn resolve_document(&self) -> Result<Secret, ResolveError> {
        let text = self.text_in(|name| std::env::var_os(name))?;
        match std::str::from_utf8(&text) {
            Ok(text) if text.trim().is_empty() => Err(ResolveError::Empty(self.clone())),
            Ok(text) => Ok(Secret::from(text)),
            Err(_) => Err(ResolveError::NotText(self.clone())),
        }
    }

    fn resolve_in(&self, env: impl Fn(&str) -> Option<OsString>) -> Result<Secret, ResolveError> {
        self.check(self.text_in(env)?)
    }

    fn text_in(
        &self,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Zeroizing<Vec<u8>>, ResolveError> {
        let text = match self {
            Self::Env(name) => {
                let value = env(name).ok_or_else(|| ResolveError::Unset(name.clone()))?;
                value.into_encoded_bytes()
            }
            Self::File(path) => contents(path)?,
            Self::Credential(name) => {
                let directory = env("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty());
                let directory = directory.ok_or(ResolveError::NoCredentials)?;
                contents(&Path::new(&directory).join(name))?
            }
        };
        Ok(Zeroizing::new(text))
    }

    fn check(&self, mut text: Zeroizing<Vec<u8>>) -> Result<Secret, ResolveError> {
        if !matches!(self, Self::Env(_)) && text.last() == Some(&b'\n') {
            text.pop();
            if text.last() == Some(&b'\r') {
                text.pop();
            }
        }
        if text.is_empty() {
            return Err(ResolveError::Empty(self.clone()));
        }
        match std::str::from_utf8(&text) {
            Ok(text) if is_header_value(text) => Ok(Secret::from(text)),
            _ => Err(ResolveError::NotAHeaderValue(self.clone())),
        }
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, ResolveError> {
    let shown = path.display().to_string();
    let unreadable = |source| ResolveError::Unreadable {
        path: shown.clone(),
        source,
    };
    // Asked before opening: opening a pipe that nobody writes would block.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(ResolveError::NotAFile(shown));
    }
    let file = File::open(path).map_err(unreadable)?;
    // Sized for the whole read: growing would leave copies behind unwiped.
    let mut text = Zeroizing::new(Vec::with_capacity(LARGEST as usize + 2));
    file.take(LARGEST + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > LARGEST {
        return Err(ResolveError::TooLarge(shown));
    }
    Ok(text.to_vec())
}

/// What may stand in a header's value and arrives as sent: printable ASCII, no
/// blank at the ends (HTTP strips those).
pub(super) fn is_header_value(text: &str) -> bool {
    text.bytes().all(|b| (0x20..=0x7e).contains(&b)) && text.trim_matches(' ').len() == text.len()
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_path(path: &str) -> bool {
    !path.is_empty() && !path.contains(char::is_control)
}

/// One plain file name, so that it cannot leave the directory.
fn is_credential(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=255).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(plain)
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(
                "expected a reference to a secret, not the secret itself\n\
                 write \"env:NAME\", \"file:PATH\" or \"credential:NAME\"",
            )
        })
    }
}

/// A secret's text, wiped from memory when dropped. There is no way to print
/// it but [`Secret::expose`].
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text, for the header it goes to and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(reference: &str, env: &[(&str, &str)]) -> Result<String, String> {
        let lookup = |name: &str| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, v)| OsString::from(v))
        };
        let reference = Reference::parse(reference).expect("a reference");
        let secret = reference.resolve_in(lookup);
        secret
            .map(|s| s.expose().to_owned())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn only_references_parse() {
        for good in [
            "env:OPENAI_API_KEY",
            "file:/run/key",
            "file:key",
            "credential:openai.key-1",
        ] {
            assert_eq!(Reference::parse(good).expect(good).to_string(), good);
        }
        let bad = [
            "sk-123",
            "",
            "env:",
            "env:1A",
            "env:A B",
            "env:A=B",
            "file:",
            "file:a\0b",
            "credential:",
            "credential:..",
            "credential:a/b",
            "vault:x",
            "ENV:A",
        ];
        for bad in bad {
            assert_eq!(Reference::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn environment() {
        assert_eq!(
            resolve("env:K", &[("K", "sk-1 2")]),
            Ok("sk-1 2".to_owned())
        );
        let cases = [
            (None, "environment variable K is not set"),
            (Some(""), "env:K is empty"),
            (
                Some("a\nb"),
                "env:K holds blanks at its ends, line ends or other characters that no header can carry",
            ),
            (
                Some("a "),
                "env:K holds blanks at its ends, line ends or other characters that no header can carry",
            ),
            (
                Some("ä"),
                "env:K holds blanks at its ends, line ends or other characters that no header can carry",
            ),
        ];
        for (value, expected) in cases {
            let env: Vec<_> = value.iter().map(|v| ("K", *v)).collect();
            assert_eq!(resolve("env:K", &env), Err(expected.to_owned()));
        }
    }

    #[test]
    fn files_and_credentials() {
        let directory =
            std::env::temp_dir().join(format!("tollgate-secret-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let shown = directory.display().to_string();
        let write =
            |name: &str, text: &[u8]| std::fs::write(directory.join(name), text).expect("a file");
        write("plain", b"sk-1");
        write("newline", b"sk-2\n");
        write("crlf", b"sk-3\r\n");
        write("two", b"sk-4\n\n");
        write("empty", b"\n");
        write("large", &vec![b'a'; LARGEST as usize + 1]);

        let file = |name: &str| resolve(&format!("file:{shown}/{name}"), &[]);
        assert_eq!(file("plain"), Ok("sk-1".to_owned()));
        assert_eq!(file("newline"), Ok("sk-2".to_owned()));
        assert_eq!(file("crlf"), Ok("sk-3".to_owned()));
        assert!(file("two").is_err());
        assert_eq!(file("empty"), Err(format!("file:{shown}/empty is empty")));
        assert_eq!(
            file("large"),
            Err(format!("{shown}/large is larger than 64 KiB"))
        );
        assert_eq!(file(""), Err(format!("{shown}/ is not a regular file")));
        assert!(
            file("absent")
                .expect_err("absent")
                .starts_with(&format!("cannot read {shown}/absent: "))
        );

        let document = |name: &str| {
            let reference = Reference::parse(&format!("file:{shown}/{name}")).expect(name);
            let read = reference.resolve_document();
            read.map(|s| s.expose().to_owned())
                .map_err(|e| e.to_string())
        };
        assert_eq!(document("two"), Ok("sk-4\n\n".to_owned()));
        assert_eq!(document("newline"), Ok("sk-2\n".to_owned()));
        assert_eq!(
            document("empty"),
            Err(format!("file:{shown}/empty is empty"))
        );
        assert!(document("large").is_err());

        let env = [("CREDENTIALS_DIRECTORY", shown.as_str())];
        assert_eq!(resolve("credential:newline", &env), Ok("sk-2".to_owned()));
        assert!(
            resolve("credential:newline", &[])
                .expect_err("unset")
                .starts_with("no credentials")
        );
        std::fs::remove_dir_all(&directory).expect("removed");
    }

    #[test]
    fn nothing_prints_a_secret() {
        let secret = Secret::from("sk-1");
        assert_eq!(format!("{secret:?}"), "<secret>");
        let error = toml::from_str::<Reference>("sk-1")
            .map(|_| ())
            .expect_err("no reference");
        assert!(!error.message().contains("sk-1"));
    }
}
