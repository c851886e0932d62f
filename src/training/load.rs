//! What training reads from the store: the catalogue, and everybody's strengths.

use std::collections::HashMap;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::domain::{Behaviour, Item, UserId};
use crate::engine::catalogue::Catalogue;
use crate::engine::dataset::Dataset;
use crate::engine::preference::{decay, newest, preferences};
use crate::store::{ItemChange, Store};

use super::{TrainingError, TrainingItem, TrainingSettings};

/// People and items read at once.
const PEOPLE_AT_ONCE: u32 = 2_000;
const ITEMS_AT_ONCE: u32 = 5_000;

/// All that models are fitted on. Items are ordered by id, users by id; places stand for both.
pub(super) struct Loaded {
    pub items: Vec<TrainingItem>,
    /// By item: its domain's place in the settings.
    pub domain_of: Vec<u16>,
    pub catalogue: Catalogue,
    pub data: Dataset,
    /// By interaction of `data`: when the newest of them happened, in seconds.
    pub times: Vec<i64>,
    /// By item: decayed sum of positive strength.
    pub popularity: Vec<f32>,
    pub fingerprint: String,
}

/// Reads the store. Behaviour with items that the catalogue does not have is left out.
pub(super) async fn load(store: &dyn Store, settings: &TrainingSettings) -> Result<Loaded, TrainingError> {
    let mut items: Vec<Item> = load_items(store).await?;
    items.retain(|item| settings.domains.contains(&item.domain));
    items.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let mut hash = Sha256::new();
    let mut catalogue = Catalogue::new(&settings.domains);
    let mut domain_of = Vec::with_capacity(items.len());
    for item in &items {
        hash.update(serde_json::to_vec(item).unwrap_or_default());
        let place = settings.domains.iter().position(|domain| *domain == item.domain).unwrap_or(0);
        domain_of.push(place as u16);
        catalogue.upsert(item.clone());
    }
    let places: HashMap<&str, u32> = items.iter().enumerate().map(|(n, item)| (item.id.as_str(), n as u32)).collect();

    let mut data = Dataset::new(items.len());
    let mut times = Vec::new();
    let mut after: Option<UserId> = None;
    loop {
        let people = store.histories(after.as_ref(), PEOPLE_AT_ONCE).await?;
        let Some((last, _)) = people.last() else { break };
        after = Some(last.clone());
        for (user, history) in people {
            hash.update(user.as_str());
            add_person(&history, settings, &places, &mut data, &mut times, &mut hash);
        }
    }
    let popularity = popularity(&data, &times, settings, items.len());
    let fingerprint = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let items = items.iter().map(|item| TrainingItem { id: item.id.clone() }).collect();
    Ok(Loaded { items, domain_of, catalogue, data, times, popularity, fingerprint })
}

async fn load_items(store: &dyn Store) -> Result<Vec<Item>, TrainingError> {
    let mut items = HashMap::new();
    let mut revision = 0;
    loop {
        let changes = store.item_changes(revision, ITEMS_AT_ONCE).await?;
        let Some((last, _)) = changes.last() else { return Ok(items.into_values().collect()) };
        revision = *last;
        for (_, change) in changes {
            match change {
                ItemChange::Stored(item) => {
                    items.insert(item.id.clone(), item);
                }
                ItemChange::Deleted(id) => {
                    items.remove(&id);
                }
            }
        }
    }
}

/// Adds the row of one person; each strength reckoned from the newest behaviour of that person, as at request time.
fn add_person(
    history: &[Behaviour],
    settings: &TrainingSettings,
    places: &HashMap<&str, u32>,
    data: &mut Dataset,
    times: &mut Vec<i64>,
    hash: &mut Sha256,
) {
    let mut last: HashMap<u32, i64> = HashMap::new();
    for entry in history {
        hash.update(entry.item_id.as_str());
        hash.update(entry.kind.as_str());
        hash.update(entry.total.to_le_bytes());
        hash.update(entry.last_value.unwrap_or(f64::MIN).to_le_bytes());
        hash.update(entry.last_at.as_second().to_le_bytes());
        if let Some(&place) = places.get(entry.item_id.as_str()) {
            let time = last.entry(place).or_insert(i64::MIN);
            *time = (*time).max(entry.last_at.as_second());
        }
    }
    let strengths = preferences(history, &settings.interactions, newest(history));
    let mut row: Vec<(u32, f32)> =
        strengths.into_iter().filter_map(|(item, strength)| Some((*places.get(item.as_str())?, strength))).collect();
    if !row.is_empty() {
        data.push(&mut row);
        times.extend(row.iter().map(|(place, _)| last.get(place).copied().unwrap_or(0)));
    }
}

/// By item: the decayed sum of positive strengths, reckoned from the newest interaction of all.
pub(super) fn popularity(data: &Dataset, times: &[i64], settings: &TrainingSettings, items: usize) -> Vec<f32> {
    let at = |second: i64| Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
    let newest = at(times.iter().copied().max().unwrap_or(0));
    let mut sums = vec![0.0f32; items];
    for ((&item, &strength), &time) in data.items.iter().zip(&data.strengths).zip(times) {
        if strength > 0.0 {
            sums[item as usize] += strength * decay(at(time), newest, settings.engine.popularity_half_life_days);
        }
    }
    sums
}
