//! Leaving candidates out early changes nothing: every list against the plain way, which scores all of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::domain::{Domain, Item, ItemId, Taste};
use crate::engine::artifact::{FORMAT, Manifest, Metrics, Model};
use crate::engine::blend::{Blend, DomainBlend, HistorySlice, NewItems, SliceWeights};
use crate::engine::scorers::implicit_als::{AlsFactors, AlsSettings};
use crate::engine::scorers::item_weights::ItemWeights;
use crate::engine::scorers::term_factors::TermFactors;
use crate::engine::settings::{InteractionSettings, KindWeight};
use crate::engine::tastes;
use crate::engine::{fold_in, pipeline};

const ITEMS: usize = 1_500;
/// The last items are new: no model has a column for them, only terms.
const TRAINED: usize = 1_400;
const DOMAINS: [&str; 3] = ["music", "movie", "game"];
const GENRES: [&str; 6] = ["rock", "jazz", "drama", "comedy", "puzzle", "racing"];

fn id(number: usize) -> ItemId {
    ItemId::new(format!("i{number}")).unwrap()
}

fn item(number: usize, random: &mut ChaCha8Rng) -> Item {
    let genres: Vec<String> = (0..2).map(|_| GENRES[random.random_range(0..6)].to_owned()).collect();
    Item {
        id: id(number),
        domain: Domain::new(DOMAINS[number % 3]).unwrap(),
        title: format!("title {}", random.random_range(0..400)),
        tags: vec![GENRES[random.random_range(0..6)].to_owned()],
        genres,
        description: None,
        creators: Vec::new(),
        released: None,
        attributes: BTreeMap::new(),
        available: random.random::<f32>() < 0.95,
    }
}

fn weights(random: &mut ChaCha8Rng) -> ItemWeights {
    let row = |random: &mut ChaCha8Rng| {
        let mut targets: Vec<u32> = (0..60).map(|_| random.random_range(0..TRAINED as u32)).collect();
        targets.sort_unstable();
        targets.dedup();
        targets.into_iter().map(|target| (target, random.random::<f32>() - 0.3)).collect()
    };
    ItemWeights::from_rows((0..TRAINED).map(|_| row(random)).collect(), 0)
}

fn model(random: &mut ChaCha8Rng, weights_of: ByScorer<f32>) -> Model {
    let k = 8;
    let slice = SliceWeights { weights: weights_of, level: 1.0 };
    let blend = DomainBlend {
        scales: DomainBlend::UNFITTED_SCALES,
        slices: HistorySlice::ALL.into_iter().map(|name| (name, slice)).collect(),
        new_items: NewItems { ials: 0.6, content: 0.3 },
    };
    Model {
        manifest: Manifest {
            format: FORMAT,
            version: "v".into(),
            trained_at: Timestamp::UNIX_EPOCH,
            data_fingerprint: String::new(),
            seed: 1,
            parameters: serde_json::json!({}),
            metrics: Metrics::new(),
            users: 1,
            items: TRAINED as u64,
            interactions: 1,
            als: AlsSettings::default(),
            ease_strength_exponent: 0.5,
            blend: Blend { domains: DOMAINS.map(|domain| (Domain::new(domain).unwrap(), blend.clone())).into() },
            checksum: String::new(),
            bytes: 0,
        },
        item_ids: (0..TRAINED).map(id).collect(),
        popularity: (0..TRAINED).map(|_| random.random::<f32>()).collect(),
        item_to_item: std::array::from_fn(|_| weights(random)),
        als: AlsFactors {
            dimensions: k,
            factors: (0..TRAINED * k).map(|_| random.random::<f32>() - 0.4).collect(),
            eigenvalues: vec![100.0; k],
            trained: TRAINED,
            terms: TermFactors::new(
                k,
                vec!["label rock".into(), "label drama".into()],
                (0..2 * k).map(|_| random.random()).collect(),
            ),
        },
        meanings: None,
    }
}

fn settings() -> InteractionSettings {
    let kind = KindWeight { weight: 1.0, half_life_days: 100.0 };
    InteractionSettings {
        view: kind,
        play: kind,
        watch: kind,
        like: kind,
        dislike: KindWeight { weight: -1.0, ..kind },
        rating: kind,
        playtime: kind,
        skip: kind,
        purchase: kind,
        rating_scale: [0.5, 5.0],
    }
}

