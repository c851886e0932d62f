//! How fast iALS and EASE are fitted, on synthetic power-law data: `benches/training/run` compares it with implicit and numpy.
//!
//!   cargo bench --bench training -- write FILE USERS ITEMS ROWS     a data set, always the same for the same numbers
//!   cargo bench --bench training -- ials FILE ITEMS DIMENSIONS      seconds and loss by epochs, as JSON
//!   cargo bench --bench training -- ease FILE ITEMS                 seconds of the whole job, as JSON

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::time::Instant;

use medley::engine::dataset::Dataset;
use medley::engine::scorers::ease;
use medley::engine::scorers::implicit_als::{self, AlsSettings};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let number = |place: usize| arguments[place].parse::<usize>().expect("a number");
    match arguments.first().map(String::as_str) {
        Some("write") => write(&arguments[1], number(2), number(3), number(4)),
        Some("ials") => ials(&read(&arguments[1], number(2)), number(2), number(3)),
        Some("ease") => fit_ease(&read(&arguments[1], number(2)), number(2)),
        _ => println!("see benches/training/run"),
    }
}

/// People and items of a power law: an item's share falls with its rank, and so does how much a person does.
fn write(path: &str, users: usize, items: usize, rows: usize) {
    let mut random = ChaCha8Rng::seed_from_u64(42);
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    let each = rows as f64 / users as f64;
    for user in 0..users {
        let own = ((each * 0.5 / (1.0 - random.random::<f64>()).sqrt()) as usize).clamp(1, items / 4);
        // Each person has a place in the catalogue around which they look: there is something to learn.
        let home = random.random_range(0..items);
        let mut taken = BTreeSet::new();
        for _ in 0..own {
            let popular = (items as f64).powf(random.random::<f64>()) as usize - 1;
            let near = (home + (200.0f64).powf(random.random::<f64>()) as usize) % items;
            taken.insert(if random.random::<f64>() < 0.5 { popular } else { near });
        }
        for item in taken {
            writeln!(file, "{user}\t{item}").expect("a line");
        }
    }
}

fn read(path: &str, items: usize) -> Dataset {
    let mut data = Dataset::new(items);
    let mut row: Vec<(u32, f32)> = Vec::new();
    let mut of = String::new();
    for line in BufReader::new(File::open(path).expect("a file")).lines() {
        let line = line.expect("a line");
        let (user, item) = line.split_once('\t').expect("two fields");
        if user != of {
            data.push(&mut std::mem::take(&mut row));
            user.clone_into(&mut of);
        }
        row.push((item.parse().expect("a number"), 1.0));
    }
    data.push(&mut row);
    data
}

/// `Σ_S (1 - w·h)² + α₀ Σ (w·h)² + λ(|W|² + |H|²)`, people folded in exactly.
fn ials(data: &Dataset, items: usize, dimensions: usize) {
    let settings = AlsSettings {
        dimensions,
        epochs: 0,
        regularization: 10.0,
        unobserved_weight: 0.1,
        frequency_exponent: 0.0,
        strength_exponent: 0.0,
        content_ridge: 0.0,
    };
    let mut out = Vec::new();
    for epochs in [1, 2, 3, 4, 6, 8, 12, 16, 30] {
        let started = Instant::now();
        let factors = implicit_als::fit(data, items, &AlsSettings { epochs, ..settings }, 42).expect("finite factors");
        let seconds = started.elapsed().as_secs_f64();
        let (mut loss, alpha, lambda) = (0.0f64, 0.1f64, 10.0f64);
        loss += lambda * factors.factors.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
        for user in 0..data.users() {
            let (places, strengths) = data.row(user);
            let history: Vec<(u32, f32)> = places.iter().copied().zip(strengths.iter().copied()).collect();
            let Some(person) = factors.fold_in(&history, &settings) else { continue };
            // In the eigenbasis, the sum over all items is that of the squares by their eigenvalues.
            for (value, eigenvalue) in person.iter().zip(&factors.eigenvalues) {
                loss += f64::from(value * value) * (lambda + alpha * f64::from(*eigenvalue));
            }
            for &(item, _) in &history {
                loss += (1.0 - f64::from(factors.predict(&person, item))).powi(2);
            }
        }
        out.push(serde_json::json!({"epochs": epochs, "seconds": seconds, "loss": loss}));
    }
    println!("{}", serde_json::Value::Array(out));
}

fn fit_ease(data: &Dataset, items: usize) {
    let started = Instant::now();
    let weights = ease::fit(data, items, ease::Penalty { lambda: 200.0, dropout: 0.0 }, None, 0).expect("weights");
    let seconds = started.elapsed().as_secs_f64();
    let all = (0..weights.len()).flat_map(|item| weights.row(item));
    let sum: f64 = all.map(|(_, weight)| f64::from(weight).powi(2)).sum();
    println!("{}", serde_json::json!({"seconds": seconds, "squares": sum}));
}
