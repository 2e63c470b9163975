//! Tells the code which commit it is: `TOLLGATE_COMMIT` where a packager sets
//! it, else what git says, else `unknown` (a source archive has no git).

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=TOLLGATE_COMMIT");
    let given = std::env::var("TOLLGATE_COMMIT").ok();
    let given = given.filter(|commit| is_plain(commit));
    if given.is_none() {
        watch_head();
    }
    let commit = given.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    println!(
        "cargo::rustc-env=TOLLGATE_COMMIT={}",
        commit.as_deref().unwrap_or("unknown")
    );
}

/// It ends up in metrics and in the version's one line.
fn is_plain(commit: &str) -> bool {
    !commit.is_empty()
        && commit
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
}

/// A commit changes HEAD when no branch is checked out, else the branch's ref:
/// a file below refs/heads or, after git has tidied up, a line of packed-refs.
/// The directory is watched because the branch's file may not be there yet.
fn watch_head() {
    let places = ["HEAD", "refs/heads", "packed-refs"];
    for path in places
        .into_iter()
        .filter_map(|place| git(&["rev-parse", "--git-path", place]))
    {
        // A file that is not there would make every build start over.
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

/// The one line that git prints; `None` without git or outside a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}
