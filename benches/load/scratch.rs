//! A directory of our own under the system's temporary one, removed when dropped.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

pub struct Scratch(PathBuf);

impl Scratch {
    pub fn create() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("tollgate-load-{}", std::process::id()));
        fs::create_dir(&path).map_err(Failure::during(format!("creating {}", path.display())))?;
        Ok(Self(path))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file and says where it is.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.path(name);
        fs::write(&path, text).map_err(Failure::during(format!("writing {}", path.display())))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("load: {} is left behind: {error}", self.0.display());
        }
    }
}

/// The last lines of a log, for an error message; empty if there is none.
pub fn last_lines(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(8);
    lines
        .into_iter()
        .skip(skipped)
        .collect::<Vec<_>>()
        .join("\n")
}
