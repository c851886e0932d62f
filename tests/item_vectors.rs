//! Vectors of items' texts in training: asked for once, kept by model and revision, and a provider that fails costs the vectors and nothing else. The
//! provider is a faulty fake on loopback.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use medley::config::{Config, Overrides};
use medley::domain::{Domain, Event, InteractionKind, Item, ItemId, Tenant, UserId};
use medley::store::{self, Options, Store};
use medley::training::{self, TrainingSettings};
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

const ITEMS: usize = 200;

/// What the fake does to a batch.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Answers so many batches, then 400 to everything.
    After(usize),
    NotFinite,
    Short,
    Usage,
}

#[derive(Clone)]
struct Fake {
    fault: Fault,
    dimensions: usize,
    /// All texts that it gave vectors for.
    seen: Arc<Mutex<Vec<String>>>,
    batches: Arc<Mutex<usize>>,
}

impl Respond for Fake {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let body: Value = request.body_json().unwrap();
        let texts: Vec<String> =
            body["input"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().into()).collect();
        let mut batches = self.batches.lock().unwrap();
        if matches!(self.fault, Fault::After(most) if *batches >= most) {
            return ResponseTemplate::new(401);
        }
        *batches += 1;
        let row = |(index, text): (usize, &String)| {
            let number = |d: usize| (text.bytes().map(usize::from).sum::<usize>() * (d + 3) % 17) as f64 + 0.5;
            let mut vector: Vec<Value> = (0..self.dimensions).map(|d| json!(number(d))).collect();
            match self.fault {
                Fault::NotFinite if index == 1 => vector[0] = json!(1e39),
                Fault::Short if index == 1 => _ = vector.pop(),
                _ => {}
            }
            json!({"index": index, "embedding": vector})
        };
        // Backwards: the index counts, not the order.
        let rows: Vec<Value> = texts.iter().enumerate().map(row).rev().collect();
        self.seen.lock().unwrap().extend(texts);
        let tokens = if self.fault == Fault::Usage { 1_000_000 } else { 1 };
        ResponseTemplate::new(200).set_body_json(json!({"data": rows, "usage": {"prompt_tokens": tokens}}))
    }
}

struct Place {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    trainings: Mutex<i64>,
}

impl Place {
    /// Two groups of films, and people who keep to one.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("medley.db").display());
        let options = Options { url, max_connections: 2, acquire_timeout: Duration::from_secs(10), master_key: None };
        let store = store::open(&options).await.unwrap();
        store.migrate().await.unwrap();
        let items: Vec<Item> = (0..ITEMS).map(item).collect();
        store.upsert_items(&items).await.unwrap();
        let event = |person: usize, n: usize| Event {
            event_id: None,
            user_id: UserId::new(format!("person-{person}")).unwrap(),
            item_id: ItemId::new(format!("film-{:03}", (2 * ((person * 7 + n * n) % 40)) + person % 2)).unwrap(),
            kind: InteractionKind::Watch,
            value: None,
            at: Timestamp::from_second(1_750_000_000 + n as i64 * 1_000).unwrap(),
            recommendation_id: None,
            position: None,
        };
        let events: Vec<Event> = (0..60).flat_map(|person| (0..8).map(move |n| event(person, n))).collect();
        store.load_events(&events).await.unwrap();
        Self { folder, store, trainings: Mutex::new(0) }
    }

    /// Trains with the fake for a provider; what the manifest says of vectors, and the texts that the fake answered.
    async fn train(&self, fault: Fault, dimensions: usize, more: &[(&str, &str)]) -> (Value, Vec<String>) {
        let fake = Fake { fault, dimensions, seen: Arc::default(), batches: Arc::default() };
        let server = MockServer::start().await;
        Mock::given(path("/v1/embeddings")).respond_with(fake.clone()).mount(&server).await;
        let of = |key: &str| format!("MEDLEY_LARGE_MODEL__PROVIDERS__P__{key}");
        let mut settings = vec![
            ("MEDLEY_LARGE_MODEL__EMBEDDINGS".to_owned(), "p".to_owned()),
            (of("KIND"), "embeddings".to_owned()),
            (of("BASE_URL"), format!("{}/v1", server.uri())),
            (of("ALLOW_PRIVATE"), "true".to_owned()),
            (of("MODEL"), "m".to_owned()),
            (of("RETRIES"), "0".to_owned()),
            (of("MAX_CONCURRENCY"), "1".to_owned()),
        ];
        settings.extend(more.iter().map(|(key, value)| (of(key), (*value).to_owned())));
        let config = Config::load(&Overrides::default(), settings).unwrap();
        let models_dir = self.folder.path().join("models");
        let settings = TrainingSettings { models_dir, ..medley::http::training_settings(&config, &Tenant::default()) };
        let now = {
            let mut trainings = self.trainings.lock().unwrap();
            *trainings += 1;
            Timestamp::from_second(1_760_000_000 + *trainings).unwrap()
        };
        let manifest = training::train(Arc::clone(&self.store), settings, now, Arc::new(|_, _| ())).await;
        let said = manifest.expect("no fault of a provider fails a training").parameters["item_vectors"].clone();
        let seen = fake.seen.lock().unwrap().clone();
        (said, seen)
    }
}

