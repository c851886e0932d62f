//! Importing files into a store: small ones with bad rows, written here, and the real data sets for their counts.

mod support {
    pub mod data;
}

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use medley::cli::import::{Format, ImportArgs, Rules, Summary, What, import};
use medley::config::{Config, Overrides};
use medley::domain::{Domain, Event, InteractionKind, Item, ItemId, UserId};
use medley::store::{self, Store};
use tempfile::TempDir;

/// An empty SQLite store, and a folder to write files in.
struct Place {
    folder: TempDir,
    store: Arc<dyn Store>,
    rules: Rules,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("medley.db").display());
        let options =
            store::Options { url, max_connections: 2, acquire_timeout: Duration::from_secs(5), master_key: None };
        let store = store::open(&options).await.unwrap();
        store.migrate().await.unwrap();
        let config = Config::load(&Overrides::default(), []).unwrap();
        let rules = Rules::of(&config, Timestamp::from_second(1_750_000_000).unwrap());
        Self { folder, store, rules }
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> std::path::PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    async fn import(&self, what: What, file: &Path) -> Summary {
        self.try_import(what, file, None, None).await.unwrap()
    }

    async fn try_import(
        &self,
        what: What,
        file: &Path,
        format: Option<Format>,
        prefix: Option<&str>,
    ) -> anyhow::Result<Summary> {
        let prefix = prefix.map(str::to_owned);
        let arguments = ImportArgs { what, file: file.to_owned(), format, prefix, strict: false };
        let summary = import(self.store.as_ref(), &arguments, &self.rules).await?;
        let Summary { read, stored, duplicates, unchanged, rejected, .. } = summary;
        assert_eq!(read, stored + duplicates + unchanged + rejected, "every row is accounted for: {summary:?}");
        Ok(summary)
    }

    async fn item(&self, id: &str) -> medley::domain::Item {
        self.store.item(&ItemId::new(id).unwrap()).await.unwrap().unwrap_or_else(|| panic!("no item {id}"))
    }

    async fn counts(&self) -> (u64, u64) {
        (self.store.count_items().await.unwrap(), self.store.count_events().await.unwrap())
    }
}

/// Read, stored, duplicates, unchanged, rejected.
fn numbers(summary: &Summary) -> [u64; 5] {
    [summary.read, summary.stored, summary.duplicates, summary.unchanged, summary.rejected]
}

fn errors(summary: &Summary) -> Vec<(u64, &str)> {
    summary.errors.iter().map(|rejected| (rejected.line, rejected.detail.as_str())).collect()
}

#[tokio::test]
async fn movielens_titles_years_genres_and_tags_become_items() {
    let place = Place::new().await;
    place.file(
        "tags.csv",
        "userId,movieId,tag,timestamp\r\n1,1,Pixar,1\r\n2,1,pixar,2\r\n2,1,fun,3\r\n3,2,board game,4\r\n",
    );
    let movies = place.file(
        "movies.csv",
        "movieId,title,genres\r\n\
         1,Toy Story (1995),Adventure|Animation\r\n\
         2,\"Matrix, The (1999)\",Action|Sci-Fi\r\n\
         3,Hyena Road,(no genres listed)\r\n\
         ,Nameless (2001),Drama\r\n\
         5,,Drama\r\n\
         6,\"Never closed (2002),Drama\r\n\
         1,Toy Story again (1995),Adventure\r\n\
         7,\"Misérables, Les (1995)\",Drama|War\r\n",
    );
    let summary = place.import(What::Items, &movies).await;
    assert_eq!(numbers(&summary), [8, 4, 1, 0, 3]);
    assert_eq!(errors(&summary), [(5, "movieId is missing"), (6, "title is missing"), (7, "a quote is not closed")]);

    let matrix = place.item("movielens:2").await;
    assert_eq!((matrix.title.as_str(), matrix.domain.as_str()), ("The Matrix", "movie"));
    assert_eq!(matrix.released.unwrap().to_string(), "1999-01-01");
    assert_eq!(matrix.genres, ["Action", "Sci-Fi"]);
    let toys = place.item("movielens:1").await;
    assert_eq!(toys.tags, ["pixar", "fun"], "the most frequent first, whatever their case");
    assert_eq!(toys.title, "Toy Story", "the first of two rows counts");
    assert_eq!(place.item("movielens:3").await.genres, Vec::<String>::new());
    assert_eq!(place.item("movielens:7").await.title, "Les Misérables");

    let again = place.import(What::Items, &movies).await;
    assert_eq!(numbers(&again), [8, 0, 1, 4, 3]);
    assert_eq!(place.counts().await, (4, 0));
}

