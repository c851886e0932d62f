//! Nothing lost: posts events, kills the service again and again, and compares the store with what was acknowledged. `benches/soak/run` builds it with the
//! feature `failpoints`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Parser;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

#[path = "../../tests/support"]
mod support {
    #![allow(dead_code, reason = "the tests use the rest")]
    pub mod postgres;
    pub mod server;
}

use support::server::Server;

/// Where a life can end, besides anywhere.
const FAILPOINTS: [&str; 3] = ["events-before-commit", "events-mid-batch", "events-after-commit"];
/// A sender that got no answer gives one batch in so many up: whether it is stored is then unknown, and both are right.
const GIVEN_UP: u32 = 20;

/// Acknowledged events through many deaths of the service.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// Added by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// `sqlite`, or `postgres` (a server of its own).
    #[arg(long, default_value = "sqlite")]
    database: String,
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// The largest batch; sizes are drawn from 1 to this.
    #[arg(long, default_value_t = 1_000)]
    batch: usize,
    /// All batches have the largest size.
    #[arg(long)]
    same_size: bool,
    #[arg(long, default_value_t = 4)]
    senders: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What is known of an event that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Acknowledged,
    Unknown,
}

/// What the senders and whoever kills share.
struct Shared {
    address: Mutex<String>,
    /// Events that were acknowledged.
    done: AtomicUsize,
    kills: AtomicUsize,
    all_sent: AtomicBool,
    repeated: AtomicUsize,
    resent: AtomicUsize,
    ledger: Mutex<BufWriter<File>>,
}

