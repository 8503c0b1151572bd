//! What the system knows of this process, under the names that Prometheus' client libraries give it.
//!
//! The collector of the crate `prometheus` would bring a second rustix along; this is the same from `/proc`. Where there is
//! none, there are no such metrics.

use std::sync::{Mutex, PoisonError};

use prometheus::{
    Counter, Gauge, IntGauge, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// Collects when it is asked.
#[derive(Clone)]
pub(super) struct Process {
    cpu: Counter,
    open_files: IntGauge,
    most_files: IntGauge,
    virtual_memory: IntGauge,
    resident_memory: IntGauge,
    threads: IntGauge,
    start: Gauge,
}

/// One reading of the counter at a time: it is moved by the difference to its last value.
static READING: Mutex<()> = Mutex::new(());

impl Process {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| IntGauge::with_opts(Opts::new(name, help));
        Ok(Self {
            cpu: Counter::new("process_cpu_seconds_total", "Seconds of processor time used")?,
            open_files: gauge("process_open_fds", "Open file descriptors")?,
            most_files: gauge("process_max_fds", "How many file descriptors may be open")?,
            virtual_memory: gauge("process_virtual_memory_bytes", "Virtual memory")?,
            resident_memory: gauge("process_resident_memory_bytes", "Resident memory")?,
            threads: gauge("process_threads", "Threads")?,
            start: Gauge::new("process_start_time_seconds", "When the process started, in seconds since 1970")?,
        })
    }

    fn parts(&self) -> [&dyn Collector; 7] {
        [
            &self.cpu,
            &self.open_files,
            &self.most_files,
            &self.virtual_memory,
            &self.resident_memory,
            &self.threads,
            &self.start,
        ]
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }
    fn collect(&self) -> Vec<MetricFamily> {
        let Some(now) = Figures::read() else { return Vec::new() };
        let _reading = READING.lock().unwrap_or_else(PoisonError::into_inner);
        self.cpu.inc_by((now.cpu_seconds - self.cpu.get()).max(0.0));
        for (gauge, value) in [
            (&self.open_files, now.open_files),
            (&self.most_files, now.most_files),
            (&self.virtual_memory, now.virtual_bytes),
            (&self.resident_memory, now.resident_bytes),
            (&self.threads, now.threads),
        ] {
            gauge.set(value.try_into().unwrap_or(i64::MAX));
        }
        self.start.set(now.start_seconds);
        self.parts().into_iter().flat_map(Collector::collect).collect()
    }
}

/// A look at the process.
#[derive(Debug, PartialEq)]
struct Figures {
    cpu_seconds: f64,
    open_files: u64,
    most_files: u64,
    virtual_bytes: u64,
    resident_bytes: u64,
    threads: u64,
    start_seconds: f64,
}

impl Figures {
    fn read() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let boot = std::fs::read_to_string("/proc/stat").ok()?;
        let boot = boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok())?;
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as u64;
        let figures = Self::of_stat(&stat, boot, ticks, page)?;
        let open_files = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        Some(Self { open_files, most_files: limit.unwrap_or(u64::MAX), ..figures })
    }

    /// What a line of `/proc/<pid>/stat` says (proc(5)). The program's name, in parentheses, may hold anything.
    fn of_stat(stat: &str, boot: f64, ticks: f64, page: u64) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // The first of these is the third of the line.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) as f64 / ticks,
            open_files: 0,
            most_files: 0,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page,
            threads: field(20)?,
            start_seconds: boot + field(22)? as f64 / ticks,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_system_is_read() {
        let line =
            "42 (a (odd) name) S 1 42 42 0 -1 4194560 1 2 3 4 250 50 5 6 20 0 7 0 1000 4096000 25 184467440737 1 1";
        assert_eq!(
            Figures::of_stat(line, 1000.0, 100.0, 4096).unwrap(),
            Figures {
                cpu_seconds: 3.0,
                open_files: 0,
                most_files: 0,
                virtual_bytes: 4_096_000,
                resident_bytes: 25 * 4096,
                threads: 7,
                start_seconds: 1010.0,
            }
        );
        assert_eq!(Figures::of_stat("42 (short) S 1", 0.0, 100.0, 4096), None);
    }

    #[test]
    fn this_process_is_seen() {
        let process = Process::new().unwrap();
        let first = process.collect();
        assert_eq!(first.len(), 7);
        let value = |families: &[MetricFamily], name: &str| {
            let metric = &families.iter().find(|family| family.name() == name).unwrap().get_metric()[0];
            metric.get_counter().get_value() + metric.get_gauge().get_value()
        };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let start = value(&first, "process_start_time_seconds");
        assert!(start > now - 24.0 * 3600.0 && start < now + 60.0, "{start} is not a little before {now}");
        assert!(value(&first, "process_resident_memory_bytes") > 1_000_000.0);
        assert!(value(&first, "process_open_fds") >= 3.0 && value(&first, "process_threads") >= 1.0);
        // Some work, until the system has noticed.
        let mut spun = 0u64;
        while value(&process.collect(), "process_cpu_seconds_total") <= value(&first, "process_cpu_seconds_total") {
            spun = std::hint::black_box(spun + 1);
        }
    }
}