#[tokio::test]
async fn bad_ratings_are_named_by_line_and_reason_and_the_rest_goes_on() {
    let place = Place::new().await;
    let ratings = place.file(
        "ratings.csv",
        "userId,movieId,rating,timestamp\n\
         1,31,2.5,1260759144\n\
         1,32,abc,1260759145\n\
         \n\
         1,33,7,1260759145\n\
         1,34,3\n\
         1,35,3,yesterday\n\
         ,36,3,1260759145\n\
         1,37,NaN,1260759145\n\
         1,31,2.5,1260759144\n\
         1,31,3.0,1260759999\n",
    );
    let summary = place.import(What::Events, &ratings).await;
    assert_eq!(numbers(&summary), [9, 2, 1, 0, 6]);
    assert_eq!(
        errors(&summary),
        [
            (3, "rating `abc` is not a number"),
            (5, "rating `7` is not within 0 to 5"),
            (6, "timestamp is missing"),
            (7, "timestamp `yesterday` is not a number of seconds"),
            (8, "userId is missing"),
            (9, "rating `NaN` is not a number"),
        ]
    );
    let history = place.store.history(&UserId::new("movielens:1").unwrap()).await.unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!((history[0].kind, history[0].count, history[0].last_value), (InteractionKind::Rating, 2, Some(3.0)));

    let tags = place.file("tags.csv", "userId,movieId,tag,timestamp\n1,31,slow,1260759200\n");
    assert_eq!(numbers(&place.import(What::Events, &tags).await), [1, 1, 0, 0, 0]);

    assert_eq!(numbers(&place.import(What::Events, &ratings).await), [9, 0, 3, 0, 6]);
    assert_eq!(place.counts().await, (0, 3));
}

#[tokio::test]
async fn lastfm_keeps_quotes_takes_tags_and_replaces_what_is_no_utf8() {
    let place = Place::new().await;
    place.file("tags.dat", "tagID\ttagValue\n1\tMetal\n2\tgothic\n3\tjapanese\n4\tvisual kei\n");
    place.file(
        "user_taggedartists.dat",
        "userID\tartistID\ttagID\tday\tmonth\tyear\n2\t1\t4\t1\t4\t2009\n3\t1\t4\t1\t4\t2009\n3\t1\t1\t1\t4\t2009\n\
         3\t1\t2\t1\t4\t2009\n3\t1\t3\t1\t4\t2009\n",
    );
    let artists = place.file(
        "artists.dat",
        b"id\tname\turl\tpictureURL\n1\tMALICE MIZER\thttp://x\thttp://y\n1686\t\"Weird Al\" Yankovic\t\t\n3\tBj\xf6rk\t\t\n4\n",
    );
    let summary = place.import(What::Items, &artists).await;
    assert_eq!(numbers(&summary), [4, 3, 0, 0, 1]);
    assert_eq!(summary.repaired, 1);
    assert_eq!(errors(&summary), [(5, "name is missing")]);
    let malice = place.item("lastfm:1").await;
    assert_eq!((malice.title.as_str(), malice.domain.as_str()), ("MALICE MIZER", "music"));
    assert_eq!(malice.creators, ["MALICE MIZER"]);
    assert_eq!(malice.genres, ["visual kei", "gothic", "japanese"]);
    assert_eq!(malice.tags, ["metal"]);
    assert_eq!(place.item("lastfm:1686").await.title, "\"Weird Al\" Yankovic");
    assert_eq!(place.item("lastfm:3").await.title, "Bj\u{fffd}rk");

    for (name, text) in [
        ("user_artists.dat", "18800\n92834\n2\t51\t13883\n2\t52\t-3\n"),
        ("original.dat", "userID\tartistID\tweight\n2\t51\t13883\n2\t52\tmany\n"),
        ("train.txt", "2\t51\t13883\t\r\n2\t52\t\t\r\n"),
    ] {
        let summary = place.import(What::Events, &place.file(name, text)).await;
        assert_eq!((summary.read, summary.rejected), (2, 1), "{name}: {summary:?}");
    }
    let history = place.store.history(&UserId::new("lastfm:2").unwrap()).await.unwrap();
    assert_eq!(history.len(), 1, "the same row in three files is one event");
    assert_eq!((history[0].kind, history[0].total), (InteractionKind::Play, 13_883.0));
    assert_eq!(history[0].last_at.to_string(), "2011-05-01T00:00:00Z");
}

