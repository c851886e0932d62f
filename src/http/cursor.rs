//! Where a list goes on: opaque to callers, hexadecimal inside.

use crate::domain::ItemId;
use jiff::Timestamp;

/// After this item.
pub fn after_item(id: &ItemId) -> String {
    encode(id.as_str())
}

pub fn item(cursor: &str) -> Option<ItemId> {
    ItemId::new(decode(cursor)?).ok()
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
        let id = ItemId::new("科 幻/1").unwrap();
        assert_eq!(item(&after_item(&id)), Some(id));
        let at: Timestamp = "2026-05-01T12:00:00.123456Z".parse().unwrap();
        assert_eq!(event(&before_event(at, 42)), Some((at, 42)));
        for broken in ["", "zz", "4", "ff", "é", "00"] {
            assert_eq!(item(broken), None, "{broken}");
            assert_eq!(event(broken), None, "{broken}");
        }
    }
}
