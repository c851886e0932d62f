//! A trained model on disk: `manifest.json` and `model.safetensors` in a folder named by the version.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::domain::ItemId;

use super::ItemIndex;
use super::blend::Blend;
use super::catalogue::Catalogue;
use super::meanings::{AskedTexts, Meanings};
use super::scorers::als_person::ImplicitAls;
use super::scorers::implicit_als::{AlsFactors, AlsSettings};
use super::scorers::item_weights::{ItemToItem, ItemWeights};
use super::scorers::popularity::Popularity;
use super::scorers::term_factors::TermFactors;
use super::scorers::{ITEM_TO_ITEM, Profile};
use super::view::View;

mod meanings;
mod publish;
mod tensors;

use tensors::{Tensors, view};

/// The layout that this version writes and reads.
pub const FORMAT: u32 = 4;
const TENSORS: &str = "model.safetensors";
const MANIFEST: &str = "manifest.json";

/// Why an artifact cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("cannot read or write the artifact: {0}")]
    Io(#[from] io::Error),
    #[error("the artifact is broken: {0}")]
    Broken(String),
}

/// Metric name to value, by model name (`hybrid`, `ease`, …).
pub type Metrics = BTreeMap<String, BTreeMap<String, f64>>;

/// What a trained model says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub version: String,
    pub trained_at: Timestamp,
    /// SHA-256 over the behaviour and items it was trained on.
    pub data_fingerprint: String,
    pub seed: u64,
    /// Hyper-parameters, as used.
    pub parameters: serde_json::Value,
    /// Measured on people held out.
    pub metrics: Metrics,
    pub users: u64,
    pub items: u64,
    pub interactions: u64,
    /// What fold-in of iALS needs besides its factors.
    pub als: AlsSettings,
    /// What fold-in of EASE needs besides its weights.
    pub ease_strength_exponent: f32,
    pub blend: Blend,
    /// SHA-256 and size of `model.safetensors`; filled in when it is published.
    pub checksum: String,
    pub bytes: u64,
}

impl Manifest {
    /// Reads that of an artifact; whether the rest of it is whole, [`Model::open`] tells.
    ///
    /// # Errors
    /// [`ArtifactError`]: it cannot be read.
    pub fn read(dir: &Path) -> Result<Self, ArtifactError> {
        serde_json::from_slice(&fs::read(dir.join(MANIFEST))?).map_err(|error| broken(format!("{MANIFEST}: {error}")))
    }
}

/// A trained model: scorers and the weights that blend them.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub manifest: Manifest,
    /// The columns: those that EASE covers first.
    pub item_ids: Vec<ItemId>,
    /// By column, 0 to 1.
    pub popularity: Vec<f32>,
    /// By model of [`ITEM_TO_ITEM`]; one that was not fitted covers nothing.
    pub item_to_item: [ItemWeights; ITEM_TO_ITEM.len()],
    pub als: AlsFactors,
    /// Of the items' texts by a provider; `None` where none made any.
    pub meanings: Option<Meanings>,
}

impl Model {
    /// Opens an artifact and checks all of it: format, checksum, shapes, bounds, finite numbers.
    ///
    /// # Errors
    /// [`ArtifactError::Broken`] says what is wrong.
    pub fn open(dir: &Path) -> Result<Self, ArtifactError> {
        let manifest = Manifest::read(dir)?;
        if manifest.format != FORMAT {
            return Err(broken(format!("format {} is not {FORMAT}, which this version reads", manifest.format)));
        }
        let path = dir.join(TENSORS);
        let bytes = fs::metadata(&path)?.len();
        if bytes != manifest.bytes {
            return Err(broken(format!("{TENSORS} has {bytes} bytes, not {}", manifest.bytes)));
        }
        let checksum = manifest.checksum.clone();
        // The sum takes as long as everything else: both at once.
        let sum = || publish::summed(&mut File::open(&path)?);
        let (sum, model) = rayon::join(sum, || Self::read(&Tensors::open(&path)?, manifest));
        if sum?.0 != checksum {
            return Err(broken(format!("{TENSORS} does not match its checksum")));
        }
        model
    }

