//! Tastes and lists on small catalogues made by hand, with a model fitted on behaviour made by hand.

use std::collections::BTreeMap;

use jiff::Timestamp;
use medley::domain::{
    Behaviour, Degradation, Domain, Filters, Interaction, InteractionKind, Item, ItemId, Query, ReasonCode,
    Recommendation, Rerank, Taste,
};
use medley::engine::artifact::{BoundModel, FORMAT, Manifest, Metrics, Model};
use medley::engine::blend::Blend;
use medley::engine::catalogue::Catalogue;
use medley::engine::dataset::Dataset;
use medley::engine::pipeline;
use medley::engine::scorers::implicit_als::{AlsFactors, AlsSettings};
use medley::engine::scorers::item_weights::ItemWeights;
use medley::engine::scorers::{ITEM_TO_ITEM, ease};
use medley::engine::settings::{InteractionSettings, KindWeight};

fn interactions() -> InteractionSettings {
    let kind = |weight| KindWeight { weight, half_life_days: 365.0 };
    InteractionSettings {
        view: kind(0.2),
        play: kind(0.6),
        watch: kind(0.8),
        like: kind(1.0),
        dislike: kind(-1.0),
        rating: kind(1.0),
        playtime: kind(0.6),
        skip: kind(-0.4),
        purchase: kind(0.8),
        rating_scale: [0.5, 5.0],
    }
}

fn domain(name: &str) -> Domain {
    Domain::new(name).unwrap()
}

fn id(name: &str) -> ItemId {
    ItemId::new(name).unwrap()
}

/// `domain-title`, genres and tags parted by commas.
fn item(domain_name: &str, title: &str, genres: &str, tags: &str, creator: &str) -> Item {
    let list = |text: &str| text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    Item {
        id: id(&format!("{domain_name}-{}", title.to_lowercase().replace(' ', "-"))),
        domain: domain(domain_name),
        title: title.to_owned(),
        genres: list(genres),
        tags: list(tags),
        description: None,
        creators: list(creator),
        released: None,
        attributes: BTreeMap::new(),
        available: true,
    }
}

fn items() -> Vec<Item> {
    let mut items = vec![
        item("movie", "Alien", "Horror,Sci-Fi", "space,aliens,dark", "Ridley Scott"),
        item("movie", "Blade Runner", "Sci-Fi,Thriller", "cyberpunk,rainy,night", "Ridley Scott"),
        item("movie", "The Godfather", "Crime,Drama", "mafia,family", "Francis Ford Coppola"),
        item("movie", "Romance (1999)", "Drama", "love", "Catherine Breillat"),
        item("movie", "Amélie (2001)", "Comedy,Romance", "quirky,love", "Jean-Pierre Jeunet"),
        item("movie", "Spirited Away", "Animation,Fantasy", "japan,magic", "Hayao Miyazaki"),
        item("movie", "Hidden", "Horror", "dark", "Nobody"),
        item("music", "Nevermind", "Rock,Grunge", "rebellious", "Nirvana"),
        item("music", "Thriller", "Pop,R&B", "dance", "Michael Jackson"),
        item("music", "Illmatic", "Hip-Hop", "city", "Nas"),
        item("music", "Ambient 1", "Ambient,Electronic", "chill,rainy,night", "Brian Eno"),
        item("game", "The Legend of Zelda: Breath of the Wild", "Adventure", "open world,nature", "Nintendo"),
        item("game", "The Legend of Zelda: Ocarina of Time", "Adventure", "magic", "Nintendo"),
        item("game", "Dead Space", "Horror,Shooter", "space,dark", "Visceral"),
        item("game", "Final Fantasy VII", "RPG", "cyberpunk", "Square"),
        item("game", "Civilization", "Strategy,Turn-based", "historical", "Sid Meier"),
    ];
    items[5].attributes.insert("original_title".into(), vec!["千と千尋の神隠し".into(), "千與千尋".into()]);
    for number in 0..30 {
        for name in ["movie", "music", "game"] {
            items.push(item(name, &format!("Filler {number}"), "Other", "plain", "Anybody"));
        }
    }
    items
}

