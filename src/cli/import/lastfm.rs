//! Last.fm (HetRec 2011): `artists.dat` as items, `user_artists.dat` or a published split as play counts.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::domain::{Domain, InteractionKind, Item};

use super::EventRow;
use super::movielens::most_frequent;
use super::reader::{Layout, delimited};
use super::row::{Ids, Row};

/// When the counts were published: the file has no times.
pub const COUNTED_AT: jiff::Timestamp = jiff::Timestamp::constant(1_304_208_000, 0); // 2011-05-01

/// The tags that people gave, by the number of the artist, the most frequent first.
pub type Tags = HashMap<String, Vec<String>>;

/// The first tags of an artist are in practice genres.
const GENRES: usize = 3;
const MAX_TAGS: usize = 20;

/// A row of `artists.dat`: `id name url pictureURL`.
///
/// # Errors
/// Says what is wrong with the row.
pub fn item(row: &Row<'_>, ids: &Ids, domain: &Domain, tags: &Tags) -> Result<Item, String> {
    let number = row.required("id")?;
    let name = row.required("name")?.into_owned();
    let tags = tags.get(number.as_ref()).map_or(&[][..], Vec::as_slice);
    let (genres, tags) = tags.split_at(tags.len().min(GENRES));
    Ok(Item {
        id: ids.item(&number)?,
        domain: domain.clone(),
        title: name.clone(),
        genres: genres.to_vec(),
        tags: tags.to_vec(),
        description: None,
        creators: vec![name],
        released: None,
        attributes: BTreeMap::new(),
        available: true,
    })
}

/// A row of `user_artists.dat` or of `train.txt`: user, artist, how often played.
///
/// # Errors
/// Says what is wrong with the row.
pub fn event(row: &Row<'_>, ids: &Ids) -> Result<EventRow, String> {
    let user_id = ids.user(&row.required("userID")?)?;
    let item_id = ids.item(&row.required("artistID")?)?;
    let plays = row.amount("weight")?;
    Ok(EventRow::new(user_id, item_id, InteractionKind::Play, Some(plays)))
}

/// Reads `user_taggedartists.dat` and `tags.dat` when they lie beside `artists.dat`.
///
/// # Errors
/// The files are there and cannot be read.
pub fn tags_beside(artists: &Path) -> std::io::Result<Tags> {
    let (given, names) = (artists.with_file_name("user_taggedartists.dat"), artists.with_file_name("tags.dat"));
    if !given.is_file() || !names.is_file() {
        return Ok(Tags::new());
    }
    let mut tag_names = HashMap::new();
    each(&names, ["tagID", "tagValue", ""], |row| {
        if let (Some(id), Some(name)) = (row.text("tagID"), row.text("tagValue")) {
            tag_names.insert(id.into_owned(), name.to_lowercase());
        }
    })?;
    let mut counts: HashMap<String, BTreeMap<String, u32>> = HashMap::new();
    each(&given, ["userID", "artistID", "tagID"], |row| {
        if let (Some(artist), Some(tag)) = (row.text("artistID"), row.text("tagID"))
            && let Some(name) = tag_names.get(tag.as_ref())
        {
            *counts.entry(artist.into_owned()).or_default().entry(name.clone()).or_default() += 1;
        }
    })?;
    Ok(counts.into_iter().map(|(artist, counts)| (artist, most_frequent(counts, MAX_TAGS))).collect())
}

fn each(path: &Path, names: [&str; 3], mut take: impl FnMut(Row<'_>)) -> std::io::Result<()> {
    let file = std::io::BufReader::new(std::fs::File::open(path)?);
    let layout = Layout { delimiter: b'\t', quotes: false, skip: 1, names: names.map(str::to_owned).to_vec() };
    delimited(file, &layout, &mut |reading| {
        if let Ok(row) = reading.row {
            take(row);
        }
        true
    })
}