#[tokio::test]
async fn steam_gives_games_and_hours_from_one_file_in_both_its_forms() {
    let place = Place::new().await;
    let plays = place.file(
        "steam-200k.csv",
        "user-id,game-title,value,\n1,Dota 2,1.7,1\n1,Dota 2,1.7,\n2,\"Warhammer 40,000\",0.5,\n2,???,1,\n2,Spore,0,\n",
    );
    let games = place.import(What::Items, &plays).await;
    assert_eq!(numbers(&games), [5, 3, 1, 0, 1]);
    assert_eq!(errors(&games), [(5, "game-title `???` has no letter or digit")]);
    assert_eq!(place.item("steam:warhammer-40-000").await.title, "Warhammer 40,000");
    let events = place.import(What::Events, &plays).await;
    assert_eq!(numbers(&events), [5, 3, 0, 0, 2], "two equal rows without a time are two events");
    assert_eq!(errors(&events)[1], (6, "value `0` is not above 0"));
    assert_eq!(numbers(&place.import(What::Events, &plays).await), [5, 0, 3, 0, 2]);
    let history = place.store.history(&UserId::new("steam:1").unwrap()).await.unwrap();
    assert_eq!((history[0].kind, history[0].total), (InteractionKind::Playtime, 3.4));

    let original = place.file("original.csv", "9,Dota 2,purchase,1.0,0\n9,Dota 2,play,12.1,0\n9,Dota 2,gift,1,0\n");
    let summary = place.import(What::Events, &original).await;
    assert_eq!(numbers(&summary), [3, 2, 0, 0, 1]);
    let history = place.store.history(&UserId::new("steam:9").unwrap()).await.unwrap();
    let kinds: Vec<InteractionKind> = history.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [InteractionKind::Playtime, InteractionKind::Purchase]);
}

