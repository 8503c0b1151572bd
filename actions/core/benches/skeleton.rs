//! `fetch:template` against plain copies of the same files: `cargo bench -p understudy-actions-core --bench skeleton`.
//!
//! Numbers of files and of rounds may be given: `-- --files 5000 --rounds 7`. The rounds of all contestants are
//! interleaved, so that whatever else the machine does hits them alike. `--only template` runs one of them, for profilers;
//! `--kib 4096` makes all files so large. Where `TMPDIR` points decides which file system is measured.
#![allow(clippy::unwrap_used)]

#[path = "../src/testing.rs"]
#[allow(dead_code)]
mod testing;

use std::{
    fs,
    io::Write as _,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;
// Where the workbench of the unit tests looks for them.
use understudy_actions_core::{CoreDeps, register};

use testing::Bench;

/// A run's time, how long processors worked for it, and the most memory the process had meanwhile.
#[derive(Clone, Copy)]
struct Sample {
    time: Duration,
    cpu: Duration,
    peak_kib: u64,
}

type Contestant = (&'static str, fn(&Bed, &str));

struct Bed {
    bench: Bench,
    skeleton: Utf8PathBuf,
    runtime: tokio::runtime::Runtime,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option =
        |name: &str| arguments.iter().position(|known| known == name).and_then(|at| arguments.get(at + 1)).cloned();
    // Without `--bench` this is a test run: everything once, with few files.
    let measured = arguments.iter().any(|argument| argument == "--bench");
    let rounds = option("--rounds").map_or(if measured { 7 } else { 1 }, |rounds| rounds.parse().unwrap());
    let sizes = match option("--files") {
        Some(files) => vec![files.parse().unwrap()],
        None if measured => vec![1_000, 5_000, 10_000],
        None => vec![50],
    };
    for files in sizes {
        let kib = option("--kib").map(|kib| kib.parse().unwrap());
        compare(files, rounds, kib, option("--only").as_deref());
    }
}

fn compare(files: usize, rounds: usize, kib: Option<usize>, only: Option<&str>) {
    let mut bench = Bench::new();
    let dir = bench.beside("template");
    bench.base_url = Some(format!("file://{dir}/template.yaml"));
    let skeleton = dir.join("skeleton");
    let bytes = make_skeleton(&skeleton, files, kib);
    let bed = Bed { bench, skeleton, runtime: tokio::runtime::Builder::new_multi_thread().build().unwrap() };
    let contestants: [Contestant; 5] = [
        ("plain copy, read and write", |bed, target| copy_tree(bed, target, 1, read_and_write)),
        ("plain copy, fs::copy", |bed, target| copy_tree(bed, target, 1, fs_copy)),
        ("two threads, read and write", |bed, target| copy_tree(bed, target, 2, read_and_write)),
        ("template", template),
        ("fetch:plain", plain),
    ];
    let contestants: Vec<Contestant> =
        contestants.into_iter().filter(|(name, _)| only.is_none_or(|only| name.starts_with(only))).collect();
    println!("\n{files} files, {} KiB, {rounds} rounds", bytes / 1024);
    let mut samples: Vec<Vec<Sample>> = contestants.iter().map(|_| Vec::new()).collect();
    // One round more, which warms up.
    for round in 0..=rounds {
        for (samples, (_, run)) in samples.iter_mut().zip(&contestants) {
            let sample = measure(&bed, *run);
            if round > 0 || rounds == 1 {
                samples.push(sample);
            }
        }
    }
    let baseline = samples[0].iter().map(|sample| sample.time).collect::<Vec<_>>();
    println!("  {:<28} {:>9} {:>9} {:>9} {:>9} {:>9}", "", "best ms", "median ms", "ratio", "cpu ms", "peak MiB");
    for ((name, _), samples) in contestants.iter().zip(&samples) {
        let mut ratios: Vec<f64> =
            samples.iter().zip(&baseline).map(|(own, base)| own.time.as_secs_f64() / base.as_secs_f64()).collect();
        ratios.sort_by(f64::total_cmp);
        let mut times: Vec<f64> = samples.iter().map(|sample| sample.time.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        let peak = samples.iter().map(|sample| sample.peak_kib).max().unwrap_or_default() / 1024;
        let cpu = samples.iter().map(|sample| sample.cpu.as_secs_f64() * 1e3).sum::<f64>() / samples.len() as f64;
        let (best, median, ratio) = (times[0], times[times.len() / 2], ratios[ratios.len() / 2]);
        println!("  {name:<28} {best:>9.1} {median:>9.1} {ratio:>9.2} {cpu:>9.0} {peak:>9}");
    }
}

fn measure(bed: &Bed, run: fn(&Bed, &str)) -> Sample {
    // From here on the kernel counts the peak anew.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let (start, before) = (Instant::now(), cpu_time());
    run(bed, "out");
    let (time, cpu) = (start.elapsed(), cpu_time().saturating_sub(before));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let peak_kib = peak.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default();
    fs::remove_dir_all(bed.bench.root().join("out")).unwrap();
    Sample { time, cpu, peak_kib }
}

/// Of all threads there were so far; in hundredths of a second, so only the mean of several rounds says something.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // After the process's name come eleven fields, then user and system time.
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn template(bed: &Bed, target: &str) {
    let input = json!({"url": "./skeleton", "targetPath": target, "values": {
        "name": "demo-service",
        "owner": "group:default/platform",
        "description": "Orders and their states",
        "java": true,
        "ports": [8080, 8081, 9090],
        "labels": {"tier": "backend", "team": "orders"},
    }});
    bed.runtime.block_on(bed.bench.run("fetch:template", input)).unwrap();
}

fn plain(bed: &Bed, target: &str) {
    bed.runtime.block_on(bed.bench.run("fetch:plain", json!({"url": "./skeleton", "targetPath": target}))).unwrap();
}

/// The straightforward copy that others would write: absolute paths, one file after the other (of each thread).
fn copy_tree(bed: &Bed, target: &str, threads: usize, copy: fn(&Utf8Path, &Utf8Path)) {
    let target = bed.bench.root().join(target);
    let mut files = Vec::new();
    let mut pending = vec![Utf8PathBuf::new()];
    while let Some(dir) = pending.pop() {
        fs::create_dir(target.join(&dir)).unwrap();
        for entry in bed.skeleton.join(&dir).read_dir_utf8().unwrap() {
            let entry = entry.unwrap();
            let path = dir.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() { pending.push(path) } else { files.push(path) }
        }
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    copy(&bed.skeleton.join(file), &target.join(file));
                }
            });
        }
    });
}