fn item(n: usize) -> Item {
    Item {
        id: ItemId::new(format!("film-{n:03}")).unwrap(),
        domain: Domain::new("movie").unwrap(),
        title: format!("Film {n}"),
        genres: vec!["Drama".to_owned()],
        tags: vec!["quiet".to_owned()],
        description: Some(format!("It is about {n}.")),
        creators: vec!["Somebody".to_owned()],
        released: None,
        attributes: std::collections::BTreeMap::new(),
        available: true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_sent_once_for_each_model_and_revision() {
    let place = Place::new().await;
    let (said, seen) = place.train(Fault::None, 5, &[]).await;
    assert_eq!(
        (&said["dimensions"], &said["texts"], &said["asked"]),
        (&json!(5), &json!(ITEMS), &json!(ITEMS)),
        "{said}"
    );
    assert_eq!((seen.len(), seen.iter().collect::<BTreeSet<_>>().len()), (ITEMS, ITEMS));
    assert!(seen.contains(&"Film 7. Somebody. Drama. quiet. It is about 7.".to_owned()), "{:?}", seen[0]);

    let (said, seen) = place.train(Fault::None, 5, &[]).await;
    assert_eq!((&said["dimensions"], &said["asked"], seen.len()), (&json!(5), &json!(0), 0), "{said}");

    // A changed text is a new one; the others stay.
    let changed = Item { title: "Another".to_owned(), ..item(3) };
    place.store.upsert_items(&[changed]).await.unwrap();
    let (_, seen) = place.train(Fault::None, 5, &[]).await;
    assert_eq!(seen, ["Another. Somebody. Drama. quiet. It is about 3."]);

    // What a model wants before a text is part of what it reads.
    let (said, seen) = place.train(Fault::None, 5, &[("PASSAGE_PREFIX", "passage: ")]).await;
    assert!(seen.len() == ITEMS && seen[0].starts_with("passage: "), "{said}");

    for more in [("MODEL", "another"), ("REVISION", "2")] {
        let (said, seen) = place.train(Fault::None, 4, &[more]).await;
        assert_eq!((&said["dimensions"], seen.len()), (&json!(4), ITEMS), "{more:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_that_was_cut_off_goes_on_where_it_was() {
    let place = Place::new().await;
    let (said, first) = place.train(Fault::After(2), 5, &[]).await;
    assert_eq!((&said["dimensions"], first.len()), (&json!(0), 128), "{said}");
    assert!(said["failed"].as_str().unwrap().contains("401"), "{said}");
    let (said, second) = place.train(Fault::None, 5, &[]).await;
    assert_eq!((&said["dimensions"], &said["asked"]), (&json!(5), &json!(ITEMS - 128)), "{said}");
    assert!(first.iter().all(|text| !second.contains(text)), "what is kept is not asked again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_vector_costs_the_vectors_and_not_the_training() {
    let place = Place::new().await;
    for fault in [Fault::NotFinite, Fault::Short] {
        let (said, _) = place.train(fault, 5, &[]).await;
        assert!(said["dimensions"] == 0 && said["failed"].is_string(), "{said}");
    }
    let (said, _) = place.train(Fault::None, 5, &[]).await;
    assert_eq!(said["dimensions"], 5, "{said}");
    // The same name, and another model behind it.
    place.store.upsert_items(&[Item { title: "Another".to_owned(), ..item(3) }]).await.unwrap();
    let (said, _) = place.train(Fault::None, 6, &[]).await;
    assert!(said["failed"].as_str().unwrap().contains("revision"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_is_spent_ends_the_asking() {
    let place = Place::new().await;
    let budget = [("PRICE_OF_INPUT", "1.0"), ("BUDGET_PER_DAY", "1.5")];
    let (said, seen) = place.train(Fault::Usage, 5, &budget).await;
    assert!(said["failed"].as_str().unwrap().contains("budget"), "{said}");
    assert_eq!(seen.len(), 128, "two batches of a million tokens are more than the budget");
}
