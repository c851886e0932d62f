//! Text as the catalogue compares it: without case, accents, plurals and punctuation, in any script.

use std::collections::HashMap;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization as _;
use unicode_segmentation::UnicodeSegmentation as _;

/// Words too common to say anything.
const STOP_WORDS: [&str; 52] = [
    "a",
    "an",
    "and",
    "any",
    "are",
    "as",
    "at",
    "be",
    "but",
    "by",
    "film",
    "for",
    "from",
    "game",
    "good",
    "have",
    "i",
    "in",
    "is",
    "it",
    "its",
    "like",
    "me",
    "more",
    "movie",
    "music",
    "my",
    "no",
    "not",
    "of",
    "on",
    "or",
    "please",
    "similar",
    "some",
    "something",
    "song",
    "that",
    "the",
    "their",
    "there",
    "these",
    "this",
    "to",
    "want",
    "was",
    "what",
    "with",
    "who",
    "his",
    "her",
    "album",
];

/// Names of labels in other spellings and languages: one line a label, its own name, a tab, the others parted by `|`.
const ALIASES: &str = include_str!("aliases.tsv");

static CONCEPTS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let mut concepts = HashMap::new();
    for line in ALIASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, aliases) = line.split_once('\t').unwrap_or((line, ""));
        let concept = squeeze(name);
        for alias in std::iter::once(name).chain(aliases.split('|')).map(str::trim).filter(|alias| !alias.is_empty()) {
            concepts.entry(squeeze(alias)).or_insert_with(|| concept.clone());
        }
    }
    concepts
});

