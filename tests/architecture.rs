//! Holds the code to the map in `src/lib.rs`: who may call whom, where libraries may be named, how long a file may be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// No file grows beyond this many lines.
const MAX_LINES: usize = 450;
/// Libraries that stay in their rooms.
const LIBRARIES: [(&str, &[&str]); 2] = [("axum", &["http", "cli"]), ("sqlx", &["store"])];
/// Rooms without async code.
const SYNCHRONOUS: [&str; 3] = ["domain", "engine", "evaluation"];

/// The rooms, and the rooms that each may call.
type Map = BTreeMap<String, BTreeSet<String>>;

/// Reads the arrows of the doc comment: `//! engine -> domain`.
fn read_map(lib: &str) -> Map {
    let arrows = lib.lines().filter_map(|line| line.strip_prefix("//! ")?.split_once("->"));
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    arrows.map(|(from, to)| (from.trim().to_owned(), words(to))).filter(|(from, _)| !from.contains(' ')).collect()
}

/// The room of a file in `src`: its folder, or the file itself.
fn room(path: &Path) -> String {
    let first =
        path.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
    first.trim_end_matches(".rs").to_owned()
}

/// The code of a file: without comments, without the contents of strings, and without its unit tests.
fn code(source: &str) -> String {
    let source = source.find("#[cfg(test)]\nmod ").map_or(source, |start| &source[..start]);
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if next == '"' {
            string(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        rest = &rest[skipped..];
    }
    out
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = 1 + hashes + 1;
    Some(text[start..].find(&end).map_or(text.len(), |at| start + at + end.len()))
}

/// The words of a text that could be names, with where they end.
fn words(code: &str) -> impl Iterator<Item = (&str, usize)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let start = rest + code[rest..].find(is_word)?;
        let end = start + code[start..].find(|c| !is_word(c)).unwrap_or(code.len() - start);
        rest = end;
        Some((&code[start..end], end))
    })
}

/// The rooms that `crate::…` names: `crate::store::Store`, `crate::{demo, training}`.
fn called(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = code[at + "crate::".len()..].trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            for (word, end) in words(group) {
                let before = &group[..end - word.len()];
                let (opened, closed) = (before.matches('{').count(), before.matches('}').count());
                if closed > opened {
                    break;
                }
                if opened == closed && (before.trim().is_empty() || before.trim_end().ends_with(',')) {
                    rooms.insert(word.to_owned());
                }
            }
        } else if let Some((word, _)) = words(rest).next() {
            rooms.insert(word.to_owned());
        }
    }
    rooms
}

