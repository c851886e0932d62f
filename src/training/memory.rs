//! How much memory a training will take, so that one that cannot fit is refused before it starts.

use crate::engine::scorers::item_knn;

use super::fitting::Columns;
use super::load::Loaded;
use super::{TrainingError, TrainingSettings};

const MIB: u64 = 1 << 20;

/// Bytes of an item as it was loaded and once more in the catalogue, with its terms, and of a person.
const ITEM: u64 = 2_000;
const PERSON: u64 = 150;

/// Bytes at the peak of a training that single precision carries (in double, the two dense matrices take twice as much): what was loaded, and what fitting all scorers on all
/// people takes beside it, iALS at the same time as the item-to-item models.
pub(super) fn estimate(loaded: &Loaded, columns: &Columns, settings: &TrainingSettings) -> u64 {
    let engine = &settings.engine;
    let (covered, touched, items) = (columns.covered as u64, columns.touched as u64, loaded.items.len() as u64);
    let (people, interactions) = (loaded.data.users() as u64, loaded.data.items.len() as u64);
    let width = loaded.vectors.as_ref().map_or(0, |vectors| vectors.dimensions() as u64);
    // The data four times: as loaded, without what is held out, by column, and as one model weighs it; with times.
    let data = items * ITEM + people * PERSON + interactions * 16 * 4 + items * width * 4;

    let weights = |items: u64, keep: usize| items * if keep == 0 { items } else { items.min(keep as u64) } * 8;
    let of_ease = weights(covered, engine.ease_keep_per_item);
    let of_knn = weights(touched, item_knn::affordable(engine.item_knn_neighbours, columns.touched));
    // EASE has its Gram matrix beside the inverse, the graph filter its rows beside the matrix. Rows of weights are put together into half their size, and stand beside it
    // until then.
    let item_to_item = (8 * covered * covered + of_ease * 3 / 2).max(of_ease + of_knn * 5 / 2 + interactions * 12);

    let factors = |count: u64| count * engine.ials.dimensions as u64 * 4;
    // Both sides, one of them turned, and the data by person and by item.
    let als = factors(people + touched) + factors(people.max(touched)) + interactions * 24 + (people + touched) * 24;
    // Then the regression from texts to factors has the vectors once more, as sparse rows.
    let texts = factors(2 * items) + items * (width + 8) * 8;
    // What was fitted for validation has been given back by then, but not all of it to the system: a million items held 11.3 GiB where 8.2 are counted.
    (data + item_to_item + als.max(texts)) * 7 / 5
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
