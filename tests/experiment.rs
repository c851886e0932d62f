//! Experiments: what bears a later time is left out, odd data is answered sensibly or refused clearly, what is foreseeable is foreseen.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use medley::config::{Config, Overrides};
use medley::domain::{Domain, Event, InteractionKind, Item, ItemId, UserId};
use medley::evaluation::Report;
use medley::store::{self, Options, Store};
use medley::training::experiment::{self, ExperimentSettings, InteractionFile, SplitKind};
use medley::training::{self, TrainingError, TrainingSettings};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const NOW: i64 = 1_750_000_000;
const DAY: i64 = 86_400;

/// What training makes of a store: the fingerprint of its data, and the checksum of the artifact.
async fn trained(store: &Arc<dyn Store>, settings: TrainingSettings) -> (String, String, u64) {
    let now = Timestamp::from_second(NOW).unwrap();
    let manifest = training::train(Arc::clone(store), settings, now, Arc::new(|_: &str, _| ())).await.unwrap();
    (manifest.data_fingerprint, manifest.checksum, manifest.users)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_after_an_erasure_is_that_of_a_store_that_never_knew_the_person() {
    let (knew, never) = (Place::new().await, Place::new().await);
    let others: Vec<(String, String, i64)> = (0..60)
        .flat_map(|user| (0..6).map(move |n| (user, n)))
        .map(|(user, n)| {
            (
                format!("u{user:02}"),
                format!("film-{:04}", (user % 3) * 10 + (user + n) % 10),
                NOW - (n as i64 + 1) * DAY,
            )
        })
        .collect();
    // Somebody with a taste of their own, in the middle of the log and of the ids.
    let person: Vec<(String, String, i64)> =
        (0..30).map(|n| ("u30x".to_owned(), format!("film-{n:04}"), NOW - 2 * DAY)).collect();
    for place in [&knew, &never] {
        place.catalogue(30).await;
    }
    knew.add(&others[..100]).await;
    knew.add(&person).await;
    knew.add(&others[100..]).await;
    never.add(&others).await;
    let known = trained(&knew.store, knew.settings()).await;
    let without = trained(&never.store, never.settings()).await;
    assert_eq!((known.2, without.2), (61, 60));
    assert!(known.0 != without.0 && known.1 != without.1, "the person had a weight: {known:?} {without:?}");
    assert_eq!(knew.store.erase_user(&UserId::new("u30x").unwrap()).await.unwrap().events, 30);
    let later = TrainingSettings { models_dir: knew.folder.path().join("later"), ..knew.settings() };
    let now = trained(&knew.store, later).await;
    assert_eq!(now, without);
}

struct Place {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("medley.db").display());
        let options =
            Options { url, max_connections: 2, acquire_timeout: std::time::Duration::from_secs(10), master_key: None };
        let store = store::open(&options).await.unwrap();
        store.migrate().await.unwrap();
        Self { folder, store }
    }

    fn settings(&self) -> TrainingSettings {
        let config = Config::load(&Overrides::default(), []).unwrap();
        TrainingSettings {
            models_dir: self.folder.path().join("models"),
            ..medley::http::training_settings(&config, &medley::domain::Tenant::default())
        }
    }

    /// Films in groups of ten, each group a genre; people keep to one group.
    async fn catalogue(&self, items: usize) {
        let items: Vec<Item> =
            (0..items).map(|n| item(&format!("film-{n:04}"), "movie", &format!("Genre {}", n / 10))).collect();
        self.store.upsert_items(&items).await.unwrap();
    }

    async fn add(&self, events: &[(String, String, i64)]) {
        let events: Vec<Event> = events.iter().map(|(user, item, at)| event(user, item, *at)).collect();
        self.store.load_events(&events).await.unwrap();
    }

    async fn evaluate(&self, kind: SplitKind) -> Result<Report, TrainingError> {
        let now = Timestamp::from_second(NOW).unwrap();
        let split = experiment::split_store(self.store.as_ref(), &self.settings(), kind, 0.2, now).await?;
        let settings = ExperimentSettings {
            training: self.settings(),
            models: Vec::new(),
            k: 10,
            max_cases: 1_000,
            sampled: None,
        };
        Ok(experiment::run(&split, &settings, &|_, _| ())?.0)
    }
}

