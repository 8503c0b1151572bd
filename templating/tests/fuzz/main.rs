//! What the fuzz targets do, over their seeds and over inputs made from them at random: the same ones every time.

#![allow(clippy::unwrap_used)]

mod body;

use std::path::Path;

/// A small generator (xorshift); what matters is that it says the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<_> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(seeds.len() >= 10, "only {} seeds for {target}", seeds.len());
    seeds
}

/// Seeds as they are, then changed in a few places or joined to one another.
fn run(target: &str, body: fn(&[u8]), turns: usize) {
    let seeds = seeds(target);
    seeds.iter().for_each(|seed| body(seed));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..turns {
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(5) {
            let at = random.below(input.len());
            match random.below(4) {
                0 if !input.is_empty() => input[at] = random.below(256) as u8,
                1 => input.insert(at, random.below(256) as u8),
                2 if !input.is_empty() => drop(input.remove(at)),
                _ => {
                    let other = &seeds[random.below(seeds.len())];
                    let from = random.below(other.len());
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
            }
        }
        input.truncate(400);
        body(&input);
    }
}

#[test]
fn templates() {
    run("template", body::template, 6000);
}

/// Sequences of the language's pieces, which get further than random text.
#[test]
fn pieces() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..6000 {
        let length = 1 + random.below(24);
        let mut input: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        input.insert(0, 0x80 | random.below(16) as u8);
        body::template(&input);
    }
}

#[test]
fn regular_expressions() {
    run("regex", body::regex, 4000);
}
