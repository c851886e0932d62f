//! Where a list goes on: opaque to callers, hexadecimal inside.

use crate::domain::ItemId;
use jiff::Timestamp;

/// After this item, which was found by its title or not.
pub fn after_item((by_title, id): &(bool, ItemId)) -> String {
    // No id has a control character.
    encode(&format!("{}{id}", if *by_title { "\t" } else { "" }))
}

pub fn item(cursor: &str) -> Option<(bool, ItemId)> {
    let text = decode(cursor)?;
    let by_title = text.strip_prefix('\t');
    Some((by_title.is_some(), ItemId::new(by_title.unwrap_or(&text)).ok()?))
}

/// Before this event.
pub fn before_event(at: Timestamp, sequence: i64) -> String {
    encode(&format!("{} {sequence}", at.as_nanosecond()))
}

pub fn event(cursor: &str) -> Option<(Timestamp, i64)> {
    let text = decode(cursor)?;
    let (at, sequence) = text.split_once(' ')?;
    Some((Timestamp::from_nanosecond(at.parse().ok()?).ok()?, sequence.parse().ok()?))
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn decode(cursor: &str) -> Option<String> {
    let bytes = cursor.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => {
            let digit = |byte: &u8| char::from(*byte).to_digit(16);
            u8::try_from(digit(high)? * 16 + digit(low)?).ok()
        }
        _ => None,
    });
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back() {
        for by_title in [false, true] {
            let place = (by_title, ItemId::new("科 幻/1").unwrap());
            assert_eq!(item(&after_item(&place)), Some(place));
        }
        let at: Timestamp = "2026-05-01T12:00:00.123456Z".parse().unwrap();
        assert_eq!(event(&before_event(at, 42)), Some((at, 42)));
        for broken in ["", "zz", "4", "ff", "é", "00", "09"] {
            assert_eq!(item(broken), None, "{broken}");
            assert_eq!(event(broken), None, "{broken}");
        }
    }
}