fn item(id: &str, domain: &str, genre: &str) -> Item {
    Item {
        id: ItemId::new(id).unwrap(),
        domain: Domain::new(domain).unwrap(),
        title: format!("The {id}"),
        genres: vec![genre.to_owned()],
        tags: Vec::new(),
        description: None,
        creators: Vec::new(),
        released: None,
        attributes: std::collections::BTreeMap::new(),
        available: true,
    }
}

fn event(user: &str, item: &str, at: i64) -> Event {
    Event {
        event_id: None,
        user_id: UserId::new(user).unwrap(),
        item_id: ItemId::new(item).unwrap(),
        kind: InteractionKind::Watch,
        value: None,
        at: Timestamp::from_second(at).unwrap(),
        recommendation_id: None,
        position: None,
    }
}

/// Everybody watches seven of the ten films of their group, over 100 days.
fn groups(people: usize, films: usize) -> Vec<(String, String, i64)> {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut events = Vec::new();
    for person in 0..people {
        let group = person % (films / 10);
        let mut own: Vec<usize> = (0..10).collect();
        for place in (1..10).rev() {
            own.swap(place, random.random_range(0..=place));
        }
        for film in &own[..7] {
            let at = NOW - random.random_range(1..100) * DAY - random.random_range(0..DAY);
            events.push((format!("person-{person}"), format!("film-{:04}", group * 10 + film), at));
        }
    }
    events
}

