//! Looks at the beginning of a file: what kind of file it is, which data set's format it has, where its rows start.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::generic::{EVENT_FIELDS, ITEM_FIELDS};
use super::reader::Layout;
use super::{Format, What, parquet};

/// How much of a file is looked at.
const HEAD_BYTES: u64 = 1 << 16;

/// The kind of file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Container {
    Delimited(Layout),
    Ndjson,
    Parquet,
}

/// How a file is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    pub container: Container,
    pub format: Format,
    /// Columns that nothing is read from.
    pub unused: Vec<String>,
}

/// Looks at the file; `format` is what the caller says that it is.
///
/// # Errors
/// The file cannot be read, its format cannot be told, or it lacks a column that the format needs.
pub fn look(path: &Path, what: What, format: Option<Format>) -> Result<Detected> {
    let mut head = Vec::new();
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    file.take(HEAD_BYTES).read_to_end(&mut head).with_context(|| format!("cannot read {}", path.display()))?;
    let detected = kind(path, &head, what, format);
    detected.with_context(|| format!("cannot import {} as {}", path.display(), what.as_str()))
}

fn kind(path: &Path, head: &[u8], what: What, format: Option<Format>) -> Result<Detected> {
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}');
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_lowercase();
    if head.starts_with(b"PAR1") {
        let names = parquet::columns(File::open(path)?)?;
        let format = format.or_else(|| guess(&names)).unwrap_or(Format::Generic);
        return checked(Container::Parquet, format, &names, what);
    }
    if head.starts_with(b"\x1f\x8b") || head.starts_with(b"PK") {
        bail!("the file is compressed: unpack it first");
    }
    if text.trim().is_empty() {
        bail!("the file is empty");
    }
    if text.trim_start().starts_with('{') || ["ndjson", "jsonl"].contains(&extension.as_str()) {
        let format = format.unwrap_or(Format::Generic);
        return Ok(Detected { container: Container::Ndjson, format, unused: Vec::new() });
    }
    if text.trim_start().starts_with('[') {
        bail!("the file is one JSON array: NDJSON has one object a line");
    }
    let lines: Vec<&str> = text.lines().take(20).collect();
    delimited(&lines, what, format)
}

fn delimited(lines: &[&str], what: What, format: Option<Format>) -> Result<Detected> {
    let separators = ['\t', ',', ';'];
    let Some((start, first)) = lines.iter().enumerate().find(|(_, line)| line.contains(separators)) else {
        bail!("no line of the beginning has several columns (separated by comma, semicolon or tab)");
    };
    let count = |separator: &char| first.matches(*separator).count();
    let delimiter = separators.into_iter().max_by_key(count).unwrap_or(',');
    let cells = split(first, delimiter);
    let numeric = cells.first().is_some_and(|cell| cell.parse::<f64>().is_ok());
    let Some(format) = format.or_else(|| if numeric { guess_by_cells(&cells, delimiter) } else { guess(&cells) })
    else {
        bail!(
            "the format cannot be told from `{}`: give --format movielens, lastfm, steam or generic",
            super::row::short(first)
        );
    };
    let names = names(format, what, &cells, numeric);
    if names.is_empty() {
        bail!("the first line must name the columns, such as {}", required(format, what).join(","));
    }
    // A preamble (user_artists.dat opens with two totals) is skipped with the header.
    let skip = start as u64 + u64::from(!numeric);
    // Names in Last.fm's files hold quotes that enclose nothing.
    let quotes = format != Format::Lastfm;
    let delimiter = u8::try_from(delimiter).unwrap_or(b',');
    checked(Container::Delimited(Layout { delimiter, quotes, skip, names: names.clone() }), format, &names, what)
}

fn split(line: &str, delimiter: char) -> Vec<String> {
    line.split(delimiter).map(|cell| cell.trim().trim_matches('"').to_owned()).collect()
}

/// The names of the columns: those of the header, or those that the format has without one.
fn names(format: Format, what: What, cells: &[String], numeric: bool) -> Vec<String> {
    let third = cells.get(2).map(|cell| cell.to_lowercase()).unwrap_or_default();
    let names: &[&str] = match (format, what) {
        (Format::Steam, _) if ["purchase", "play"].contains(&third.as_str()) || third.contains("behavio") => {
            &["user-id", "game-title", "behavior", "value"]
        }
        (Format::Steam, _) => &["user-id", "game-title", "value"],
        _ if !numeric => return cells.to_vec(),
        (Format::Movielens, What::Items) => &["movieId", "title", "genres"],
        (Format::Movielens, What::Events) => &["userId", "movieId", "rating", "timestamp"],
        (Format::Lastfm, What::Items) => &["id", "name", "url", "pictureURL"],
        (Format::Lastfm, What::Events) => &["userID", "artistID", "weight"],
        (Format::Generic, _) => &[],
    };
    names.iter().map(|&name| name.to_owned()).collect()
}

