//! What searches look at of an item: its text without case and accents, with a mark before each word, titles first.

use crate::domain::{Item, fold, is_unspaced};

/// What such texts begin with. Those of the form before this one had no capital letters, and are written anew (`renew_search`).
const FORM: char = 'S';
/// Stands before each word, so that "opera" finds "Operation" and not "cooperative".
const WORD: char = '\u{1}';
/// Stands between the titles and the rest.
pub(super) const TITLES_END: char = '\u{2}';

/// Everything of an item that a search looks at.
pub(super) fn search_text(item: &Item) -> String {
    let originals = item.attributes.get("original_title").into_iter().flatten();
    let lists = [&item.creators, &item.genres, &item.tags].into_iter().flatten();
    let mut text = String::from(FORM);
    for title in std::iter::once(&item.title).chain(originals) {
        text.push(' ');
        mark_into(&mut text, &folded(title));
    }
    text.push(TITLES_END);
    for part in lists.chain(&item.description) {
        text.push(' ');
        mark_into(&mut text, &folded(part));
    }
    text
}

/// What a search asks for, a word each, as a literal in a `LIKE` pattern with `\` for what has a meaning there.
pub(super) fn words(text: &str) -> Vec<String> {
    let literal = |word: &str| {
        let mut marked = String::new();
        mark_into(&mut marked, word);
        marked.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
    };
    folded(text).split_whitespace().map(literal).collect()
}

/// Adds a text with its words marked.
fn mark_into(out: &mut String, text: &str) {
    let mut before = ' ';
    for c in text.chars() {
        let is_in_word = before.is_alphanumeric() && !is_unspaced(before);
        if is_unspaced(c) || c.is_alphanumeric() && !is_in_word {
            out.push(WORD);
        }
        out.push(c);
        before = c;
    }
}

/// Text without the differences that a search should not see.
fn folded(text: &str) -> String {
    // A NUL cannot be stored by Postgres, and others are the marks.
    fold(text).replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_in_a_search_are_letters() {
        assert_eq!(words("100% _A\\"), ["\u{1}100\\%", "\\_\u{1}a\\\\"]);
        assert_eq!(words("ＦＵＬＬ Größe"), ["\u{1}full", "\u{1}grosse"]);
        assert!(words(" \t").is_empty());
    }

    #[test]
    fn words_are_found_by_their_beginning_and_without_accents() {
        let finds = |query: &str, text: &str| {
            let mut marked = String::new();
            mark_into(&mut marked, &folded(text));
            words(query).iter().all(|word| marked.contains(&word.replace('\\', "")))
        };
        for (query, text) in [
            ("amelie", "Le fabuleux destin d'Amélie Poulain"),
            ("AMÉLIE", "Amelie"),
            ("pokemon", "Pokémon Red"),
            ("bjork", "Björk"),
            ("björk", "Bjork"),
            ("opera", "Operation"),
            ("man spider", "Spider-Man"),
            ("spider-man", "Spider-Man"),
            ("地球", "流浪地球"),
            ("功夫", "少林功夫"),
            ("動作", "动作"),
            ("ポケ", "新ポケモンtv"),
            ("tv", "ポケモンtv"),
            ("елка", "Ёлка"),
            ("strasse", "Große Straße"),
            ("\u{301}e", "E"),
        ] {
            assert!(finds(query, text), "{query} in {text}");
        }
        for (query, text) in [("opera", "cooperative"), ("an", "Spider-Man"), ("地流", "流浪地球"), ("ハ", "パ")]
        {
            assert!(!finds(query, text), "{query} in {text}");
        }
    }
}