#[tokio::test]
async fn generic_columns_and_objects_give_the_same_items() {
    let place = Place::new().await;
    let csv = place.file(
        "items.csv",
        "id,domain,title,genres,creators,released,available,attributes.language,note\n\
         a,movie,Amélie,Comedy|Romance,Jean-Pierre Jeunet,2001-04-25,true,fr|en,x\n\
         b,book,Ulysses,,,,,,\n\
         c,game,Go,,,soon,,,\n\
         d,game,Chess,,,1475,maybe,,\n\
         e,game,Tetris,Puzzle,,1984,no,,\n",
    );
    let summary = place.import(What::Items, &csv).await;
    assert_eq!(numbers(&summary), [5, 2, 0, 0, 3]);
    assert_eq!(
        errors(&summary),
        [
            (3, "domain `book` is not one of music, movie, game"),
            (4, "released `soon` is not a day such as 1999-03-31, 1999-03 or 1999"),
            (5, "available `maybe` is neither true nor false"),
        ]
    );
    assert!(!place.item("e").await.available);

    let ndjson = place.file(
        "items.ndjson",
        r#"{"id":"a","domain":"movie","title":"Amélie","genres":["Comedy","Romance"],"creators":["Jean-Pierre Jeunet"],"released":"2001-04-25","attributes":{"language":["fr","en"]}}
{"id":"e","domain":"game","title":"Tetris","genres":["Puzzle"],"released":"1984-01-01","available":false}
{"id":"f","domain":"game","titel":"Pong"}
{"id":"g","domain":"game","title":["Pong"]}
{"id":"h","domain":"game","title":"NUL\u0000"}
{"id":"i","domain":"game","title":"Pong","tags":[{"a":1}]}
not json
"#,
    );
    let summary = place.import(What::Items, &ndjson).await;
    assert_eq!(numbers(&summary), [7, 0, 0, 2, 5], "the same items are unchanged: {summary:?}");
    assert_eq!(summary.errors[0].detail, "the field `titel` is not known");
    assert_eq!(summary.errors[1].detail, "title `[\"Pong\"]` is of the wrong type");
    assert_eq!(summary.errors[2].detail, "title `NUL\\0` holds a control character");
    assert_eq!(summary.errors[3].detail, "tags holds `{\"a\":1}`, which is no text");
    assert!(summary.errors[4].detail.starts_with("not a JSON object"), "{summary:?}");
}

#[tokio::test]
async fn generic_events_keep_their_names_and_get_one_when_they_have_none() {
    let place = Place::new().await;
    let events = place.file(
        "events.ndjson",
        r#"{"event_id":"e1","user_id":"u","item_id":"a","type":"like","at":"2024-05-01T10:00:00Z"}
{"event_id":"e1","user_id":"u","item_id":"a","type":"like","at":"2024-05-01T10:00:00Z"}
{"user_id":"u","item_id":"b","type":"play"}
{"user_id":"u","item_id":"b","type":"play"}
{"user_id":"u","item_id":"c","type":"rating"}
{"user_id":"u","item_id":"c","type":"adore"}
{"user_id":"u","item_id":"c","type":"like","at":"2024-13-01T00:00:00Z"}
{"user_id":"u","item_id":"c","type":"view","value":-1}
{"user_id":"u","item_id":"c","type":"view","position":0}
{"user_id":"u","item_id":"c","type":"view","at":"2999-01-01T00:00:00Z"}
{"user_id":"u","item_id":"c","type":"play","value":1e10}
{"user_id":"u","item_id":"c","type":"playtime","value":2.5,"recommendation_id":"rec_1","position":3}
"#,
    );
    let summary = place.import(What::Events, &events).await;
    assert_eq!(numbers(&summary), [12, 4, 1, 0, 7]);
    let reasons: Vec<&str> = errors(&summary).iter().map(|(_, detail)| *detail).collect();
    assert!(reasons[0].starts_with("value is missing"), "{reasons:?}");
    assert!(reasons[1].starts_with("`adore` is not a type of interaction"), "{reasons:?}");
    assert_eq!(reasons[2], "at `2024-13-01T00:00:00Z` is not an RFC 3339 time");
    assert_eq!(reasons[3], "value `-1` is below 0");
    assert_eq!(reasons[4], "position `0` is not a number from 1");
    assert_eq!(reasons[5], "the time lies more than a day ahead");
    assert_eq!(reasons[6], "value is larger than 1000000000");

    let mut later =
        Place { rules: Rules { now: Timestamp::from_second(1_800_000_000).unwrap(), ..place.rules.clone() }, ..place };
    let again = later.import(What::Events, &events).await;
    assert_eq!(numbers(&again), [12, 0, 5, 0, 7], "at another time, too, the same file changes nothing");
    later.rules.rating_scale = [1.0, 10.0];
    let csv = later.file("ratings.csv", "user_id,item_id,type,value\nu,c,rating,9\n");
    assert_eq!(numbers(&later.import(What::Events, &csv).await), [1, 1, 0, 0, 0]);
}

