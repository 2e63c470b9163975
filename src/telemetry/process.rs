//! The process as the kernel sees it, under the names that every Prometheus
//! client uses (`process_resident_memory_bytes`, ...).
//!
//! Read from `/proc/self` when the metrics are asked for: five small files, a
//! few microseconds. Where there is no `/proc` the metrics are left out.

use prometheus::{Counter, Error, Gauge, Registry};
use std::fs;
use std::sync::{Mutex, PoisonError};

/// The unit of times in `/proc/self/stat`. The kernel fixes it for what it
/// shows to programs, whatever its own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// The metrics about the process itself.
#[derive(Debug)]
pub(super) struct Process {
    cpu: Mutex<Counter>,
    resident: Gauge,
    virtual_memory: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    threads: Gauge,
}

impl Process {
    /// Registers the metrics, or nothing where there is no `/proc`.
    ///
    /// # Errors
    /// A name that is taken in `registry`.
    pub(super) fn register(registry: &Registry) -> Result<Option<Self>, Error> {
        let Some(start) = start_time() else {
            return Ok(None);
        };
        let gauge = |name: &str, help: &str| {
            let gauge = Gauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, Error>(gauge)
        };
        let cpu = Counter::new(
            "process_cpu_seconds_total",
            "User and system CPU time spent, in seconds.",
        )?;
        registry.register(Box::new(cpu.clone()))?;
        gauge(
            "process_start_time_seconds",
            "Start of the process, in seconds since the Unix epoch.",
        )?
        .set(start);
        let process = Self {
            cpu: Mutex::new(cpu),
            resident: gauge(
                "process_resident_memory_bytes",
                "Resident memory, in bytes.",
            )?,
            virtual_memory: gauge("process_virtual_memory_bytes", "Virtual memory, in bytes.")?,
            open_fds: gauge("process_open_fds", "Open file descriptors.")?,
            max_fds: gauge("process_max_fds", "File descriptors that may be open.")?,
            threads: gauge("process_threads", "Threads of the process.")?,
        };
        process.refresh();
        Ok(Some(process))
    }

    /// Reads the current values. What cannot be read keeps its last value.
    pub(super) fn refresh(&self) {
        if let Some(stat) = read("/proc/self/stat").as_deref().map(stat_fields) {
            let seconds = stat(UTIME)
                .zip(stat(STIME))
                .map(|(u, s)| (u + s) / TICKS_PER_SECOND);
            // Two scrapes at once must not add the same seconds twice.
            let cpu = self.cpu.lock().unwrap_or_else(PoisonError::into_inner);
            cpu.inc_by(seconds.map_or(0.0, |now| (now - cpu.get()).max(0.0)));
        }
        if let Some(status) = read("/proc/self/status") {
            let set = |gauge: &Gauge, name, unit| {
                number_after(&status, name).inspect(|value| gauge.set(value * unit));
            };
            set(&self.resident, "VmRSS:", 1024.0);
            set(&self.virtual_memory, "VmSize:", 1024.0);
            set(&self.threads, "Threads:", 1.0);
        }
        if let Some(limits) = read("/proc/self/limits") {
            number_after(&limits, "Max open files").inspect(|most| self.max_fds.set(*most));
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // Reading the directory opened one more.
            let open = u32::try_from(entries.count().saturating_sub(1)).unwrap_or(u32::MAX);
            self.open_fds.set(f64::from(open));
        }
    }
}

// Fields of `/proc/self/stat`, counted from 1 as in proc_pid_stat(5).
const UTIME: usize = 14;
const STIME: usize = 15;
const STARTTIME: usize = 22;

fn start_time() -> Option<f64> {
    let boot = number_after(&read("/proc/stat")?, "btime ")?;
    let ticks = stat_fields(&read("/proc/self/stat")?)(STARTTIME)?;
    Some(boot + ticks / TICKS_PER_SECOND)
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The number in a field. The second field, the program's name, may hold
/// spaces and parentheses, so that counting starts behind its last one.
fn stat_fields(stat: &str) -> impl Fn(usize) -> Option<f64> {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    move |field| {
        rest.split_whitespace()
            .nth(field.checked_sub(3)?)?
            .parse()
            .ok()
    }
}

/// The number behind `name` at the start of a line.
fn number_after(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_survives_a_program_name_with_spaces_and_parentheses() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 4 0 12345 1 1";
        let field = stat_fields(stat);
        assert_eq!(field(UTIME), Some(250.0));
        assert_eq!(field(STIME), Some(50.0));
        assert_eq!(field(STARTTIME), Some(12345.0));
        assert_eq!(field(0), None);
        assert_eq!(field(99), None);
        assert_eq!(stat_fields("garbage")(UTIME), None);
    }

    #[test]
    fn numbers_are_found_by_the_start_of_their_line() {
        let text =
            "Max open files            1024                 4096      files\nVmRSS:\t  12 kB\n";
        assert_eq!(number_after(text, "VmRSS:"), Some(12.0));
        assert_eq!(number_after(text, "Max open files"), Some(1024.0));
        assert_eq!(number_after(text, "RSS:"), None);
        assert_eq!(
            number_after("Max open files unlimited", "Max open files"),
            None
        );
    }

    #[test]
    fn reads_this_process() {
        let registry = Registry::new();
        let process = Process::register(&registry).unwrap();
        let families = registry.gather();
        let Some(process) = process else {
            return assert!(families.is_empty());
        };
        process.refresh();
        assert!(process.resident.get() > 100_000.0);
        assert!(process.open_fds.get() >= 3.0);
        assert!(process.threads.get() >= 1.0);
        assert!(
            families
                .iter()
                .any(|f| f.name() == "process_start_time_seconds")
        );
    }
}
