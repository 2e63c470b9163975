//! Golden cases are in `tests/golden/gemini`; `TOLLGATE_BLESS=1` writes what they give.

#[path = "client_tests.rs"]
mod client;
#[path = "replies_tests.rs"]
mod replies;
#[path = "requests_tests.rs"]
mod requests;

use super::*;
use std::path::PathBuf;

const AI_STUDIO: Gemini = Gemini::new(Flavour::AiStudio);
const VERTEX: Gemini = Gemini::new(Flavour::Vertex);

fn golden(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/gemini")
        .join(folder)
}

/// The golden files of a folder whose names end so, without the ending.
fn cases(folder: &str, ending: &str) -> Vec<String> {
    let files = std::fs::read_dir(golden(folder)).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut cases: Vec<String> = names
        .filter_map(|name| Some(name.strip_suffix(ending)?.to_owned()))
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "no golden cases in {folder}");
    cases
}

/// Compares with a golden file, or writes it where `TOLLGATE_BLESS` is set.
#[track_caller]
fn check(path: PathBuf, found: &str) {
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        std::fs::write(&path, found).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == found, "{}:\n{found}", path.display());
}
