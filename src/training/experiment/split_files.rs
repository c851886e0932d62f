//! Published splits: files with one interaction a line (`user item`, `user item value`, tab-separated) or one person a line (`user item item …`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::domain::{Behaviour, Domain, Interaction, InteractionKind, Item, ItemId, UserId};
use crate::evaluation::Source;

use super::super::load::Loader;
use super::super::{TrainingError, TrainingSettings};
use super::{Split, SplitCase};

/// One file of interactions, and the domain of its items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InteractionFile {
    pub domain: Domain,
    pub path: PathBuf,
}

/// Who took to what, and how much.
type Interactions = BTreeMap<UserId, BTreeMap<ItemId, f64>>;

/// Reads a split. The people of all files are the same when their ids are; items are the same within a domain. A value counts like a number of
/// plays; without one each interaction says the same. With `known_items`, what is asked for of items that the training part does not have is left out, as some papers
/// do; otherwise it counts as missed.
///
/// # Errors
/// [`TrainingError::Split`] names the file and line.
pub fn split_files(
    train: &[InteractionFile],
    test: &[InteractionFile],
    known_items: bool,
    settings: &TrainingSettings,
) -> Result<Split, TrainingError> {
    let mut known = Interactions::new();
    let mut wanted: BTreeMap<(UserId, u16), BTreeSet<ItemId>> = BTreeMap::new();
    let mut domain_of: BTreeMap<ItemId, Domain> = BTreeMap::new();
    for file in train {
        read(file, |user, item, value| {
            domain_of.insert(item.clone(), file.domain.clone());
            known.entry(user).or_default().insert(item, value);
        })?;
    }
    let mut tested = 0;
    for file in test {
        let domain = place_of(&file.domain, settings)?;
        read(file, |user, item, _| {
            if known_items && !domain_of.contains_key(&item) {
                return;
            }
            domain_of.insert(item.clone(), file.domain.clone());
            tested += usize::from(wanted.entry((user, domain)).or_default().insert(item));
        })?;
    }
    let items: Vec<Item> = domain_of.into_iter().map(|(id, domain)| bare(id, domain)).collect();
    let mut loader = Loader::new(items, settings);
    let histories: BTreeMap<&UserId, Vec<Behaviour>> =
        known.iter().map(|(user, items)| (user, Behaviour::merged(Vec::new(), &interactions(items)))).collect();
    for (user, history) in &histories {
        loader.add(user, history);
    }
    let loaded = loader.finish();
    let place = |id: &ItemId| loaded.items.binary_search_by(|item| item.id.cmp(id)).ok().map(|place| place as u32);
    let cases: Vec<SplitCase> = wanted
        .into_iter()
        .map(|((user, domain), items)| SplitCase {
            history: histories.get(&user).cloned().unwrap_or_default(),
            user: user.to_string(),
            domain,
            relevant: items.iter().filter_map(place).collect(),
            asked_at: None,
            first: true,
        })
        .collect();
    let names = |files: &[InteractionFile]| -> Vec<String> {
        files.iter().map(|file| file.path.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect()
    };
    let source = Source {
        kind: "published".into(),
        description: format!("{} against {}", names(train).join(", "), names(test).join(", ")),
        train_interactions: loaded.data.items.len() as u64,
        test_interactions: tested as u64,
        users: loaded.data.users() as u64,
        items: loaded.items.len() as u64,
        cutoff: None,
    };
    let first_seen = loaded.data.supporters().into_iter().map(|people| (people > 0).then_some(0)).collect();
    Ok(Split { loaded, cases, source, candidates: None, first_seen, notes: Vec::new() })
}

fn place_of(domain: &Domain, settings: &TrainingSettings) -> Result<u16, TrainingError> {
    let place = settings.domains.iter().position(|other| other == domain);
    place.map(|place| place as u16).ok_or_else(|| TrainingError::Split(format!("there is no domain {domain}")))
}

/// An item of which only the id is known.
fn bare(id: ItemId, domain: Domain) -> Item {
    Item {
        title: String::new(),
        id,
        domain,
        genres: Vec::new(),
        tags: Vec::new(),
        description: None,
        creators: Vec::new(),
        released: None,
        attributes: BTreeMap::new(),
        available: true,
    }
}

fn interactions(items: &BTreeMap<ItemId, f64>) -> Vec<Interaction> {
    items
        .iter()
        .map(|(item, value)| Interaction {
            item_id: item.clone(),
            kind: InteractionKind::Play,
            value: Some(*value),
            at: Timestamp::UNIX_EPOCH,
        })
        .collect()
}

fn read(file: &InteractionFile, mut add: impl FnMut(UserId, ItemId, f64)) -> Result<(), TrainingError> {
    let wrong = |line: usize, reason: &str| TrainingError::Split(format!("{}:{line}: {reason}", file.path.display()));
    let opened = File::open(&file.path).map_err(|error| wrong(0, &error.to_string()))?;
    for (number, line) in BufReader::new(opened).lines().enumerate() {
        let line = line.map_err(|error| wrong(number + 1, &error.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let id = |text: &str| {
            ItemId::new(format!("{}-{text}", file.domain)).map_err(|_| wrong(number + 1, "an item id is too long"))
        };
        let user = |text: &str| UserId::new(text).map_err(|_| wrong(number + 1, "a user id is too long"));
        if line.contains('\t') {
            let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
            let value = match fields[..] {
                [_, _] => 1.0,
                [_, _, value] => value
                    .parse::<f64>()
                    .ok()
                    .filter(|value| value.is_finite() && *value >= 0.0)
                    .ok_or_else(|| wrong(number + 1, "the value is not a number from 0"))?,
                _ => return Err(wrong(number + 1, "expected user, item and perhaps a value")),
            };
            add(user(fields[0])?, id(fields[1])?, value);
        } else {
            let mut fields = line.split_whitespace();
            let person = user(fields.next().unwrap_or_default())?;
            for item in fields {
                add(person.clone(), id(item)?, 1.0);
            }
        }
    }
    Ok(())
}

impl InteractionFile {
    /// `FILE` or `DOMAIN=FILE`; without a domain the first of those configured.
    #[must_use]
    pub fn parse(text: &str, domains: &[Domain]) -> Self {
        let named = text.split_once('=').and_then(|(name, path)| Some((Domain::new(name).ok()?, path)));
        match named {
            Some((domain, path)) if domains.contains(&domain) => Self { domain, path: Path::new(path).to_owned() },
            _ => Self { domain: domains[0].clone(), path: Path::new(text).to_owned() },
        }
    }
}
