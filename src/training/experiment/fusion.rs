//! What the items' texts are worth at the input: the same people asked of models that were trained with all, a part or none of them, and of models that
//! were trained with texts that cannot say anything (controls).

use std::collections::BTreeMap;
use std::f32::consts::TAU;

use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use crate::domain::{Behaviour, Item, ItemId, Query, Taste};
use crate::engine::artifact::BoundModel;
use crate::engine::catalogue::Catalogue;
use crate::engine::item_vectors::ItemVectors;
use crate::engine::pipeline::{self, MODEL_NAMES};
use crate::engine::preference::{newest, preferences};
use crate::evaluation::intervals::{Bootstrap, Column, Estimate, differences};
use crate::evaluation::metrics::ndcg;
use crate::training::load::Loaded;
use crate::training::{TrainingError, TrainingSettings, fit};

use super::{ExperimentSettings, NEVER, Split, SplitCase, bind, chosen, query};

/// What a model is trained with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Texts {
    None,
    All,
    /// Genres, tags, creators, words and years of release, but no vectors.
    TermsOnly,
    /// EASE without terms.
    NotInEase,
    /// Nobody knows when anything was released.
    NoEras,
    /// Nothing is trained: the cosine between an item's vector and those of the history.
    VectorsAlone,
    /// Each item has the text of another one.
    Permuted,
    /// Each item has the vector of another one.
    VectorsPermuted,
    /// Vectors of random numbers.
    Random,
    /// Vectors that tell an item's place in the catalogue, and nothing else.
    Order,
}

const VARIANTS: [(&str, Texts); 10] = [
    ("behaviour only", Texts::None),
    ("vectors only, untrained", Texts::VectorsAlone),
    ("fused: behaviour, terms, vectors", Texts::All),
    ("  without vectors", Texts::TermsOnly),
    ("  without terms in EASE", Texts::NotInEase),
    ("  without years of release", Texts::NoEras),
    ("  texts permuted (control)", Texts::Permuted),
    ("  vectors permuted (control)", Texts::VectorsPermuted),
    ("  vectors random (control)", Texts::Random),
    ("  vectors of the order (control)", Texts::Order),
];
/// The places of what others are held against.
const BEHAVIOUR: usize = 0;
const TERMS: usize = 3;

/// The genres of MovieLens in Chinese.
const CHINESE: [(&str, &str); 18] = [
    ("Action", "动作"),
    ("Adventure", "冒险"),
    ("Animation", "动画"),
    ("Children", "儿童"),
    ("Comedy", "喜剧"),
    ("Crime", "犯罪"),
    ("Documentary", "纪录片"),
    ("Drama", "剧情"),
    ("Fantasy", "奇幻"),
    ("Film-Noir", "黑色电影"),
    ("Horror", "恐怖"),
    ("Musical", "歌舞"),
    ("Mystery", "悬疑"),
    ("Romance", "爱情"),
    ("Sci-Fi", "科幻"),
    ("Thriller", "惊悚"),
    ("War", "战争"),
    ("Western", "西部"),
];
/// So many genres stand for somebody's tastes.
const GENRES: usize = 3;

/// One way to train, on one slice.
#[derive(Debug, Clone, Serialize)]
pub struct FusionRow {
    pub name: String,
    pub ndcg: Estimate,
    /// Paired differences to behaviour alone, and to all but the vectors.
    pub to_behaviour: Estimate,
    pub to_terms: Estimate,
}

/// All ways to train, on one slice.
#[derive(Debug, Clone, Serialize)]
pub struct FusionSlice {
    pub slice: String,
    pub cases: usize,
    pub rows: Vec<FusionRow>,
}

/// How a case is asked for.
#[derive(Debug, Clone, Copy)]
enum Asking {
    History,
    Tastes,
    ChineseTastes,
}

/// Trains each variant on both splits and asks for the slices: warm, pure taste and Chinese taste of the first (at random), new items of the second. Both
/// must have their vectors.
///
/// # Errors
/// [`TrainingError`].
pub fn measure(
    warm: &Split,
    new_items: &Split,
    settings: &ExperimentSettings,
    progress: &(dyn Fn(&str, f32) + Send + Sync),
) -> Result<Vec<FusionSlice>, TrainingError> {
    let asked = [
        (warm, "warm: people as they are", Asking::History),
        (warm, "pure taste: their genres", Asking::Tastes),
        (warm, "Chinese taste: the same in Chinese", Asking::ChineseTastes),
        (new_items, "new items, among themselves", Asking::History),
    ];
    let mut columns: Vec<Vec<Column>> = vec![Vec::new(); asked.len()];
    for (number, (name, texts)) in VARIANTS.into_iter().enumerate() {
        for (of_split, split) in [(0..3, warm), (3..4, new_items)] {
            progress(&format!("train {}", name.trim()), number as f32 / VARIANTS.len() as f32);
            let mut training = settings.training.clone();
            let loaded = given(&split.loaded, texts, &mut training);
            let model = match texts {
                Texts::VectorsAlone => None,
                _ => Some(bind(&loaded, fit(&loaded, &training, NEVER, &|_, _| ())?)),
            };
            for slice in of_split {
                let asking = asked[slice].2;
                columns[slice].push(answers(split, &loaded, model.as_ref(), settings, asking));
            }
        }
    }
    let slices = asked.into_iter().zip(columns).map(|((split, name, _), columns)| {
        let mut users = std::collections::HashMap::new();
        let person = chosen(split, settings).into_iter().map(|case| {
            let next = users.len() as u32;
            *users.entry(case.user.as_str()).or_insert(next)
        });
        let bootstrap = Bootstrap::new(person.collect::<Vec<u32>>(), settings.training.seed);
        summed_up(name, &columns, &bootstrap)
    });
    Ok(slices.collect())
}

