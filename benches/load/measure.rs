//! One row of the table: a workload, every contender, every round.

use std::path::Path;

use crate::body::Workload;
use crate::cpu::{self, Cpus};
use crate::failure::Failure;
use crate::gateway::{Contender, Gateway};
use crate::options::Options;
use crate::probe;
use crate::scratch::Scratch;
use crate::wrk;

/// One contender in one round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub requests_per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// User and system time of the gateway per response.
    pub cpu_us: f64,
    /// The part of its CPU that the gateway used, 0 to 1.
    pub core: f64,
    /// The part of that CPU that others used meanwhile, 0 to 1: noise in all figures above.
    pub foreign: f64,
}

pub struct Row {
    pub name: String,
    /// Per round, one sample per contender, in the contenders' order.
    pub rounds: Vec<Vec<Sample>>,
}

/// What the rows have in common.
pub struct Bench<'a> {
    pub options: &'a Options,
    pub mock_port: u16,
    pub cpus: &'a Cpus,
    pub scratch: &'a Scratch,
    pub contenders: &'a [Contender],
}

impl Bench<'_> {
    /// # Errors
    /// A wrong answer, an error status, a socket error or a short answer ends the bench: a figure
    /// that counts failures as requests is worse than none.
    pub fn row(&self, workload: &Workload) -> Result<Row, Failure> {
        let script = wrk::write_script(self.scratch, &workload.body)?;
        let mut rounds = Vec::new();
        for round in 0..self.options.rounds {
            let mut samples = Vec::new();
            for (index, contender) in order(round, self.contenders) {
                let gateway = (contender.start)(self)?;
                samples.push((index, self.run(&gateway, workload, &script)?));
            }
            samples.sort_by_key(|&(index, _)| index);
            let samples: Vec<Sample> = samples.into_iter().map(|(_, sample)| sample).collect();
            let progress = progress(self.contenders, &samples);
            eprintln!("{}, round {}: {progress}", workload.name, round + 1);
            rounds.push(samples);
        }
        Ok(Row {
            name: workload.name.clone(),
            rounds,
        })
    }

    fn run(
        &self,
        gateway: &Gateway,
        workload: &Workload,
        script: &Path,
    ) -> Result<Sample, Failure> {
        let answer = probe::check(gateway.port, workload).map_err(|what| gateway.failure(what))?;
        let ticks = || {
            let own = cpu::ticks(gateway.process.pid())?;
            Ok::<_, Failure>((own, cpu::busy_ticks(self.cpus.gateway)))
        };
        let before = ticks()?;
        let summary = wrk::run(&wrk::Run {
            port: gateway.port,
            script,
            connections: self.options.connections,
            seconds: self.options.seconds,
            cpu: self.cpus.load,
        })?;
        let after = ticks()?;
        verdict(&summary, answer).map_err(|what| gateway.failure(what))?;

        let own = after.0.saturating_sub(before.0);
        let foreign = after.1.saturating_sub(before.1).saturating_sub(own);
        let ticks_per_second = cpu::ticks_per_second()?;
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second;
        Ok(sample(&summary, seconds(own), seconds(foreign)))
    }
}

/// Forwards in even rounds, backwards in odd ones: A B, B A, A B, ...
pub fn order<T>(round: usize, contenders: &[T]) -> Vec<(usize, &T)> {
    let forwards = contenders.iter().enumerate();
    if round.is_multiple_of(2) {
        forwards.collect()
    } else {
        forwards.rev().collect()
    }
}

/// Whether a run counts. wrk's bytes include heads and unfinished answers, so whole answers of
/// `answer` bytes each can only be fewer.
pub fn verdict(summary: &wrk::Summary, answer: u64) -> Result<(), String> {
    let wrk::Summary {
        requests,
        bytes,
        refused,
        socket_errors,
        ..
    } = summary;
    if *refused > 0 || *socket_errors > 0 {
        return Err(format!(
            "{refused} error statuses and {socket_errors} socket errors in {requests} responses"
        ));
    }
    if *requests == 0 {
        return Err("no response in a whole run".into());
    }
    if *bytes < requests.saturating_mul(answer) {
        return Err(format!(
            "{requests} responses of at least {answer} bytes came to {bytes} bytes: some were cut"
        ));
    }
    Ok(())
}

fn sample(summary: &wrk::Summary, cpu_seconds: f64, foreign_seconds: f64) -> Sample {
    let seconds = summary.duration_us / 1e6;
    Sample {
        requests_per_second: summary.requests as f64 / seconds,
        p50_us: summary.p50_us,
        p99_us: summary.p99_us,
        cpu_us: cpu_seconds * 1e6 / summary.requests as f64,
        core: cpu_seconds / seconds,
        foreign: foreign_seconds / seconds,
    }
}

fn progress(contenders: &[Contender], samples: &[Sample]) -> String {
    let parts: Vec<String> = contenders
        .iter()
        .zip(samples)
        .map(|(contender, s)| {
            format!(
                "{} {:.1} us at {:.0}/s",
                contender.name, s.cpu_us, s.requests_per_second
            )
        })
        .collect();
    parts.join(", ")
}
