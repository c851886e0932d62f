//! What the fuzz targets do with the bytes they are given; the tests do the same with seeded ones. None may panic, and what is read holds what
//! the rest of the program relies on.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;
use medley::cli::import::{self, ImportArgs, Rules, What};
use medley::config::{Config, Overrides};
use medley::domain::{Behaviour, Event, InteractionKind, Item, ItemId, Query, Tenant, UserId};
use medley::engine::artifact::Model;
use medley::engine::catalogue::Catalogue;
use medley::engine::pipeline;
use medley::http::bodies;
use medley::{store, training};

/// Takes any bytes.
pub type Target = fn(&[u8]);

/// By name.
pub const TARGETS: [(&str, Target); 6] = [
    ("recommend", recommend),
    ("events", events),
    ("items", items),
    ("import", import_rows),
    ("tastes", tastes),
    ("artifact", artifact),
];

static CONFIG: LazyLock<Config> = LazyLock::new(|| Config::load(&Overrides::default(), []).expect("the default"));
static ITEMS: LazyLock<Vec<Item>> = LazyLock::new(medley::demo::items);
static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let mut catalogue = Catalogue::new(&CONFIG.domains);
    for item in ITEMS.iter() {
        catalogue.upsert(item.clone());
    }
    catalogue
});

fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).expect("a time")
}

