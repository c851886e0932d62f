//! What bodies are made of: values that refuse what is out of bounds in the very place where it stands.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// The largest amount of a `value`, either way: sums of it stay exact.
pub const MAX_VALUE: f64 = 1e9;

/// Text on one line, `MIN` to `MAX` characters, without control characters; not of blanks alone, unless it may be empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text<const MIN: usize, const MAX: usize>(pub String);

impl<'de, const MIN: usize, const MAX: usize> Deserialize<'de> for Text<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, MIN, MAX, false).map(Self)
    }
}

/// Text that may have lines and tabs, at most `MAX` characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prose<const MAX: usize>(pub String);

impl<'de, const MAX: usize> Deserialize<'de> for Prose<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, 0, MAX, true).map(Self)
    }
}

fn text<'de, D: Deserializer<'de>>(deserializer: D, min: usize, max: usize, lines: bool) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    check_text(&text, min, max, lines).map_err(de::Error::custom)?;
    Ok(text)
}

/// What is wrong with a text, if anything.
pub fn check_text(text: &str, min: usize, max: usize, lines: bool) -> Result<(), String> {
    let length = text.chars().count();
    if length < min {
        return Err("must not be empty".to_owned());
    }
    if min > 0 && text.trim().is_empty() {
        return Err("must not be blank".to_owned());
    }
    if length > max {
        return Err(format!("has {length} characters; at most {max} are taken"));
    }
    if text.chars().any(|c| c.is_control() && !(lines && matches!(c, '\n' | '\r' | '\t'))) {
        return Err("must not contain control characters".to_owned());
    }
    Ok(())
}

/// A list of at most `MAX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T, const MAX: usize>(pub Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const MAX: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if items.len() == MAX {
                        return Err(de::Error::custom(format_args!("has more than {MAX} entries")));
                    }
                    items.push(item);
                }
                Ok(items)
            }
        }

        deserializer.deserialize_seq(Items::<T, MAX>(PhantomData)).map(Self)
    }
}

impl<const MIN: usize, const MAX: usize, const COUNT: usize> List<Text<MIN, MAX>, COUNT> {
    pub fn into_strings(self) -> Vec<String> {
        self.0.into_iter().map(|text| text.0).collect()
    }
}

/// Values by name, each name once, at most `MAX`; names of `CHARS` characters at most.
#[derive(Debug, Clone)]
pub struct Named<V, const CHARS: usize, const MAX: usize>(pub BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>, const CHARS: usize, const MAX: usize> Deserialize<'de> for Named<V, CHARS, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V, const CHARS: usize, const MAX: usize>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>, const CHARS: usize, const MAX: usize> Visitor<'de> for Entries<V, CHARS, MAX> {
            type Value = BTreeMap<String, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some(Text(name)) = map.next_key::<Text<1, CHARS>>()? {
                    if entries.contains_key(&name) {
                        return Err(de::Error::custom(format_args!("duplicate field `{name}`")));
                    }
                    if entries.len() == MAX {
                        return Err(de::Error::custom(format_args!("names more than {MAX}")));
                    }
                    entries.insert(name, map.next_value()?);
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_map(Entries::<V, CHARS, MAX>(PhantomData)).map(Self)
    }
}

/// A JSON object, and nothing else: what serde derives for a struct would also read it from a list.
#[derive(Debug, Clone, Default)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole<const MIN: u64, const MAX: u64>(pub u64);

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(Number)?;
        // For JSON 10.0 is a whole number as well.
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        if number.fract() == 0.0 && number >= MIN as f64 && number <= MAX as f64 {
            Ok(Self(number as u64))
        } else {
            Err(de::Error::custom(format_args!("{number} is not a whole number from {MIN} to {MAX}")))
        }
    }
}

/// A number from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(pub f32);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(Number)?;
        if !(0.0..=1.0).contains(&number) {
            return Err(de::Error::custom(format_args!("{number} is not from 0 to 1")));
        }
        #[allow(clippy::cast_possible_truncation)]
        Ok(Self(number as f32))
    }
}

/// The `value` of an interaction: no larger than [`MAX_VALUE`] either way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Amount(pub f64);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(Number)?;
        if number.abs() <= MAX_VALUE {
            Ok(Self(number))
        } else {
            Err(de::Error::custom(format_args!("{number} is not from -{MAX_VALUE} to {MAX_VALUE}")))
        }
    }
}

/// Reads any JSON number, as far as a double holds it.
struct Number;

impl Visitor<'_> for Number {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }
    #[allow(clippy::cast_precision_loss)]
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<f64, E> {
        Ok(number as f64)
    }
    #[allow(clippy::cast_precision_loss)]
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<f64, E> {
        Ok(number as f64)
    }
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<f64, E> {
        Ok(number)
    }
}

/// A point in time, RFC 3339, from the year 1900 on. Whether it lies too far ahead is for whoever knows the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub Timestamp);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let moment: Timestamp =
            text.parse().map_err(|_| de::Error::custom("is not a time such as 2026-05-01T12:00:00Z (RFC 3339)"))?;
        // -2208988800 is the beginning of 1900.
        if moment.as_second() < -2_208_988_800 {
            return Err(de::Error::custom("lies before the year 1900"));
        }
        Ok(Self(moment))
    }
}

/// A day, as "YYYY-MM-DD", "YYYY-MM" or "YYYY"; what is left out counts as 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day(pub Date);

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_day(deserializer).map(|(first, _)| Self(first))
    }
}

/// The last day of what is written like a [`Day`]: of a year alone its 31 December, of a month alone its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastDay(pub Date);

