//! How much memory a process uses, from `/proc`.

use std::fs;

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
}