/// A folder of this process, in memory where there is such a place.
fn folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let thread = format!("{:?}", std::thread::current().id());
    let digits: String = thread.chars().filter(char::is_ascii_digit).collect();
    let folder = base.join(format!("medley-fuzz-{}-{digits}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// The body of `POST /api/recommend`.
fn recommend(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(query) = bodies::recommend(text, &CONFIG, now()) {
        assert!((1..=200).contains(&query.limit) && (0.0..=1.0).contains(&query.diversity));
        assert!(query.domains.iter().all(|domain| CONFIG.domains.contains(domain)));
        rank(&query);
    }
}

/// The body of `POST /api/events`.
fn events(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for event in bodies::events(text, &CONFIG, now()).unwrap_or_default() {
        assert!(event.value.is_none_or(f64::is_finite));
    }
}

/// The bodies that write items: a batch as JSON or NDJSON, and a patch.
fn items(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut catalogue = Catalogue::new(&CONFIG.domains);
    for item in bodies::items(text, &CONFIG).unwrap_or_default() {
        assert!(!item.title.is_empty() && CONFIG.domains.contains(&item.domain));
        catalogue.upsert(item);
    }
    let id = ItemId::new("a").expect("an id");
    if let Ok(patch) = bodies::patch(text, &id, &CONFIG) {
        let mut item = ITEMS[0].clone();
        patch.apply(&mut item);
        assert!(!item.title.is_empty());
    }
}

/// A file to import: the first byte says of what, the second in which format, the rest is the file.
fn import_rows(data: &[u8]) {
    let [what, format, file @ ..] = data else { return };
    // Parquet is a library's to read, which panics over some damaged files; the import makes an error of that.
    if file.starts_with(b"PAR1") {
        return;
    }
    let what = if what % 2 == 0 { What::Items } else { What::Events };
    let formats = [
        None,
        Some(import::Format::Generic),
        Some(import::Format::Movielens),
        Some(import::Format::Lastfm),
        Some(import::Format::Steam),
    ];
    let format = formats[usize::from(*format) % formats.len()];
    let path = folder().join("rows");
    fs::write(&path, file).expect("a file");
    let arguments = ImportArgs { what, file: path, format, prefix: None, strict: false };
    if let Ok(summary) = import::judge(&arguments, &Rules::of(&CONFIG, now())) {
        assert!(summary.rejected + summary.duplicates <= summary.read);
    }
}

/// Tastes and filters: the first part of the text is a taste in each domain, what follows the first line break is a filter.
fn tastes(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (taste, filter) = text.split_once('\n').unwrap_or((text, "{}"));
    let taste = serde_json::to_string(taste).expect("text is JSON");
    let with = |filter: &str| {
        let body = format!("{{\"music\": [{taste}], \"query\": {taste}, \"filter\": {filter}, \"explain\": true}}");
        bodies::recommend(&body, &CONFIG, now())
    };
    if let Ok(query) = with(filter).or_else(|_| with("{}")) {
        rank(&query);
    }
}

/// An artifact: two bytes with the length of the manifest, the manifest, the tensors. Checksum and size are made to fit, so that what lies behind
/// them is reached.
fn artifact(data: &[u8]) {
    let [high, low, rest @ ..] = data else { return };
    let (manifest, tensors) = rest.split_at((usize::from(*high) << 8 | usize::from(*low)).min(rest.len()));
    let manifest = match serde_json::from_slice::<serde_json::Value>(manifest) {
        Ok(serde_json::Value::Object(mut fields)) => {
            use sha2::Digest as _;
            let checksum: String = sha2::Sha256::digest(tensors).iter().map(|byte| format!("{byte:02x}")).collect();
            fields.insert("checksum".to_owned(), checksum.into());
            fields.insert("bytes".to_owned(), tensors.len().into());
            serde_json::Value::Object(fields).to_string().into_bytes()
        }
        _ => manifest.to_vec(),
    };
    let folder = folder();
    fs::write(folder.join("manifest.json"), manifest).expect("a file");
    fs::write(folder.join("model.safetensors"), tensors).expect("a file");
    let Ok(model) = Model::open(&folder) else { return };
    let mut catalogue = Catalogue::new(&CONFIG.domains);
    for item in ITEMS.iter().take(30) {
        catalogue.upsert(item.clone());
    }
    let model = model.bind(&mut catalogue);
    if let Ok(query) = bodies::recommend("{\"music\": [\"rock\"], \"explain\": true}", &CONFIG, now()) {
        let _ = pipeline::recommend(&catalogue, Some(&model), &CONFIG.interactions, &query, &[]);
    }
}

/// An input of the target `artifact`: a small model, trained on some of the demo.
///
/// # Panics
/// When it cannot be trained.
#[allow(dead_code, reason = "only some of the programs that include this file make seeds")]
pub fn artifact_seed() -> Vec<u8> {
    let folder = folder();
    let options = store::Options {
        url: format!("sqlite://{}", folder.join("seed.db").display()),
        max_connections: 1,
        acquire_timeout: Duration::from_secs(10),
        master_key: None,
    };
    let mut settings = medley::http::training_settings(&CONFIG, &Tenant::default());
    settings.models_dir = folder.join("models");
    (settings.engine.ials.dimensions, settings.engine.graph_rank) = (2, 2);
    let items = &ITEMS[..12];
    let events: Vec<Event> = (0..60)
        .map(|n| Event {
            event_id: None,
            user_id: UserId::new(format!("u{}", n % 15)).expect("an id"),
            item_id: items[(n * 7 + n / 15) % items.len()].id.clone(),
            kind: InteractionKind::Like,
            value: None,
            at: now(),
            recommendation_id: None,
            position: None,
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let manifest = runtime.block_on(async {
        let store = store::open(&options).await.expect("a store");
        store.migrate().await.expect("a schema");
        store.upsert_items(items).await.expect("items");
        store.append_events(&events).await.expect("events");
        let progress: training::Progress = Arc::new(|_, _| {});
        let trained = training::train(Arc::clone(&store), settings.clone(), now(), progress).await.expect("a model");
        store.close().await;
        trained
    });
    let artifact = settings.models_dir.join(manifest.version);
    let manifest = fs::read(artifact.join("manifest.json")).expect("a manifest");
    let tensors = fs::read(artifact.join("model.safetensors")).expect("tensors");
    fs::remove_dir_all(folder).expect("the folder can be deleted");
    let length = u16::try_from(manifest.len()).expect("a short manifest").to_be_bytes();
    [length.as_slice(), &manifest, &tensors].concat()
}

fn rank(query: &Query) {
    let history = Behaviour::merged(Vec::new(), &query.session);
    let answer = pipeline::recommend(&CATALOGUE, None, &CONFIG.interactions, query, &history);
    for (_, list) in &answer.lists {
        assert!(list.len() <= query.limit);
        assert!(list.iter().all(|ranked| (0.0..=1.0).contains(&ranked.score)));
    }
}

/// Runs one target.
///
/// # Panics
/// When there is none of this name; or a bug was found.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    target(data);
}