/// Compatible forms made one, lower case, Latin, Greek and Cyrillic letters without accents.
#[must_use]
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.nfkc().flat_map(char::to_lowercase) {
        if c < '\u{80}' {
            out.push(c);
        } else if c < '\u{530}' || ('\u{1e00}'..='\u{1fff}').contains(&c) {
            // Marks are dropped only where they are accents: in other scripts they make another letter.
            out.extend(std::iter::once(c).nfd().filter(|c| !('\u{300}'..='\u{36f}').contains(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// [`fold`], and letters and digits only: "Sci-Fi", "sci fi" and "SCIFI" are the same.
#[must_use]
pub fn squeeze(text: &str) -> String {
    fold(text).chars().filter(|c| c.is_alphanumeric()).collect()
}

/// What a genre or tag means: the same for each spelling, plural and language that is known.
#[must_use]
pub fn concept(label: &str) -> String {
    let key = squeeze(label);
    known_concept(&key).unwrap_or_else(|| stem(&key))
}

/// The concept of a squeezed label or its singular, when it is one of the known ones.
#[must_use]
pub fn known_concept(key: &str) -> Option<String> {
    CONCEPTS.get(key).or_else(|| CONCEPTS.get(&stem(key))).cloned()
}

/// The singular of an English word, roughly; other words unchanged.
#[must_use]
pub fn stem(word: &str) -> String {
    if !word.is_ascii() || word.len() < 4 {
        return word.to_owned();
    }
    if let Some(root) = word.strip_suffix("ies").filter(|root| root.len() > 2) {
        return format!("{root}y");
    }
    for (suffix, keep) in [("sses", 2), ("xes", 1), ("ches", 2), ("shes", 2)] {
        if word.ends_with(suffix) {
            return word[..word.len() - suffix.len() + keep].to_owned();
        }
    }
    match word.strip_suffix('s') {
        Some(root) if !root.ends_with(['s', 'u']) => root.to_owned(),
        _ => word.to_owned(),
    }
}

/// Whether the letter belongs to a script that is written without spaces.
#[must_use]
pub fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' | '\u{e00}'..='\u{e7f}')
}

/// The words of a text, folded, in order; of scripts without spaces, its runs.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let folded = fold(text);
    let mut joined = false;
    for word in folded.unicode_words() {
        let unspaced = word.chars().all(is_unspaced);
        // The segmentation cuts such scripts into single letters: put the run together again.
        match words.last_mut() {
            Some(last) if unspaced && joined && folded.contains(&format!("{last}{word}")) => last.push_str(word),
            _ => words.push(word.to_owned()),
        }
        joined = unspaced;
    }
    words
}

/// The terms a text is found by: stemmed words without stop words; of scripts without spaces, pairs of letters.
#[must_use]
pub fn terms(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    for word in words(text) {
        if word.chars().any(is_unspaced) {
            let letters: Vec<char> = word.chars().collect();
            terms.extend(letters.windows(2).map(|pair| pair.iter().collect::<String>()));
            if letters.len() == 1 {
                terms.push(word);
            }
        } else if !STOP_WORDS.contains(&word.as_str()) {
            terms.push(stem(&word.replace(['\'', '’'], "")));
        }
    }
    terms
}

/// The concepts that a free text names, longest first, and the words that are left.
#[must_use]
pub fn concepts_within(text: &str) -> (Vec<String>, Vec<String>) {
    const LONGEST: usize = 4;
    let mut concepts = Vec::new();
    let mut left = Vec::new();
    let words = words(text);
    let mut at = 0;
    while at < words.len() {
        if words[at].chars().all(is_unspaced) {
            within_run(&words[at], &mut concepts, &mut left);
            at += 1;
            continue;
        }
        let found = (1..=LONGEST.min(words.len() - at))
            .rev()
            .find_map(|length| known_concept(&words[at..at + length].concat()).map(|concept| (length, concept)));
        if let Some((length, concept)) = found {
            concepts.push(concept);
            at += length;
        } else {
            left.push(words[at].clone());
            at += 1;
        }
    }
    (concepts, left)
}

fn within_run(run: &str, concepts: &mut Vec<String>, left: &mut Vec<String>) {
    const LONGEST: usize = 8;
    let letters: Vec<char> = run.chars().collect();
    let (mut at, mut unknown) = (0, String::new());
    while at < letters.len() {
        let found = (1..=LONGEST.min(letters.len() - at)).rev().find_map(|length| {
            let key: String = letters[at..at + length].iter().collect();
            CONCEPTS.get(&key).map(|concept| (length, concept.clone()))
        });
        if let Some((length, concept)) = found {
            concepts.push(concept);
            at += length;
            if !unknown.is_empty() {
                left.push(std::mem::take(&mut unknown));
            }
        } else {
            unknown.push(letters[at]);
            at += 1;
        }
    }
    if !unknown.is_empty() {
        left.push(unknown);
    }
}

/// All names of labels that are known, squeezed, with their concepts.
pub fn known_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    CONCEPTS.iter().map(|(name, concept)| (name.as_str(), concept.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_meet() {
        for (a, b) in [
            ("Sci-Fi", "sci fi"),
            ("SF", "Science Fiction"),
            ("科幻", "sci-fi"),
            ("Hip-Hop", "hiphop"),
            ("R&B", "rnb"),
            ("RPG", "role-playing"),
            ("comedies", "Comedy"),
            ("movies about cars", "movies about cars"),
            ("恐怖片", "horror"),
            ("動作", "动作"),
            ("action", "动作"),
            ("Film-Noir", "film noir"),
            ("搖滾", "rock"),
            ("Children's", "children"),
        ] {
            assert_eq!(concept(a), concept(b), "{a} {b}");
        }
        assert_ne!(concept("rock"), concept("pop"));
    }

    #[test]
    fn accents_go_and_letters_of_other_scripts_stay() {
        assert_eq!(fold("Amélie — ÉTÉ"), "amelie — ete");
        assert_eq!(fold("が"), "が");
        assert_eq!(squeeze("WALL·E"), "walle");
    }

    #[test]
    fn words_and_terms() {
        assert_eq!(words("Chill, rainy night"), ["chill", "rainy", "night"]);
        assert_eq!(terms("the Seven Samurais"), ["seven", "samurai"]);
        assert_eq!(terms("七武士"), ["七武", "武士"]);
        assert_eq!(
            [stem("stories"), stem("boxes"), stem("jazz"), stem("blues"), stem("chess")],
            ["story", "box", "jazz", "blue", "chess"]
        );
    }

    #[test]
    fn concepts_are_found_within_a_text() {
        let (found, left) = concepts_within("a slow burn science fiction story");
        assert_eq!(found, [concept("slow-burn"), concept("science fiction")]);
        assert_eq!(left, ["a", "story"]);
        let (found, _) = concepts_within("安静的雨夜");
        assert!(found.contains(&concept("rainy")) || found.contains(&concept("night")), "{found:?}");
    }
}
