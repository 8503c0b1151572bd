//! Processor time and memory of servers while they work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use understudy_testbed::memory;

use crate::error::Result;

const INTERVAL: Duration = Duration::from_millis(100);

/// What servers used between two moments, all of them together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Processor time in seconds.
    pub(crate) cpu_seconds: f64,
    /// The highest proportional set size that was seen, in MiB. It is looked at ten times a second.
    pub(crate) peak_mib: f64,
}

/// Looks at processes until it is asked what it saw.
pub(crate) struct Watch {
    pids: Vec<u32>,
    cpu_before: f64,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

fn cpu(pids: &[u32]) -> Result<f64> {
    let mut sum = 0.0;
    for pid in pids {
        sum += memory::processor_time(*pid)?.as_secs_f64();
    }
    Ok(sum)
}

/// Proportional set size in MiB.
pub(crate) fn memory_mib(pid: u32) -> Result<f64> {
    Ok(memory::proportional_kib(pid)? as f64 / 1024.0)
}

impl Watch {
    pub(crate) fn start(pids: &[u32]) -> Result<Self> {
        let cpu_before = cpu(pids)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, watched) = (Arc::clone(&stop), pids.to_vec());
        let look = move || {
            let mut peak = 0;
            loop {
                // A process that ended is noticed by whoever talks to it.
                let now = watched.iter().map(|pid| memory::proportional_kib(*pid).unwrap_or_default()).sum();
                peak = u64::max(peak, now);
                if stopped.load(Ordering::Relaxed) {
                    return peak;
                }
                std::thread::sleep(INTERVAL);
            }
        };
        Ok(Self { pids: pids.to_vec(), cpu_before, stop, thread: std::thread::spawn(look) })
    }

    pub(crate) fn stop(self) -> Result<Usage> {
        let cpu_seconds = cpu(&self.pids)? - self.cpu_before;
        self.stop.store(true, Ordering::Relaxed);
        // It does not panic.
        let peak = self.thread.join().unwrap_or_default();
        Ok(Usage { cpu_seconds, peak_mib: peak as f64 / 1024.0 })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn this_process_is_watched() {
        let pid = std::process::id();
        let watch = Watch::start(&[pid]).unwrap();
        let block = vec![1_u8; 64 << 20];
        std::thread::sleep(INTERVAL * 3);
        let usage = watch.stop().unwrap();
        assert!(usage.peak_mib > 60.0 && usage.cpu_seconds >= 0.0, "{usage:?} {}", block.len());
        assert!(Watch::start(&[u32::MAX]).is_err());
    }
}