#[tokio::test]
async fn a_prefix_keeps_data_sets_apart_or_lets_them_meet() {
    let place = Place::new().await;
    let plays = place.file("plays.csv", "user-id,game-title,value,\n1,Dota 2,1.7,\n");
    for (prefix, user) in [(None, "steam:1"), (Some("old"), "old:1"), (Some(""), "1")] {
        place.try_import(What::Events, &plays, None, prefix).await.unwrap();
        let history = place.store.history(&UserId::new(user).unwrap()).await.unwrap();
        assert_eq!(history.len(), 1, "{user}");
    }
    assert_eq!(place.counts().await.1, 3);
}

#[tokio::test]
async fn a_file_that_cannot_be_imported_is_refused_with_a_reason() {
    let place = Place::new().await;
    let movies = place.file("movies.csv", "movieId,title,genres\n1,A (1999),Drama\n");
    for (path, what, reason) in [
        (place.file("empty.csv", ""), What::Items, "the file is empty"),
        (place.file("unknown.csv", "a,b\n1,2\n"), What::Items, "--format"),
        (place.file("array.json", "[{\"id\":1}]"), What::Items, "NDJSON has one object a line"),
        (place.file("movies.csv.gz", b"\x1f\x8b\x08\0"), What::Items, "unpack it first"),
        (place.file("broken.parquet", "PAR1 and no more"), What::Items, "cannot import"),
        (place.folder.path().join("missing.csv"), What::Items, "cannot open"),
        (movies.clone(), What::Events, "needs the column userId, timestamp"),
    ] {
        let error = place.try_import(what, &path, None, None).await.unwrap_err();
        assert!(format!("{error:#}").contains(reason), "{}: {error:#}", path.display());
    }
    let wrong = place.try_import(What::Items, &movies, Some(Format::Lastfm), None).await.unwrap_err();
    assert!(format!("{wrong:#}").contains("needs the column id, name"), "{wrong:#}");
    assert_eq!(place.counts().await, (0, 0));
}

/// The real files: what is in them, once however often they are read.
#[tokio::test]
async fn the_real_data_sets_have_these_counts() {
    let Some(data) = support::data::folder() else { return };
    let place = Place::new().await;
    let (movielens, lastfm, steam) =
        (data.join("ml-latest-small"), data.join("lastfm-hetrec"), data.join("steam/steam-200k.csv"));
    let files = [
        (What::Items, movielens.join("movies.csv"), [9_125, 9_125, 0, 0, 0]),
        // One row stands in the file twice.
        (What::Events, movielens.join("ratings.csv"), [100_020, 100_019, 1, 0, 0]),
        (What::Items, lastfm.join("artists.dat"), [17_632, 17_632, 0, 0, 0]),
        (What::Events, lastfm.join("user_artists.dat"), [92_834, 92_834, 0, 0, 0]),
        // Two titles differ from another only by a space at the end.
        (What::Items, steam.clone(), [70_489, 3_598, 66_891, 0, 0]),
        (What::Events, steam.clone(), [70_489, 70_489, 0, 0, 0]),
        // The published split is a part of user_artists.dat, but for one count that it has otherwise.
        (What::Events, data.join("lastfm-selfrec/train.txt"), [73_758, 1, 73_757, 0, 0]),
    ];
    for (what, file, expected) in &files {
        let summary = place.import(*what, file).await;
        assert_eq!(numbers(&summary), *expected, "{}: {:?}", file.display(), summary.errors);
    }
    let counts = place.counts().await;
    assert_eq!(counts, (9_125 + 17_632 + 3_598, 100_019 + 92_834 + 70_489 + 1));
    for (what, file, [read, stored, duplicates, ..]) in &files {
        let summary = place.import(*what, file).await;
        let unchanged = if *what == What::Items { *stored } else { 0 };
        assert_eq!(numbers(&summary), [*read, 0, duplicates + stored - unchanged, unchanged, 0], "{}", file.display());
    }
    assert_eq!(place.counts().await, counts, "a second import changes no count");
    assert_eq!(place.item("movielens:2571").await.title, "The Matrix");
}

