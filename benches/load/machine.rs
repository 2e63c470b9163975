//! What was measured, where: the lines above the table.

use std::fs;
use std::process::Command;

use crate::failure::Failure;
use crate::options::Options;
use crate::process::tool;

pub fn describe(options: &Options) -> Result<String, Failure> {
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let tollgate = version(Command::new(&options.tollgate).arg("--version")).ok_or_else(|| {
        Failure::Setup(format!("{} --version failed", options.tollgate.display()))
    })?;
    Ok(format!(
        "machine   {}, {cores} cores, Linux {}, load average {load} at the start\n\
         versions  {}; {tollgate}; {}\n\
         runs      {} rounds of {} s in alternating order, {} connections, gateway on one CPU, \
         mock and wrk on another\n\
         logging   nginx: access log off; tollgate: access log to a file, metrics on\n",
        processor(),
        read("/proc/sys/kernel/osrelease").trim(),
        version(tool("nginx").arg("-v")).unwrap_or_default(),
        version(tool("wrk").arg("-v")).unwrap_or_default(),
        options.rounds,
        options.seconds,
        options.connections,
    ))
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn processor() -> String {
    let info = read("/proc/cpuinfo");
    let model = info.lines().find(|l| l.starts_with("model name"));
    let model = model.and_then(|l| l.split_once(": ")).map(|(_, name)| name);
    model.unwrap_or(std::env::consts::ARCH).to_owned()
}

/// The first line of what a program says about itself, on whichever stream.
fn version(command: &mut Command) -> Option<String> {
    // wrk -v exits 1, so the status says nothing.
    let output = command.output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next()?.trim();
    // wrk adds its copyright.
    let line = line.split(" Copyright").next().unwrap_or(line);
    let line = line.strip_prefix("nginx version: ").unwrap_or(line);
    Some(line.to_owned())
}