    /// Reads the tensors and checks shapes, bounds and numbers.
    fn read(tensors: &Tensors, manifest: Manifest) -> Result<Self, ArtifactError> {
        let ids = tensors.lines("item_ids")?.into_iter();
        let ids = ids.map(|id| ItemId::new(id).map_err(|error| broken(format!("item id: {error}"))));
        let item_ids = ids.collect::<Result<Vec<_>, _>>()?;
        let mut item_to_item: [ItemWeights; ITEM_TO_ITEM.len()] = std::array::from_fn(|_| ItemWeights::default());
        item_to_item.par_iter_mut().zip(ITEM_TO_ITEM).try_for_each(|(weights, name)| {
            weights.offsets = tensors.numbers(&format!("{name}.offsets"))?;
            weights.entries = tensors.numbers(&format!("{name}.entries"))?;
            weights.scales = tensors.numbers(&format!("{name}.scales"))?;
            Ok::<(), ArtifactError>(())
        })?;
        let eigenvalues: Vec<f32> = tensors.numbers("ials.eigenvalues")?;
        let dimensions = eigenvalues.len();
        let terms = tensors.lines("ials.terms")?;
        let als = AlsFactors {
            dimensions,
            factors: tensors.numbers("ials.factors")?,
            eigenvalues,
            trained: tensors.numbers::<u64>("ials.trained")?.first().map_or(0, |&trained| trained as usize),
            terms: TermFactors::new(dimensions, terms, tensors.numbers("ials.term_factors")?),
        };
        let popularity = tensors.numbers("popularity")?;
        let meanings = meanings::read(tensors)?;
        let model = Self { item_ids, popularity, item_to_item, als, meanings, manifest };
        model.check()?;
        Ok(model)
    }

    fn write_tensors(&self, path: &Path) -> Result<(), ArtifactError> {
        // Neither an id nor a term holds a line break.
        let ids: String = self.item_ids.iter().flat_map(|id| [id.as_str(), "\n"]).collect();
        let terms: String = self.als.terms.names().iter().flat_map(|name| [name, "\n"]).collect();
        let trained = [self.als.trained as u64];
        let mut all = vec![
            ("item_ids".to_owned(), view(ids.as_bytes())?),
            ("popularity".to_owned(), view(&self.popularity)?),
            ("ials.factors".to_owned(), view(&self.als.factors)?),
            ("ials.eigenvalues".to_owned(), view(&self.als.eigenvalues)?),
            ("ials.trained".to_owned(), view(&trained)?),
            ("ials.terms".to_owned(), view(terms.as_bytes())?),
            ("ials.term_factors".to_owned(), view(self.als.terms.factors())?),
        ];
        for (name, of) in ITEM_TO_ITEM.iter().zip(&self.item_to_item) {
            all.extend([
                (format!("{name}.offsets"), view(&of.offsets)?),
                (format!("{name}.entries"), view(&of.entries)?),
                (format!("{name}.scales"), view(&of.scales)?),
            ]);
        }
        let source = self.meanings.as_ref().map(meanings::source).transpose()?;
        if let (Some(meanings), Some(source)) = (&self.meanings, &source) {
            all.extend(meanings::views(meanings, source)?);
        }
        tensors::write(all, path)
    }

    fn check(&self) -> Result<(), ArtifactError> {
        let items = self.item_ids.len();
        if self.popularity.len() != items {
            return Err(broken("popularity and item ids differ in length".into()));
        }
        if !self.popularity.iter().all(|value| (0.0..=1.0).contains(value)) {
            return Err(broken("popularity is not within 0 to 1".into()));
        }
        let faults: Vec<_> = self.item_to_item.par_iter().map(|weights| weights.fault(items)).collect();
        if let Some((name, fault)) = ITEM_TO_ITEM.iter().zip(faults).find_map(|(name, fault)| Some((name, fault?))) {
            return Err(broken(format!("{name}: {fault}")));
        }
        if let Some(fault) = self.meanings.as_ref().and_then(|meanings| meanings.fault(items)) {
            return Err(broken(format!("texts: {fault}")));
        }
        self.als.fault(items).map_or(Ok(()), |fault| Err(broken(format!("ials: {fault}"))))
    }