/// All candidates by their relevance, each scored in full, scorer by scorer.
fn plain(list: &List<'_>, said: &Said<'_>, candidates: &[usize]) -> Vec<(usize, f32)> {
    let share = if list.ranker.hears_tastes() { list.tastes.share } else { 0.0 };
    let relevance = |&position: &usize| {
        let said = |scorer: usize| {
            let said = said.by[scorer].as_ref();
            said.map_or(0.0, |said| list.coefficient(scorer, position) * said.of(list.items.items[position]))
        };
        let sum: f32 = (0..SCORERS.len()).map(said).sum();
        let met = taste_match::combined((0..list.tastes.len()).map(|taste| list.tastes.met(taste, position)));
        (position, ((1.0 - share) * squash(sum) + share * met).clamp(0.0, 1.0))
    };
    let mut all: Vec<(usize, f32)> = candidates.iter().map(relevance).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all
}

#[test]
fn the_best_are_those_of_the_plain_way() {
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let (mut compared, mut jointly) = (0, 0);
    for round in 0..60 {
        let mut catalogue = Catalogue::new(&DOMAINS.map(|domain| Domain::new(domain).unwrap()));
        for number in 0..ITEMS {
            catalogue.upsert(item(number, &mut random));
        }
        let mut weights_of: ByScorer<f32> = std::array::from_fn(|_| random.random());
        if round % 3 == 0 {
            weights_of[IALS] = 0.0;
        }
        let model = model(&mut random, weights_of).bind(&mut catalogue);
        let taste = |random: &mut ChaCha8Rng| Taste {
            domain: Some(Domain::new(DOMAINS[random.random_range(0..3)]).unwrap()),
            text: GENRES[random.random_range(0..6)].to_owned(),
            pointer: String::new(),
        };
        let wanted: Vec<Taste> = (0..round % 5).map(|_| taste(&mut random)).collect();
        let view = model.view(&catalogue);
        let (wanted, _) = tastes::resolve(&catalogue, Some(&model), &view, &wanted);
        let mut profile = fold_in::profile(&catalogue, &settings(), &[], wanted);
        profile.history = (0..round % 4 * 10)
            .map(|_| (ItemIndex(random.random_range(0..ITEMS as u32)), random.random::<f32>() + 0.1))
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .collect();
        for (domain, name) in DOMAINS.into_iter().zip([None, Some("ials"), Some("content")]) {
            let domain = Domain::new(domain).unwrap();
            let blend = pipeline::person_blend(&catalogue, Some(&model), &profile, &domain);
            let ranker = Ranker::named(name, blend);
            let said = Said::new(&catalogue, Some(&model), &profile, name.is_none(), |scorer| ranker.wants(scorer));
            let apart = Said::new(&catalogue, Some(&model), &profile, false, |scorer| ranker.wants(scorer));
            let list = List::new(&catalogue, Some(&model), &view, &profile, &said, &ranker, &domain);
            jointly += usize::from(!list.joint.is_empty());
            let allowed = list.items.available.clone();
            let candidates: Vec<usize> = (0..allowed.len()).filter(|&position| allowed[position]).collect();
            let expected = plain(&list, &apart, &candidates);
            for k in [1, 10, 80, 2_000] {
                let found = list.best(&allowed, k);
                assert_eq!(found.len(), k.min(candidates.len()));
                for ((item, parts), (_, relevance)) in found.iter().zip(&expected) {
                    let own = expected.iter().find(|(other, _)| other == item).unwrap().1;
                    assert!((parts.total() - relevance).abs() < 1e-5 && (own - relevance).abs() < 1e-5);
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 10_000 && jointly >= 10, "{compared} compared, in {jointly} lists scorers spoke as one");
}

#[test]
fn a_person_whose_factors_overflow_leaves_the_word_to_the_other_scorers() {
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let mut catalogue = Catalogue::new(&DOMAINS.map(|domain| Domain::new(domain).unwrap()));
    for number in 0..ITEMS {
        catalogue.upsert(item(number, &mut random));
    }
    let mut model = model(&mut random, [1.0; SCORERS.len()]);
    model.als.factors.fill(1e30);
    let model = model.bind(&mut catalogue);
    let mut profile = fold_in::profile(&catalogue, &settings(), &[], Vec::new());
    profile.history = vec![(ItemIndex(3), 1.0), (ItemIndex(4), 1.0)];
    let said = Said::new(&catalogue, Some(&model), &profile, true, |_| true);
    assert!(said.by[IALS].is_none() && said.by.iter().flatten().count() >= 2);
}