fn guess(names: &[String]) -> Option<Format> {
    let has = |wanted: &[&str]| wanted.iter().all(|&name| names.iter().any(|known| known.eq_ignore_ascii_case(name)));
    if has(&["movieId"]) {
        Some(Format::Movielens)
    } else if has(&["artistID"]) || has(&["name", "pictureURL"]) {
        Some(Format::Lastfm)
    } else if has(&["game-title"]) {
        Some(Format::Steam)
    } else if has(&["item_id", "user_id"]) || has(&["id", "domain"]) {
        Some(Format::Generic)
    } else {
        None
    }
}

/// For a file without a header.
fn guess_by_cells(cells: &[String], delimiter: char) -> Option<Format> {
    let cells: Vec<&str> = cells.iter().map(String::as_str).filter(|cell| !cell.is_empty()).collect();
    if cells.get(2).is_some_and(|cell| ["purchase", "play"].contains(cell)) {
        Some(Format::Steam)
    } else if delimiter == '\t' && cells.len() == 3 && cells.iter().all(|cell| cell.parse::<f64>().is_ok()) {
        Some(Format::Lastfm)
    } else {
        None
    }
}

fn required(format: Format, what: What) -> &'static [&'static str] {
    match (format, what) {
        (Format::Movielens, What::Items) => &["movieId", "title"],
        (Format::Movielens, What::Events) => &["userId", "movieId", "timestamp"],
        (Format::Lastfm, What::Items) => &["id", "name"],
        (Format::Lastfm, What::Events) => &["userID", "artistID", "weight"],
        (Format::Steam, What::Items) => &["game-title"],
        (Format::Steam, What::Events) => &["user-id", "game-title", "value"],
        (Format::Generic, What::Items) => &["id", "domain", "title"],
        (Format::Generic, What::Events) => &["user_id", "item_id", "type"],
    }
}

/// Whether the columns are there that the format needs, and which ones it does not know.
fn checked(container: Container, format: Format, names: &[String], what: What) -> Result<Detected> {
    let lacks = |name: &&str| !names.iter().any(|known| known.eq_ignore_ascii_case(name));
    let missing: Vec<&str> = required(format, what).iter().copied().filter(lacks).collect();
    if !missing.is_empty() {
        bail!("the format {} needs the column {}; found: {}", format.as_str(), missing.join(", "), names.join(", "));
    }
    if format == Format::Movielens && what == What::Events && lacks(&"rating") && lacks(&"tag") {
        bail!("the format movielens needs the column rating or tag; found: {}", names.join(", "));
    }
    let known: &[&str] = if what == What::Items { &ITEM_FIELDS } else { &EVENT_FIELDS };
    let is_known = |name: &String| {
        known.iter().any(|known| known.eq_ignore_ascii_case(name))
            || (what == What::Items && name.starts_with("attributes."))
    };
    let unused = match (format, &container) {
        (Format::Generic, Container::Delimited(_)) => names.iter().filter(|name| !is_known(name)).cloned().collect(),
        _ => Vec::new(),
    };
    Ok(Detected { container, format, unused })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(lines: &[&str], what: What) -> (Format, Layout) {
        let detected = delimited(lines, what, None).unwrap();
        let Container::Delimited(layout) = detected.container else { panic!("lines are delimited") };
        (detected.format, layout)
    }

    #[test]
    fn formats_are_told_by_their_first_lines() {
        let cases: [(&[&str], What, Format, u64); 8] = [
            (&["movieId,title,genres", "1,Toy Story (1995),Comedy"], What::Items, Format::Movielens, 1),
            (&["userId,movieId,rating,timestamp", "1,31,2.5,1260759144"], What::Events, Format::Movielens, 1),
            (&["id\tname\turl\tpictureURL", "1\tA\t\t"], What::Items, Format::Lastfm, 1),
            (&["18800", "92834", "2\t51\t13883"], What::Events, Format::Lastfm, 2),
            (&["2\t53\t11351\t"], What::Events, Format::Lastfm, 0),
            (&["user-id,game-title,value,", "1,Dota 2,5,"], What::Items, Format::Steam, 1),
            (&["151603712,\"Fallout 4\",purchase,1.0,0"], What::Events, Format::Steam, 0),
            (&["id;domain;title;extra", "1;movie;A;x"], What::Items, Format::Generic, 1),
        ];
        for (lines, what, format, skip) in cases {
            let (found, layout) = layout(lines, what);
            assert_eq!((found, layout.skip), (format, skip), "{lines:?}");
        }
    }

    #[test]
    fn what_cannot_be_told_or_lacks_a_column_is_refused_by_name() {
        let error = delimited(&["a,b,c", "1,2,3"], What::Events, None).unwrap_err().to_string();
        assert!(error.contains("--format"), "{error}");
        let error = delimited(&["movieId,title,genres"], What::Events, None).unwrap_err().to_string();
        assert!(error.contains("userId, timestamp"), "{error}");
        let error = delimited(&["1,2,3"], What::Events, Some(Format::Generic)).unwrap_err().to_string();
        assert!(error.contains("name the columns"), "{error}");
    }
}
