//! `tollgate keys new`: a random key, and the stanza that admits it.
//!
//! A key is `tg-` and 256 random bits. That is what lets its plain SHA-256
//! stand in the config: a slow, salted hash protects guessable secrets, and
//! this one cannot be guessed.

use super::{fail, print, remark};
use crate::config::{Hash, is_plain};
use sha2::{Digest as _, Sha256};
use std::process::ExitCode;
use zeroize::Zeroizing;

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
    let mut random = Zeroizing::new([0; 32]);
    if let Err(error) = getrandom::fill(random.as_mut()) {
        return fail(&format!("the system gives no random numbers: {error}"));
    }
    let key = key(&random);
    let stanza = stanza(new, Hash(Sha256::digest(key.as_bytes()).into()));
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

/// `tg-` and the bits in base64url: 46 characters that survive any shell,
/// header and URL.
fn key(random: &[u8; 32]) -> Zeroizing<String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // All at once: growing would leave copies of the key behind.
    let mut key = Zeroizing::new(String::with_capacity(64));
    key.push_str("tg-");
    let (mut bits, mut count) = (0u32, 0);
    for byte in random.iter().chain(&[0]) {
        bits = (bits << 8) | u32::from(*byte);
        count += 8;
        while count >= 6 && key.len() < 46 {
            count -= 6;
            let digit = DIGITS.get((bits >> count) as usize & 63);
            key.extend(digit.map(|digit| char::from(*digit)));
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn keys_are_base64url() {
        assert_eq!(key(&[0; 32]).as_str(), format!("tg-{}", "A".repeat(43)));
        assert_eq!(key(&[255; 32]).as_str(), format!("tg-{}8", "_".repeat(42)));
        let counting = std::array::from_fn(|position| position as u8);
        assert_eq!(
            key(&counting).as_str(),
            "tg-AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
        );
    }

    #[test]
    fn the_stanza_is_a_config() {
        let new = New {
            name: "search.v1".to_owned(),
            models: vec!["fast".to_owned(), "a \"b\\/*".to_owned()],
            direct: true,
        };
        let hash = Hash(Sha256::digest("tg-demo").into());
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
