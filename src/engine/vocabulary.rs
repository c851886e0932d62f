//! The vocabulary: what genres and tags mean, in whichever spelling and language they are written.

use std::collections::HashMap;
use std::sync::LazyLock;

use foldhash::fast::RandomState;

use super::text::{is_stop_run, is_stop_word, is_unspaced, squeeze, stem, words};

/// Names of labels in other spellings and languages: one line a label, its own name, a tab, the others parted by `|`.
const ALIASES: &str = include_str!("aliases.tsv");

static CONCEPTS: LazyLock<HashMap<String, String, RandomState>> = LazyLock::new(|| {
    let mut concepts = HashMap::default();
    for line in ALIASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, aliases) = line.split_once('\t').unwrap_or((line, ""));
        let concept = squeeze(name);
        for alias in std::iter::once(name).chain(aliases.split('|')).map(str::trim).filter(|alias| !alias.is_empty()) {
            concepts.entry(squeeze(alias)).or_insert_with(|| concept.clone());
        }
    }
    concepts
});

/// What may follow a label without changing it: "rock music", "horror movies", "恐怖片".
const KINDS: [&str; 17] = [
    "music",
    "song",
    "track",
    "movie",
    "film",
    "game",
    "videogame",
    "album",
    "vibe",
    "音乐",
    "歌曲",
    "电影",
    "影片",
    "片",
    "游戏",
    "类",
    "风格",
];

/// What a genre or tag means: the same for each spelling, plural and language that is known.
#[must_use]
pub fn concept(label: &str) -> String {
    let key = squeeze(label);
    known(&key).unwrap_or_else(|| stem(&key).into_owned())
}

/// The concept of a squeezed label, its singular, or what is left without a trailing "music" or the like, when it is one of the known ones.
#[must_use]
pub fn known(key: &str) -> Option<String> {
    let singular = stem(key);
    let exact = |key: &str| CONCEPTS.get(key).or_else(|| CONCEPTS.get(&*stem(key))).cloned();
    exact(key).or_else(|| KINDS.iter().find_map(|kind| exact(singular.strip_suffix(kind)?)))
}

/// The own name of the label that a text is another name of.
#[must_use]
pub fn own_name(text: &str) -> Option<&'static str> {
    let key = squeeze(text);
    let concept = known(&key).filter(|concept| *concept != key)?;
    let names = ALIASES.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split('\t').next());
    names.into_iter().find(|name| squeeze(name) == concept)
}

/// All names of labels that are known, squeezed, with their concepts.
pub fn known_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    CONCEPTS.iter().map(|(name, concept)| (name.as_str(), concept.as_str()))
}

/// A piece of a free text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// It names a label: its concept.
    Label(String),
    /// It names a creator: the name, squeezed.
    Creator(String),
    /// Any other word, or run of letters of a script without spaces.
    Word(String),
}

/// What stands before a creator and says that it is one.
const BY: [&str; 5] = ["by", "directed", "feat", "featuring", "starring"];

/// Cuts a free text into the labels and creators it names, longest first, and the words that are left. `is_label` says which concepts are labels,
/// `is_creator(words, is_sure)` which words are the name of a creator; `is_sure`: what stands before says that they are.
#[must_use]
pub fn pieces(text: &str, is_label: impl Fn(&str) -> bool, is_creator: impl Fn(&[String], bool) -> bool) -> Vec<Piece> {
    const LONGEST: usize = 4;
    let words = words(text);
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if words[at].chars().all(is_unspaced) {
            within_run(&words[at], &is_label, &mut pieces);
            at += 1;
            continue;
        }
        let is_sure = at > 0 && BY.contains(&words[at - 1].as_str());
        let found = (1..=LONGEST.min(words.len() - at)).rev().find_map(|length| {
            let named = &words[at..at + length];
            let concept = concept(&named.concat());
            if is_label(&concept) {
                return Some((length, Piece::Label(concept)));
            }
            let says_something = length > 1 || !is_stop_word(&named[0]);
            (says_something && is_creator(named, is_sure)).then(|| (length, Piece::Creator(named.concat())))
        });
        let (length, piece) = found.unwrap_or_else(|| (1, Piece::Word(words[at].clone())));
        if matches!(piece, Piece::Creator(_)) {
            while pieces.last().is_some_and(|last| matches!(last, Piece::Word(word) if BY.contains(&word.as_str()))) {
                pieces.pop();
            }
        }
        pieces.push(piece);
        at += length;
    }
    pieces
}

