//! MovieLens (GroupLens): `movies.csv` as items, `ratings.csv` and `tags.csv` as events.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use jiff::civil::Date;

use crate::domain::{Domain, InteractionKind, Item};

use super::EventRow;
use super::check;
use super::reader::{Layout, delimited};
use super::row::{Ids, Row};

/// The tags that people gave, by the number of the movie, the most frequent first.
pub type Tags = HashMap<String, Vec<String>>;

/// How many tags an item takes over.
const MAX_TAGS: usize = 20;
/// What stands behind the comma in "Matrix, The".
const ARTICLES: [&str; 14] = ["The", "A", "An", "La", "Le", "Les", "L'", "El", "Los", "Las", "Il", "Das", "Der", "Die"];

/// A row of `movies.csv`: `movieId,title,genres`.
///
/// # Errors
/// Says what is wrong with the row.
pub fn item(row: &Row<'_>, ids: &Ids, domain: &Domain, tags: &Tags) -> Result<Item, String> {
    let number = row.required("movieId")?;
    let title = Title::read(&row.required("title")?);
    let genres = row.text("genres").unwrap_or_default();
    let genres = genres.split('|').map(str::trim).filter(|genre| !genre.is_empty() && *genre != "(no genres listed)");
    Ok(Item {
        id: ids.item(&number)?,
        domain: domain.clone(),
        title: title.name,
        genres: genres.map(str::to_owned).collect(),
        tags: tags.get(number.as_ref()).cloned().unwrap_or_default(),
        description: None,
        creators: Vec::new(),
        released: title.year.and_then(|year| Date::new(year, 1, 1).ok()),
        attributes: if title.also.is_empty() {
            BTreeMap::new()
        } else {
            BTreeMap::from([("original_title".to_owned(), title.also)])
        },
        available: true,
    })
}

/// A row of `ratings.csv` (`userId,movieId,rating,timestamp`) or of `tags.csv` (`userId,movieId,tag,timestamp`). Who tags
/// a movie has looked at it; whether they liked it is not said.
///
/// # Errors
/// Says what is wrong with the row.
pub fn event(row: &Row<'_>, ids: &Ids, rating_scale: [f64; 2]) -> Result<EventRow, String> {
    let user_id = ids.user(&row.required("userId")?)?;
    let item_id = ids.item(&row.required("movieId")?)?;
    let (kind, value) = if row.text("tag").is_some() {
        (InteractionKind::View, None)
    } else {
        (InteractionKind::Rating, Some(check::rating(row.number("rating")?, "rating", rating_scale)?))
    };
    let at = Some(row.unix_time("timestamp")?);
    Ok(EventRow { at, ..EventRow::new(user_id, item_id, kind, value) })
}

/// Reads the `tags.csv` that lies beside `movies.csv`; rows that cannot be read count as absent.
///
/// # Errors
/// The file is there and cannot be read.
pub fn tags_beside(movies: &Path) -> std::io::Result<Tags> {
    let path = movies.with_file_name("tags.csv");
    if !path.is_file() {
        return Ok(Tags::new());
    }
    let file = std::io::BufReader::new(std::fs::File::open(path)?);
    let names = ["userId", "movieId", "tag", "timestamp"].map(str::to_owned).to_vec();
    let layout = Layout { delimiter: b',', quotes: true, skip: 1, names };
    let mut counts: HashMap<String, BTreeMap<String, u32>> = HashMap::new();
    delimited(file, &layout, &mut |reading| {
        if let Ok(row) = reading.row
            && let (Some(movie), Some(tag)) = (row.text("movieId"), row.text("tag"))
            && tag.chars().count() <= 60
        {
            *counts.entry(movie.into_owned()).or_default().entry(tag.to_lowercase()).or_default() += 1;
        }
        true
    })?;
    Ok(counts.into_iter().map(|(movie, counts)| (movie, most_frequent(counts, MAX_TAGS))).collect())
}

/// The names with the highest counts, equal ones by name.
#[must_use]
pub fn most_frequent(counts: BTreeMap<String, u32>, limit: usize) -> Vec<String> {
    let mut all: Vec<(String, u32)> = counts.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.into_iter().take(limit).map(|(name, _)| name).collect()
}

/// A title with what MovieLens packs into it: "City of Lost Children, The (Cité des enfants perdus, La) (1995)".
#[derive(Debug, PartialEq)]
struct Title {
    name: String,
    /// Other names of the work, in the original language or by which it is also known.
    also: Vec<String>,
    year: Option<i16>,
}

impl Title {
    fn read(text: &str) -> Self {
        let mut rest = text.trim();
        let mut year = None;
        let mut also = Vec::new();
        while let Some((before, inside)) = last_parentheses(rest) {
            match first_year(inside) {
                Some(found) if year.is_none() && also.is_empty() => year = Some(found),
                _ => also.push(article_first(known_as(inside))),
            }
            rest = before;
        }
        also.reverse();
        Self { name: article_first(rest), also, year }
    }
}

/// Splits "name (inside)"; `None` when nothing stands before the parentheses, as in "(500) Days of Summer".
fn last_parentheses(text: &str) -> Option<(&str, &str)> {
    let (before, inside) = text.strip_suffix(')')?.rsplit_once('(')?;
    let before = before.trim_end();
    (!before.is_empty() && !inside.trim().is_empty()).then(|| (before, inside.trim()))
}

/// "1995", and the first year of "2007-" and "1975-1979".
fn first_year(text: &str) -> Option<i16> {
    let (year, rest) = text.split_at_checked(4)?;
    let plain = rest.is_empty() || rest.starts_with(['-', '–']);
    year.parse().ok().filter(|year| plain && (1870..=2100).contains(year))
}

fn known_as(text: &str) -> &str {
    ["a.k.a. ", "aka ", "a.k.a "].iter().find_map(|mark| text.strip_prefix(mark)).unwrap_or(text)
}

/// "Matrix, The" becomes "The Matrix", "Assedio, L'" "L'Assedio".
fn article_first(text: &str) -> String {
    if let Some((name, article)) = text.rsplit_once(", ")
        && ARTICLES.contains(&article)
    {
        let space = if article.ends_with('\'') { "" } else { " " };
        return format!("{article}{space}{name}");
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_give_up_year_article_and_other_names() {
        let cases: [(&str, &str, &[&str], Option<i16>); 9] = [
            ("Toy Story (1995)", "Toy Story", &[], Some(1995)),
            ("Matrix, The (1999)", "The Matrix", &[], Some(1999)),
            ("Rocky VI (1986) ", "Rocky VI", &[], Some(1986)),
            ("Fawlty Towers (1975-1979)", "Fawlty Towers", &[], Some(1975)),
            ("Big Bang Theory, The (2007-)", "The Big Bang Theory", &[], Some(2007)),
            ("(500) Days of Summer (2009)", "(500) Days of Summer", &[], Some(2009)),
            ("Women of '69, Unboxed", "Women of '69, Unboxed", &[], None),
            ("Besieged (a.k.a. L' Assedio) (1998)", "Besieged", &["L' Assedio"], Some(1998)),
            (
                "City of Lost Children, The (Cité des enfants perdus, La) (1995)",
                "The City of Lost Children",
                &["La Cité des enfants perdus"],
                Some(1995),
            ),
        ];
        for (text, name, also, year) in cases {
            let also = also.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(Title::read(text), Title { name: name.to_owned(), also, year }, "{text}");
        }
    }
}