/// Everything that is wrong with one file of `src`.
fn violations(map: &Map, path: &Path, source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let shown = path.display();
    if !source.starts_with("//! ") {
        found.push(format!("{shown}: does not open with a //! sentence"));
    }
    let lines = source.lines().count();
    if lines > MAX_LINES {
        found.push(format!("{shown}: has {lines} lines, more than {MAX_LINES}"));
    }
    let room = room(path);
    if room == "lib" || room == "main" {
        return found;
    }
    let Some(allowed) = map.get(&room) else {
        found.push(format!("{shown}: the room `{room}` is not on the map"));
        return found;
    };
    // As many `super` as the file is deep lead to the crate as well.
    let depth = path.components().count() - usize::from(path.ends_with("mod.rs"));
    let code = code(source).replace(&"super::".repeat(depth), "crate::");
    for callee in called(&code) {
        if map.contains_key(&callee) && callee != room && !allowed.contains(&callee) {
            found.push(format!("{shown}: `{room}` must not call `{callee}`"));
        }
    }
    for (library, rooms) in LIBRARIES {
        if !rooms.contains(&room.as_str()) && words(&code).any(|(word, _)| word == library) {
            found.push(format!("{shown}: {library} is not for `{room}`"));
        }
    }
    if SYNCHRONOUS.contains(&room.as_str()) {
        for (word, end) in words(&code) {
            let awaits = word == "await" && code[..end - word.len()].trim_end().ends_with('.');
            if awaits || word == "async" {
                found.push(format!("{shown}: `{room}` has no async code"));
                break;
            }
        }
    }
    found
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn the_code_holds_to_the_map() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let map = read_map(&std::fs::read_to_string(src.join("lib.rs")).unwrap());
    assert!(map.len() >= 8, "the map has rooms: {map:?}");
    for (room, callees) in &map {
        assert!(src.join(room).is_dir() || src.join(format!("{room}.rs")).is_file(), "`{room}` is on the map only");
        for callee in callees {
            assert!(map.contains_key(callee), "`{room}` may call `{callee}`, which is not on the map");
        }
    }
    let files = sources(&src);
    let mut lengths = Vec::new();
    let mut wrong = Vec::new();
    for file in &files {
        let source = std::fs::read_to_string(file).unwrap();
        lengths.push(source.lines().count());
        wrong.extend(violations(&map, file.strip_prefix(&src).unwrap(), &source));
    }
    lengths.sort_unstable();
    println!(
        "{} files, median {} lines, longest {}",
        lengths.len(),
        lengths[lengths.len() / 2],
        lengths[lengths.len() - 1]
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_tests_open_with_a_sentence_as_well() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for file in sources(&tests) {
        let source = std::fs::read_to_string(&file).unwrap();
        assert!(source.starts_with("//! "), "{}: does not open with a //! sentence", file.display());
    }
}

/// The checker itself: on made-up sources, each broken in one way.
mod checker {
    use super::*;

    const LIB: &str =
        "//! ```text\n//! domain ->\n//! engine -> domain\n//! store -> domain\n//! http -> engine\n//! ```\n";

    fn wrong(path: &str, body: &str) -> Vec<String> {
        violations(&read_map(LIB), Path::new(path), &format!("//! A file.\n{body}"))
    }

    #[test]
    fn what_the_map_allows_passes() {
        for (path, body) in [
            ("engine/pipeline.rs", "use crate::domain::Item;\nuse crate::engine::blend;\nfn f() {}\n"),
            ("http/mod.rs", "use axum::Router;\nuse crate::{engine::{self, pipeline}};\nasync fn f() { g().await }\n"),
            ("store/mod.rs", "use sqlx::Row;\nasync fn f() {}\n"),
            ("engine/mod.rs", "// crate::store, axum, async\nconst A: &str = \"crate::store axum .await\";\n"),
            (
                "engine/mod.rs",
                "const A: &str = r#\"crate::store \"axum\" async\"#;\nfn f(c: char) -> bool { c == '\"' }\n",
            ),
            ("engine/mod.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::store::Store;\n}\n"),
            ("engine/mod.rs", "use crate::{domain::{Item, store_like}, engine};\n"),
            ("engine/mod.rs", "fn sqlx_like() { not_crate::store::f(); }\n"),
        ] {
            assert_eq!(wrong(path, body), Vec::<String>::new(), "{body}");
        }
    }

    #[test]
    fn a_broken_arrow_is_found() {
        for body in [
            "use crate::store::Store;\n",
            "use crate::{domain::Item, store};\n",
            "use super::super::store::Store;\n",
            "use crate::{domain::{Item, ItemId}, store::Store};\n",
            "fn f() { crate::store::open(); }\n",
            "fn f() -> char { '\"' }\nuse crate::store;\n",
            "const A: &str = \"\\\"\";\nuse crate::store;\n",
        ] {
            assert_eq!(wrong("engine/a.rs", body), ["engine/a.rs: `engine` must not call `store`"], "{body}");
        }
        assert_eq!(wrong("attic.rs", ""), ["attic.rs: the room `attic` is not on the map"]);
    }

    #[test]
    fn a_library_outside_its_room_is_found() {
        assert_eq!(wrong("engine/a.rs", "use axum::Json;\n"), ["engine/a.rs: axum is not for `engine`"]);
        assert_eq!(wrong("http/a.rs", "fn f(e: sqlx::Error) {}\n"), ["http/a.rs: sqlx is not for `http`"]);
    }

    #[test]
    fn async_code_in_a_synchronous_room_is_found() {
        for body in ["async fn f() {}\n", "fn f() { g()\n.await }\n", "fn f() { spawn(async move {}) }\n"] {
            assert_eq!(wrong("engine/a.rs", body), ["engine/a.rs: `engine` has no async code"], "{body}");
        }
    }

    #[test]
    fn a_file_without_a_sentence_or_an_end_is_found() {
        let map = read_map(LIB);
        let long = format!("//! A file.\n{}", "\n".repeat(MAX_LINES));
        assert_eq!(violations(&map, Path::new("engine/a.rs"), &long), ["engine/a.rs: has 451 lines, more than 450"]);
        let silent = violations(&map, Path::new("main.rs"), "fn main() {}\n");
        assert_eq!(silent, ["main.rs: does not open with a //! sentence"]);
    }
}
