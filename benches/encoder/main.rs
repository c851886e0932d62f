//! The encoder in the process: FOLDER TEXTS VECTORS writes a vector, as JSON, for each line of a file, and says how fast; `run` holds them against a reference.

use std::path::Path;
use std::time::Instant;

use medley::large_model::encoder::Encoder;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [folder, texts, vectors] = arguments.as_slice() else {
        eprintln!("usage: cargo bench --features candle --bench encoder -- FOLDER TEXTS VECTORS");
        return;
    };
    let encoder = Encoder::open(Path::new(folder)).expect("the folder holds a model");
    let texts: Vec<String> = std::fs::read_to_string(texts).expect("a file").lines().map(str::to_owned).collect();
    let found = encoder.embed(&texts).expect("vectors");
    let lines: Vec<String> = found.iter().map(|vector| serde_json::to_string(vector).expect("JSON")).collect();
    std::fs::write(vectors, lines.join("\n") + "\n").expect("a file that can be written");
    let (started, mut times) = (Instant::now(), 0);
    while started.elapsed().as_secs() < 10 {
        encoder.embed(&texts).expect("vectors");
        times += 1;
    }
    let each = started.elapsed().as_secs_f64() / f64::from(times * u32::try_from(texts.len()).expect("few texts"));
    let one = Instant::now();
    (0..20).for_each(|_| drop(encoder.embed(&texts[..1]).expect("a vector")));
    println!(
        "{} dimensions, {} texts of {} characters in the mean: {:.0} texts a second; one text alone {:.1} ms",
        encoder.dimensions(),
        texts.len(),
        texts.iter().map(|text| text.chars().count()).sum::<usize>() / texts.len(),
        1.0 / each,
        one.elapsed().as_secs_f64() * 1e3 / 20.0,
    );
}