/// Writes a Parquet file of events: text, numbers and times of their own types, a row without a value.
fn write_parquet(path: &Path) {
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    let schema = "message events {
        required binary user_id (UTF8); required int64 item_id; required binary type (UTF8);
        optional double value; required int64 at (TIMESTAMP_MILLIS); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_compression(parquet::basic::Compression::SNAPPY).build();
    let mut file =
        SerializedFileWriter::new(std::fs::File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    let texts = |texts: [&str; 3]| texts.map(ByteArray::from);
    let mut group = file.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&texts(["ann", "ann", "bob"]), None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[7, 8, 7], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&texts(["rating", "like", "rating"]), None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<DoubleType>().write_batch(&[4.5, 99.0], Some(&[1, 0, 1]), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[1_714_557_600_000, 1_714_557_600_001, 5], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    file.close().unwrap();
}

#[tokio::test]
async fn parquet_files_are_told_by_their_content_and_keep_types() {
    let place = Place::new().await;
    let path = place.folder.path().join("events");
    write_parquet(&path);
    let summary = place.import(What::Events, &path).await;
    assert_eq!(numbers(&summary), [3, 2, 0, 0, 1]);
    assert_eq!(errors(&summary), [(3, "value `99` is not within 0 to 5")]);
    let history = place.store.history(&UserId::new("ann").unwrap()).await.unwrap();
    assert_eq!(history[0].item_id.as_str(), "7");
    assert_eq!((history[0].last_value, history[0].last_at.to_string().as_str()), (Some(4.5), "2024-05-01T10:00:00Z"));
    assert_eq!((history[1].last_value, history[1].kind), (None, InteractionKind::Like));
    assert_eq!(numbers(&place.import(What::Events, &path).await), [3, 0, 2, 0, 1]);
}

/// The commands as a person calls them.
mod commands {
    use std::process::{Command, Output};

    use serde_json::Value;

    use super::*;

    fn medley(folder: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medley"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MEDLEY_")) {
            command.env_remove(name);
        }
        command.args(arguments).arg("--data-dir").arg(folder).output().unwrap()
    }

    fn import(folder: &Path, name: &str, text: &str, more: &[&str]) -> (bool, Value, String) {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        let what = if name.starts_with("items") { "items" } else { "events" };
        let arguments = [&["import", what, file.to_str().unwrap(), "--json"], more].concat();
        let output = medley(folder, &arguments);
        let summary = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.success(), summary, String::from_utf8(output.stderr).unwrap())
    }

    #[test]
    fn import_succeeds_when_anything_was_taken_and_strict_does_not_bear_a_bad_row() {
        let folder = tempfile::tempdir().unwrap();
        let mixed = "user_id,item_id,type,value\nu,a,like,\nu,b,rating,abc\n";
        let (success, summary, _) = import(folder.path(), "mixed.csv", mixed, &[]);
        assert!(success);
        assert_eq!((&summary["stored"], &summary["rejected"]), (&Value::from(1), &Value::from(1)));
        assert_eq!(summary["errors"][0]["line"], 3);
        assert_eq!(summary["errors"][0]["detail"], "value `abc` is not a number");
        assert!(import(folder.path(), "mixed.csv", mixed, &[]).0, "all known: nothing is wrong");
        assert!(!import(folder.path(), "mixed.csv", mixed, &["--strict"]).0);
        let (success, summary, said) = import(folder.path(), "bad.csv", "user_id,item_id,type\nu,b,adore\n", &[]);
        assert!(!success && said.contains("every row was rejected"), "{said}");
        assert_eq!(summary["rejected"], 1);
        assert!(!import(folder.path(), "none.csv", "user_id,item_id,type\n", &[]).0, "a file without rows");
    }

    #[test]
    fn what_is_exported_can_be_imported() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let items = concat!(
            r#"{"id":"a","domain":"movie","title":"A \"quoted\" 科幻","genres":["x|y"],"description":"two\nlines","released":"1999-03-31","#,
            r#""attributes":{"language":["en","zh"]},"available":false}"#,
            "\n",
            r#"{"id":"b","domain":"game","title":"B"}"#,
        );
        let events = concat!(
            r#"{"event_id":"e1","user_id":"u","item_id":"a","type":"rating","value":4.5,"at":"2024-05-01T10:00:00.123456Z"}"#,
            "\n",
            r#"{"user_id":"u","item_id":"b","type":"impression","recommendation_id":"rec_1","position":2}"#,
        );
        assert!(import(from.path(), "items.ndjson", items, &["--strict"]).0);
        assert!(import(from.path(), "events.ndjson", events, &["--strict"]).0);
        for what in ["items", "events"] {
            let exported = medley(from.path(), &["export", what]);
            assert!(exported.status.success());
            let text = String::from_utf8(exported.stdout).unwrap();
            assert_eq!(text.lines().count(), 2, "{text}");
            let name = format!("{what}.ndjson");
            let (success, summary, _) = import(to.path(), &name, &text, &["--strict"]);
            assert!(success, "{summary}");
            let file = to.path().join("again.ndjson");
            let written = medley(to.path(), &["export", what, "--output", file.to_str().unwrap()]);
            assert!(written.status.success());
            assert_eq!(std::fs::read_to_string(file).unwrap(), text);
        }
    }

    #[tokio::test]
    async fn equal_events_without_a_name_and_people_that_differ_by_a_space_stay_apart() {
        let (from, to) = (Place::new().await, Place::new().await);
        let event = |user: &str| Event {
            event_id: None,
            user_id: UserId::new(user).unwrap(),
            item_id: ItemId::new(" a").unwrap(),
            kind: InteractionKind::Play,
            value: None,
            at: Timestamp::from_second(1_740_000_000).unwrap(),
            recommendation_id: None,
            position: None,
        };
        from.store.append_events(&["ann", "ann", "ann", " ann"].map(event)).await.unwrap();
        let item = Item {
            id: ItemId::new(" a").unwrap(),
            domain: Domain::new("movie").unwrap(),
            title: " A ".to_owned(),
            genres: Vec::new(),
            tags: Vec::new(),
            description: Some("two\nlines\n".to_owned()),
            creators: Vec::new(),
            released: None,
            attributes: std::collections::BTreeMap::new(),
            available: true,
        };
        from.store.upsert_items(std::slice::from_ref(&item)).await.unwrap();
        from.store.close().await;
        let mut files = Vec::new();
        for (what, name, count) in [(What::Items, "items.ndjson", 1), (What::Events, "events.ndjson", 4)] {
            let file = to.folder.path().join(name);
            let arguments = ["export", what.as_str(), "--output", file.to_str().unwrap()];
            assert!(medley(from.folder.path(), &arguments).status.success());
            assert_eq!(numbers(&to.import(what, &file).await), [count, count, 0, 0, 0]);
            files.push((what, std::fs::read_to_string(file).unwrap()));
        }
        let again = to.import(What::Events, &to.folder.path().join("events.ndjson")).await;
        assert_eq!(numbers(&again), [4, 0, 4, 0, 0]);
        assert_eq!(to.item(" a").await, item);
        for (user, count) in [("ann", 3), (" ann", 1)] {
            let history = to.store.history(&UserId::new(user).unwrap()).await.unwrap();
            assert_eq!((history.len(), history[0].count), (1, count), "{user:?}");
        }
        to.store.close().await;
        for (what, text) in files {
            let exported = medley(to.folder.path(), &["export", what.as_str()]);
            assert_eq!(String::from_utf8(exported.stdout).unwrap(), text);
        }
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_an_exported_file() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("events.ndjson");
        // Files that another export has left, both open to all.
        std::fs::write(&file, "old").unwrap();
        std::fs::write(folder.path().join("events.ndjson.part"), "cut off").unwrap();
        assert!(medley(folder.path(), &["export", "events", "--output", file.to_str().unwrap()]).status.success());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_settings_are_printed_without_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let output = medley(folder.path(), &["config", "--database-url", "postgres://u:secret@h/d"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("url = \"postgres://u:***@h/d\""), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
