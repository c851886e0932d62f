//! Fitting: all scorers on one dataset.

use jiff::Timestamp;

use crate::engine::ItemIndex;
use crate::engine::artifact::{BoundModel, Manifest, Model};
use crate::engine::catalogue::Catalogue;
use crate::engine::dataset::Dataset;
use crate::engine::meanings::Meanings;
use crate::engine::scorers::implicit_als::{self, AlsFactors};
use crate::engine::scorers::item_knn::{self, Weighting};
use crate::engine::scorers::item_weights::ItemWeights;
use crate::engine::scorers::{ITEM_TO_ITEM, ease, graph_filter, popularity};
use crate::engine::text_vectors;

use super::load::{Loaded, popularity as decayed};
use super::text_share::TextShare;
use super::{TrainingError, TrainingSettings};

/// The order of a model's columns: the items that EASE covers first, then others that somebody touched, then those that nobody did; each group by id.
pub(super) struct Columns {
    /// By column: the item's place in [`Loaded::items`].
    pub order: Vec<u32>,
    /// By the item's place: its column.
    column: Vec<u32>,
    /// How many columns EASE and the graph filter cover, which need memory in the square of it.
    pub covered: usize,
    /// How many columns the other models cover.
    pub touched: usize,
}

impl Columns {
    pub(super) fn choose(loaded: &Loaded, settings: &TrainingSettings) -> Self {
        let supporters = loaded.data.supporters();
        let mut covered: Vec<u32> = (0..loaded.items.len() as u32)
            .filter(|&item| supporters[item as usize] as usize >= settings.engine.ease_min_users.max(1))
            .collect();
        covered.sort_by_key(|&item| (std::cmp::Reverse(supporters[item as usize]), item));
        covered.truncate(settings.engine.ease_max_items);
        covered.sort_unstable();
        let mut order = covered.clone();
        let others = (0..loaded.items.len() as u32).filter(|item| covered.binary_search(item).is_err());
        let (touched, untouched): (Vec<u32>, Vec<u32>) = others.partition(|&item| supporters[item as usize] > 0);
        order.extend(&touched);
        let touched = order.len();
        order.extend(untouched);
        let mut column = vec![0; order.len()];
        for (place, &item) in order.iter().enumerate() {
            column[item as usize] = place as u32;
        }
        Self { order, column, covered: covered.len(), touched }
    }

    /// The data in columns.
    fn apply(&self, data: &Dataset) -> Dataset {
        let mut out = Dataset::new(self.order.len());
        for user in 0..data.users() {
            let (items, strengths) = data.row(user);
            let mut row: Vec<(u32, f32)> =
                items.iter().zip(strengths).map(|(&item, &strength)| (self.column[item as usize], strength)).collect();
            out.push(&mut row);
        }
        out
    }

    fn popularity(&self, loaded: &Loaded, sums: &[f32]) -> Vec<f32> {
        let sums: Vec<f32> = self.order.iter().map(|&item| sums[item as usize]).collect();
        let domains: Vec<u16> = self.order.iter().map(|&item| loaded.domain_of[item as usize]).collect();
        popularity::normalised(&sums, &domains)
    }

    /// The column of an item by its place in [`Loaded::items`].
    pub(super) fn column_of(&self, item: u32) -> u32 {
        self.column[item as usize]
    }

    /// The terms of the first `count` columns.
    pub(super) fn terms(&self, loaded: &Loaded, count: usize) -> ease::Terms {
        let content = loaded.catalogue.content();
        self.order[..count].iter().map(|&item| content.unit_terms(ItemIndex(item))).collect()
    }

    /// The vectors of a provider for those who are served; `None` where there are none, or only those of the table that is part of the program.
    pub(super) fn meanings(&self, loaded: &Loaded) -> Option<Meanings> {
        let report = loaded.vector_report.as_ref().filter(|report| report.source.provider != text_vectors::NAME)?;
        Some(Meanings::new(report.source.clone(), loaded.vectors.as_ref()?, &self.order))
    }

    /// The terms of all columns, and with them the numbers of their vectors as if each dimension were one more term; and the penalty for both, where that
    /// for terms alone is `ridge`. `None` where there are no vectors.
    pub(super) fn texts(&self, loaded: &Loaded, ridge: f32) -> Option<(ease::Terms, f32)> {
        let vectors = loaded.vectors.as_ref().filter(|_| ridge > 0.0)?;
        let first = u32::MAX - vectors.dimensions() as u32;
        let mut rows = self.terms(loaded, self.order.len());
        for (row, &item) in rows.iter_mut().zip(&self.order) {
            row.extend((first..).zip(vectors.of(item).iter().copied()));
        }
        Some((rows, WITH_VECTORS * ridge))
    }
}

/// The penalty of the regression from terms and vectors to factors, in units of that from terms alone: of 1 and 3, the better one on ml-latest-small.
const WITH_VECTORS: f32 = 3.0;

/// Fits every scorer on `data`, which is `loaded.data` or a part of it, with its `times`; and gives the share of text in EASE that it was fitted with.
///
/// # Errors
/// [`TrainingError::Ease`], [`TrainingError::Als`].
pub(super) fn fit_scorers(
    loaded: &Loaded,
    columns: &Columns,
    settings: &TrainingSettings,
    data: (&Dataset, &[i64]),
    manifest: Manifest,
    share: TextShare<'_>,
    report: &(dyn Fn(&str, f32) + Sync),
) -> Result<(Model, f32), TrainingError> {
    fit_chosen(loaded, columns, settings, data, manifest, (&|_| true, share), report)
}