/// The nth event of a sender. Everything of it follows from its name, so that what is stored can be checked.
fn event(sender: usize, n: usize) -> Value {
    let kind = ["play", "like", "view", "watch"][n % 4];
    json!({"event_id": format!("s{sender}-{n}"), "user_id": format!("u{}", n % 997), "item_id": format!("i{}", n % 4999), "type": kind})
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.kills > 0 && !cfg!(feature = "failpoints") {
        eprintln!("built without the feature `failpoints`: half of the kills would not happen");
        return ExitCode::FAILURE;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(soak(&arguments))
}

async fn soak(arguments: &Arguments) -> ExitCode {
    let folder = tempfile::tempdir().expect("a folder");
    let database = match arguments.database.as_str() {
        "postgres" => Some(support::postgres::database().await),
        _ => None,
    };
    let url = database.as_ref().map_or_else(
        || format!("sqlite://{}", folder.path().join("medley.db").display()),
        |database| database.url.clone(),
    );
    let ledger = folder.path().join("ledger");
    let mut server = start(folder.path(), &url, None);
    let shared = Arc::new(Shared {
        address: Mutex::new(server.address.clone()),
        done: AtomicUsize::new(0),
        kills: AtomicUsize::new(0),
        all_sent: AtomicBool::new(false),
        repeated: AtomicUsize::new(0),
        resent: AtomicUsize::new(0),
        ledger: Mutex::new(BufWriter::new(File::create_new(&ledger).expect("a new ledger"))),
    });
    let started = Instant::now();
    let senders: Vec<_> =
        (0..arguments.senders).map(|n| tokio::spawn(send(n, arguments.clone(), Arc::clone(&shared)))).collect();
    let killer = {
        let (arguments, shared) = (arguments.clone(), Arc::clone(&shared));
        let (folder, url) = (folder.path().to_owned(), url.clone());
        tokio::task::spawn_blocking(move || {
            let ends = kill(&mut server, &arguments, &shared, &folder, &url);
            (server, ends)
        })
    };
    for sender in senders {
        sender.await.expect("a sender ends");
    }
    let took = started.elapsed();
    shared.all_sent.store(true, Ordering::Relaxed);
    let (mut server, ends) = killer.await.expect("the kills end");
    server.kill();
    shared.ledger.lock().unwrap().flush().expect("the ledger is written");
    let is_right = compare(&url, folder.path(), &ledger);
    let figure = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    println!(
        "{}: {} kills ({}), {} sendings without an answer, {} batches sent again after their acknowledgement, {:.0} s, {:.0} events/s",
        arguments.database,
        ends.values().sum::<usize>(),
        ends.iter().map(|(how, count)| format!("{count} {how}")).collect::<Vec<_>>().join(", "),
        figure(&shared.repeated),
        figure(&shared.resent),
        took.as_secs_f64(),
        figure(&shared.done) as f64 / took.as_secs_f64(),
    );
    if is_right && ends.values().sum::<usize>() == arguments.kills { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn start(folder: &Path, url: &str, failpoint: Option<&str>) -> Server {
    let mut variables =
        vec![("MEDLEY_DATABASE_URL", url), ("MEDLEY_DEMO__CATALOGUE", "never"), ("MEDLEY_LOG__LEVEL", "error")];
    variables.extend(failpoint.map(|failpoint| ("FAILPOINT", failpoint)));
    Server::start(folder, &variables)
}

/// Ends one life of the service after the other, half of them at a random moment and half at a failpoint; how many of each.
fn kill(
    server: &mut Server,
    arguments: &Arguments,
    shared: &Shared,
    folder: &Path,
    url: &str,
) -> BTreeMap<String, usize> {
    let mut random = ChaCha8Rng::seed_from_u64(arguments.seed);
    let mut ends = BTreeMap::new();
    let mut failpoint: Option<&str> = None;
    let mut life = Instant::now();
    let mut length = Duration::from_millis(random.random_range(5..400));
    for kills in 1..=arguments.kills {
        loop {
            if server.has_ended() {
                break;
            }
            // A failpoint that is not reached, because batches are small or all was sent, must not keep the rest from going on.
            let patience = if failpoint.is_some() { Duration::from_secs(5) } else { length };
            if life.elapsed() > patience {
                failpoint = None;
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        server.kill();
        *ends.entry(failpoint.map_or("at random moments".to_owned(), |name| format!("at {name}"))).or_default() += 1;
        failpoint = random.random_bool(0.5).then(|| FAILPOINTS[random.random_range(0..FAILPOINTS.len())]);
        // SQLite alone writes a batch in pieces.
        if url.starts_with("postgres") && failpoint == Some("events-mid-batch") {
            failpoint = Some("events-before-commit");
        }
        if kills == arguments.kills {
            failpoint = None;
        }
        let setting = failpoint.map(|name| format!("{name}={}", random.random_range(0..8)));
        *server = start(folder, url, setting.as_deref());
        shared.address.lock().unwrap().clone_from(&server.address);
        (life, length) = (Instant::now(), Duration::from_millis(random.random_range(5..400)));
        shared.kills.store(kills, Ordering::Relaxed);
    }
    ends
}

/// Sends its share of the events, each batch until it is acknowledged or given up.
async fn send(sender: usize, arguments: Arguments, shared: Arc<Shared>) {
    let client = support::server::client(Duration::from_secs(10));
    let mut random = ChaCha8Rng::seed_from_u64(arguments.seed * 1_000 + sender as u64 + 1);
    let (mut n, mut left) = (0, arguments.events.div_ceil(arguments.senders));
    while left > 0 {
        let size = if arguments.same_size { arguments.batch } else { random.random_range(1..=arguments.batch) };
        let last = n + size.min(left);
        // However fast the machine is, the kills are spread over all that is sent.
        while shared.done.load(Ordering::Relaxed) * arguments.kills
            > (shared.kills.load(Ordering::Relaxed) + 1) * arguments.events
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let fate = deliver(&client, &shared, sender, n..last, arguments.kills > 0, &mut random).await;
        if fate == Fate::Acknowledged {
            left -= last - n;
            shared.done.fetch_add(last - n, Ordering::Relaxed);
            // Somebody who is not sure sends what was acknowledged once more.
            if arguments.kills > 0 && random.random_ratio(1, 50) {
                deliver(&client, &shared, sender, n..last, true, &mut random).await;
                shared.resent.fetch_add(1, Ordering::Relaxed);
            }
        }
        n = last;
    }
}

async fn deliver(
    client: &reqwest::Client,
    shared: &Shared,
    sender: usize,
    events: std::ops::Range<usize>,
    may_give_up: bool,
    random: &mut ChaCha8Rng,
) -> Fate {
    let body = json!({"events": events.clone().map(|n| event(sender, n)).collect::<Vec<_>>()}).to_string();
    let write = |fate: Fate| {
        let mut ledger = shared.ledger.lock().unwrap();
        writeln!(ledger, "{fate:?} {sender} {} {}", events.start, events.end).expect("the ledger takes a line");
    };
    loop {
        let url = format!("{}/api/events", shared.address.lock().unwrap());
        let sent = client.post(url).body(body.clone()).send().await;
        if sent.as_ref().is_err_and(reqwest::Error::is_connect) {
            // Nobody is there.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        if let Ok(answer) = sent {
            let status = answer.status();
            assert_ne!(status.as_u16() / 100, 4, "{:?}", answer.text().await);
            // The acknowledgement must have arrived whole to count as one.
            if status.is_success()
                && let Ok(answer) = answer.json::<Value>().await
            {
                let stored = answer["accepted"].as_u64().unwrap() + answer["duplicates"].as_u64().unwrap();
                assert_eq!(stored, events.len() as u64, "{answer}");
                write(Fate::Acknowledged);
                return Fate::Acknowledged;
            }
        }
        shared.repeated.fetch_add(1, Ordering::Relaxed);
        if may_give_up && random.random_ratio(1, GIVEN_UP) {
            write(Fate::Unknown);
            return Fate::Unknown;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Reads everything that is stored, by `medley export events`, and what was acknowledged, from the ledger: whether both agree.
fn compare(url: &str, folder: &Path, ledger: &Path) -> bool {
    let mut sent = BTreeMap::<(usize, usize), Fate>::new();
    for line in BufReader::new(File::open(ledger).expect("the ledger")).lines() {
        let line = line.expect("a line");
        let words: Vec<&str> = line.split(' ').collect();
        let numbers: Vec<usize> = words[1..].iter().map(|number| number.parse().expect("a number")).collect();
        let fate = if words[0] == "Acknowledged" { Fate::Acknowledged } else { Fate::Unknown };
        for n in numbers[1]..numbers[2] {
            let known = sent.entry((numbers[0], n)).or_insert(fate);
            if fate == Fate::Acknowledged {
                *known = fate;
            }
        }
    }
    let mut export = Command::new(env!("CARGO_BIN_EXE_medley"))
        .args(["export", "events", "--database-url", url, "--data-dir"])
        .arg(folder)
        .env("MEDLEY_LOG__LEVEL", "error")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the export starts");
    let mut times = BTreeMap::<(usize, usize), u32>::new();
    let (mut never_sent, mut changed) = (0, 0);
    for line in BufReader::new(export.stdout.take().expect("stdout is piped")).lines() {
        let stored: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let name = stored["event_id"].as_str().and_then(|id| id.strip_prefix('s')?.split_once('-'));
        let name = name.and_then(|(sender, n)| Some((sender.parse().ok()?, n.parse().ok()?)));
        match name.filter(|name| sent.contains_key(name)) {
            Some((sender, n)) => {
                let expected = event(sender, n);
                changed +=
                    usize::from(["user_id", "item_id", "type"].iter().any(|field| stored[field] != expected[field]));
                *times.entry((sender, n)).or_default() += 1;
            }
            None => never_sent += 1,
        }
    }
    assert!(export.wait().expect("the export ends").success());
    let acknowledged = sent.values().filter(|fate| **fate == Fate::Acknowledged).count();
    let lost = sent.iter().filter(|(name, fate)| **fate == Fate::Acknowledged && !times.contains_key(name)).count();
    let doubled = times.values().filter(|times| **times > 1).count();
    println!(
        "{acknowledged} acknowledged: {lost} lost, {doubled} doubled, {changed} changed, {never_sent} never sent; {} without an answer, {} of them stored",
        sent.len() - acknowledged,
        times.len() - (acknowledged - lost),
    );
    lost + doubled + changed + never_sent == 0
}
