//! Where and under which conditions something was measured.

use std::fs;

use serde::{Deserialize, Serialize};

/// The machine, the versions and the load of one workload's run.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Conditions {
    /// UTC, to the minute.
    pub(crate) date: String,
    /// Model and number of processors.
    pub(crate) processor: String,
    /// Memory in GiB.
    pub(crate) memory_gib: u64,
    /// Distribution and kernel.
    pub(crate) system: String,
    /// Processes that were running or waiting for a processor, the mean of the minute before the run.
    pub(crate) load_before: f64,
    /// Rounds, in alternating order.
    pub(crate) rounds: usize,
    /// Smallest sizes only: figures to try the harness with.
    pub(crate) quick: bool,
    /// Name and version of everything that took part.
    pub(crate) versions: Vec<(String, String)>,
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.trim_start_matches(name).trim_start_matches([' ', '\t', ':', '=']).trim_matches('"').to_owned())
}

/// The mean number of runnable processes over the last minute.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// What is true now; `versions`, `rounds` and `quick` are the caller's.
pub(crate) fn now() -> Conditions {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = field(&cpuinfo, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let system = field(&read("/etc/os-release"), "PRETTY_NAME").unwrap_or_else(|| std::env::consts::OS.to_owned());
    let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let kib: u64 = memory.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default();
    Conditions {
        date: chrono::Utc::now().format("%Y-%m-%d %H:%M").to_string(),
        processor: format!("{processors} x {model}"),
        memory_gib: (kib + (1 << 19)) >> 20,
        system: format!("{system}, Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        load_before: load(),
        ..Conditions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_described() {
        let conditions = now();
        assert!(conditions.memory_gib > 0 && conditions.processor.contains(" x "), "{conditions:?}");
        assert_eq!(field("a\nmodel name\t: AMD EPYC\n", "model name").as_deref(), Some("AMD EPYC"));
        assert_eq!(field("PRETTY_NAME=\"Debian 12\"", "PRETTY_NAME").as_deref(), Some("Debian 12"));
        assert_eq!(field("a", "b"), None);
    }
}
