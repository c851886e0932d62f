//! A short run of the fuzz targets on seeds that were changed at random, the same ones each time. Long runs, guided by coverage: `make fuzz`.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Changed seeds for each target.
const CASES: u64 = 1_500;
/// What is put into a text now and then: it means something to one of the readers.
const TOKENS: [&str; 20] = [
    "null",
    "true",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "\\u0000",
    "\\ud800",
    ",",
    ":",
    "-0",
    "1e999",
    "99999999999999999999",
    "\u{feff}",
    "\t",
    "\r\n",
    "\0",
    "科幻",
    "9999-12-31T23:59:60Z",
];

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Bytes inserted, cut out, doubled, overwritten, or put together from two seeds.
fn changed(seeds: &[Vec<u8>], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
    for _ in 0..random.random_range(0..6) {
        let end = bytes.len();
        let (mut from, mut to) = (random.random_range(0..=end), random.random_range(0..=end.min(64)));
        (from, to) = (from, (from + to).min(end));
        match random.random_range(0..6) {
            0 => drop(bytes.drain(from..to)),
            1 => {
                let part = bytes[from..to].to_vec();
                bytes.splice(from..from, part);
            }
            2 => {
                let token = TOKENS[random.random_range(0..TOKENS.len())];
                bytes.splice(from..from, token.bytes());
            }
            3 => bytes[from..to].iter_mut().for_each(|byte| *byte ^= 1 << random.random_range(0..8)),
            4 => {
                let other = &seeds[random.random_range(0..seeds.len())];
                let at = random.random_range(0..=other.len());
                bytes.splice(from.., other[at..].iter().copied());
            }
            _ => bytes.truncate(to),
        }
    }
    bytes
}

#[test]
fn no_target_falls_over_changed_seeds() {
    for (name, target) in targets::TARGETS {
        let seeds = if name == "artifact" { vec![targets::artifact_seed()] } else { seeds(name) };
        let mut random = ChaCha8Rng::seed_from_u64(14);
        for seed in &seeds {
            target(seed);
        }
        for case in 0..CASES {
            let bytes = changed(&seeds, &mut random);
            let outcome = std::panic::catch_unwind(|| targets::run(name, &bytes));
            assert!(outcome.is_ok(), "{name}, case {case}: {:?}", String::from_utf8_lossy(&bytes));
        }
    }
}
