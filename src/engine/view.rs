//! The catalogue as one model sees it: what a list reads of each item, side by side by domain, and the tastes that were asked for lately. Made anew when the
//! catalogue has changed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::{Domain, Taste};

use super::ItemIndex;
use super::artifact::BoundModel;
use super::catalogue::Catalogue;
use super::tastes::Understood;

/// Tastes are kept as far as this memory goes, in bytes; then all of them are forgotten. A large catalogue has room for some dozens of them, as each says something
/// of every item.
const KEPT: usize = 64 << 20;
const KEPT_PER_ITEM: usize = 320;

/// The items of one domain by position, that is in the order of [`Catalogue::of_domain`].
#[derive(Debug, Default)]
pub struct DomainItems {
    pub items: Vec<ItemIndex>,
    pub available: Vec<bool>,
    /// 0 to 1; 0 of what the model does not know.
    pub popularity: Vec<f32>,
    /// Whether nobody had touched it when the model was trained; empty without a model.
    pub new: Vec<bool>,
    /// The column of the model; one that there is not for what the model does not know.
    pub columns: Vec<u32>,
    /// The row of its factors of iALS ([`View::factors`]).
    rows: Vec<u32>,
    /// The Euclidean lengths of these; 0 where there are none.
    pub lengths: Vec<f32>,
}

impl DomainItems {
    /// Those of a domain that has none.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            items: Vec::new(),
            available: Vec::new(),
            popularity: Vec::new(),
            new: Vec::new(),
            columns: Vec::new(),
            rows: Vec::new(),
            lengths: Vec::new(),
        }
    }
}

/// All domains.
#[derive(Debug, Default)]
pub struct View {
    changes: u64,
    /// By number of the domain.
    domains: Vec<DomainItems>,
    /// By place of the catalogue: the position within its domain.
    positions: Vec<u32>,
    /// Factors of items that iALS has none of, foretold by their terms; their rows come after those of the model.
    foretold: Vec<f32>,
    tastes: RwLock<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    by_domain: HashMap<Option<Domain>, HashMap<String, Arc<Understood>>>,
    bytes: usize,
}

impl View {
    const NONE: u32 = u32::MAX;

    #[must_use]
    pub fn new(catalogue: &Catalogue, model: Option<&BoundModel>) -> Self {
        let mut view =
            Self { changes: catalogue.changes(), positions: vec![Self::NONE; catalogue.places()], ..Self::default() };
        for (domain, items) in catalogue.domains() {
            let Some(number) = catalogue.domain_number(domain) else { continue };
            let number = usize::from(number);
            if view.domains.len() <= number {
                view.domains.resize_with(number + 1, DomainItems::default);
            }
            let mut own = DomainItems {
                items: items.to_vec(),
                available: items.iter().map(|&item| catalogue.is_available(item)).collect(),
                ..DomainItems::default()
            };
            for (position, item) in items.iter().enumerate() {
                view.positions[item.0 as usize] = position as u32;
            }
            if let Some(model) = model {
                let popularity = model.popularity();
                own.popularity = items.iter().map(|&item| popularity.of(item)).collect();
                own.new = items.iter().map(|&item| !model.knows(item)).collect();
                own.columns = items.iter().map(|&item| model.column(item).unwrap_or(Self::NONE)).collect();
                for &item in items {
                    let (row, length) = view.row(catalogue, model, item);
                    own.rows.push(row);
                    own.lengths.push(length);
                }
            } else {
                (own.popularity, own.lengths) = (vec![0.0; items.len()], vec![0.0; items.len()]);
            }
            view.domains[number] = own;
        }
        view
    }

    fn row(&mut self, catalogue: &Catalogue, model: &BoundModel, item: ItemIndex) -> (u32, f32) {
        let als = model.als();
        if let Some(column) = als.column(item) {
            return (column, als.lengths[column as usize]);
        }
        let Some(factors) = als.factors.terms.of(catalogue, item) else { return (Self::NONE, 0.0) };
        let row = als.factors.len() + self.foretold.len() / als.factors.dimensions.max(1);
        let length = factors.iter().map(|factor| factor * factor).sum::<f32>().sqrt();
        self.foretold.extend(factors);
        (row as u32, length)
    }

    /// Whether it is of this state of the catalogue.
    #[must_use]
    pub fn is_of(&self, catalogue: &Catalogue) -> bool {
        self.changes == catalogue.changes()
    }

    /// The items of a domain; `None` when there never was one.
    #[must_use]
    pub fn domain(&self, number: u16) -> Option<&DomainItems> {
        self.domains.get(usize::from(number))
    }

    /// How many items each domain has, by number.
    pub fn sizes(&self) -> impl Iterator<Item = usize> {
        self.domains.iter().map(|domain| domain.items.len())
    }

    /// The position of an item within its domain; `None` when the catalogue does not have it.
    #[must_use]
    pub fn position(&self, item: ItemIndex) -> Option<usize> {
        self.positions.get(item.0 as usize).filter(|&&position| position != Self::NONE).map(|&at| at as usize)
    }

    /// The factors of iALS of the item at a position, its own or those that its terms foretell.
    #[must_use]
    pub fn factors<'a>(&'a self, model: &'a BoundModel, domain: &DomainItems, position: usize) -> Option<&'a [f32]> {
        let row = domain.rows.get(position).copied().filter(|&row| row != Self::NONE)? as usize;
        let (own, k) = (&model.model.als.factors, model.model.als.dimensions);
        let from = row * k;
        if from < own.len() {
            own.get(from..from + k)
        } else {
            self.foretold.get(from - own.len()..from - own.len() + k)
        }
    }

    /// What is known of a taste as it was written.
    #[must_use]
    pub fn taste(&self, taste: &Taste) -> Option<Arc<Understood>> {
        let kept = self.tastes.read().unwrap_or_else(PoisonError::into_inner);
        kept.by_domain.get(&taste.domain)?.get(&taste.text).cloned()
    }

    /// Keeps what is known of a taste.
    pub fn keep(&self, taste: &Taste, understood: &Arc<Understood>) {
        let mut kept = self.tastes.write().unwrap_or_else(PoisonError::into_inner);
        let items = self.sizes().sum();
        let of = |understood: &Understood| {
            let known: usize = understood.known.iter().map(|taste| taste.bytes(items)).sum();
            known + 200 + 2 * taste.text.len()
        };
        let bytes = of(understood);
        let most = KEPT.max(KEPT_PER_ITEM * self.positions.len());
        if kept.bytes + bytes > most {
            *kept = Kept::default();
        }
        if bytes <= most / 4 {
            kept.bytes += bytes;
            let of_domain = kept.by_domain.entry(taste.domain.clone()).or_default();
            if let Some(before) = of_domain.insert(taste.text.clone(), Arc::clone(understood)) {
                kept.bytes -= of(&before);
            }
        }
    }
}
