//! Slices: the same cases by history and domain, and the same relevant items by popularity and age.
//!
//! A slice by item keeps of each case only the relevant items of that kind, and leaves out the cases that have none.

use std::borrow::Cow;

use super::outcome::{Case, ItemFacts};

/// The most popular items that make up this share of a domain's training interactions are its head.
const HEAD_MASS: f64 = 0.2;
/// Items with fewer training interactions are the tail.
const TAIL: u32 = 5;
/// Items first seen within so many seconds before the cutoff are recent: 30 days.
const RECENT: i64 = 30 * 24 * 3600;

/// Some of the cases, each with the relevant items that count.
pub(super) struct Slice<'a> {
    pub name: String,
    pub cases: Vec<(u32, Cow<'a, [u32]>)>,
}

/// All cases that have something relevant.
pub(super) fn whole(cases: &[Case]) -> Slice<'_> {
    by_case("all", cases, |_| true)
}

/// The slices that have cases. `cutoff` is the second at which training ends, where the split has one.
pub(super) fn slices<'a>(
    cases: &'a [Case],
    domains: &[String],
    facts: &ItemFacts,
    cutoff: Option<i64>,
) -> Vec<Slice<'a>> {
    let known = |case: &Case| case.history.iter().filter(|item| facts.is_in(**item, case.domain)).count();
    let mut slices = vec![
        by_case("history/0", cases, |case| known(case) == 0),
        by_case("history/1-5", cases, |case| (1..=5).contains(&known(case))),
        by_case("history/6-20", cases, |case| (6..=20).contains(&known(case))),
        by_case("history/more", cases, |case| known(case) > 20),
    ];
    for (place, domain) in domains.iter().enumerate() {
        slices.push(by_case(&format!("domain/{domain}"), cases, |case| usize::from(case.domain) == place));
    }
    let heads: Vec<u32> = (0..domains.len()).map(|place| least_of_head(facts, place as u16)).collect();
    let is_tail = |item: u32| facts.popularity(item) < TAIL;
    let is_head = |case: &Case, item: u32| {
        !is_tail(item) && heads.get(usize::from(case.domain)).is_some_and(|least| facts.popularity(item) >= *least)
    };
    slices.extend([
        by_item("popularity/head", cases, is_head),
        by_item("popularity/torso", cases, |case, item| !is_tail(item) && !is_head(case, item)),
        by_item("popularity/tail", cases, |_, item| is_tail(item)),
        by_item("age/new", cases, |_, item| facts.popularity(item) == 0),
    ]);
    if let Some(cutoff) = cutoff {
        let age = |item: u32| facts.first_seen(item).map(|first| cutoff - first);
        let trained = |item: u32| facts.popularity(item) > 0;
        slices.extend([
            by_item("age/recent", cases, |_, item| trained(item) && age(item).is_some_and(|age| age <= RECENT)),
            by_item("age/older", cases, |_, item| trained(item) && age(item).is_some_and(|age| age > RECENT)),
        ]);
    }
    slices.retain(|slice| !slice.cases.is_empty());
    slices
}

fn by_case<'a>(name: &str, cases: &'a [Case], belongs: impl Fn(&Case) -> bool) -> Slice<'a> {
    let chosen = (0u32..).zip(cases).filter(|(_, case)| !case.relevant.is_empty() && belongs(case));
    Slice {
        name: name.to_owned(),
        cases: chosen.map(|(place, case)| (place, Cow::Borrowed(case.relevant.as_slice()))).collect(),
    }
}

fn by_item<'a>(name: &str, cases: &'a [Case], belongs: impl Fn(&Case, u32) -> bool) -> Slice<'a> {
    let restricted = (0u32..).zip(cases).filter_map(|(place, case)| {
        let relevant: Vec<u32> = case.relevant.iter().copied().filter(|item| belongs(case, *item)).collect();
        (!relevant.is_empty()).then_some((place, Cow::Owned(relevant)))
    });
    Slice { name: name.to_owned(), cases: restricted.collect() }
}

