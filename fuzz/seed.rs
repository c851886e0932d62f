//! Writes a seed for the target `artifact` to the file that is named.

// What is compiled with counters calls the library that reads them, where nothing is fuzzed as well.
use libfuzzer_sys as _;

#[path = "targets.rs"]
mod targets;

fn main() {
    let path = std::env::args().nth(1).expect("the name of a file");
    std::fs::write(path, targets::artifact_seed()).expect("the file can be written");
}
