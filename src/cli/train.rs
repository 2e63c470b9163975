//! `tollgate train`: makes the weights of the classifier from labelled prompts.

use super::{fail, print};
use crate::classify::train::rows::{KindRow, RouteRow, read};
use crate::classify::train::{self, Inputs, Plan};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Train {
    /// Where kind_train.jsonl, route_train.jsonl and, if there is one, kind_dev.jsonl are
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// The file of weights to write; what they are from and how good they are goes to FILE.txt
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Trains, prints the report and writes both files.
pub fn train(asked: &Train) -> ExitCode {
    let inputs = match inputs(&asked.data) {
        Ok(inputs) => inputs,
        Err(problem) => return fail(&problem),
    };
    let trained = train::train(&inputs, &Plan::full());
    let mut text = asked.out.clone().into_os_string();
    text.push(".txt");
    let written = super::replace(&asked.out, &trained.file)
        .and_then(|()| super::replace(Path::new(&text), trained.text().as_bytes()));
    match written {
        Ok(()) => print(&trained.report),
        Err(problem) => fail(&problem),
    }
}

fn inputs(directory: &Path) -> Result<Inputs, String> {
    let mut kinds: Vec<KindRow> = rows(&directory.join("kind_train.jsonl"))?;
    let mut routes: Vec<RouteRow> = rows(&directory.join("route_train.jsonl"))?;
    kinds.retain(|row| train::permits(&row.licence));
    routes.retain(|row| train::permits(&row.licence));
    let held_out = directory.join("kind_dev.jsonl");
    Ok(Inputs {
        kinds,
        routes,
        held_out: match held_out.exists() {
            true => rows(&held_out)?,
            false => Vec::new(),
        },
    })
}

fn rows<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Vec<T>, String> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    read(&text).map_err(|problem| format!("{}, {problem}", path.display()))
}
