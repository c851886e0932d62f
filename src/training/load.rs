//! What training reads from the store: the catalogue, and everybody's strengths.

use std::collections::HashMap;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::domain::{Behaviour, Item, ItemId, UserId};
use crate::engine::catalogue::Catalogue;
use crate::engine::dataset::Dataset;
use crate::engine::item_vectors::ItemVectors;
use crate::engine::preference::{decay, newest, preferences};
use crate::store::{ItemChange, Store};

use super::item_vectors::{self, VectorReport};
use super::{TrainingError, TrainingSettings};

/// People and items read at once.
const PEOPLE_AT_ONCE: u32 = 2_000;
const ITEMS_AT_ONCE: u32 = 5_000;

/// All that models are fitted on. Items are ordered by id, users by id; places stand for both.
pub(super) struct Loaded {
    pub items: Vec<Item>,
    /// By item: its domain's place in the settings.
    pub domain_of: Vec<u16>,
    pub catalogue: Catalogue,
    /// The people of `data`.
    pub users: Vec<UserId>,
    pub data: Dataset,
    /// By interaction of `data`: when the newest of them happened, in seconds.
    pub times: Vec<i64>,
    pub fingerprint: String,
    /// Of the items' texts, and what became of asking for them.
    pub vectors: Option<ItemVectors>,
    pub vector_report: Option<VectorReport>,
}

/// Reads the store. Behaviour with items that the catalogue does not have is left out.
pub(super) async fn load(store: &dyn Store, settings: &TrainingSettings) -> Result<Loaded, TrainingError> {
    let mut loader = Loader::new(load_items(store).await?, settings);
    let mut after: Option<UserId> = None;
    loop {
        let people = store.histories(after.as_ref(), PEOPLE_AT_ONCE).await?;
        let Some((last, _)) = people.last() else { return Ok(loader.finish()) };
        after = Some(last.clone());
        for (user, history) in people {
            loader.add(&user, &history);
        }
    }
}

impl Loaded {
    /// Adds vectors of the items' texts, where the settings name a provider and it gives them.
    pub(super) async fn add_vectors(
        &mut self,
        store: &dyn Store,
        settings: &TrainingSettings,
        progress: &(dyn Fn(&str, f32) + Send + Sync),
    ) {
        if let Some(embedder) = &settings.embedder {
            let (vectors, report) = item_vectors::vectors(store, embedder, &self.items, progress).await;
            (self.vectors, self.vector_report) = (vectors, Some(report));
        }
    }
}

/// Puts together what models are fitted on, person by person.
pub(super) struct Loader<'a> {
    settings: &'a TrainingSettings,
    places: HashMap<ItemId, u32>,
    hash: Sha256,
    loaded: Loaded,
}

impl<'a> Loader<'a> {
    pub(super) fn new(mut items: Vec<Item>, settings: &'a TrainingSettings) -> Self {
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
        let places = items.iter().enumerate().map(|(n, item)| (item.id.clone(), n as u32)).collect();
        let data = Dataset::new(items.len());
        let loaded = Loaded {
            items,
            domain_of,
            catalogue,
            users: Vec::new(),
            data,
            times: Vec::new(),
            fingerprint: String::new(),
            vectors: None,
            vector_report: None,
        };
        Self { settings, places, hash, loaded }
    }

    /// Adds the row of one person; each strength reckoned from the newest behaviour of that person, as at request time. People must come
    /// in the order of their ids, for the fingerprint.
    pub(super) fn add(&mut self, user: &UserId, history: &[Behaviour]) {
        self.hash.update(user.as_str());
        let mut last: HashMap<u32, i64> = HashMap::new();
        for entry in history {
            self.hash.update(entry.item_id.as_str());
            self.hash.update(entry.kind.as_str());
            self.hash.update(entry.total.to_le_bytes());
            self.hash.update(entry.last_value.unwrap_or(f64::MIN).to_le_bytes());
            self.hash.update(entry.last_at.as_second().to_le_bytes());
            if let Some(&place) = self.places.get(&entry.item_id) {
                let time = last.entry(place).or_insert(i64::MIN);
                *time = (*time).max(entry.last_at.as_second());
            }
        }
        let strengths = preferences(history, &self.settings.interactions, newest(history));
        let known = strengths.into_iter().filter_map(|(item, strength)| Some((*self.places.get(&item)?, strength)));
        let mut row: Vec<(u32, f32)> = known.collect();
        if !row.is_empty() {
            self.loaded.users.push(user.clone());
            self.loaded.data.push(&mut row);
            self.loaded.times.extend(row.iter().map(|(place, _)| last.get(place).copied().unwrap_or(0)));
        }
    }

    pub(super) fn finish(mut self) -> Loaded {
        self.loaded.fingerprint = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.loaded
    }
}

pub(super) async fn load_items(store: &dyn Store) -> Result<Vec<Item>, TrainingError> {
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