fn catalogue(items: impl IntoIterator<Item = Item>) -> Catalogue {
    let mut catalogue = Catalogue::new(&["music", "movie", "game"].map(domain));
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
        domains: ["music", "movie", "game"].map(domain).to_vec(),
        limit: 10,
        filters: Filters::default(),
        exclude: Vec::new(),
        include_seen: false,
        model: None,
        diversity: 0.0,
        explain: true,
        rerank: Rerank::None,
        deadline: None,
        min_watermark: None,
    }
}

/// Tastes such as `("movie", "horror")`; an empty domain is the free text across all.
fn tastes(tastes: &[(&str, &str)]) -> Query {
    let taste = |&(name, text): &(&str, &str)| Taste {
        domain: Domain::new(name).ok(),
        text: text.to_owned(),
        pointer: format!("/{name}"),
    };
    Query { tastes: tastes.iter().map(taste).collect(), ..query() }
}

fn did(kind: InteractionKind, ids: &[&str]) -> Vec<Behaviour> {
    let of = |name: &&str| Interaction { item_id: id(name), kind, value: None, at: Timestamp::UNIX_EPOCH };
    Behaviour::merged(Vec::new(), &ids.iter().map(of).collect::<Vec<_>>())
}

fn ask(query: &Query, model: Option<&BoundModel>, catalogue: &Catalogue, history: &[Behaviour]) -> Recommendation {
    pipeline::recommend(catalogue, model, &interactions(), query, history)
}

fn titles(answer: &Recommendation, name: &str) -> Vec<String> {
    let (_, list) = answer.lists.iter().find(|(of, _)| of.as_str() == name).unwrap();
    list.iter().map(|ranked| ranked.item.title.clone()).collect()
}

/// A model fitted on people who each like one of the groups.
fn model(catalogue: &mut Catalogue, items: &[Item], groups: &[&[&str]]) -> BoundModel {
    let place = |name: &str| items.iter().position(|item| item.id.as_str() == name).unwrap() as u32;
    let mut data = Dataset::new(items.len());
    let mut popularity = vec![0.0f32; items.len()];
    for (number, group) in groups.iter().enumerate() {
        for _ in 0..10 {
            let mut row: Vec<(u32, f32)> = group.iter().map(|name| (place(name), 1.0)).collect();
            row.sort_unstable_by_key(|&(item, _)| item);
            for &(item, _) in &row {
                popularity[item as usize] = 1.0 - number as f32 * 0.1;
            }
            data.push(&mut row);
        }
    }
    let manifest = Manifest {
        format: FORMAT,
        version: "test".into(),
        trained_at: Timestamp::UNIX_EPOCH,
        data_fingerprint: String::new(),
        seed: 0,
        parameters: serde_json::Value::Null,
        metrics: Metrics::new(),
        users: 0,
        items: 0,
        interactions: 0,
        als: AlsSettings::default(),
        ease_strength_exponent: 1.0,
        blend: Blend::default(),
        checksum: String::new(),
        bytes: 0,
    };
    let mut item_to_item: [ItemWeights; ITEM_TO_ITEM.len()] = Default::default();
    item_to_item[0] = ease::fit(&data, items.len(), ease::Penalty { lambda: 5.0, dropout: 0.0 }, None, 0).unwrap();
    let item_ids = items.iter().map(|item| item.id.clone()).collect();
    Model { manifest, item_ids, popularity, item_to_item, als: AlsFactors::default(), meanings: None }.bind(catalogue)
}

