//! The engine on the demo catalogue: guarantees, tolerant tastes, and lists that a person would call right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jiff::Timestamp;
use medley::config::{Config, Overrides};
use medley::demo;
use medley::domain::{
    Behaviour, Domain, Filter, Filters, Interaction, InteractionKind, Item, ItemId, Query, Recommendation, Rerank,
    SetFilter, Taste,
};
use medley::engine::catalogue::Catalogue;
use medley::engine::pipeline;
use proptest::prelude::*;

static CONFIG: LazyLock<Config> = LazyLock::new(|| Config::load(&Overrides::default(), []).unwrap());
static ITEMS: LazyLock<Vec<Item>> = LazyLock::new(demo::items);
static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| catalogue(ITEMS.iter().cloned()));

fn catalogue(items: impl Iterator<Item = Item>) -> Catalogue {
    let mut catalogue = Catalogue::new(&CONFIG.domains);
    for item in items {
        catalogue.upsert(item);
    }
    catalogue
}

fn query() -> Query {
    Query {
        tastes: Vec::new(),
        user_id: None,
        session: Vec::new(),
        domains: CONFIG.domains.clone(),
        limit: 10,
        filters: Filters::default(),
        exclude: Vec::new(),
        include_seen: false,
        model: None,
        diversity: CONFIG.recommend.diversity,
        explain: false,
        rerank: Rerank::None,
        deadline: None,
        min_watermark: None,
    }
}

fn tastes(domain: &str, texts: &[&str]) -> Query {
    let taste = |(n, text): (usize, &&str)| Taste {
        domain: Some(Domain::new(domain).unwrap()),
        text: (*text).to_owned(),
        pointer: format!("/{domain}/{n}"),
    };
    Query { tastes: texts.iter().enumerate().map(taste).collect(), ..query() }
}

fn ask(query: &Query, history: &[Behaviour]) -> Recommendation {
    pipeline::recommend(&CATALOGUE, None, &CONFIG.interactions, query, history)
}

fn list<'a>(answer: &'a Recommendation, domain: &str) -> Vec<&'a Item> {
    let found = answer.lists.iter().find(|(of, _)| of.as_str() == domain).unwrap();
    found.1.iter().map(|ranked| &*ranked.item).collect()
}

fn liked(ids: &[&ItemId]) -> Vec<Behaviour> {
    let session: Vec<Interaction> = ids
        .iter()
        .map(|id| Interaction {
            item_id: (*id).clone(),
            kind: InteractionKind::Like,
            value: None,
            at: Timestamp::UNIX_EPOCH,
        })
        .collect();
    Behaviour::merged(Vec::new(), &session)
}

fn share(items: &[&Item], genre: &str) -> usize {
    items.iter().filter(|item| item.genres.iter().any(|own| own == genre)).count()
}

#[test]
fn a_genre_fills_its_list() {
    for (domain, taste, genre) in [
        ("movie", "horror", "horror"),
        ("movie", "恐怖", "horror"),
        ("movie", "sci fi", "science fiction"),
        ("movie", "Sci-Fi", "science fiction"),
        ("movie", "科幻", "science fiction"),
        ("game", "RPGs", "role-playing"),
        ("game", "策略", "strategy"),
        ("game", "puzzle games", "puzzle"),
        ("movie", "Comedies", "comedy"),
        ("music", "Hip-Hop", "hip hop"),
        ("music", "摇滚", "rock"),
        ("music", "jazz", "jazz"),
    ] {
        let answer = ask(&tastes(domain, &[taste]), &[]);
        let own = list(&answer, domain);
        assert!(share(&own, genre) >= 9, "{taste}: {:?}", own.iter().map(|item| &item.title).collect::<Vec<_>>());
        assert_eq!(answer.unmatched, [], "{taste}");
    }
}

#[test]
fn spellings_of_a_taste_give_the_same_list() {
    for (a, b) in [("sci fi", "Sci-Fi"), ("sci fi", "SCIENCE FICTION"), ("comedy", "comedies"), ("动作", "action")] {
        assert_eq!(ask(&tastes("movie", &[a]), &[]).lists, ask(&tastes("movie", &[b]), &[]).lists, "{a} {b}");
    }
}

#[test]
fn a_misspelling_is_corrected_and_named_and_nonsense_is_named() {
    let answer = ask(&tastes("music", &["jazz", "rokc", "xqzzyvk"]), &[]);
    let unmatched: Vec<_> =
        answer.unmatched.iter().map(|u| (u.pointer.as_str(), u.value.as_str(), u.suggestion.as_deref())).collect();
    assert_eq!(unmatched, [("/music/1", "rokc", Some("rock")), ("/music/2", "xqzzyvk", None)]);
    let rock = ask(&tastes("music", &["rokc"]), &[]);
    assert!(share(&list(&rock, "music"), "rock") >= 9);
}