    /// Ties the model's items to the places they have in `catalogue`; reserves places for those it lacks.
    #[must_use]
    pub fn bind(self, catalogue: &mut Catalogue) -> BoundModel {
        let (mut columns, mut places) = (Vec::new(), Vec::with_capacity(self.item_ids.len()));
        for (column, id) in self.item_ids.iter().enumerate() {
            let item = catalogue.reserve(id);
            places.push(item);
            let place = item.0 as usize;
            if columns.len() <= place {
                columns.resize(place + 1, Binding::NONE);
            }
            columns[place] = column as u32;
        }
        let (binding, als_lengths) = (Binding { columns }, self.als.lengths());
        BoundModel {
            model: self,
            binding,
            places,
            als_lengths,
            view: ArcSwapOption::empty(),
            texts: AskedTexts::default(),
        }
    }
}

/// Which column of a model an item of a catalogue is.
#[derive(Debug, Clone, Default)]
pub struct Binding {
    columns: Vec<u32>,
}

impl Binding {
    const NONE: u32 = u32::MAX;

    /// The column of this item; `None` when the model does not know it.
    #[must_use]
    pub fn column(&self, item: ItemIndex) -> Option<u32> {
        self.columns.get(item.0 as usize).copied().filter(|&column| column != Self::NONE)
    }

    /// The history in columns, with how much of it there is; then what stands for tastes, taste by taste. An item of both counts as history.
    #[must_use]
    pub fn columns_of(&self, profile: &Profile) -> (Vec<(u32, f32, ItemIndex)>, usize) {
        let of = |item: ItemIndex, strength: f32| Some((self.column(item)?, strength, item));
        let mut all: Vec<_> = profile.history.iter().filter_map(|&(item, strength)| of(item, strength)).collect();
        let real = all.len();
        if profile.has_stand_ins() {
            let seen: HashSet<ItemIndex> = profile.history.iter().map(|&(item, _)| item).collect();
            let stand_ins = profile.tastes.iter().flat_map(|taste| &taste.stand_ins);
            let others = stand_ins.filter(|item| seen.is_empty() || !seen.contains(item));
            all.extend(others.filter_map(|&item| of(item, profile.stand_in_strength)));
        }
        (all, real)
    }
}

/// A model that can rank the items of the one catalogue it was bound to.
#[derive(Debug)]
pub struct BoundModel {
    pub model: Model,
    binding: Binding,
    /// By column: the place in the catalogue.
    places: Vec<ItemIndex>,
    als_lengths: Vec<f32>,
    /// Of the state of the catalogue that was ranked last.
    view: ArcSwapOption<View>,
    /// Callers' texts, for those who have [`Model::meanings`].
    pub texts: AskedTexts,
}

impl BoundModel {
    /// What lists read of the catalogue that it was bound to; made when the catalogue has changed since the last time.
    #[must_use]
    pub fn view(&self, catalogue: &Catalogue) -> Arc<View> {
        if let Some(view) = self.kept_view(catalogue) {
            return view;
        }
        let view = Arc::new(View::new(catalogue, Some(self)));
        self.view.store(Some(Arc::clone(&view)));
        view
    }

    /// The same, if it is made already.
    #[must_use]
    pub fn kept_view(&self, catalogue: &Catalogue) -> Option<Arc<View>> {
        self.view.load_full().filter(|view| view.is_of(catalogue))
    }

    /// Lets go of what was made of the catalogue, with the tastes that are kept in it: for a model that waits.
    pub fn drop_view(&self) {
        self.view.store(None);
    }

    /// The column of this item; `None` when the model does not know it.
    #[must_use]
    pub fn column(&self, item: ItemIndex) -> Option<u32> {
        self.binding.column(item)
    }

    /// The place of a column in the catalogue.
    #[must_use]
    pub fn place(&self, column: u32) -> Option<ItemIndex> {
        self.places.get(column as usize).copied()
    }

    #[must_use]
    pub fn popularity(&self) -> Popularity<'_> {
        Popularity { weights: &self.model.popularity, binding: &self.binding }
    }

    /// The scorer of the model at this place of [`ITEM_TO_ITEM`].
    #[must_use]
    pub fn item_to_item(&self, place: usize) -> ItemToItem<'_> {
        let exponent = if ITEM_TO_ITEM[place] == "ease" { self.model.manifest.ease_strength_exponent } else { 1.0 };
        ItemToItem { weights: &self.model.item_to_item[place], binding: &self.binding, exponent }
    }

    #[must_use]
    pub fn als(&self) -> ImplicitAls<'_> {
        ImplicitAls {
            factors: &self.model.als,
            settings: &self.model.manifest.als,
            binding: &self.binding,
            lengths: &self.als_lengths,
        }
    }

    /// Whether anybody had touched an item when the model was trained.
    #[must_use]
    pub fn knows(&self, item: ItemIndex) -> bool {
        self.binding.column(item).is_some_and(|column| (column as usize) < self.model.als.trained)
    }

    #[must_use]
    pub fn blend(&self) -> &Blend {
        &self.model.manifest.blend
    }
}

