//! `tollgate calibrate`: fits the classifier to one's own traffic.

use super::{fail, print};
use crate::classify::calibrate::{labelled, refit, requantiled};
use crate::classify::{Model, weights};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(clap::Args)]
#[group(id = "from", required = true, multiple = false, args = ["labels", "prompts"])]
pub struct Calibrate {
    /// Prompts with what a cheap and a strong model were worth at them, as JSON lines
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,

    /// Prompts alone, as JSON lines: only the shares are set
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,

    /// The weights to start from; those that come with the program if not given
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,

    /// The file of weights to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Calibrates, says how good it became, and writes the weights if they are better.
pub fn calibrate(asked: &Calibrate) -> ExitCode {
    let calibrated =
        start(asked.weights.as_deref()).and_then(|model| match (&asked.labels, &asked.prompts) {
            (Some(labels), _) => by_labels(&model, labels),
            (_, Some(prompts)) => by_prompts(&model, prompts),
            (None, None) => Err("give --labels or --prompts".to_owned()),
        });
    let (model, report) = match calibrated {
        Ok(calibrated) => calibrated,
        Err(problem) => return fail(&problem),
    };
    match super::replace(&asked.out, &weights::write(&model)) {
        Ok(()) => print(&report),
        Err(problem) => fail(&problem),
    }
}

fn start(path: Option<&Path>) -> Result<Arc<Model>, String> {
    let Some(path) = path else {
        return Model::built_in().ok_or_else(|| "there are no weights in this program".to_owned());
    };
    let said = |error: String| format!("{}: {error}", path.display());
    let file = fs::read(path).map_err(|error| said(error.to_string()))?;
    let model = Model::read(&file).map_err(|error| said(error.to_string()))?;
    Ok(Arc::new(model))
}

fn by_labels(model: &Model, path: &Path) -> Result<(Model, String), String> {
    let labels = labelled(&text(path)?).map_err(|error| format!("{}, {error}", path.display()))?;
    let refit = refit(model, &labels).map_err(|error| error.to_string())?;
    match refit.model {
        Some(model) => Ok((model, refit.report)),
        None => Err(format!(
            "nothing is written: the refitted weights do not beat random and length\n{}",
            refit.report
        )),
    }
}

fn by_prompts(model: &Model, path: &Path) -> Result<(Model, String), String> {
    let text = text(path)?;
    let mut prompts = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let row: Result<Value, _> = serde_json::from_str(line);
        let prompt = match row {
            Ok(Value::String(prompt)) => Some(prompt),
            Ok(row) => row.get("prompt").and_then(Value::as_str).map(str::to_owned),
            Err(_) => None,
        };
        match prompt {
            Some(prompt) => prompts.push(prompt),
            None if line.trim().is_empty() => {}
            None => return Err(format!("{}, line {}: no prompt", path.display(), at + 1)),
        }
    }
    if prompts.is_empty() {
        return Err(format!("{} has no prompts", path.display()));
    }
    let model = requantiled(model, prompts.iter().map(String::as_str));
    let mut report = format!(
        "{} prompts; the score that a share of them reaches:\n",
        prompts.len()
    );
    for share in [0.1, 0.2, 0.3, 0.5, 0.7] {
        let threshold = model.quantiles().threshold(share);
        report.push_str(&format!("  {:>3.0} %  {threshold:.3}\n", share * 100.0));
    }
    Ok((model, report))
}

fn text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
