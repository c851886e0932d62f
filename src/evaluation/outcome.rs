//! What is measured: cases (one person asked in one domain), and what a model answered to them.

/// What one model answered to one case.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The place of the case among the cases.
    pub case: u32,
    /// Places of items, best first, at most k.
    pub ranked: Vec<u32>,
    /// How long the answer took.
    pub seconds: f64,
}

/// One person asked in one domain, the same for all models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub user: u32,
    /// The place of the domain among the domains.
    pub domain: u16,
    /// Items known before, of any domain.
    pub history: Vec<u32>,
    /// What the person turned to afterwards, in this domain: each item once.
    pub relevant: Vec<u32>,
}

/// What the report knows of items, each list indexed by the item's place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemFacts {
    /// The genres of each item, each once.
    pub genres: Vec<Vec<u32>>,
    /// How many people interacted with it in training.
    pub popularity: Vec<u32>,
    /// When it was first seen in training, in seconds since 1970; unknown when the data has no times.
    pub first_seen: Vec<Option<i64>>,
    pub domain: Vec<u16>,
}

impl ItemFacts {
    /// The genres of an item, none when nothing is known of it.
    pub(super) fn genres(&self, item: u32) -> &[u32] {
        self.genres.get(item as usize).map_or(&[], Vec::as_slice)
    }

    /// The training interactions of an item, 0 when nothing is known of it.
    pub(super) fn popularity(&self, item: u32) -> u32 {
        self.popularity.get(item as usize).copied().unwrap_or(0)
    }

    pub(super) fn first_seen(&self, item: u32) -> Option<i64> {
        self.first_seen.get(item as usize).copied().flatten()
    }

    pub(super) fn is_in(&self, item: u32, domain: u16) -> bool {
        self.domain.get(item as usize) == Some(&domain)
    }
}
