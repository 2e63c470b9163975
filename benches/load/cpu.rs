//! Processor time and processor numbers, from /proc.

use std::fs;
use std::process::Command;

use crate::failure::Failure;

pub struct Cpus {
    /// Where the gateway under test runs, alone.
    pub gateway: usize,
    /// Where wrk and the mock run.
    pub load: usize,
}

/// The first two CPUs this process may use.
pub fn two_cpus() -> Result<Cpus, Failure> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .map(parse_cpu_list)
        .unwrap_or_default();
    match allowed.as_slice() {
        [gateway, load, ..] => Ok(Cpus {
            gateway: *gateway,
            load: *load,
        }),
        _ => Err(Failure::Setup(
            "two CPUs are needed: one for the gateway, one for the load".into(),
        )),
    }
}

/// `0-2,8` is 0, 1, 2, 8. What cannot be read is left out.
pub fn parse_cpu_list(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<usize>().ok()?..=last.parse().ok()?)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

/// Clock ticks per second, the unit of `ticks`.
pub fn ticks_per_second() -> Result<f64, Failure> {
    let output = Command::new("getconf")
        .arg("CLK_TCK")
        .output()
        .map_err(Failure::during("getconf CLK_TCK"))?;
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .map_err(Failure::during("getconf CLK_TCK"))
}

/// User and system time of a process and its descendants so far. A process's figure includes
/// those of its threads that have ended, but not that of descendants that have.
pub fn ticks(pid: u32) -> Result<u64, Failure> {
    let ticks = family(pid).into_iter().filter_map(stat).map(|s| s.ticks);
    match ticks.sum() {
        0 if stat(pid).is_none() => Err(Failure::Run(format!("process {pid} has ended"))),
        sum => Ok(sum),
    }
}

/// Ticks that `cpu` was not idle so far, whoever used it.
pub fn busy_ticks(cpu: usize) -> u64 {
    parse_busy(&fs::read_to_string("/proc/stat").unwrap_or_default(), cpu).unwrap_or(0)
}

pub fn parse_busy(text: &str, cpu: usize) -> Option<u64> {
    let name = format!("cpu{cpu} ");
    let fields = text.lines().find_map(|line| line.strip_prefix(&name))?;
    let fields: Vec<u64> = fields.split(' ').filter_map(|f| f.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; the two after them are part of user.
    let idle = [3, 4].iter().filter_map(|&i| fields.get(i)).sum::<u64>();
    Some(fields.iter().take(8).sum::<u64>() - idle)
}

/// `pid` and its descendants.
pub fn family(pid: u32) -> Vec<u32> {
    let processes: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect();
    let mut family = vec![pid];
    let mut known = 0;
    while let Some(&parent) = family.get(known) {
        family.extend(processes.iter().filter(|p| p.1 == parent).map(|p| p.0));
        known += 1;
    }
    family
}

#[derive(Debug, PartialEq)]
pub struct Stat {
    pub parent: u32,
    /// utime + stime
    pub ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

pub fn parse_stat(line: &str) -> Option<Stat> {
    // The second field is the program's name in parentheses and may hold anything, so count from
    // its end: proc(5) numbers what follows from 3 (state).
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    // A process that has ended stays listed until it is reaped.
    if matches!(fields.first(), Some(&("Z" | "X"))) {
        return None;
    }
    Some(Stat {
        parent: u32::try_from(field(4)?).ok()?,
        ticks: field(14)? + field(15)?,
    })
}
