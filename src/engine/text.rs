//! Text as the catalogue compares it: without case, accents, plurals and punctuation, in any script.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

use foldhash::fast::RandomState;
use unicode_segmentation::UnicodeSegmentation as _;

pub use crate::domain::{fold, is_unspaced};

/// Words too common to say anything.
#[rustfmt::skip]
const STOP_WORDS: [&str; 61] = [
    "a", "about", "album", "an", "and", "any", "are", "as", "at", "be", "but", "by", "film", "for", "from", "game", "good", "have", "her",
    "his", "i", "in", "is", "it", "its", "kind", "like", "me", "more", "movie", "music", "my", "no", "not", "of", "on", "only", "or",
    "play", "please", "similar", "so", "some", "something", "song", "that", "the", "their", "there", "these", "this", "to", "very",
    "want", "was", "watch", "what", "where", "which", "who", "with",
];

static STOPPED: LazyLock<HashSet<&'static str, RandomState>> = LazyLock::new(|| STOP_WORDS.into_iter().collect());

/// The same for Chinese, which is written without spaces.
#[rustfmt::skip]
const STOP_RUNS: [&str; 38] = [
    "的", "了", "和", "与", "或", "是", "有", "在", "我", "你", "看", "听", "玩", "要", "想", "想要", "一个", "一部", "一些", "一首", "首",
    "部", "些", "类似", "像", "一样", "关于", "适合", "电影", "影片", "游戏", "音乐", "歌", "歌曲", "专辑", "片", "推荐", "喜欢",
];

/// [`fold`], and letters and digits only: "Sci-Fi", "sci fi" and "SCIFI" are the same. "&" is "and" between words.
#[must_use]
pub fn squeeze(text: &str) -> String {
    let mut folded = fold(text);
    if folded.contains(" & ") {
        folded = folded.replace(" & ", "and");
    }
    folded.retain(char::is_alphanumeric);
    folded
}

/// A title without a year in brackets at its end.
#[must_use]
pub fn without_year(title: &str) -> &str {
    let title = title.trim();
    title
        .strip_suffix(')')
        .and_then(|rest| rest.rsplit_once('('))
        .filter(|(rest, year)| !rest.trim().is_empty() && year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit()))
        .map_or(title, |(rest, _)| rest.trim_end())
}

/// The singular of an English word, roughly; other words unchanged.
#[must_use]
pub fn stem(word: &str) -> Cow<'_, str> {
    if !word.is_ascii() || word.len() < 4 {
        return word.into();
    }
    if let Some(root) = word.strip_suffix("ies").filter(|root| root.len() > 2) {
        // "movies" is of "movie", "stories" of "story".
        return [root, if root.ends_with("mov") || root.ends_with("zomb") { "ie" } else { "y" }].concat().into();
    }
    for (suffix, keep) in [("sses", 2), ("xes", 1), ("ches", 2), ("shes", 2)] {
        if word.ends_with(suffix) {
            return word[..word.len() - suffix.len() + keep].into();
        }
    }
    match word.strip_suffix('s') {
        Some(root) if !root.ends_with(['s', 'u']) => root.into(),
        _ => word.into(),
    }
}

/// The words of a text, folded, in order; of scripts without spaces, its runs.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    each_word(&fold(text), |word| words.push(word.to_owned()));
    words
}

/// Where the words of a folded text stand, as [`words`] parts them.
#[must_use]
pub fn word_ranges(folded: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    each_range(folded, |range| ranges.push(range));
    ranges
}

fn each_word(folded: &str, mut see: impl FnMut(&str)) {
    each_range(folded, |range| see(&folded[range]));
}

fn each_range(folded: &str, mut see: impl FnMut(Range<usize>)) {
    // A run of a script without spaces, as far as it has come: the segmentation cuts those into single letters.
    let mut run = 0..0;
    for (start, word) in folded.unicode_word_indices() {
        let end = start + word.len();
        let is_run = !word.is_ascii() && word.chars().all(is_unspaced);
        if is_run && run.end == start && !run.is_empty() {
            run.end = end;
            continue;
        }
        if !run.is_empty() {
            see(std::mem::take(&mut run));
        }
        if is_run {
            run = start..end;
        } else {
            see(start..end);
        }
    }
    if !run.is_empty() {
        see(run);
    }
}

/// Whether the word says nothing by itself.
#[must_use]
pub fn is_stop_word(word: &str) -> bool {
    let is_listed = |word: &str| STOPPED.contains(word);
    let stem = stem(word);
    is_listed(word) || stem.len() != word.len() && is_listed(&stem)
}

/// Whether these characters say nothing within a run of Chinese.
#[must_use]
pub fn is_stop_run(letters: &str) -> bool {
    STOP_RUNS.contains(&letters)
}

/// The terms a text is found by: stemmed words without stop words; of scripts without spaces, pairs of letters and a short run as a whole.
#[must_use]
pub fn terms(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    each_term(text, |term| terms.push(term.to_owned()));
    terms
}

/// Shows each of [`terms`], which it makes no copies of.
pub fn each_term(text: &str, mut see: impl FnMut(&str)) {
    each_word(&fold(text), |word| {
        if !word.is_ascii() && word.chars().any(is_unspaced) {
            let ends: Vec<usize> = word.char_indices().map(|(start, _)| start).chain([word.len()]).collect();
            ends.windows(3).for_each(|pair| see(&word[pair[0]..pair[2]]));
            let letters = ends.len() - 1;
            if letters == 1 || (3..=8).contains(&letters) {
                see(word);
            }
        } else if !is_stop_word(word) {
            let plain = word.strip_suffix("'s").or_else(|| word.strip_suffix("’s")).unwrap_or(word);
            if plain.contains(['\'', '’']) {
                see(&stem(&plain.replace(['\'', '’'], "")));
            } else {
                see(&stem(plain));
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_terms() {
        assert_eq!(words("Chill, rainy night"), ["chill", "rainy", "night"]);
        assert_eq!(words("科幻，恐怖 and 雨夜"), ["科幻", "恐怖", "and", "雨夜"]);
        assert_eq!(terms("the Seven Samurais"), ["seven", "samurai"]);
        assert_eq!((squeeze("WALL·E").as_str(), squeeze("Ｒ＆Ｂ").as_str()), ("walle", "rb"));
        assert_eq!(terms("七武士"), ["七武", "武士", "七武士"]);
        assert_eq!(terms("기생충"), ["기생", "생충", "기생충"]);
        assert_eq!(terms("Schindler's List"), ["schindler", "list"]);
    }

    #[test]
    fn stop_words_are_found() {
        assert!(STOP_WORDS.into_iter().chain(["movies", "songs"]).all(is_stop_word));
        assert!(!["samurai", "", "zzz"].into_iter().any(is_stop_word));
    }

    #[test]
    fn plurals_meet_their_singular() {
        let singular = ["stories", "boxes", "jazz", "chess", "movies", "comedies", "watches", "musicals"].map(stem);
        assert_eq!(singular, ["story", "box", "jazz", "chess", "movie", "comedy", "watch", "musical"]);
    }

    #[test]
    fn a_long_text_without_spaces_takes_no_long() {
        let long = "雨夜".repeat(50_000);
        let start = std::time::Instant::now();
        assert_eq!(words(&long).len(), 1);
        assert!(start.elapsed().as_secs() < 5);
    }
}