#[test]
fn tastes_are_found_however_they_are_written() {
    let catalogue = catalogue(items());
    for (name, taste, first) in [
        ("movie", "sci fi", "Alien"),
        ("movie", "SCIENCE FICTION", "Alien"),
        ("movie", "science-fiction movies", "Alien"),
        ("movie", "科幻", "Alien"),
        ("movie", "科幻電影", "Alien"),
        ("movie", "我想看外星人的電影", "Alien"),
        ("movie", "romance", "Amélie (2001)"),
        ("movie", "愛情片", "Amélie (2001)"),
        ("movie", "Hayao Miyazaki", "Spirited Away"),
        ("movie", "miyazaki", "Spirited Away"),
        ("music", "hiphop", "Illmatic"),
        ("music", "嘻哈", "Illmatic"),
        ("music", "說唱", "Illmatic"),
        ("music", "rnb", "Thriller"),
        ("music", "rock music", "Nevermind"),
        ("music", "搖滾", "Nevermind"),
        ("music", "chill rainy night", "Ambient 1"),
        ("music", "安静的雨夜", "Ambient 1"),
        ("music", "安靜的雨夜", "Ambient 1"),
        ("game", "role playing games", "Final Fantasy VII"),
        ("game", "RPGs", "Final Fantasy VII"),
        ("game", "角色扮演", "Final Fantasy VII"),
        ("game", "策略遊戲", "Civilization"),
        ("game", "turn based", "Civilization"),
        ("", "赛博朋克", "Blade Runner"),
    ] {
        let answer = ask(&tastes(&[(name, taste)]), None, &catalogue, &[]);
        assert_eq!(answer.unmatched, [], "{taste}");
        let list = if name.is_empty() { "movie" } else { name };
        assert_eq!(titles(&answer, list)[0], first, "{taste}");
    }
}

#[test]
fn a_title_is_a_like_and_is_not_returned() {
    let catalogue = catalogue(items());
    for (name, taste, named) in [
        ("movie", "alien", "Alien"),
        ("movie", "movie-alien", "Alien"),
        ("movie", "godfather", "The Godfather"),
        ("movie", "Godfather, The", "The Godfather"),
        ("movie", "amelie", "Amélie (2001)"),
        ("movie", "千与千寻", "Spirited Away"),
        ("movie", "something like blade runner but short", "Blade Runner"),
        ("music", "thriller", "Thriller"),
        ("", "Dead Space", "Dead Space"),
    ] {
        let answer = ask(&tastes(&[(name, taste)]), None, &catalogue, &[]);
        assert_eq!(answer.unmatched, [], "{taste}");
        for (_, list) in &answer.lists {
            assert!(list.iter().all(|ranked| ranked.item.title != named), "{taste}");
        }
        let evidence = answer.lists.iter().flat_map(|(_, list)| list).flat_map(|ranked| &ranked.reasons);
        let like = |code| code == ReasonCode::SimilarTo;
        assert!(evidence.clone().any(|reason| like(reason.code) && reason.text.contains(named)), "{taste}");
        let shown = ask(&Query { include_seen: true, ..tastes(&[(name, taste)]) }, None, &catalogue, &[]);
        assert!(shown.lists.iter().flat_map(|(_, list)| list).any(|ranked| ranked.item.title == named), "{taste}");
    }
    let zelda = ask(&tastes(&[("game", "something like Zelda but with magic")]), None, &catalogue, &[]);
    assert_eq!(titles(&zelda, "game")[0], "The Legend of Zelda: Ocarina of Time");
    assert!(titles(&zelda, "game")[1].contains("Zelda"));
}

#[test]
fn who_names_a_title_gets_what_is_like_it() {
    let items = items();
    let mut catalogue = catalogue(items.clone());
    let popular = ["movie-filler-1", "movie-filler-2", "movie-filler-3"];
    let model = model(&mut catalogue, &items, &[&popular, &["movie-alien", "movie-the-godfather"]]);
    let named = ask(&tastes(&[("movie", "Alien")]), Some(&model), &catalogue, &[]);
    let (_, films) = &named.lists[1];
    let mut first: Vec<&str> = films.iter().take(3).map(|ranked| ranked.item.title.as_str()).collect();
    first.sort_unstable();
    assert_eq!(first, ["Blade Runner", "Hidden", "The Godfather"], "by content, and by what people choose");
    for ranked in &films[..3] {
        let alike: Vec<_> = ranked.reasons.iter().filter(|reason| reason.code == ReasonCode::SimilarTo).collect();
        assert_eq!(alike.len(), 1, "{:?}", ranked.reasons);
        assert_eq!(
            (alike[0].text.as_str(), alike[0].evidence.as_slice()),
            ("Similar to Alien", &[id("movie-alien")][..])
        );
        assert!(alike[0].weight > 0.3, "{:?}", ranked.reasons);
    }
    let both = ask(&tastes(&[("movie", "Filler 8"), ("movie", "Filler 9")]), Some(&model), &catalogue, &[]);
    let title = |wanted: &ItemId| items.iter().find(|item| item.id == *wanted).unwrap().title.clone();
    let reasons = both.lists.iter().flat_map(|(_, list)| list).flat_map(|ranked| &ranked.reasons);
    let alike: Vec<_> = reasons.filter(|reason| reason.code == ReasonCode::SimilarTo).collect();
    assert!(alike.iter().any(|reason| reason.names == ["Filler 8", "Filler 9"]), "{alike:?}");
    assert!(
        alike.iter().all(|reason| reason.evidence.iter().map(title).collect::<Vec<_>>() == reason.names),
        "{alike:?}"
    );
}

