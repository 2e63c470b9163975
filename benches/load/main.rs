//! Load harness: what a request costs in tollgate, as a multiple of what it costs in nginx.
//!
//! One mock provider answers both. nginx (plain `proxy_pass` with upstream keep-alive) and tollgate
//! (key check, inspection, model splice, metrics and access log all on) take turns, one worker
//! each, pinned to the same CPU; the mock and wrk share a second CPU. Rounds alternate their order
//! (A B, B A, ...), so that a drift of the machine falls on both. A ratio is taken within each
//! round; the table shows the median.
//!
//! Every run has a fresh process of the gateway, warmed by one request whose answer is checked.
//! That is for nginx's sake as much as for ours: how often glibc gives memory back and faults it in
//! again depends on how a process's heap came to lie, so that two starts of one nginx, each steady
//! in itself, were seen 30 % apart at 100 KiB. One process for all rounds would be one throw.
//!
//! The figure to read is CPU microseconds per request: user and system time of the gateway's
//! processes over the run, divided by the responses. Requests per second are bounded by the CPU
//! that wrk and the mock share as well as by the gateway: the "core" column says how much of its
//! CPU the gateway used, and only at 100 % is its rate its capacity.
//!
//! What it does not do: TLS, HTTP/2, more than one worker, pacing below saturation.
//!
//! Run it with `cargo bench --bench load`; `-- --help` lists the options. `cargo test --benches`
//! only runs the checks in `checks`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table on stdout is what it is for; progress goes to stderr"
)]

mod body;
mod checks;
mod cpu;
mod failure;
mod gateway;
mod inbound;
mod machine;
mod measure;
mod mock;
mod nginx;
mod options;
mod probe;
mod process;
mod scratch;
mod table;
mod tollgate;
mod wrk;

use std::process::ExitCode;

use failure::Failure;
use options::{Options, Verb};

fn main() -> ExitCode {
    let outcome = match Options::parse(std::env::args().skip(1)) {
        Ok(Verb::Measure(options)) => run(&options),
        Ok(Verb::Check) => checks::run(),
        Ok(Verb::Mock { port, gap }) => mock::run(port, gap),
        Ok(Verb::Help) => {
            println!("{}", options::HELP);
            Ok(())
        }
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("load: {failure}");
            failure.exit_code()
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    process::require_tools()?;
    process::watch_signals()?;
    let cpus = cpu::two_cpus()?;
    println!("{}", machine::describe(options)?);

    // Declared first so that it is dropped last: the processes write into it until they end.
    let scratch = scratch::Scratch::create()?;
    let [mock_port] = gateway::free_ports()?;
    let mock = mock::start(mock_port, options.gap, cpus.load, &scratch)?;
    gateway::wait_until_listening(mock_port, &mock, &scratch.path("mock.log"))?;
    let bench = measure::Bench {
        options,
        mock_port,
        cpus: &cpus,
        scratch: &scratch,
        contenders: &[nginx::CONTENDER, tollgate::CONTENDER],
    };

    let workloads = options.workloads();
    let runs = workloads.len() * options.rounds * bench.contenders.len();
    eprintln!("about {} s", runs as u64 * options.seconds);
    let mut rows = Vec::new();
    for workload in &workloads {
        rows.push(bench.row(workload)?);
    }
    let names: Vec<&str> = bench.contenders.iter().map(|c| c.name).collect();
    print!("{}", table::render(&names, &rows));
    Ok(())
}
