//! The command line.
//!
//! cargo passes `--bench` when it benches and nothing when it tests a target without libtest, so
//! the absence of `--bench` means "check quickly and leave".

use std::path::PathBuf;
use std::time::Duration;

use crate::body::Workload;
use crate::failure::Failure;

pub const HELP: &str = "\
cargo bench --bench load -- [OPTIONS]

  --rounds N          pairs of runs per row [5]
  --seconds N         length of one run [3]
  --sizes LIST        request bodies, e.g. 1k,10k,100k,1m; none for streams only [1k,10k,100k,1m]
  --connections N     concurrent connections of wrk [32]
  --streams           add the row of 24-event streams (the default)
  --no-streams        leave it out
  --event-gap MS      time between two events of a stream; 0: as fast as the mock can [2]
  --quick             under 30 s: 1k,100k and streams, 2 rounds of 1 s (other options override)
  --tollgate PATH     measure this binary instead of the one cargo built";

/// What the mock process is started with: `--mock-upstream PORT GAP_MS`.
pub const MOCK_FLAG: &str = "--mock-upstream";

pub enum Verb {
    Measure(Options),
    Check,
    Mock { port: u16, gap: Duration },
    Help,
}

#[derive(Debug, PartialEq)]
pub struct Options {
    pub rounds: usize,
    pub seconds: u64,
    pub sizes: Vec<usize>,
    pub connections: usize,
    pub streams: bool,
    pub gap: Duration,
    pub tollgate: PathBuf,
}

impl Options {
    fn defaults(quick: bool) -> Self {
        Self {
            rounds: if quick { 2 } else { 5 },
            seconds: if quick { 1 } else { 3 },
            sizes: if quick {
                vec![1 << 10, 100 << 10]
            } else {
                vec![1 << 10, 10 << 10, 100 << 10, 1 << 20]
            },
            connections: 32,
            streams: true,
            gap: Duration::from_millis(2),
            tollgate: PathBuf::from(env!("CARGO_BIN_EXE_tollgate")),
        }
    }

    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Verb, Failure> {
        let arguments: Vec<String> = arguments.collect();
        let has = |flag: &str| arguments.iter().any(|a| a == flag);
        if let [flag, port, gap] = arguments.as_slice()
            && flag == MOCK_FLAG
        {
            return Ok(Verb::Mock {
                port: number(flag, port)?,
                gap: Duration::from_millis(number(flag, gap)?),
            });
        }
        if has("--help") || has("-h") {
            return Ok(Verb::Help);
        }
        if has("--test") || has("--list") || !has("--bench") {
            return Ok(Verb::Check);
        }
        let mut options = Self::defaults(has("--quick"));
        options.override_with(arguments.into_iter())?;
        Ok(Verb::Measure(options))
    }

    fn override_with(
        &mut self,
        mut arguments: impl Iterator<Item = String>,
    ) -> Result<(), Failure> {
        while let Some(flag) = arguments.next() {
            match flag.as_str() {
                "--bench" | "--quick" => {}
                "--streams" => self.streams = true,
                "--no-streams" => self.streams = false,
                _ => {
                    let (flag, value) = match flag.split_once('=') {
                        Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
                        None => (flag, arguments.next()),
                    };
                    self.set(&flag, &value.ok_or_else(|| wrong(&flag))?)?;
                }
            }
        }
        if self.sizes.is_empty() && !self.streams {
            return Err(Failure::Setup("nothing to measure".into()));
        }
        Ok(())
    }

    fn set(&mut self, flag: &str, value: &str) -> Result<(), Failure> {
        match flag {
            "--rounds" => self.rounds = at_least_one(flag, value)?,
            "--seconds" => self.seconds = at_least_one(flag, value)? as u64,
            "--connections" => self.connections = at_least_one(flag, value)?,
            "--event-gap" => self.gap = Duration::from_millis(number(flag, value)?),
            "--tollgate" => self.tollgate = PathBuf::from(value),
            "--sizes" if value == "none" => self.sizes.clear(),
            "--sizes" => {
                self.sizes = value
                    .split(',')
                    .map(|size| parse_size(size).ok_or_else(|| wrong(flag)))
                    .collect::<Result<_, _>>()?;
            }
            _ => return Err(wrong(flag)),
        }
        Ok(())
    }

    /// The rows of the table, in order.
    pub fn workloads(&self) -> Vec<Workload> {
        let bodies = self.sizes.iter().map(|&size| Workload::completion(size));
        bodies
            .chain(self.streams.then(|| Workload::stream(self.gap)))
            .collect()
    }
}

/// `1k` is 1,024 bytes, `1m` 1,048,576; a plain number is bytes.
pub fn parse_size(text: &str) -> Option<usize> {
    let text = text.trim().to_ascii_lowercase();
    let (digits, unit) = match text.strip_suffix('k') {
        Some(digits) => (digits, 1 << 10),
        None => match text.strip_suffix('m') {
            Some(digits) => (digits, 1 << 20),
            None => (text.as_str(), 1),
        },
    };
    let size = digits.parse::<usize>().ok()?.checked_mul(unit)?;
    // nginx is given 2 MiB of body buffer: above that it would be measuring its disk.
    (Workload::SMALLEST..=2 << 20)
        .contains(&size)
        .then_some(size)
}

fn number<T: std::str::FromStr>(flag: &str, value: &str) -> Result<T, Failure> {
    value.parse().map_err(|_| wrong(flag))
}

fn at_least_one(flag: &str, value: &str) -> Result<usize, Failure> {
    number(flag, value).and_then(|n| if n == 0 { Err(wrong(flag)) } else { Ok(n) })
}

fn wrong(flag: &str) -> Failure {
    Failure::Setup(format!("{flag}: unknown option or wrong value\n\n{HELP}"))
}