impl<'de> Deserialize<'de> for LastDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_day(deserializer).map(|(_, last)| Self(last))
    }
}

/// The first and the last of the days that a text means.
fn read_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(Date, Date), D::Error> {
    let text = String::deserialize(deserializer)?;
    let first =
        parse_day(&text).ok_or_else(|| de::Error::custom("is not a day such as 1999-03-31, 1999-03 or 1999"))?;
    let last = match text.len() {
        4 => first.last_of_year(),
        7 => first.last_of_month(),
        _ => first,
    };
    Ok((first, last))
}

fn parse_day(text: &str) -> Option<Date> {
    let whole = match text.len() {
        4 => format!("{text}-01-01"),
        7 => format!("{text}-01"),
        10 => text.to_owned(),
        _ => return None,
    };
    let digits = whole
        .bytes()
        .enumerate()
        .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    let day: Date = if digits { whole.parse().ok()? } else { return None };
    (day.year() >= 1).then_some(day)
}

/// For a field that may be left out and cannot be cleared: `null` is refused. With `#[serde(default, deserialize_with = …)]`.
pub fn not_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// For a field that may be cleared: absent is `None`, `null` is `Some(None)`. With `#[serde(default, deserialize_with = …)]`.
pub fn clearable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn text_and_lists_are_bounded() {
        assert!(read::<Text<1, 3>>(r#""科幻片""#).is_ok());
        assert!(read::<Text<1, 3>>(r#""abcd""#).unwrap_err().contains("at most 3"));
        assert!(read::<Text<1, 3>>(r#""""#).unwrap_err().contains("empty"));
        for blank in ["   ", "\u{3000}", "\u{a0}"] {
            assert!(read::<Text<1, 3>>(&format!("\"{blank}\"")).unwrap_err().contains("blank"), "{blank:?}");
        }
        assert!(read::<Text<1, 9>>(r#""a\u0000b""#).unwrap_err().contains("control"));
        assert!(read::<Text<1, 9>>(r#""a\nb""#).is_err() && read::<Prose<9>>(r#""a\nb""#).is_ok());
        assert_eq!(read::<List<u8, 2>>("[1, 2]").unwrap().0, [1, 2]);
        assert!(read::<List<u8, 2>>("[1, 2, 3]").unwrap_err().contains("more than 2"));
    }

    #[test]
    fn names_are_bounded_and_stand_once() {
        assert_eq!(read::<Named<u8, 3, 2>>(r#"{"b": 1, "a": 2}"#).unwrap().0.into_values().collect::<Vec<_>>(), [2, 1]);
        assert!(read::<Named<u8, 3, 2>>(r#"{"a": 1, "b": 2, "c": 3}"#).unwrap_err().contains("more than 2"));
        assert!(read::<Named<u8, 3, 2>>(r#"{"a": 1, "a": 2}"#).unwrap_err().contains("duplicate field `a`"));
        assert!(read::<Named<u8, 3, 2>>(r#"{"abcd": 1}"#).unwrap_err().contains("at most 3"));
    }

    #[test]
    fn numbers_are_bounded() {
        assert_eq!(read::<Whole<1, 200>>("10.0").unwrap().0, 10);
        for text in ["0", "201", "-1", "1.5", "1e300", "\"1\"", "null", "true"] {
            assert!(read::<Whole<1, 200>>(text).is_err(), "{text}");
        }
        assert!(read::<Share>("1.01").is_err() && read::<Share>("1").is_ok());
        assert!(read::<Amount>("2e9").is_err() && read::<Amount>("-3").is_ok());
    }

    #[test]
    fn days_and_moments() {
        assert_eq!(read::<Day>(r#""1999""#).unwrap().0, jiff::civil::date(1999, 1, 1));
        assert_eq!(read::<Day>(r#""1999-03""#).unwrap().0, jiff::civil::date(1999, 3, 1));
        assert_eq!(read::<Day>(r#""2024-02-29""#).unwrap().0, jiff::civil::date(2024, 2, 29));
        for (text, last) in [
            ("1999", (1999, 12, 31)),
            ("1999-06", (1999, 6, 30)),
            ("2023-02", (2023, 2, 28)),
            ("2024-02", (2024, 2, 29)),
            ("1900-02", (1900, 2, 28)),
            ("9999", (9999, 12, 31)),
            ("1999-06-01", (1999, 6, 1)),
        ] {
            let (year, month, day) = last;
            let read = read::<LastDay>(&format!("{text:?}")).unwrap().0;
            assert_eq!(read, jiff::civil::date(year, month, day), "{text}");
        }
        assert!(read::<LastDay>(r#""1999-13""#).is_err());
        for text in ["2023-02-29", "0000", "99", "1999-13", "１９９９", "1999/01/01", "-001"] {
            assert!(read::<Day>(&format!("{text:?}")).is_err(), "{text}");
        }
        assert!(read::<Moment>(r#""2026-05-01T12:00:00Z""#).is_ok());
        for text in ["2026-05-01", "yesterday", "1899-12-31T23:59:59Z", "2026-05-01T25:00:00Z"] {
            assert!(read::<Moment>(&format!("{text:?}")).is_err(), "{text}");
        }
    }

    #[test]
    fn an_object_is_not_a_list() {
        #[derive(Debug, serde::Deserialize)]
        struct One {
            a: u8,
        }
        assert_eq!(read::<Object<One>>(r#"{"a": 1}"#).unwrap().0.a, 1);
        assert!(read::<Object<One>>("[1]").unwrap_err().contains("expected an object"));
    }
}