fn within_run(run: &str, is_label: &impl Fn(&str) -> bool, pieces: &mut Vec<Piece>) {
    const LONGEST: usize = 8;
    let letters: Vec<char> = run.chars().collect();
    let (mut at, mut unknown) = (0, String::new());
    while at < letters.len() {
        let found = (1..=LONGEST.min(letters.len() - at)).rev().find_map(|length| {
            let part: String = letters[at..at + length].iter().collect();
            if is_stop_run(&part) {
                return Some((length, None));
            }
            let concept = CONCEPTS.get(&part).cloned().unwrap_or(part);
            is_label(&concept).then_some((length, Some(concept)))
        });
        let Some((length, concept)) = found else {
            unknown.push(letters[at]);
            at += 1;
            continue;
        };
        if !unknown.is_empty() {
            pieces.push(Piece::Word(std::mem::take(&mut unknown)));
        }
        pieces.extend(concept.map(Piece::Label));
        at += length;
    }
    if !unknown.is_empty() {
        pieces.push(Piece::Word(unknown));
    }
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
            ("hip hop", "嘻哈"),
            ("R&B", "rnb"),
            ("R & B", "rhythm and blues"),
            ("RPG", "role-playing"),
            ("RPGs", "role playing game"),
            ("comedies", "Comedy"),
            ("恐怖片", "horror"),
            ("恐怖電影", "horror movies"),
            ("動作", "动作"),
            ("action", "动作"),
            ("Film-Noir", "film noir"),
            ("搖滾", "rock"),
            ("rock music", "Rock"),
            ("puzzle games", "puzzle"),
            ("Children's", "children"),
            ("策略遊戲", "strategy"),
            ("治愈", "治癒"),
            ("懸疑", "mystery"),
            ("thrillers", "驚悚"),
        ] {
            assert_eq!(concept(a), concept(b), "{a} {b}");
        }
        for (a, b) in [("rock", "pop"), ("classic", "classical"), ("music", "movie"), ("dance", "dancehall")] {
            assert_ne!(concept(a), concept(b));
        }
    }

    #[test]
    fn each_alias_names_one_label() {
        let mut owners: HashMap<String, &str> = HashMap::new();
        for line in ALIASES.lines().filter(|line| !line.starts_with('#')) {
            let (name, aliases) = line.split_once('\t').unwrap_or((line, ""));
            for alias in std::iter::once(name).chain(aliases.split('|')).filter(|alias| !alias.is_empty()) {
                let owner = owners.insert(squeeze(alias), name);
                assert!(owner.is_none_or(|owner| owner == name), "{alias}: {name} and {owner:?}");
            }
        }
        assert!(ALIASES.lines().count() >= 180);
    }

    #[test]
    fn a_text_is_cut_into_labels_and_words() {
        let is_label = |concept: &str| concept != "story" && CONCEPTS.values().any(|known| known == concept);
        let nobody = |_: &[String], _: bool| false;
        let label = |name: &str| Piece::Label(concept(name));
        let word = |word: &str| Piece::Word(word.to_owned());
        assert_eq!(
            pieces("a slow burn science fiction story", is_label, nobody),
            [word("a"), label("slow-burn"), label("science fiction"), word("story")]
        );
        assert_eq!(pieces("安静的雨夜", is_label, nobody), [label("relaxing"), label("rainy"), label("night")]);
        assert_eq!(pieces("我想看關於機器人的科幻電影", is_label, nobody), [label("robots"), label("science fiction")]);
        assert_eq!(pieces("chill 雨夜", is_label, nobody), [label("relaxing"), label("rainy"), label("night")]);
        let creators = |words: &[String], is_sure: bool| words.concat() == "daftpunk" || is_sure && words == ["air"];
        let creator = |name: &str| Piece::Creator(name.to_owned());
        assert_eq!(pieces("songs by Daft Punk", is_label, creators), [word("songs"), creator("daftpunk")]);
        assert_eq!(pieces("by air, air", is_label, creators), [creator("air"), word("air")]);
        assert_eq!(own_name("romcom"), Some("romantic comedy"));
        assert_eq!((own_name("romantic comedy"), own_name("zzz")), (None, None));
    }
}