#[test]
fn a_reason_claims_no_more_than_is_true() {
    let items = items();
    let mut catalogue = catalogue(items.clone());
    let model = model(&mut catalogue, &items, &[&["movie-alien", "game-dead-space"], &["movie-the-godfather"]]);
    let answer = ask(&tastes(&[("movie", "rainy cyberpunk romance")]), None, &catalogue, &[]);
    let said = |title: &str| {
        let ranked = answer.lists[1].1.iter().find(|ranked| ranked.item.title == title).unwrap();
        ranked.reasons[0].text.clone()
    };
    assert_eq!(said("Blade Runner"), "Matches your taste for rainy cyberpunk romance");
    assert_eq!(said("Amélie (2001)"), "Matches in part your taste for rainy cyberpunk romance");
    let rated = |value: f64| {
        let rating = Interaction {
            item_id: id("movie-alien"),
            kind: InteractionKind::Rating,
            value: Some(value),
            at: Timestamp::UNIX_EPOCH,
        };
        let answer = ask(&query(), Some(&model), &catalogue, &Behaviour::merged(Vec::new(), &[rating]));
        let reasons = answer.lists.iter().flat_map(|(_, list)| list).flat_map(|ranked| ranked.reasons.clone());
        reasons.filter(|reason| reason.code == ReasonCode::BecauseYouLiked).count()
    };
    assert!(rated(4.0) > 0);
    assert_eq!(rated(2.5), 0, "to have seen it is not to have liked it");
}

#[test]
fn one_star_does_not_bring_more_of_the_same() {
    let items = items();
    let mut catalogue = catalogue(items.clone());
    let model = model(&mut catalogue, &items, &[&["movie-filler-1"], &["movie-alien", "movie-the-godfather"]]);
    let first = |value: Option<f64>| {
        let rating = |value| Interaction {
            item_id: id("movie-alien"),
            kind: InteractionKind::Rating,
            value: Some(value),
            at: Timestamp::UNIX_EPOCH,
        };
        let history: Vec<Interaction> = value.map(rating).into_iter().collect();
        titles(&ask(&query(), Some(&model), &catalogue, &Behaviour::merged(Vec::new(), &history)), "movie").remove(0)
    };
    assert_eq!(first(Some(5.0)), "The Godfather");
    assert_eq!(first(Some(1.0)), first(None));
}