fn read_and_write(from: &Utf8Path, to: &Utf8Path) {
    fs::write(to, fs::read(from).unwrap()).unwrap();
}

fn fs_copy(from: &Utf8Path, to: &Utf8Path) {
    fs::copy(from, to).unwrap();
}

/// Writes a skeleton as services have them: a directory holds about twenty files of half a kilobyte to five, a third of
/// them with expressions, some names with one, every twentieth file binary. Gives its size in bytes.
fn make_skeleton(root: &Utf8Path, files: usize, kib: Option<usize>) -> usize {
    let mut random = Random(0x5eed);
    let mut total = 0;
    for index in 0..files {
        let module = index / 200;
        let package = index / 20 % 10;
        let dir = match package {
            0 => root.join(format!("module-{module}")),
            1 | 2 => root.join(format!("module-{module}/src/main/${{{{ values.name }}}}/package{package}")),
            _ => root.join(format!("module-{module}/src/main/java/org/acme/package{package}")),
        };
        fs::create_dir_all(&dir).unwrap();
        let size = kib.map_or_else(|| 512 + random.below(4608), |kib| kib << 10);
        let (name, content) = match index % 20 {
            0 => (format!("image{index}.png"), random.bytes(size)),
            1 => (format!("${{{{ values.name }}}}-{index}.yaml"), random.text(size, true)),
            2..=6 => (format!("Template{index}.java"), random.text(size, true)),
            _ => (format!("Plain{index}.java"), random.text(size, false)),
        };
        total += content.len();
        fs::write(dir.join(name), content).unwrap();
    }
    total
}

/// The same numbers in every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
    fn bytes(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\r".to_vec();
        bytes.extend((bytes.len()..size).map(|_| self.below(256) as u8));
        bytes
    }
    fn text(&mut self, size: usize, expressions: bool) -> Vec<u8> {
        let mut text = Vec::new();
        let mut line = 0;
        while text.len() < size {
            line += 1;
            let number = self.below(100_000);
            if !expressions || line % 12 != 1 {
                writeln!(text, "        private final Handler handler{number} = registry.get(\"handler-{line}\");")
            } else {
                match number % 5 {
                    0 => writeln!(text, "package ${{{{ values.name | replace('-', '.') | lower }}}};"),
                    1 => writeln!(text, "// Owned by ${{{{ values.owner }}}}: ${{{{ values.description }}}}"),
                    2 => writeln!(text, "{{% if values.java %}}import java.util.List;{{% else %}}# no{{% endif %}}"),
                    3 => writeln!(
                        text,
                        "{{%- for port in values.ports %}} ${{{{ port }}}}:${{{{ loop.index }}}}{{% endfor %}}"
                    ),
                    _ => writeln!(text, "label: ${{{{ values.labels.team | default('none') | dump }}}}"),
                }
            }
            .unwrap();
        }
        text
    }
}
