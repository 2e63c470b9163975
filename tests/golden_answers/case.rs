//! Where cases live, and what is said of those that are not as they should be.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What one provider sends in one case.
pub struct Input {
    pub case: String,
    /// The provider, by the format that it speaks or by its own habits: see [`crate::provider::dialect`].
    pub speaker: String,
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

fn root(tree: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/golden").join(tree)
}

fn listed(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a folder of the golden tree");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// All inputs of a tree, which are the files of one name and one ending.
pub fn inputs(tree: &str, endings: &[&str]) -> Vec<Input> {
    let mut found = Vec::new();
    for case in listed(&root(tree)) {
        for path in listed(&case) {
            let file = name(&path);
            let Some((speaker, ending)) = file.split_once('.') else {
                continue;
            };
            if endings.contains(&ending) && speaker != "expected" {
                found.push(Input {
                    case: name(&case),
                    speaker: speaker.to_owned(),
                    bytes: fs::read(&path).unwrap(),
                    path: path.clone(),
                });
            }
        }
    }
    assert!(found.len() > 20, "the golden tree {tree} is not there");
    found
}

/// JSON for people to read, in lines; every token of it stays as it was written.
pub fn pretty(json: &str) -> String {
    let (mut text, mut depth) = (String::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    let mut last = ' ';
    for c in json.chars() {
        let outside = !quoted;
        if outside && matches!(c, '}' | ']') {
            depth -= 1;
        }
        let empty = matches!(last, '{' | '[') && matches!(c, '}' | ']');
        let breaks = matches!(last, '{' | '[' | ',') || matches!(c, '}' | ']');
        if outside && breaks && !empty {
            text.push('\n');
            text.push_str(&"  ".repeat(depth));
        }
        quoted = if escaped {
            quoted
        } else {
            quoted != (c == '"')
        };
        escaped = quoted && !escaped && c == '\\';
        text.push(c);
        if outside && matches!(c, '{' | '[') {
            depth += 1;
        }
        if outside && c == ':' {
            text.push(' ');
        }
        last = if quoted { '"' } else { c };
    }
    text.push('\n');
    text
}

#[test]
fn pretty_json_is_the_same_json() {
    let json = r#"{"a":[1.10,{"b":"{\"x\\\":[,]}"}],"c":{},"d":[],"e":"\\"}"#;
    let lines = pretty(json);
    let lines: Vec<&str> = lines.lines().map(str::trim_start).collect();
    let expected = r#"{|"a": [|1.10,|{|"b": "{\"x\\\":[,]}"|}|],|"c": {},|"d": [],|"e": "\\"|}"#;
    assert_eq!(lines.join("|"), expected);
}

/// What is wrong, all of it at once.
#[derive(Debug)]
pub struct Problems {
    tree: &'static str,
    /// Case, speaker, text.
    found: Vec<(String, String, String)>,
    /// Outputs that some input has; others are left over.
    known: BTreeSet<PathBuf>,
}

impl Problems {
    pub const fn new(tree: &'static str) -> Self {
        Self {
            tree,
            found: Vec::new(),
            known: BTreeSet::new(),
        }
    }

    pub fn add(&mut self, input: &Input, text: &str) {
        let (case, speaker) = (input.case.clone(), input.speaker.clone());
        self.found.push((case, speaker, text.to_owned()));
    }

    /// Compares an output with the file of this name beside its input, or blesses it.
    pub fn compare(&mut self, input: &Input, name: &str, got: &str) {
        let path = input.path.with_file_name(name);
        if std::env::var_os("TOLLGATE_BLESS").is_some() {
            fs::write(&path, got).unwrap();
        } else if fs::read_to_string(&path).ok().as_deref() != Some(got) {
            self.add(input, &format!("{name} differs; now it is\n{got}"));
        }
        self.known.insert(path);
    }

    pub const fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// # Panics
    /// When there is a problem.
    pub fn report(self) {
        let mut told: Vec<String> = Vec::new();
        for (case, speaker, text) in &self.found {
            told.push(format!("{}/{case}/{speaker}: {text}", self.tree));
        }
        for case in listed(&root(self.tree)) {
            let mut outputs = listed(&case);
            outputs.retain(|path| name(path).matches('.').count() > 1);
            for path in outputs.iter().filter(|path| !self.known.contains(*path)) {
                told.push(format!("{}: of no input", path.display()));
            }
        }
        let count = told.len();
        assert!(count == 0, "{count} problems\n\n{}\n", told.join("\n"));
    }
}