#[test]
fn misspellings_are_used_and_named_and_what_is_ambiguous_is_only_suggested() {
    let catalogue = catalogue(items());
    for (name, taste, suggestion, first) in [
        ("music", "rokc", "Rock", "Nevermind"),
        ("movie", "horor", "Horror", "Alien"),
        ("movie", "comdy", "Comedy", "Amélie (2001)"),
        ("movie", "sciense fiction", "Sci-Fi", "Alien"),
        ("game", "stratgy", "Strategy", "Civilization"),
        ("game", "rokc", "Rock", "Civilization"),
    ] {
        let answer = ask(&tastes(&[(name, taste)]), None, &catalogue, &[]);
        let unmatched: Vec<_> = answer.unmatched.iter().map(|unmatched| unmatched.suggestion.as_deref()).collect();
        assert_eq!(unmatched, [Some(suggestion)], "{taste}");
        if taste != "rokc" || name == "music" {
            assert_eq!(titles(&answer, name)[0], first, "{taste}");
        }
    }
    let title = ask(&tastes(&[("movie", "blade runer")]), None, &catalogue, &[]);
    assert_eq!(title.unmatched[0].suggestion.as_deref(), Some("Blade Runner"));
    assert!(!titles(&title, "movie").contains(&"Blade Runner".to_owned()));
    for nonsense in ["xqzzyvk", "🦀", "---", "的", "zzz zzz zzz"] {
        let answer = ask(&tastes(&[("movie", nonsense)]), None, &catalogue, &[]);
        assert_eq!(answer.unmatched.len(), 1, "{nonsense}");
        assert_eq!(answer.unmatched[0].suggestion, None, "{nonsense}");
        assert_eq!(titles(&answer, "movie").len(), 10);
    }
    let both = super_catalogue(&[("Mosaic", "rick"), ("Other", "rack")]);
    let answer = ask(&tastes(&[("movie", "rock")]), None, &both, &[]);
    assert!(answer.unmatched[0].suggestion.is_some());
    assert!(answer.lists.iter().flat_map(|(_, list)| list).all(|ranked| ranked.score == 0.0), "which one is not known");
}

#[test]
fn what_a_misspelling_came_to_holds_until_the_catalogue_changes() {
    let all = items();
    let mut catalogue = catalogue(all.clone());
    let model = model(&mut catalogue, &all, &[]);
    let query = tastes(&[("movie", "horor"), ("movie", "xqzzyvk")]);
    let first = ask(&query, Some(&model), &catalogue, &[]);
    assert_eq!(first.unmatched.len(), 2);
    let again = ask(&query, Some(&model), &catalogue, &[]);
    assert_eq!((&again.unmatched, titles(&again, "movie")), (&first.unmatched, titles(&first, "movie")));
    catalogue.upsert(item("movie", "Xqzzyvk", "Horror", "", ""));
    let after = ask(&query, Some(&model), &catalogue, &[]);
    assert_eq!(after.unmatched.iter().map(|unmatched| unmatched.value.as_str()).collect::<Vec<_>>(), ["horor"]);
}

fn super_catalogue(rows: &[(&str, &str)]) -> Catalogue {
    catalogue(rows.iter().map(|(title, genre)| item("movie", title, genre, "", "")))
}

#[test]
fn a_taste_of_another_domain_counts_less_but_counts() {
    let items = items();
    let mut catalogue = catalogue(items.clone());
    let model = model(
        &mut catalogue,
        &items,
        &[
            &["music-nevermind", "movie-filler-3", "game-filler-4"],
            &["music-thriller", "movie-filler-5", "game-filler-6"],
        ],
    );
    let answer = ask(&tastes(&[("movie", "cyberpunk")]), None, &catalogue, &[]);
    assert_eq!(titles(&answer, "game")[0], "Final Fantasy VII", "by the shared label");
    let answer = ask(&tastes(&[("music", "rock")]), Some(&model), &catalogue, &[]);
    assert_eq!(titles(&answer, "game")[0], "Filler 4", "by what people of that taste choose");
    assert_eq!(titles(&answer, "movie")[0], "Filler 3");
    // Given for games, where nothing is rock, it still informs.
    let answer = ask(&tastes(&[("game", "rock")]), Some(&model), &catalogue, &[]);
    assert_eq!((titles(&answer, "game")[0].as_str(), titles(&answer, "music")[0].as_str()), ("Filler 4", "Nevermind"));
}

#[test]
fn stand_ins_never_outweigh_behaviour() {
    let items = items();
    let mut catalogue = catalogue(items.clone());
    let model = model(
        &mut catalogue,
        &items,
        &[
            &["music-nevermind", "movie-filler-3", "game-filler-4"],
            &["music-thriller", "movie-filler-5", "game-filler-6"],
        ],
    );
    let history = did(InteractionKind::Like, &["music-thriller"]);
    let answer = ask(&tastes(&[("music", "rock")]), Some(&model), &catalogue, &history);
    assert_eq!(titles(&answer, "game")[..2], ["Filler 6", "Filler 4"]);
}