/// The popularity of the least popular item in the head of a domain; items as popular as it belong to the head too.
fn least_of_head(facts: &ItemFacts, domain: u16) -> u32 {
    let of_domain = (0u32..).zip(&facts.popularity).filter(|(item, _)| facts.is_in(*item, domain));
    let mut falling: Vec<u32> = of_domain.map(|(_, popularity)| *popularity).collect();
    falling.sort_unstable_by(|a, b| b.cmp(a));
    let mass: f64 = falling.iter().map(|popularity| f64::from(*popularity)).sum();
    let mut head = 0.0;
    for popularity in falling {
        head += f64::from(popularity);
        if head >= HEAD_MASS * mass {
            return popularity;
        }
    }
    u32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(domain: u16, history: &[u32], relevant: &[u32]) -> Case {
        Case { user: 0, domain, history: history.to_vec(), relevant: relevant.to_vec() }
    }

    fn facts(popularity: &[u32], domain: &[u16]) -> ItemFacts {
        ItemFacts {
            genres: vec![vec![]; popularity.len()],
            popularity: popularity.to_vec(),
            first_seen: vec![None; popularity.len()],
            domain: domain.to_vec(),
        }
    }

    /// The places of the cases with their relevant items, by slice.
    fn shown(slices: &[Slice], name: &str) -> Option<Vec<(u32, Vec<u32>)>> {
        let slice = slices.iter().find(|slice| slice.name == name)?;
        Some(slice.cases.iter().map(|(case, relevant)| (*case, relevant.to_vec())).collect())
    }

    #[test]
    fn histories_count_items_of_the_domain() {
        let facts = facts(&[9; 40], &[[0; 30].as_slice(), &[1; 10]].concat());
        let history: Vec<u32> = (1..30).collect();
        let cases = [
            case(0, &[31, 32], &[0]),
            case(0, &history[..5], &[0]),
            case(0, &history[..6], &[0]),
            case(0, &history[..20], &[0]),
            case(0, &history[..21], &[0]),
            case(1, &history, &[39]),
            case(1, &history, &[]),
        ];
        let slices = slices(&cases, &["movie".to_owned(), "game".to_owned()], &facts, None);
        let places = |name: &str| shown(&slices, name).map(|cases| cases.iter().map(|(place, _)| *place).collect());
        assert_eq!(places("history/0"), Some(vec![0, 5]));
        assert_eq!(places("history/1-5"), Some(vec![1]));
        assert_eq!(places("history/6-20"), Some(vec![2, 3]));
        assert_eq!(places("history/more"), Some(vec![4]));
        assert_eq!(places("domain/movie"), Some(vec![0, 1, 2, 3, 4]));
        assert_eq!(places("domain/game"), Some(vec![5]));
        assert_eq!(places("age/new"), None);
        assert_eq!(whole(&cases).cases.len(), 6);
    }

    #[test]
    fn popularity_restricts_what_is_relevant() {
        // 100 interactions: items 0 and 1 are as popular as each other and the first alone is the head's fifth.
        let facts = facts(&[30, 30, 20, 13, 4, 3, 0], &[0; 7]);
        let cases = [case(0, &[], &[0, 1, 2, 4]), case(0, &[], &[3, 6])];
        let slices = slices(&cases, &["movie".to_owned()], &facts, None);
        assert_eq!(shown(&slices, "popularity/head"), Some(vec![(0, vec![0, 1])]));
        assert_eq!(shown(&slices, "popularity/torso"), Some(vec![(0, vec![2]), (1, vec![3])]));
        assert_eq!(shown(&slices, "popularity/tail"), Some(vec![(0, vec![4]), (1, vec![6])]));
        assert_eq!(shown(&slices, "age/new"), Some(vec![(1, vec![6])]));
        assert_eq!(shown(&slices, "age/recent"), None);
    }

    #[test]
    fn the_head_is_each_domains_own_and_never_the_tail() {
        let facts = facts(&[1000, 10, 6, 2, 1], &[0, 1, 1, 2, 2]);
        assert_eq!([0, 1, 2, 3].map(|domain| least_of_head(&facts, domain)), [1000, 10, 2, u32::MAX]);
        let cases = [case(1, &[], &[1, 2]), case(2, &[], &[3])];
        let domains = ["music", "movie", "game"].map(str::to_owned);
        let slices = slices(&cases, &domains, &facts, None);
        assert_eq!(shown(&slices, "popularity/head"), Some(vec![(0, vec![1])]));
        assert_eq!(shown(&slices, "popularity/tail"), Some(vec![(1, vec![3])]));
    }

    #[test]
    fn age_is_told_from_the_cutoff() {
        let mut facts = facts(&[9, 9, 0, 9], &[0; 4]);
        let cutoff = 1_700_000_000;
        facts.first_seen = vec![Some(cutoff - RECENT), Some(cutoff - RECENT - 1), None, None];
        let cases = [case(0, &[], &[0, 1, 2, 3])];
        let slices = slices(&cases, &["movie".to_owned()], &facts, Some(cutoff));
        assert_eq!(shown(&slices, "age/recent"), Some(vec![(0, vec![0])]));
        assert_eq!(shown(&slices, "age/older"), Some(vec![(0, vec![1])]));
        assert_eq!(shown(&slices, "age/new"), Some(vec![(0, vec![2])]));
    }
}
