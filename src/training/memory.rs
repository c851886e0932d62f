//! How much memory a training will take, so that one that cannot fit is refused before it starts.

use super::fitting::Columns;
use super::load::Loaded;
use super::{TrainingError, TrainingSettings};

const MIB: u64 = 1 << 20;

/// Bytes at the peak of a training that single precision carries (in double, the two dense matrices take twice as much): what was loaded, the dense matrices of EASE (the Gram matrix and its inverse), the weights that all models
/// keep, and the factors of iALS with a copy of the data by person and by item.
pub(super) fn estimate(loaded: &Loaded, columns: &Columns, settings: &TrainingSettings) -> u64 {
    let engine = &settings.engine;
    let (covered, touched) = (columns.covered as u64, columns.touched as u64);
    let (people, interactions) = (loaded.data.users() as u64, loaded.data.items.len() as u64);
    let kept = |items: u64, keep: usize| {
        let keep = if keep == 0 { items } else { items.min(keep as u64) };
        // While rows are put together they stand there twice.
        2 * items * keep * 8
    };
    let dense = 2 * covered * covered * 4 + 2 * kept(covered, engine.ease_keep_per_item);
    let neighbours = 3 * kept(touched, engine.item_knn_neighbours) / 2;
    let factors = 4 * (people + touched) * engine.ials.dimensions as u64 * 4 + 2 * interactions * 12;
    let data = 4 * interactions * 16;
    // Beside the vectors themselves, the regression from texts to factors has them twice as sparse rows.
    let width = loaded.vectors.as_ref().map_or(0, |vectors| vectors.dimensions() as u64);
    let vectors = loaded.items.len() as u64 * width * (3 * 4 + 2 * 8);
    // The validation model stays while the blend is fitted.
    data + dense + neighbours + factors + vectors + loaded.items.len() as u64 * 1_000
}

/// Refuses a training that takes more than `training.max_memory_mib`, or than the machine has left when that is 0.
///
/// # Errors
/// [`TrainingError::TooLarge`] with the numbers.
pub(super) fn check(loaded: &Loaded, columns: &Columns, settings: &TrainingSettings) -> Result<(), TrainingError> {
    let wanted = estimate(loaded, columns, settings);
    let limit = if settings.max_memory_mib > 0 { Some(settings.max_memory_mib * MIB) } else { available() };
    match limit {
        Some(limit) if wanted > limit => Err(TrainingError::TooLarge(format!(
            "{} people, {} items ({} of them in EASE) and {} interactions take about {} MiB, and {} MiB are there; \
             lower engine.ease_max_items, engine.ease_keep_per_item or engine.ials.dimensions",
            loaded.data.users(),
            loaded.items.len(),
            columns.covered,
            loaded.data.items.len(),
            wanted / MIB,
            limit / MIB,
        ))),
        _ => Ok(()),
    }
}

/// What the machine can still give, where it says so (Linux).
fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
