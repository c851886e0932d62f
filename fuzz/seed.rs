//! Writes a seed for the target `artifact` to the file that is named.

#[path = "targets.rs"]
mod targets;

fn main() {
    let path = std::env::args().nth(1).expect("the name of a file");
    std::fs::write(path, targets::artifact_seed()).expect("the file can be written");
}
