//! How much memory and processor time a process uses, from `/proc`.

use std::{fs, time::Duration};

use crate::{Error, Result};

/// Memory of one process, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Highest resident set size so far (`VmHWM`).
    pub peak_kib: u64,
    /// Resident set size now (`VmRSS`).
    pub current_kib: u64,
}

/// Reads `/proc/<pid>/status`.
///
/// # Errors
/// [`Error::Io`] when there is no such process, [`Error::Unexpected`] when it has no memory (a zombie).
pub fn of(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).map_err(Error::io(format!("reading {path}")))?;
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix(" kB"))
            .and_then(|number| number.trim().parse().ok())
            .ok_or_else(|| Error::unexpected(&path, format!("no {name}")))
    };
    Ok(Memory { peak_kib: field("VmHWM")?, current_kib: field("VmRSS")? })
}

/// The proportional set size of a process now, in KiB: its own pages, and its share of those that others map too.
///
/// # Errors
/// [`Error::Io`] when there is no such process or it belongs to somebody else.
pub fn proportional_kib(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(Error::io(format!("reading {path}")))?;
    text.lines()
        .find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
        .ok_or_else(|| Error::unexpected(path, "no Pss"))
}

/// The processor time of a process so far, user and system, all threads; children that it waited for included.
///
/// # Errors
/// [`Error::Io`] when there is no such process, [`Error::Unexpected`] when its line can't be read.
pub fn processor_time(pid: u32) -> Result<Duration> {
    // What Linux tells programs is in hundredths of a second on every architecture it runs on today.
    const TICK: Duration = Duration::from_millis(10);
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(Error::io(format!("reading {path}")))?;
    // The name, in parentheses, may contain anything.
    let fields = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace()).into_iter().flatten();
    let ticks: Option<Vec<u32>> = fields.skip(11).take(4).map(|field| field.parse().ok()).collect();
    match ticks.as_deref() {
        Some([user, system, children_user, children_system]) => {
            Ok(TICK * (user + system + children_user + children_system))
        }
        _ => Err(Error::unexpected(path, format!("no times in {text}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_peak_grows_with_what_is_touched() {
        let before = of(std::process::id()).unwrap();
        let block = vec![1_u8; 64 << 20];
        let after = of(std::process::id()).unwrap();
        assert_eq!(block.len(), 64 << 20);
        assert!(after.peak_kib >= before.current_kib + 60 * 1024, "{before:?} {after:?}");
        assert!(of(u32::MAX).is_err());
    }

    #[test]
    fn the_share_of_memory_and_the_processor_time_are_told() {
        let pid = std::process::id();
        let block = vec![1_u8; 64 << 20];
        let share = proportional_kib(pid).unwrap();
        assert!(share >= 60 * 1024 && share <= of(pid).unwrap().peak_kib, "{share} {}", block.len());
        let before = processor_time(pid).unwrap();
        let mut number = 1_u64;
        while processor_time(pid).unwrap() < before + Duration::from_millis(50) {
            number = (0..1_000_000_u64).fold(number, |sum, n| std::hint::black_box(sum.wrapping_mul(31) ^ n));
        }
        assert!(proportional_kib(u32::MAX).is_err() && processor_time(u32::MAX).is_err());
    }
}
