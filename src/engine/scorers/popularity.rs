//! Popularity with time decay: what people take to now.

use crate::engine::ItemIndex;
use crate::engine::artifact::Binding;
use crate::engine::catalogue::Catalogue;

use super::{Contribution, Contributions, Prepared, Profile, Scorer};

/// Brings decayed sums of positive strength to 0..=1: `ln(1 + x) / ln(1 + top)`, where `top` is the largest of the item's domain, so that
/// being the most popular means the same in each domain.
///
/// `sums[i]` is the sum of column `i`, `domains[i]` its domain as any small number.
#[must_use]
pub fn normalised(sums: &[f32], domains: &[u16]) -> Vec<f32> {
    let mut tops = vec![0.0f32; usize::from(domains.iter().copied().max().unwrap_or(0)) + 1];
    for (&sum, &domain) in sums.iter().zip(domains) {
        tops[usize::from(domain)] = tops[usize::from(domain)].max(sum);
    }
    sums.iter()
        .zip(domains)
        .map(|(&sum, &domain)| {
            let top = tops[usize::from(domain)];
            if top > 0.0 { (sum.max(0.0).ln_1p() / top.ln_1p()).min(1.0) } else { 0.0 }
        })
        .collect()
}

/// Popularity over the items of a catalogue; an item without behaviour has 0.
#[derive(Debug, Clone, Copy)]
pub struct Popularity<'a> {
    /// By column, 0 to 1.
    pub weights: &'a [f32],
    pub binding: &'a Binding,
}

impl Popularity<'_> {
    /// The popularity of one item, 0 to 1.
    #[must_use]
    pub fn of(&self, item: ItemIndex) -> f32 {
        self.binding.column(item).map_or(0.0, |column| self.weights[column as usize])
    }
}

impl<'m> Scorer<'m> for Popularity<'m> {
    fn prepare(&self, _: &'m Catalogue, _: &Profile) -> Option<Prepared<'m>> {
        Some(Prepared::Popularity(*self))
    }

    fn contributions<'a>(&self, _: &'a Catalogue, _: &'a Profile) -> Contributions<'a>
    where
        'm: 'a,
    {
        let popularity = *self;
        Box::new(move |item| vec![Contribution { source: None, amount: popularity.of(item) }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_each_domain_is_one() {
        let all = normalised(&[10.0, 1.0, 0.0, 500.0, 10.0], &[0, 0, 0, 1, 1]);
        assert_eq!((all[0], all[2], all[3]), (1.0, 0.0, 1.0));
        assert!(all[1] < all[0] && all[4] < all[0]);
        assert_eq!(normalised(&[0.0], &[0]), vec![0.0]);
    }
}