#[test]
fn more_tastes_met_rank_higher_and_each_is_there() {
    let mut items = items();
    for number in 0..12 {
        items.push(item("movie", &format!("Fright {number}"), "Horror", "", ""));
        items.push(item("movie", &format!("Song {number}"), "Musical", "", ""));
    }
    items.push(item("movie", "Both", "Horror,Musical", "", ""));
    let mut catalogue = catalogue(items.clone());
    let frights = (0..12).map(|number| format!("movie-fright-{number}"));
    let frights: Vec<String> = frights.chain(["movie-both".to_owned()]).collect();
    let frights: Vec<&str> = frights.iter().map(String::as_str).collect();
    let songs: Vec<String> = (0..12).map(|number| format!("movie-song-{number}")).collect();
    let songs: Vec<&str> = songs.iter().map(String::as_str).collect();
    // Songs are a good deal less popular.
    let model = model(&mut catalogue, &items, &[&frights, &[], &[], &[], &songs]);
    let plain =
        titles(&ask(&tastes(&[("movie", "horror"), ("movie", "musical")]), Some(&model), &catalogue, &[]), "movie");
    assert!(
        !plain.iter().any(|title| title.starts_with("Song")),
        "without diversity, relevance alone counts: {plain:?}"
    );
    let query = Query { diversity: 0.1, ..tastes(&[("movie", "horror"), ("movie", "musical")]) };
    let list = titles(&ask(&query, Some(&model), &catalogue, &[]), "movie");
    assert_eq!(list[0], "Both");
    let count = |word: &str| list.iter().filter(|title| title.starts_with(word)).count();
    assert!(count("Song") >= 2 && count("Fright") >= 4, "{list:?}");
}

#[test]
fn what_was_consumed_is_left_out_and_what_was_shown_is_not() {
    let catalogue = catalogue(items());
    let all =
        |history: &[Behaviour]| titles(&ask(&Query { limit: 200, ..query() }, None, &catalogue, history), "movie");
    for kind in InteractionKind::ALL.into_iter().filter(|&kind| kind != InteractionKind::Impression) {
        assert!(!all(&did(kind, &["movie-alien"])).contains(&"Alien".to_owned()), "{kind}");
    }
    assert!(all(&did(InteractionKind::Impression, &["movie-alien"])).contains(&"Alien".to_owned()));
}

#[test]
fn an_item_that_is_hidden_or_removed_is_gone_at_once_and_comes_back() {
    let mut catalogue = catalogue(items());
    let horror = tastes(&[("movie", "horror")]);
    let first = |catalogue: &Catalogue| titles(&ask(&horror, None, catalogue, &[]), "movie")[0].clone();
    let before = ask(&horror, None, &catalogue, &[]);
    let mut alien = items().swap_remove(0);
    alien.available = false;
    catalogue.upsert(alien.clone());
    assert_eq!(first(&catalogue), "Hidden");
    assert!(catalogue.remove(&id("movie-hidden")) && !catalogue.remove(&id("movie-hidden")));
    assert!(!titles(&ask(&horror, None, &catalogue, &[]), "movie").iter().any(|title| title == "Hidden"));
    alien.available = true;
    catalogue.upsert(alien);
    catalogue.upsert(items().swap_remove(6));
    assert_eq!(ask(&horror, None, &catalogue, &[]), before, "as if nothing had happened");
}

