//! `tollgate keys new`: a random key, and the stanza that admits it. The verbs
//! for keys that are not in the file are `runtime`.

mod runtime;

pub use runtime::{Create, List, Revoke, Rotate, create, list, revoke, rotate};

use super::{fail, print, remark};
use crate::config::{Hash, is_plain};
use crate::identity::{digest, fresh_key};
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct New {
    /// Who the key is for: 1 to 64 letters, digits, ".", "_", "-"
    #[arg(value_parser = name)]
    name: String,

    /// Models that it may use, separated by commas; "*" matches any run of characters
    #[arg(
        long,
        value_name = "PATTERNS",
        value_delimiter = ',',
        default_value = "*"
    )]
    models: Vec<String>,

    /// It may also ask for PROVIDER/MODEL past the names that the configuration defines
    #[arg(long)]
    direct: bool,
}

fn name(text: &str) -> Result<String, String> {
    let rule = "a name has 1 to 64 letters, digits, \".\", \"_\", \"-\"";
    if is_plain(text) {
        Ok(text.to_owned())
    } else {
        Err(rule.to_owned())
    }
}

/// Prints a new key and its stanza.
pub fn new(new: &New) -> ExitCode {
    let key = match fresh_key() {
        Ok(key) => key,
        Err(error) => return fail(&format!("the system gives no random numbers: {error}")),
    };
    let stanza = stanza(new, Hash(digest(key.as_bytes())));
    // The stanza first: a key whose stanza is lost is of no use.
    let code = print(&stanza);
    if code == ExitCode::SUCCESS {
        remark(&format!(
            "The key of \"{}\". It is shown this once and stored nowhere:\n{}\n",
            new.name,
            key.as_str(),
        ));
    }
    code
}

fn stanza(new: &New, hash: Hash) -> String {
    let models: Vec<_> = new
        .models
        .iter()
        .map(|model| toml::Value::from(model.as_str()))
        .collect();
    // With an empty line first, since it is meant to be appended; and the name
    // in quotes where it has a dot, which would make two keys of it.
    let name = if new.name.contains('.') {
        format!("\"{}\"", new.name)
    } else {
        new.name.clone()
    };
    format!(
        "\n[keys.{name}]\nhash = \"{}\"\nmodels = {}\ndirect = {}\n",
        hash.notation(),
        toml::Value::Array(models),
        new.direct,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_stanza_is_a_config() {
        let new = New {
            name: "search.v1".to_owned(),
            models: vec!["fast".to_owned(), "a \"b\\/*".to_owned()],
            direct: true,
        };
        let hash = Hash(digest(b"tg-demo"));
        let (config, found) = config::load(&stanza(&new, hash));
        assert_eq!(found, []);
        let key = &config.expect("a config").keys["search.v1"];
        assert_eq!(key.hash, hash);
        assert_eq!(key.models, new.models);
        assert!(key.direct);
    }

    #[test]
    fn names_are_plain() {
        assert!(name("search-1.a_b").is_ok());
        for bad in ["", "a b", "a/b", "a]\n[keys.b", &"a".repeat(65)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
