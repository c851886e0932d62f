//! Steam 200k (Kaggle): one file of people and games, with hours played, gives both the items and the events.

use std::collections::BTreeMap;

use crate::domain::{Domain, InteractionKind, Item};

use super::EventRow;
use super::row::{Ids, Row, short};

/// When the hours were published: the file has no times.
pub const COUNTED_AT: jiff::Timestamp = jiff::Timestamp::constant(1_480_550_400, 0); // 2016-12-01

/// Ids must stay within their limit with a prefix before them.
const MAX_SLUG_CHARS: usize = 100;

/// The game of a row.
///
/// # Errors
/// Says what is wrong with the row.
pub fn item(row: &Row<'_>, ids: &Ids, domain: &Domain) -> Result<Item, String> {
    let title = row.required("game-title")?;
    Ok(Item {
        id: ids.item(&slug(&title)?)?,
        domain: domain.clone(),
        title: title.into_owned(),
        genres: Vec::new(),
        tags: Vec::new(),
        description: None,
        creators: Vec::new(),
        released: None,
        attributes: BTreeMap::new(),
        available: true,
    })
}

/// `user-id,game-title,value` with the hours played; or, as first published, `user-id,game-title,behavior,value` where
/// a row of behavior `purchase` says that the game was bought.
///
/// # Errors
/// Says what is wrong with the row.
pub fn event(row: &Row<'_>, ids: &Ids) -> Result<EventRow, String> {
    let user_id = ids.user(&row.required("user-id")?)?;
    let item_id = ids.item(&slug(&row.required("game-title")?)?)?;
    let (kind, value) = match row.text("behavior").as_deref() {
        None | Some("play") => (InteractionKind::Playtime, Some(row.amount("value")?)),
        Some("purchase") => (InteractionKind::Purchase, None),
        Some(other) => return Err(format!("behavior `{}` is neither purchase nor play", short(other))),
    };
    Ok(EventRow::new(user_id, item_id, kind, value))
}

/// The title as an id: "Sid Meier's Civilization V" becomes `sid-meier-s-civilization-v`.
fn slug(title: &str) -> Result<String, String> {
    let mut slug = String::with_capacity(title.len());
    for character in title.to_lowercase().chars() {
        if character.is_alphanumeric() {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug: String = slug.trim_end_matches('-').chars().take(MAX_SLUG_CHARS).collect();
    if slug.is_empty() { Err(format!("game-title `{}` has no letter or digit", short(title))) } else { Ok(slug) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_become_ids() {
        assert_eq!(slug("Sid Meier's Civilization V").unwrap(), "sid-meier-s-civilization-v");
        assert_eq!(slug("Dota 2").unwrap(), "dota-2");
        assert_eq!(slug("Universe Sandbox ").unwrap(), "universe-sandbox");
        assert_eq!(slug("三国志").unwrap(), "三国志");
        assert!(slug("???").is_err());
    }
}