#[test]
fn what_was_disliked_is_no_reason_of_liking() {
    let items = items();
    let mut catalogue = catalogue(items.clone());
    let model = model(
        &mut catalogue,
        &items,
        &[
            &["movie-alien", "game-dead-space"],
            &["movie-the-godfather", "game-civilization"],
            &["music-nevermind", "game-filler-1"],
        ],
    );
    let mut history = did(InteractionKind::Like, &["movie-alien"]);
    history.extend(did(InteractionKind::Dislike, &["movie-the-godfather"]));
    let answer = ask(&query(), Some(&model), &catalogue, &history);
    let (_, games) = &answer.lists[2];
    assert_eq!(games[0].item.title, "Dead Space");
    let because = games[0].reasons.iter().find(|reason| reason.code == ReasonCode::BecauseYouLiked).unwrap();
    assert_eq!(
        (because.text.as_str(), because.evidence.as_slice()),
        ("Because you liked Alien", &[id("movie-alien")][..])
    );
    for ranked in answer.lists.iter().flat_map(|(_, list)| list) {
        assert!(ranked.reasons.iter().all(|reason| !reason.evidence.contains(&id("movie-the-godfather"))));
        assert!(ranked.reasons.iter().map(|reason| reason.weight).sum::<f32>() <= 1.0 + 1e-4);
        assert!(ranked.reasons.len() <= 4);
    }
}

#[test]
fn each_model_answers_alone_and_leaves_to_popularity_what_it_cannot_say() {
    let items = items();
    let mut catalogue = catalogue(items.clone());
    let model =
        model(&mut catalogue, &items, &[&["movie-alien", "game-dead-space"], &["music-nevermind", "game-filler-1"]]);
    let named = |name: &str, history: &[Behaviour]| {
        let answer = ask(&Query { model: Some(name.into()), ..query() }, Some(&model), &catalogue, history);
        assert_eq!(answer.model.name, name);
        titles(&answer, "game")[0].clone()
    };
    let history = did(InteractionKind::Like, &["music-nevermind"]);
    assert_eq!(named("popularity", &history), "Dead Space");
    assert_eq!(named("ease", &history), "Filler 1");
    assert_eq!(named("content", &did(InteractionKind::Like, &["movie-blade-runner"])), "Final Fantasy VII");
    for name in pipeline::MODEL_NAMES {
        assert_eq!(named(name, &[]), "Dead Space", "{name}");
    }
    let degraded = ask(&query(), None, &catalogue, &[]).degraded;
    assert_eq!(degraded, [Degradation::NoModel]);
}

#[test]
fn neighbours_are_found_across_domains() {
    let items = items();
    let mut catalogue = catalogue(items.clone());
    let model = model(&mut catalogue, &items, &[&["movie-alien", "game-filler-9"]]);
    let near = |model, item: &str| {
        pipeline::similar(&catalogue, model, &id(item), &[domain("movie"), domain("game")], 3).unwrap()
    };
    let lists = near(None, "movie-alien");
    assert_eq!(lists[1].1[0].item.title, "Dead Space");
    assert!(lists[0].1.iter().all(|ranked| ranked.item.title != "Alien"));
    let games = &near(Some(&model), "movie-alien")[1].1;
    assert!(games[..2].iter().any(|ranked| ranked.item.title == "Filler 9"), "by behaviour as well");
    assert!(games.windows(2).all(|pair| pair[0].score >= pair[1].score));
    assert!(pipeline::similar(&catalogue, None, &id("nothing"), &[domain("movie")], 3).is_none());
}

fn released(title: &str, genres: &str, year: i16) -> Item {
    let day = jiff::civil::date(year, 6, 1);
    Item { released: Some(day), ..item("movie", title, genres, "", "") }
}

