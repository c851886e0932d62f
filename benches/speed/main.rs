//! How fast the engine ranks, and services to send load to, on synthetic catalogues: `benches/speed/run` prints all tables.
//!
//!   cargo bench --bench speed -- engine [ITEMS ...]        microseconds of one recommendation by size of the catalogue and of the history
//!   cargo bench --bench speed -- service FOLDER ITEMS      a data folder for `medley serve --no-demo --data-dir FOLDER`

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use medley::config::{Config, Overrides};
use medley::domain::{Behaviour, Domain, Filters, Interaction, Query, Rerank, Taste};
use medley::engine::artifact::BoundModel;
use medley::engine::catalogue::Catalogue;
use medley::engine::pipeline;
use medley::store::{self, Options, Store};

mod synthetic;

use synthetic::{EVENTS, GENRES, PEOPLE};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let number = |text: &String| text.parse::<usize>().expect("a number");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["engine"] => [1_000, 10_000, 20_000, 100_000].into_iter().for_each(engine),
        ["engine", ..] => arguments[1..].iter().map(number).for_each(engine),
        ["service", folder, _] => service(Path::new(folder), number(&arguments[2])),
        _ => println!("see benches/speed/run"),
    }
}

fn config(folder: &Path) -> Config {
    Config::load(&Overrides { data_dir: Some(folder.to_owned()), ..Overrides::default() }, std::env::vars())
        .expect("the defaults")
}

fn query(config: &Config, tastes: Vec<Taste>, diversity: f32) -> Query {
    Query {
        tastes,
        user_id: None,
        session: Vec::new(),
        domains: config.domains.clone(),
        limit: config.recommend.limit,
        filters: Filters::default(),
        exclude: Vec::new(),
        include_seen: false,
        model: None,
        diversity,
        explain: false,
        rerank: Rerank::None,
        deadline: None,
        min_watermark: None,
    }
}

/// Three genres of each domain, other ones for each number.
fn tastes(number: usize) -> Vec<Taste> {
    let of = |(place, (domain, genres)): (usize, (&'static str, [&'static str; 16]))| {
        (0..3).map(move |n| Taste {
            domain: Some(Domain::new(domain).expect("a domain")),
            text: genres[(number / 16usize.pow(place as u32) + n * (1 + number % 5)) % 16].to_owned(),
            pointer: format!("/{domain}/{n}"),
        })
    };
    GENRES.into_iter().enumerate().flat_map(of).collect()
}

fn history(items: usize, events: usize, number: usize) -> Vec<Behaviour> {
    let session: Vec<Interaction> = synthetic::events(items, events, number)
        .into_iter()
        .map(|event| Interaction { item_id: event.item_id, kind: event.kind, value: event.value, at: event.at })
        .collect();
    Behaviour::merged(Vec::new(), &session)
}

/// Prints the mean time of one recommendation of all three domains, on one thread.
fn engine(count: usize) {
    let config = config(Path::new("."));
    let items = synthetic::items(count);
    let model = synthetic::model(&items);
    let mut catalogue = Catalogue::new(&config.domains);
    for item in items {
        catalogue.upsert(item);
    }
    let model = model.bind(&mut catalogue);
    let bench = |name: &str, query: &dyn Fn(usize) -> (Query, Vec<Behaviour>)| {
        println!("{count:>8} items  {name:<28} {:>9.0} us", mean(&catalogue, &model, &config, query));
    };
    bench("bare tastes", &|n| (query(&config, tastes(n), config.recommend.diversity), Vec::new()));
    bench("bare tastes, no diversity", &|n| (query(&config, tastes(n), 0.0), Vec::new()));
    bench("nothing known", &|_| (query(&config, Vec::new(), config.recommend.diversity), Vec::new()));
    for events in EVENTS {
        let histories: Vec<Vec<Behaviour>> = (0..PEOPLE).map(|number| history(count, events, number)).collect();
        let ask = |n: usize| (query(&config, Vec::new(), config.recommend.diversity), histories[n % PEOPLE].clone());
        bench(&format!("history of {events} events"), &ask);
    }
}

/// Microseconds of one call, over two seconds after a warm-up: of the processor's time where the system tells it, so that what else the machine does
/// matters little.
fn mean(
    catalogue: &Catalogue,
    model: &BoundModel,
    config: &Config,
    query: &dyn Fn(usize) -> (Query, Vec<Behaviour>),
) -> f64 {
    let asked: Vec<(Query, Vec<Behaviour>)> = (0..220).map(query).collect();
    let ask = |(query, history): &(Query, Vec<Behaviour>)| {
        std::hint::black_box(pipeline::recommend(catalogue, Some(model), &config.interactions, query, history));
    };
    asked[200..].iter().for_each(ask);
    let (started, before) = (Instant::now(), processor_time());
    let mut calls = 0;
    while started.elapsed() < Duration::from_secs(2) {
        asked[calls % 200..][..20].iter().for_each(ask);
        calls += 20;
    }
    let spent = processor_time().zip(before).map_or(started.elapsed(), |(after, before)| after - before);
    spent.as_secs_f64() * 1e6 / calls as f64
}

/// What this thread has had of the processor; Linux tells it.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// Fills a data folder: catalogue, people, and a model that is active.
#[tokio::main]
async fn service(folder: &Path, count: usize) {
    let config = config(folder);
    std::fs::create_dir_all(folder).expect("a folder");
    let options = Options {
        url: config.database_url(),
        max_connections: 2,
        acquire_timeout: Duration::from_secs(20),
        master_key: None,
    };
    let store: Arc<dyn Store> = store::open(&options).await.expect("a database");
    store.migrate().await.expect("tables");
    let items = synthetic::items(count);
    for batch in items.chunks(5_000) {
        store.upsert_items(batch).await.expect("items");
    }
    for events in EVENTS {
        for number in 0..PEOPLE {
            store.load_events(&synthetic::events(count, events, number)).await.expect("events");
        }
    }
    let manifest = synthetic::model(&items).publish(&config.models_dir(store.tenant())).expect("an artifact");
    let json = serde_json::to_value(&manifest).expect("JSON");
    let now = Timestamp::now();
    let trainer = store.begin_training().await.expect("nobody trains");
    assert!(store.publish_model(&manifest.version, &json, trainer.epoch(), now).await.expect("a record"));
    trainer.release().await;
    store.close().await;
    println!("{count} items, model of {} MiB in {}", manifest.bytes >> 20, folder.display());
}