fn summed_up(name: &str, columns: &[Column], bootstrap: &Bootstrap) -> FusionSlice {
    let mut all: Vec<Column> = columns.to_vec();
    for held_against in [BEHAVIOUR, TERMS] {
        all.extend(columns.iter().map(|column| differences(column, &columns[held_against])));
    }
    let nothing = Estimate { mean: 0.0, low: 0.0, high: 0.0 };
    let estimates: Vec<Estimate> =
        bootstrap.estimates(&all).into_iter().map(|estimate| estimate.unwrap_or(nothing)).collect();
    let count = columns.len();
    let row = |(at, (name, _)): (usize, &(&str, Texts))| FusionRow {
        name: (*name).to_owned(),
        ndcg: estimates[at],
        to_behaviour: estimates[count + at],
        to_terms: estimates[2 * count + at],
    };
    FusionSlice {
        slice: name.to_owned(),
        cases: columns[BEHAVIOUR].len(),
        rows: VARIANTS.iter().enumerate().map(row).collect(),
    }
}

/// What was loaded, with the texts that this variant is given.
fn given(base: &Loaded, texts: Texts, training: &mut TrainingSettings) -> Loaded {
    let mut random = ChaCha8Rng::seed_from_u64(training.seed);
    let mut dealt: Vec<u32> = (0..base.items.len() as u32).collect();
    dealt.shuffle(&mut random);
    let vectors_of = |order: &[u32]| {
        let row = |&item: &u32| {
            let vector = base.vectors.as_ref()?.of(item);
            vector.iter().any(|value| *value != 0.0).then(|| vector.to_vec())
        };
        let rows: Vec<Option<Vec<f32>>> = order.iter().map(row).collect();
        ItemVectors::new(base.vectors.as_ref()?.dimensions(), &rows)
    };
    let width = base.vectors.as_ref().map_or(0, ItemVectors::dimensions);
    let mut made = |of: &mut dyn FnMut(&mut ChaCha8Rng, usize, usize) -> f32| {
        let rows: Vec<Option<Vec<f32>>> =
            (0..base.items.len()).map(|item| Some((0..width).map(|d| of(&mut random, item, d)).collect())).collect();
        ItemVectors::new(width, &rows)
    };
    let vectors = match texts {
        Texts::None | Texts::TermsOnly => None,
        Texts::All | Texts::NotInEase | Texts::NoEras | Texts::VectorsAlone => base.vectors.clone(),
        Texts::Permuted | Texts::VectorsPermuted => vectors_of(&dealt),
        Texts::Random => made(&mut |random, _, _| (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0),
        Texts::Order => made(&mut |_, item, d| {
            // Waves over the catalogue, each half as long as the last.
            let wave = TAU * (1 << (d / 2).min(12)) as f32 * item as f32 / base.items.len() as f32;
            if d % 2 == 0 { wave.sin() } else { wave.cos() }
        }),
    };
    let items: Vec<Item> = match texts {
        Texts::None => base.items.iter().map(|item| with_text_of(item, None)).collect(),
        Texts::Permuted => base
            .items
            .iter()
            .zip(&dealt)
            .map(|(item, &other)| with_text_of(item, Some(&base.items[other as usize])))
            .collect(),
        Texts::NoEras => base.items.iter().map(|item| Item { released: None, ..item.clone() }).collect(),
        _ => base.items.clone(),
    };
    if texts == Texts::NotInEase {
        training.engine.ease_side_weight = 0.0;
    }
    let mut catalogue = Catalogue::new(&training.domains);
    for item in &items {
        catalogue.upsert(item.clone());
    }
    Loaded {
        items,
        domain_of: base.domain_of.clone(),
        catalogue,
        users: base.users.clone(),
        data: base.data.clone(),
        times: base.times.clone(),
        fingerprint: base.fingerprint.clone(),
        vectors,
        vector_report: None,
    }
}

/// An item with the text and the year of another one, or with none.
fn with_text_of(item: &Item, other: Option<&Item>) -> Item {
    Item {
        title: other.map_or_else(String::new, |other| other.title.clone()),
        genres: other.map_or_else(Vec::new, |other| other.genres.clone()),
        tags: other.map_or_else(Vec::new, |other| other.tags.clone()),
        creators: other.map_or_else(Vec::new, |other| other.creators.clone()),
        description: other.and_then(|other| other.description.clone()),
        released: other.and_then(|other| other.released),
        attributes: BTreeMap::new(),
        ..item.clone()
    }
}

/// nDCG by case.
fn answers(
    split: &Split,
    loaded: &Loaded,
    model: Option<&BoundModel>,
    settings: &ExperimentSettings,
    asking: Asking,
) -> Column {
    let cases = chosen(split, settings);
    let answer = |(at, case): (usize, &&SplitCase)| {
        let ranked = match (asking, model) {
            (Asking::History, None) => nearest(split, loaded, settings, case),
            _ => {
                let (query, history) = asked(split, settings, case, asking)?;
                let interactions = &settings.training.interactions;
                let answer = pipeline::recommend(&loaded.catalogue, model, interactions, &query, &history);
                let place = |id| loaded.items.binary_search_by(|item| item.id.cmp(id)).ok();
                let ranked = answer.lists.iter().flat_map(|(_, list)| list);
                ranked.filter_map(|ranked| place(&ranked.item.id)).map(|place| place as u32).collect()
            }
        };
        let is_candidate = |item: &u32| split.candidates.as_ref().is_none_or(|candidates| candidates[*item as usize]);
        let ranked: Vec<u32> = ranked.into_iter().filter(is_candidate).take(settings.k).collect();
        let quality = ndcg(&ranked, |item| case.relevant.contains(item), case.relevant.len(), settings.k);
        Some((at as u32, quality))
    };
    cases.par_iter().enumerate().filter_map(answer).collect()
}

/// The query for a case; `None` when nothing is known of the person's tastes.
fn asked(
    split: &Split,
    settings: &ExperimentSettings,
    case: &SplitCase,
    asking: Asking,
) -> Option<(Query, Vec<Behaviour>)> {
    let training = &settings.training;
    let domain = training.domains[usize::from(case.domain)].clone();
    let limit = if split.candidates.is_some() { split.loaded.items.len() } else { settings.k };
    let mut query = query(domain.clone(), limit, MODEL_NAMES[0]);
    if matches!(asking, Asking::History) {
        return Some((query, case.history.clone()));
    }
    let mut sums: BTreeMap<&str, f32> = BTreeMap::new();
    for (id, strength) in preferences(&case.history, &training.interactions, newest(&case.history)) {
        let Ok(place) = split.loaded.items.binary_search_by(|item| item.id.cmp(&id)) else { continue };
        for genre in &split.loaded.items[place].genres {
            *sums.entry(genre).or_default() += strength;
        }
    }
    let mut genres: Vec<(&str, &str, f32)> = CHINESE
        .into_iter()
        .filter_map(|(genre, chinese)| Some((genre, chinese, *sums.get(genre)?)))
        .filter(|(.., sum)| *sum > 0.0)
        .collect();
    genres.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(b.0)));
    let text = |(genre, chinese, _): &(&'static str, &'static str, f32)| match asking {
        Asking::ChineseTastes => *chinese,
        _ => *genre,
    };
    let taste = |text: &str| Taste { domain: Some(domain.clone()), text: text.to_owned(), pointer: String::new() };
    query.tastes = genres.iter().take(GENRES).map(|genre| taste(text(genre))).collect();
    query.exclude = case.history.iter().map(|entry| entry.item_id.clone()).collect();
    (!query.tastes.is_empty()).then_some((query, Vec::new()))
}