#[test]
fn a_text_says_when_and_what_not() {
    let mut items = items();
    items.extend([
        released("Old Laughs", "Comedy", 1984),
        released("Scary Laughs", "Comedy,Horror", 1995),
        released("New Laughs", "Comedy", 1999),
        released("Newer Tears", "Drama", 1994),
    ]);
    items.push(item("music", "Nineties Hits", "Pop", "90s", "Anybody"));
    items.push(item("game", "Movie Maker", "Movie", "", "Anybody"));
    let catalogue = catalogue(items);
    let films = |text: &str| {
        let answer = ask(&tastes(&[("movie", text)]), None, &catalogue, &[]);
        assert_eq!(answer.unmatched, [], "{text}");
        titles(&answer, "movie")
    };
    let nineties = films("90s comedy");
    assert!(nineties[..2].iter().all(|title| ["Scary Laughs", "New Laughs"].contains(&title.as_str())), "{nineties:?}");
    assert!(nineties.contains(&"Old Laughs".to_owned()), "another time is no reason to leave it out");
    assert_eq!(films("comedy, late 90s")[0], "New Laughs", "{nineties:?}");
    assert_eq!(films("comedies before 1990")[0], "Old Laughs");
    assert_eq!(films("90年代喜剧，不要恐怖")[0], "New Laughs");
    assert_eq!(films("movies from 1994")[0], "Newer Tears");
    assert_eq!(films("films of the eighties")[0], "Old Laughs");
    for text in
        ["comedy but no horror", "comedy without horror", "not horror", "anything but horror", "喜剧，不要恐怖片"]
    {
        let found = films(text);
        let horror = ["Scary Laughs", "Alien", "Hidden"];
        assert!(found.iter().all(|title| !horror.contains(&title.as_str())), "{text}: {found:?}");
        assert_eq!(found.len(), 10, "{text}");
    }
    let of_films = ask(&tastes(&[("movie", "no horror")]), None, &catalogue, &[]);
    assert!(titles(&of_films, "game").contains(&"Dead Space".to_owned()), "what is said of films is said of films");
    let everywhere = ask(&tastes(&[("", "no horror")]), None, &catalogue, &[]);
    assert!(!titles(&everywhere, "game").contains(&"Dead Space".to_owned()));
    let hits = ask(&tastes(&[("music", "pop of the 90s")]), None, &catalogue, &[]);
    assert_eq!(titles(&hits, "music")[0], "Nineties Hits", "a label that says the same");
}

#[test]
fn creators_are_found_within_a_text_and_several_tastes_in_one() {
    let catalogue = catalogue(items());
    for (name, text, first) in [
        ("movie", "films directed by Hayao Miyazaki", "Spirited Away"),
        ("movie", "something by Coppola please", "The Godfather"),
        ("music", "I love Brian Eno", "Ambient 1"),
        ("movie", "rom-com, fantasy", "Amélie (2001)"),
    ] {
        let answer = ask(&tastes(&[(name, text)]), None, &catalogue, &[]);
        assert_eq!((answer.unmatched.len(), titles(&answer, name)[0].as_str()), (0, first), "{text}");
    }
    let listed = ask(&tastes(&[("music", "rock, hip hop; ambient")]), None, &catalogue, &[]);
    let mut first: Vec<String> = titles(&listed, "music")[..3].to_vec();
    first.sort_unstable();
    assert_eq!(first, ["Ambient 1", "Illmatic", "Nevermind"]);
    let misspelt = ask(&tastes(&[("movie", "Ridly Scot")]), None, &catalogue, &[]);
    assert_eq!(misspelt.unmatched[0].suggestion.as_deref(), Some("Ridley Scott"));
    assert!(["Alien", "Blade Runner"].contains(&titles(&misspelt, "movie")[0].as_str()));
}

#[test]
fn nothing_is_told_of_what_is_hidden() {
    let mut all = items();
    all.push(Item { available: false, ..item("movie", "Zorgblatt", "Secret", "", "Quintessa Morrowind") });
    let catalogue = catalogue(all);
    for text in ["Zorgblat", "Secrt", "Quintesa Morowind"] {
        let answer = ask(&tastes(&[("movie", text)]), None, &catalogue, &[]);
        assert_eq!(answer.unmatched[0].suggestion, None, "{text}");
    }
}

#[test]
fn a_list_without_a_match_scores_below_one_with_some() {
    let items = items();
    let mut catalogue = catalogue(items.clone());
    let model = model(&mut catalogue, &items, &[&["music-filler-1", "music-filler-2"], &["movie-hidden"]]);
    let answer = ask(&tastes(&[("", "quirky")]), Some(&model), &catalogue, &[]);
    let first = |list: usize| answer.lists[list].1[0].score;
    assert_eq!(titles(&answer, "movie")[0], "Amélie (2001)");
    assert!(first(1) > first(0) && first(1) > first(2), "{} {} {}", first(0), first(1), first(2));
}