#[test]
fn titles_creators_ids_and_free_text_are_understood() {
    for (domain, taste) in [
        ("movie", "the godfather"),
        ("movie", "Amelie"),
        ("movie", "千と千尋の神隠し"),
        ("movie", "Hayao Miyazaki"),
        ("movie", "blade runer"),
        ("game", "something like Portal but short"),
        ("game", "chill rainy night"),
        ("movie", "安静的雨夜"),
        ("movie", "movie-alien-1979"),
    ] {
        let answer = ask(&tastes(domain, &[taste]), &[]);
        assert_eq!(list(&answer, domain).len(), 10, "{taste}");
        assert!(
            answer.unmatched.iter().all(|unmatched| unmatched.suggestion.is_some()),
            "{taste}: {:?}",
            answer.unmatched
        );
    }
    let named = ask(&tastes("movie", &["Alien"]), &[]);
    assert!(!list(&named, "movie").iter().any(|item| item.title == "Alien"), "who names a title knows it");
    let miyazaki = list(&named, "movie");
    assert!(share(&miyazaki, "science fiction") + share(&miyazaki, "horror") >= 8);
}

#[test]
fn tastes_of_one_domain_inform_the_others() {
    let plain = ask(&query(), &[]);
    let space = ask(&tastes("movie", &["space", "science fiction"]), &[]);
    let meets = |items: &[&Item]| items.iter().filter(|item| item.tags.iter().any(|tag| tag == "space")).count();
    assert!(meets(&list(&space, "game")) > meets(&list(&plain, "game")) + 3);
}

#[test]
fn reasons_are_shares_of_the_score() {
    let ids: Vec<&ItemId> =
        ITEMS.iter().filter(|item| item.genres.iter().any(|g| g == "horror")).map(|i| &i.id).take(5).collect();
    let answer = ask(&Query { explain: true, diversity: 0.0, ..tastes("movie", &["thriller"]) }, &liked(&ids));
    for (_, items) in &answer.lists {
        for ranked in items {
            let sum: f32 = ranked.reasons.iter().map(|reason| reason.weight).sum();
            assert!(sum <= 1.0 + 1e-4, "{sum}");
            assert!(ranked.reasons.windows(2).all(|pair| pair[0].weight >= pair[1].weight));
            for evidence in ranked.reasons.iter().flat_map(|reason| &reason.evidence) {
                assert!(ids.contains(&evidence), "evidence is behaviour: {evidence}");
            }
        }
        assert!(items.iter().all(|ranked| !ranked.reasons.is_empty()));
    }
}

#[test]
fn the_order_in_which_items_came_changes_nothing() {
    let backwards = catalogue(ITEMS.iter().rev().cloned());
    let ids: Vec<&ItemId> = ITEMS.iter().map(|item| &item.id).step_by(97).collect();
    for query in [
        query(),
        tastes("game", &["space", "相似", "rock"]),
        Query { limit: 50, ..tastes("movie", &["dark", "Alien"]) },
    ] {
        let one = ask(&query, &liked(&ids));
        let other = pipeline::recommend(&backwards, None, &CONFIG.interactions, &query, &liked(&ids));
        assert_eq!(one, other);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn guarantees_hold(
        history in proptest::collection::vec(0..ITEMS.len(), 0..20),
        exclude in proptest::collection::vec(0..ITEMS.len(), 0..20),
        taste in proptest::sample::select(vec!["horror", "rock", "space", "Tetris", "nonsense?", "日本", ""]),
        limit in 1usize..60,
        diversity in 0.0f32..=1.0,
        include_seen in any::<bool>(),
        from in 1930i16..2020,
    ) {
        let id = |place: &usize| ITEMS[*place].id.clone();
        let seen: BTreeSet<ItemId> = history.iter().map(id).collect();
        let excluded: BTreeSet<ItemId> = exclude.iter().map(id).collect();
        let filters = Filters {
            common: Filter {
                genres: SetFilter { none: vec!["Horror".into()], ..SetFilter::default() },
                released_from: Some(jiff::civil::date(from, 1, 1)),
                ..Filter::default()
            },
            by_domain: BTreeMap::new(),
        };
        let query = Query {
            limit, diversity, include_seen, filters: filters.clone(), exclude: excluded.iter().cloned().collect(),
            ..tastes("movie", &[taste])
        };
        let behaviour = liked(&seen.iter().collect::<Vec<_>>());
        let answer = ask(&query, &behaviour);
        prop_assert_eq!(&answer, &ask(&query, &behaviour));
        for (domain, items) in &answer.lists {
            let eligible = ITEMS.iter().filter(|item| {
                item.domain == *domain && filters.admits(item) && !excluded.contains(&item.id)
                    && (include_seen || !seen.contains(&item.id)) && item.title != taste
            }).count();
            prop_assert!(items.len() == limit.min(eligible) || (include_seen && items.len() == limit));
            let ids: BTreeSet<&ItemId> = items.iter().map(|ranked| &ranked.item.id).collect();
            prop_assert_eq!(ids.len(), items.len());
            for ranked in items {
                prop_assert!(filters.admits(&ranked.item) && !excluded.contains(&ranked.item.id));
                prop_assert!(include_seen || !seen.contains(&ranked.item.id));
                prop_assert!((0.0..=1.0).contains(&ranked.score));
            }
            prop_assert!(items.windows(2).all(|pair| pair[0].score >= pair[1].score));
        }
    }
}
