//! Our metrics against a reference: ir-measures, which asks trec_eval, on 10,000 random cases.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use medley::evaluation::metrics::{average_precision, hit_rate, ndcg, precision, recall, reciprocal_rank};
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

const CASES: usize = 10_000;
const TOLERANCE: f64 = 1e-9;

#[derive(Serialize)]
struct Case {
    ranked: Vec<u32>,
    relevant: Vec<u32>,
    k: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Judged {
    ndcg: f64,
    recall: f64,
    reciprocal_rank: f64,
    hit_rate: f64,
    precision: f64,
    average_precision: f64,
}

/// `make tools` puts it under the crate's own target folder, wherever cargo builds.
fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/metrics_reference/bin/python");
    assert!(python.is_file(), "{} is not there: run `make tools`", python.display());
    python
}

/// Lists shorter and longer than k, with none, some or all of what is relevant; sometimes empty, sometimes nothing is relevant.
fn random_case(random: &mut ChaCha8Rng) -> Case {
    let items = random.random_range(1..=120);
    let mut ranked: Vec<u32> = (0..items).collect();
    ranked.shuffle(random);
    let mut relevant = ranked.clone();
    relevant.shuffle(random);
    ranked.truncate(random.random_range(0..=80));
    relevant.truncate(random.random_range(0..=40));
    Case { ranked, relevant, k: random.random_range(1..=50) }
}

fn ours(case: &Case) -> Judged {
    let Case { ranked, relevant, k } = case;
    let (is_relevant, count) = (|item: &u32| relevant.contains(item), relevant.len());
    Judged {
        ndcg: ndcg(ranked, is_relevant, count, *k),
        recall: recall(ranked, is_relevant, count, *k),
        reciprocal_rank: reciprocal_rank(ranked, is_relevant, count, *k),
        hit_rate: hit_rate(ranked, is_relevant, count, *k),
        precision: precision(ranked, is_relevant, count, *k),
        average_precision: average_precision(ranked, is_relevant, count, *k),
    }
}

#[test]
fn metrics_agree_with_ir_measures() {
    let mut random = ChaCha8Rng::seed_from_u64(20);
    let cases: Vec<Case> = (0..CASES).map(|_| random_case(&mut random)).collect();
    let mut lines = String::new();
    for case in &cases {
        writeln!(lines, "{}", serde_json::to_string(case).unwrap()).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cases.jsonl");
    std::fs::write(&file, lines).unwrap();

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metrics_reference/reference.py");
    let output = Command::new(python()).arg(script).arg(&file).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the reference fails; `make tools` installs it:\n{complaint}");
    let judged: Vec<Judged> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(judged.len(), CASES);

    let mut sums = [0.0; 6];
    for (number, (case, theirs)) in cases.iter().zip(&judged).enumerate() {
        let ours = ours(case);
        let pairs = [
            ("ndcg", ours.ndcg, theirs.ndcg),
            ("recall", ours.recall, theirs.recall),
            ("reciprocal_rank", ours.reciprocal_rank, theirs.reciprocal_rank),
            ("hit_rate", ours.hit_rate, theirs.hit_rate),
            ("precision", ours.precision, theirs.precision),
            ("average_precision", ours.average_precision, theirs.average_precision),
        ];
        for (sum, (name, ours, theirs)) in sums.iter_mut().zip(pairs) {
            let apart = (ours - theirs).abs();
            assert!(apart <= TOLERANCE, "case {number}: {name} is {ours}, ir-measures says {theirs}");
            *sum += theirs;
        }
    }
    // Cases that are all 0 or all 1 would prove nothing.
    for mean in sums.map(|sum| sum / CASES as f64) {
        assert!((0.02..0.98).contains(&mean), "{sums:?}");
    }
}