fn broken(reason: String) -> ArtifactError {
    ArtifactError::Broken(reason)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::VectorSource;

    fn model() -> Model {
        Model {
            manifest: Manifest {
                format: FORMAT,
                version: "v1".into(),
                trained_at: Timestamp::UNIX_EPOCH,
                data_fingerprint: "f".into(),
                seed: 1,
                parameters: serde_json::json!({"lambda": 2.0}),
                metrics: Metrics::new(),
                users: 1,
                items: 2,
                interactions: 2,
                als: AlsSettings::default(),
                ease_strength_exponent: 0.5,
                blend: Blend::default(),
                checksum: String::new(),
                bytes: 0,
            },
            item_ids: ["a", "b"].map(|id| ItemId::new(id).unwrap()).to_vec(),
            popularity: vec![1.0, 0.5],
            item_to_item: std::array::from_fn(|_| ItemWeights::from_rows(vec![vec![(1, 0.3)], vec![(0, 0.2)]], 0)),
            als: AlsFactors {
                dimensions: 1,
                factors: vec![0.5, 0.2],
                eigenvalues: vec![0.29],
                trained: 1,
                terms: TermFactors::new(1, vec!["label rock".into()], vec![0.2]),
            },
            meanings: Some(Meanings {
                source: VectorSource { provider: "p".into(), model: "m\n".into(), revision: String::new() },
                mean: vec![0.5],
                values: vec![127, -127],
                scales: vec![0.01, 0.0],
            }),
        }
    }

    #[test]
    fn what_is_published_is_opened_the_same_and_publishing_twice_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = model().publish(dir.path()).unwrap();
        let opened = Model::open(&dir.path().join("v1")).unwrap();
        assert_eq!(opened, Model { manifest, ..model() });
        let permissions = |name: &str| fs::metadata(dir.path().join("v1").join(name)).unwrap().permissions();
        assert_eq!(permissions(TENSORS), permissions(MANIFEST), "whoever may read one may read the other");
        assert!(model().publish(dir.path()).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_model_that_waits_keeps_no_view() {
        let mut catalogue = Catalogue::default();
        let bound = model().bind(&mut catalogue);
        let view = bound.view(&catalogue);
        assert!(bound.kept_view(&catalogue).is_some_and(|kept| Arc::ptr_eq(&kept, &view)));
        bound.drop_view();
        assert!(bound.kept_view(&catalogue).is_none());
        assert_eq!(Arc::strong_count(&view), 1);
    }

    #[test]
    fn a_broken_artifact_is_refused_with_the_reason() {
        let reason = |harm: &dyn Fn(&Path)| {
            let dir = tempfile::tempdir().unwrap();
            model().publish(dir.path()).unwrap();
            harm(&dir.path().join("v1"));
            Model::open(&dir.path().join("v1")).unwrap_err().to_string()
        };
        let flipped = reason(&|dir| {
            let mut bytes = fs::read(dir.join(TENSORS)).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(dir.join(TENSORS), bytes).unwrap();
        });
        assert!(flipped.contains("checksum"), "{flipped}");
        let cut = reason(&|dir| fs::write(dir.join(TENSORS), b"short").unwrap());
        assert!(cut.contains("bytes"), "{cut}");
        let text = reason(&|dir| fs::write(dir.join(MANIFEST), b"{}").unwrap());
        assert!(text.contains("manifest.json"), "{text}");
        assert!(Model::open(Path::new("/nowhere/at/all")).is_err());
        for (harm, word) in [
            ((|model: &mut Model| model.item_to_item[0].entries[0] += 9) as fn(&mut Model), "bounds"),
            (|model| model.item_to_item[0].scales[0] = f32::NAN, "not a number"),
            (|model| model.popularity[0] = 2.0, "popularity"),
            (|model| model.meanings.as_mut().unwrap().scales.truncate(1), "texts"),
        ] {
            let (dir, mut model) = (tempfile::tempdir().unwrap(), model());
            harm(&mut model);
            model.publish(dir.path()).unwrap();
            let error = Model::open(&dir.path().join("v1")).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
