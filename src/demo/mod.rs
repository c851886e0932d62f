//! The demo: a catalogue of well-known works that ships in the binary, and synthetic listeners.

mod listeners;

use std::collections::BTreeMap;

use jiff::civil::Date;

use crate::domain::{Domain, Item, ItemId};

pub use listeners::events;

const FILES: [(&str, &str); 3] = [
    ("music", include_str!("catalogue/music.tsv")),
    ("movie", include_str!("catalogue/movie.tsv")),
    ("game", include_str!("catalogue/game.tsv")),
];

/// The demo catalogue. An id is the domain, the title in ASCII and the year: `movie-blade-runner-1982`.
#[must_use]
pub fn items() -> Vec<Item> {
    FILES.iter().flat_map(|(domain, table)| table.lines().skip(1).filter_map(|line| item(domain, line))).collect()
}

/// One line of a table: title, original title, year, languages, countries, creators, genres, tags, description.
fn item(domain: &str, line: &str) -> Option<Item> {
    let columns: Vec<&str> = line.split('\t').collect();
    let &[title, original, year, languages, countries, creators, genres, tags, description] = columns.as_slice() else {
        return None;
    };
    let list = |text: &str| {
        text.split('|').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut attributes = BTreeMap::new();
    for (name, values) in
        [("original_title", list(original)), ("language", list(languages)), ("country", list(countries))]
    {
        if !values.is_empty() {
            attributes.insert(name.to_owned(), values);
        }
    }
    Some(Item {
        id: ItemId::new(format!("{domain}-{}-{year}", slug(title))).ok()?,
        domain: Domain::new(domain).ok()?,
        title: title.to_owned(),
        genres: list(genres),
        tags: list(tags),
        description: Some(description.trim().to_owned()).filter(|text| !text.is_empty()),
        creators: list(creators),
        released: Some(Date::new(year.parse().ok()?, 1, 1).ok()?),
        attributes,
        available: true,
    })
}

/// Letters and digits of ASCII, words joined by hyphens.
fn slug(title: &str) -> String {
    let folded = crate::engine::text::fold(title);
    let words = folded.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_is_an_item_and_the_promises_hold() {
        let rows: usize = FILES.iter().map(|(_, table)| table.lines().skip(1).count()).sum();
        let items = items();
        assert_eq!(items.len(), rows, "a row is not an item");
        let ids: BTreeSet<_> = items.iter().map(|item| item.id.as_str()).collect();
        assert_eq!(ids.len(), items.len(), "ids are unique");
        for (domain, _) in FILES {
            let own: Vec<_> = items.iter().filter(|item| item.domain.as_str() == domain).collect();
            assert!(own.len() >= 300, "{domain}: {}", own.len());
            let decades: BTreeSet<i16> =
                own.iter().filter_map(|item| item.released).map(|day| day.year() / 10).collect();
            assert!((193..=202).all(|decade| decades.contains(&decade)), "{domain}: {decades:?}");
            let foreign = own.iter().filter(|item| item.attributes["language"][0] != "en").count();
            assert!(foreign * 4 >= own.len(), "{domain}: {foreign} of {} are not in English", own.len());
            assert!(
                own.iter().all(|item| !item.genres.is_empty() && item.tags.len() >= 3 && !item.creators.is_empty())
            );
        }
    }
}