/// Places of the items nearest to a history by their vectors alone, nearest first.
fn nearest(split: &Split, loaded: &Loaded, settings: &ExperimentSettings, case: &SplitCase) -> Vec<u32> {
    let Some(vectors) = &loaded.vectors else { return Vec::new() };
    let place = |id: &ItemId| loaded.items.binary_search_by(|item| item.id.cmp(id)).ok().map(|place| place as u32);
    let mut person = vec![0.0f32; vectors.dimensions()];
    for (id, strength) in preferences(&case.history, &settings.training.interactions, newest(&case.history)) {
        let vector = place(&id).map_or(&[] as &[f32], |item| vectors.of(item));
        person.iter_mut().zip(vector).for_each(|(sum, value)| *sum += strength * value);
    }
    let known: Vec<u32> = case.history.iter().filter_map(|entry| place(&entry.item_id)).collect();
    let cosine = |item: u32| vectors.of(item).iter().zip(&person).map(|(a, b)| a * b).sum::<f32>();
    let mut ranked: Vec<(f32, u32)> = (0..loaded.items.len() as u32)
        .filter(|&item| loaded.domain_of[item as usize] == case.domain && !known.contains(&item))
        .filter(|&item| split.candidates.as_ref().is_none_or(|candidates| candidates[item as usize]))
        .map(|item| (cosine(item), item))
        .collect();
    ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    ranked.truncate(settings.k);
    ranked.into_iter().map(|(_, item)| item).collect()
}