fn mean(report: &Report, model: &str) -> f64 {
    report.models.iter().find(|of| of.name == model).unwrap().metrics["ndcg@10"].mean
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_foreseeable_is_foreseen() {
    let place = Place::new().await;
    place.catalogue(100).await;
    place.add(&groups(200, 100)).await;
    for kind in [SplitKind::Temporal, SplitKind::Random] {
        let report = place.evaluate(kind).await.unwrap();
        assert!(mean(&report, "ease") > 0.5, "{kind:?}: {}", mean(&report, "ease"));
        assert!(mean(&report, "hybrid") > mean(&report, "popularity") + 0.3, "{kind:?}");
        assert_eq!(report.source.cutoff.is_some(), kind == SplitKind::Temporal);
        assert!(report.comparisons.iter().any(|of| of.baseline == "popularity" && of.difference.low > 0.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_needs_no_other_is_fitted_alone_and_is_the_same() {
    let place = Place::new().await;
    place.catalogue(100).await;
    place.add(&groups(200, 100)).await;
    let now = Timestamp::from_second(NOW).unwrap();
    let split = experiment::split_store(place.store.as_ref(), &place.settings(), SplitKind::Temporal, 0.2, now).await;
    let split = split.unwrap();
    let run = |models: &[&str]| {
        let models = models.iter().map(|&name| name.to_owned()).collect();
        let settings =
            ExperimentSettings { training: place.settings(), models, k: 10, max_cases: 1_000, sampled: None };
        let phases = std::sync::Mutex::new(Vec::new());
        let (report, _) =
            experiment::run(&split, &settings, &|phase, _| phases.lock().unwrap().push(phase.to_owned())).unwrap();
        (report, phases.into_inner().unwrap())
    };
    let (all, _) = run(&[]);
    let alone = ["popularity", "content", "graph_filter", "item_knn_cosine"];
    let (report, phases) = run(&alone);
    for name in alone {
        assert!((mean(&report, name) - mean(&all, name)).abs() < 1e-9, "{name}");
    }
    let holds_out = |phases: &[String]| phases.iter().any(|phase| phase.contains("hold out"));
    assert!(!holds_out(&phases), "{phases:?}");
    let (report, phases) = run(&["popularity", "ease"]);
    assert!((mean(&report, "ease") - mean(&all, "ease")).abs() < 1e-9);
    assert!(holds_out(&phases), "how much texts count in EASE is found out with the blend");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_from_the_future_are_left_out_and_counted() {
    let (place, without) = (Place::new().await, Place::new().await);
    for place in [&place, &without] {
        place.catalogue(100).await;
        place.add(&groups(60, 100)).await;
    }
    let later = |seconds: i64| ("person-1".to_owned(), "film-0001".to_owned(), NOW + seconds);
    // Of this very moment, of the next and of a clock that is ahead.
    place.add(&[later(0), later(1), later(DAY)]).await;
    without.add(&[later(0)]).await;
    for kind in [SplitKind::Temporal, SplitKind::Random] {
        let report = place.evaluate(kind).await.unwrap();
        let notes: Vec<&String> = report.notes.iter().filter(|note| note.contains("a clock that is ahead")).collect();
        assert!(matches!(notes[..], [note] if note.ends_with(": 2.") && !note.contains("person-1")), "{notes:?}");
        let expected = without.evaluate(kind).await.unwrap();
        assert!(expected.notes.iter().all(|note| !note.contains("a clock")), "{:?}", expected.notes);
        assert_eq!(report.source, expected.source, "{kind:?}");
        assert!((mean(&report, "hybrid") - mean(&expected, "hybrid")).abs() < 1e-12, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shuffled_times_are_no_harder_than_a_random_split() {
    let place = Place::new().await;
    place.catalogue(100).await;
    let mut events = groups(200, 100);
    let mut random = ChaCha8Rng::seed_from_u64(9);
    for place in (1..events.len()).rev() {
        let other = random.random_range(0..=place);
        (events[place].2, events[other].2) = (events[other].2, events[place].2);
    }
    place.add(&events).await;
    assert!(mean(&place.evaluate(SplitKind::Temporal).await.unwrap(), "hybrid") > 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_time_for_all_is_split_at_random_and_said() {
    let place = Place::new().await;
    place.catalogue(100).await;
    let events: Vec<_> = groups(100, 100).into_iter().map(|(user, item, _)| (user, item, NOW - DAY)).collect();
    place.add(&events).await;
    let report = place.evaluate(SplitKind::Temporal).await.unwrap();
    assert!(
        report.source.cutoff.is_none() && report.notes.iter().any(|note| note.contains("movie")),
        "{:?}",
        report.notes
    );
    assert!(mean(&report, "hybrid") > 0.4);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_people_and_items_do_no_harm() {
    let place = Place::new().await;
    // Nobody touches the films from 100 on, there is a game without players, and nothing at all in music.
    place.catalogue(120).await;
    place.store.upsert_items(&[item("game-1", "game", "Puzzle")]).await.unwrap();
    place.add(&groups(150, 100)).await;
    // One person with 10,000 events.
    let busy: Vec<_> =
        (0..10_000).map(|n| ("busy".to_owned(), format!("film-{:04}", n % 100), NOW - 200 * DAY + n * 60)).collect();
    place.add(&busy).await;
    let report = place.evaluate(SplitKind::Temporal).await.unwrap();
    assert!(mean(&report, "hybrid") > 0.3, "{}", mean(&report, "hybrid"));
    assert!(report.models.iter().all(|model| model.slices.keys().all(|slice| slice != "domain/music")));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_is_refused_clearly() {
    let place = Place::new().await;
    place.catalogue(20).await;
    let error = place.evaluate(SplitKind::Temporal).await.unwrap_err();
    assert!(matches!(error, TrainingError::NothingToTrainOn(_)), "{error}");
    // One person only: there is something to train on and to ask for, and no model has anything to go by.
    place.add(&groups(1, 10)).await;
    let report = place.evaluate(SplitKind::Temporal).await.unwrap();
    assert_eq!(report.models[0].users, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_that_cannot_fit_is_refused_with_the_numbers() {
    let place = Place::new().await;
    place.catalogue(2_000).await;
    place.add(&groups(6_000, 2_000)).await;
    let settings = TrainingSettings { max_memory_mib: 8, ..place.settings() };
    let now = Timestamp::from_second(NOW).unwrap();
    let error = training::train(Arc::clone(&place.store), settings, now, Arc::new(|_, _| ())).await.unwrap_err();
    let TrainingError::TooLarge(reason) = &error else { panic!("{error}") };
    assert!(
        reason.contains("2000 items") && reason.contains("8 MiB are there") && reason.contains("ease_max_items"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_data_and_seed_give_the_same_bytes() {
    let train = async || {
        let place = Place::new().await;
        place.catalogue(100).await;
        place.add(&groups(200, 100)).await;
        let now = Timestamp::from_second(NOW).unwrap();
        let trained = training::train(Arc::clone(&place.store), place.settings(), now, Arc::new(|_, _| ())).await;
        let folder = place.settings().models_dir.join(trained.unwrap().version);
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        (read("manifest.json"), read("model.safetensors"))
    };
    let (first, again) = (train().await, train().await);
    assert!(first.0 == again.0, "the manifests differ");
    assert!(first.1 == again.1, "the tensors differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn tuning_never_ends_below_where_it_began() {
    let place = Place::new().await;
    place.catalogue(100).await;
    place.add(&groups(200, 100)).await;
    let settings = TrainingSettings { tune: Some(std::time::Duration::from_secs(60)), ..place.settings() };
    let now = Timestamp::from_second(NOW).unwrap();
    let manifest = training::train(Arc::clone(&place.store), settings, now, Arc::new(|_, _| ())).await.unwrap();
    let trials = manifest.parameters["tuning"]["trials"].as_array().unwrap();
    for model in ["ease", "ials", "graph_filter", "item_knn_cosine"] {
        let of: Vec<f64> = trials
            .iter()
            .filter(|trial| trial["model"] == model)
            .map(|trial| trial["ndcg"].as_f64().unwrap())
            .collect();
        assert!(of.len() > 3, "{model}: {} trials", of.len());
    }
    assert_eq!(manifest.parameters["tuning"]["unfinished"], serde_json::json!([]));
    assert_eq!(manifest.parameters["engine"]["ease_lambda"].as_f64(), best(trials, "ease", "ease_lambda"));
}

/// A setting of the best trial of a model's last search; the first of equals.
fn best(trials: &[serde_json::Value], model: &str, setting: &str) -> Option<f64> {
    let of: Vec<&serde_json::Value> = trials.iter().filter(|trial| trial["model"] == model).collect();
    let top = of.iter().map(|trial| trial["ndcg"].as_f64().unwrap()).fold(0.0, f64::max);
    of.iter().find(|trial| trial["ndcg"].as_f64() == Some(top))?["settings"][setting].as_f64()
}

#[test]
fn files_of_a_published_split_are_read_in_each_form() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let config = Config::load(&Overrides::default(), []).unwrap();
    let settings = medley::http::training_settings(&config, &medley::domain::Tenant::default());
    let music = |path: &Path| InteractionFile { domain: Domain::new("music").unwrap(), path: path.to_owned() };
    let mut lists = String::new();
    let mut triples = String::new();
    for (user, item) in groups(60, 50).iter().map(|(user, item, _)| (user, item)) {
        lists += &format!("{user} {item}\n");
        triples += &format!("{user}\t{item}\t3\n");
    }
    let test = write("test.txt", "person-1 film-0010 film-0011\nperson-2 film-0020\n");
    for text in [&lists, &triples] {
        let train = write("train.txt", text);
        let split = experiment::split_files(&[music(&train)], &[music(&test)], false, &settings).unwrap();
        let experiment = ExperimentSettings {
            training: settings.clone(),
            models: vec!["ease".into()],
            k: 10,
            max_cases: 10,
            sampled: Some(5),
        };
        let (report, sampled) = experiment::run(&split, &experiment, &|_, _| ()).unwrap();
        assert_eq!((sampled.len(), sampled[0].rows), (1, 3));
        assert_eq!((report.source.train_interactions, report.source.test_interactions), (420, 3));
        assert_eq!(report.models.len(), 1);
    }
    let broken = write("broken.txt", "a\tb\t1\na\tb\tmany\n");
    let Err(error) = experiment::split_files(&[music(&broken)], &[music(&test)], false, &settings) else {
        panic!("it is broken")
    };
    assert!(error.to_string().contains("broken.txt:2"), "{error}");
}