/// Fits popularity and these other scorers, EASE without the items' texts.
///
/// # Errors
/// As [`fit_scorers`].
pub(super) fn fit_only(
    loaded: &Loaded,
    columns: &Columns,
    settings: &TrainingSettings,
    data: (&Dataset, &[i64]),
    manifest: Manifest,
    names: &[&str],
) -> Result<Model, TrainingError> {
    let chosen: Chosen<'_> = (&|name| names.contains(&name), TextShare::Known(0.0));
    Ok(fit_chosen(loaded, columns, settings, data, manifest, chosen, &|_, _| ())?.0)
}

/// What is chosen to be fitted, and how EASE hears of the items' texts.
type Chosen<'a> = (&'a (dyn Fn(&str) -> bool + Sync), TextShare<'a>);

fn fit_chosen(
    loaded: &Loaded,
    columns: &Columns,
    settings: &TrainingSettings,
    (data, times): (&Dataset, &[i64]),
    manifest: Manifest,
    (is_chosen, share): Chosen<'_>,
    report: &(dyn Fn(&str, f32) + Sync),
) -> Result<(Model, f32), TrainingError> {
    let engine = &settings.engine;
    let (covered, touched, keep) = (columns.covered, columns.touched, engine.ease_keep_per_item);
    let sums = decayed(data, times, settings, loaded.items.len());
    let neighbours = item_knn::affordable(engine.item_knn_neighbours, touched);
    let data = columns.apply(data);
    let fit_item_to_item = || -> Result<([ItemWeights; ITEM_TO_ITEM.len()], f32), TrainingError> {
        let (mut item_to_item, mut text_share): ([ItemWeights; ITEM_TO_ITEM.len()], f32) = Default::default();
        for (number, (name, weights)) in ITEM_TO_ITEM.into_iter().zip(&mut item_to_item).enumerate() {
            if !is_chosen(name) {
                continue;
            }
            // EASE takes about half of the time, all others together the rest.
            report(&format!("fit {name}"), if number == 0 { 0.0 } else { 0.4 + 0.1 * number as f32 });
            let knn = |weighting| item_knn::fit(&data, touched, weighting, neighbours);
            *weights = match name {
                "ease" => {
                    let terms = (engine.ease_side_weight > 0.0).then(|| columns.terms(loaded, covered));
                    let side = terms.as_ref().map(|terms| (terms, engine.ease_side_weight));
                    let data = data.clone().damped(engine.ease_strength_exponent);
                    let penalty = ease::Penalty { lambda: engine.ease_lambda, dropout: engine.ease_dropout };
                    let solved = ease::solve(&data, covered, penalty, side)?;
                    let (weights, share) = share.weights(loaded, columns, &manifest, &solved, keep)?;
                    text_share = share;
                    weights
                }
                "graph_filter" => {
                    graph_filter::fit(&data, covered, engine.graph_rank, engine.graph_alpha, keep, settings.seed)
                }
                "item_knn_tf_idf" => knn(Weighting::TfIdf),
                "item_knn_bm25" => knn(Weighting::Bm25),
                _ => knn(Weighting::Cosine),
            };
        }
        Ok((item_to_item, text_share))
    };
    let fit_als = || -> Result<AlsFactors, TrainingError> {
        if !is_chosen("ials") {
            return Ok(AlsFactors::default());
        }
        report("fit ials", 0.0);
        let mut als = implicit_als::fit(&data, touched, &engine.ials, settings.seed)?;
        let content = loaded.catalogue.content();
        let terms = columns.terms(loaded, columns.order.len());
        als.learn_terms(&terms, |term| content.name(term), engine.ials.content_ridge);
        if let Some((texts, ridge)) = columns.texts(loaded, engine.ials.content_ridge) {
            let untouched: Vec<bool> = (0..columns.order.len()).map(|column| column >= als.trained).collect();
            als.replace(&als.foretold(&texts, &untouched, ridge));
        }
        Ok(als)
    };
    // Side by side: each has stretches that only one core can work on.
    let (als, item_to_item) = rayon::join(fit_als, fit_item_to_item);
    let (als, (item_to_item, share)) = (als?, item_to_item?);
    let item_ids = columns.order.iter().map(|&item| loaded.items[item as usize].id.clone()).collect();
    let popularity = columns.popularity(loaded, &sums);
    let model = Model { manifest, item_ids, popularity, item_to_item, als, meanings: None };
    Ok((model, share))
}

/// Binds a model to the catalogue that was loaded.
pub(super) fn bind(loaded: &Loaded, model: Model) -> BoundModel {
    // The items went into the catalogue in the order of their places here, so that binding reserves nothing new.
    let mut places = Catalogue::default();
    for item in &loaded.items {
        places.reserve(&item.id);
    }
    model.bind(&mut places)
}

/// The moment that a model which is never published bears.
pub(super) const NEVER: Timestamp = Timestamp::UNIX_EPOCH;
