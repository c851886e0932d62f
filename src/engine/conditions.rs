//! Conditions: what a free text says of when, and of what not: "late 80s thriller", "comedy but no horror", "90年代的喜剧，不要恐怖".

use std::ops::{Range, RangeInclusive};

use super::text;

/// What stands before something that is not wanted, and what may stand between.
#[rustfmt::skip]
const NEGATIONS: [&str; 13] = [
    "no", "not", "without", "except", "excluding", "minus", "avoid", "hate", "dislike", "never", "don't", "don’t", "dont",
];
#[rustfmt::skip]
const BETWEEN: [&str; 17] = [
    "a", "an", "any", "anything", "be", "by", "like", "more", "much", "of", "really", "so", "stuff", "the", "too", "very", "want",
];
/// What ends it, besides punctuation; behind some of these comes another such thing.
const ENDS: [&str; 12] = ["and", "but", "for", "from", "in", "instead", "just", "nor", "only", "or", "please", "with"];
const ANOTHER: [&str; 2] = ["nor", "or"];
/// "Anything but rock" is one.
const ALL: [&str; 3] = ["anything", "everything", "all"];
/// "Not only rock" is no negation.
const NOT_ALONE: [&str; 2] = ["just", "only"];
/// The most words that name what is not wanted.
const LONGEST: usize = 3;
/// The same in Chinese; what is not wanted ends with the run, or before 的.
const NEGATIONS_IN_CHINESE: [&str; 6] = ["不想要", "不喜欢", "不要", "没有", "不是", "除了"];

#[rustfmt::skip]
const DECADES: [(&str, i16); 8] = [
    ("twenties", 1920), ("thirties", 1930), ("forties", 1940), ("fifties", 1950),
    ("sixties", 1960), ("seventies", 1970), ("eighties", 1980), ("nineties", 1990),
];
const DECADES_IN_CHINESE: [(&str, i16); 8] = [
    ("二十年代", 1920),
    ("三十年代", 1930),
    ("四十年代", 1940),
    ("五十年代", 1950),
    ("六十年代", 1960),
    ("七十年代", 1970),
    ("八十年代", 1980),
    ("九十年代", 1990),
];
const DECADE_IN_CHINESE: &str = "年代";
/// Which of a decade's years.
const PARTS: [(&str, i16, i16); 3] = [("early", 0, 4), ("mid", 3, 6), ("late", 5, 9)];

/// No release is of another year.
const YEARS: Years = 1800..=2199;

/// The years of releases that a text asks for.
pub(super) type Years = RangeInclusive<i16>;

/// A free text, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conditions<T> {
    /// The text without its conditions, folded.
    pub rest: String,
    pub years: Option<Years>,
    /// The decades as the text names them: what bears such a name as a label is meant too.
    pub decades: Vec<String>,
    /// What is not wanted.
    pub without: Vec<T>,
}

/// Takes a free text apart. `known(name, is_first)` says what is known by the name of something that is not wanted; where that is nothing, the text stays as it
/// is, for the words may be part of a title ("no country for old men"). `is_first`: nothing stands before the negation.
pub(super) fn read<T>(text: &str, known: impl FnMut(&str, bool) -> Vec<T>) -> Conditions<T> {
    let folded = text::fold(text);
    let conditions = Conditions { rest: String::new(), years: None, decades: Vec::new(), without: Vec::new() };
    let mut reader = Reader { words: text::word_ranges(&folded), folded: &folded, known, conditions, done: 0 };
    let mut at = 0;
    while at < reader.words.len() {
        at = reader.condition(at).unwrap_or(at + 1);
    }
    reader.cut(folded.len()..folded.len());
    reader.conditions
}

struct Reader<'t, K, T> {
    folded: &'t str,
    words: Vec<Range<usize>>,
    known: K,
    conditions: Conditions<T>,
    /// What stands before this is in `rest`, or was taken out.
    done: usize,
}

impl<'t, T, K: FnMut(&str, bool) -> Vec<T>> Reader<'t, K, T> {
    fn word(&self, at: usize) -> &'t str {
        self.words.get(at).map_or("", |range| &self.folded[range.clone()])
    }

    /// What stands between a word and the one before it.
    fn between(&self, at: usize) -> Option<&'t str> {
        let before = self.words.get(at.checked_sub(1)?)?.end;
        Some(&self.folded[before..self.words.get(at)?.start])
    }

    /// Whether nothing but blanks stands there.
    fn follows(&self, at: usize) -> bool {
        self.between(at).is_some_and(|between| between.trim().is_empty())
    }

    /// The place in the text of words that stand side by side.
    fn place(&self, words: Range<usize>) -> Range<usize> {
        self.words[words.start].start..self.words[words.end - 1].end
    }

    fn cut(&mut self, place: Range<usize>) {
        self.conditions.rest.push_str(&self.folded[self.done..place.start]);
        self.done = place.end;
    }

    /// Takes out the condition that begins with a word; gives the word behind it.
    fn condition(&mut self, at: usize) -> Option<usize> {
        if self.words[at].start < self.done {
            return None;
        }
        if ALL.contains(&self.word(at)) && self.word(at + 1) == "but" {
            return self.negation(at, at + 2);
        }
        if NEGATIONS.contains(&self.word(at)) && !NOT_ALONE.contains(&self.word(at + 1)) {
            return self.negation(at, at + 1);
        }
        let word = self.word(at);
        if let Some((_, first, last)) =
            PARTS.iter().find(|(part, ..)| *part == word).filter(|_| at + 1 < self.words.len())
        {
            let decade = decade(self.word(at + 1))?;
            self.years(self.place(at..at + 2), decade + first..=decade + last);
            return Some(at + 2);
        }
        // "80's" is two words.
        let length =
            if self.word(at + 1) == "s" && self.between(at + 1).is_some_and(|between| ["'", "’"].contains(&between)) {
                2
            } else {
                1
            };
        if let Some(decade) = decade(&[word, if length == 2 { "s" } else { "" }].concat()) {
            self.decade(self.place(at..at + length), decade);
            return Some(at + length);
        }
        let next = || year(self.word(at + 1)).filter(|_| self.follows(at + 1));
        let years = match word {
            "since" => Some((next()?..=i16::MAX, 2)),
            "after" => Some((next()? + 1..=i16::MAX, 2)),
            "before" => Some((i16::MIN..=next()? - 1, 2)),
            "until" => Some((i16::MIN..=next()?, 2)),
            "from" | "between" => {
                let from = next()?;
                let is_range = ["to", "until", "and"].contains(&self.word(at + 2));
                let to = year(self.word(at + 3)).filter(|_| is_range);
                Some(to.map_or((from..=from, 2), |to| (from.min(to)..=from.max(to), 4)))
            }
            "in" | "of" => Some((next()?..=next()?, 2)),
            _ => None,
        };
        if let Some((years, length)) = years {
            self.years(self.place(at..at + length), years);
            return Some(at + length);
        }
        self.in_chinese(at);
        None
    }

    fn decade(&mut self, place: Range<usize>, first: i16) {
        self.conditions.decades.push(self.folded[place.clone()].to_owned());
        self.years(place, first..=first + 9);
    }

    /// Of several of them: what they have in common, else all from the first to the last.
    fn years(&mut self, place: Range<usize>, new: Years) {
        let both = self.conditions.years.take().map(|old| {
            let common = *old.start().max(new.start())..=*old.end().min(new.end());
            if common.is_empty() { *old.start().min(new.start())..=*old.end().max(new.end()) } else { common }
        });
        self.conditions.years = Some(both.unwrap_or(new));
        self.cut(place);
    }

    /// `next`: what is not wanted begins there.
    fn negation(&mut self, at: usize, mut next: usize) -> Option<usize> {
        let mut end = None;
        loop {
            while self.follows(next) && BETWEEN.contains(&self.word(next)) {
                next += 1;
            }
            let is_part = |place: usize| self.follows(place) && !ENDS.contains(&self.word(place));
            let behind = (next..next + LONGEST).find(|&place| !is_part(place)).unwrap_or(next + LONGEST);
            if behind == next {
                break;
            }
            let name = &self.folded[self.words[next].start..self.words[behind - 1].end];
            let found = (self.known)(name, at == 0);
            if found.is_empty() {
                break;
            }
            self.conditions.without.extend(found);
            end = Some(behind);
            if !(self.follows(behind) && ANOTHER.contains(&self.word(behind))) {
                break;
            }
            next = behind + 1;
        }
        self.cut(self.place(at..end?));
        end
    }

    /// The conditions within a run of Chinese: "九十年代喜剧", "没有恐怖的科幻"; and, behind digits, "90年代".
    fn in_chinese(&mut self, at: usize) {
        let Range { start, end } = self.words[at].clone();
        if let Some(digits) = at.checked_sub(1).filter(|_| self.folded[start..end].starts_with(DECADE_IN_CHINESE)) {
            let from = self.words[digits].start;
            if let Some(first) = decade(&format!("{}s", self.word(digits))).filter(|_| from >= self.done) {
                self.decade(from..start + DECADE_IN_CHINESE.len(), first);
            }
        }
        for (name, first) in DECADES_IN_CHINESE {
            let from = self.done.max(start);
            if let Some(found) = self.folded[from..end].find(name) {
                self.decade(from + found..from + found + name.len(), first);
            }
        }
        loop {
            let from = self.done.max(start);
            let found = |negation: &str| Some((self.folded[from..end].find(negation)?, negation.len()));
            let Some((found, length)) = NEGATIONS_IN_CHINESE.iter().filter_map(|negation| found(negation)).min() else {
                return;
            };
            let behind = from + found + length;
            let name = self.folded[behind..end].split('的').next().unwrap_or_default();
            let known = (self.known)(name, from + found == 0);
            if known.is_empty() {
                return;
            }
            self.conditions.without.extend(known);
            self.cut(from + found..behind + name.len());
        }
    }
}

/// The first year of a decade: of "1990s", "90s" and "nineties".
fn decade(word: &str) -> Option<i16> {
    if let Some((_, first)) = DECADES.iter().find(|(name, _)| *name == word) {
        return Some(*first);
    }
    let number: i16 = word.strip_suffix('s')?.parse().ok()?;
    let first = match number {
        // Who says "20s" may mean a tempo as well as a decade; "30s" is hardly of the future.
        0 | 10 | 20 => 2000 + number,
        30..=99 => 1900 + number,
        _ => number,
    };
    (first % 10 == 0 && YEARS.contains(&first)).then_some(first)
}

fn year(word: &str) -> Option<i16> {
    word.parse().ok().filter(|year| word.len() == 4 && YEARS.contains(year))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything is known that is one of these.
    fn taken(text: &str) -> (String, Option<(i16, i16)>, Vec<String>) {
        let known = |name: &str, _: bool| {
            let names = ["horror", "zombies", "romance", "hip hop", "恐怖", "爱情片"];
            if names.contains(&name) { vec![name.to_owned()] } else { Vec::new() }
        };
        let Conditions { rest, years, without, .. } = read(text, known);
        let rest = rest.split_whitespace().collect::<Vec<_>>().join(" ");
        (rest, years.map(|years| (*years.start(), *years.end())), without)
    }

    #[test]
    fn decades_and_years_are_taken_out() {
        for (text, rest, from, to) in [
            ("90s hip hop", "hip hop", 1990, 1999),
            ("80's action movies", "action movies", 1980, 1989),
            ("Late 1990s thriller", "thriller", 1995, 1999),
            ("eighties", "", 1980, 1989),
            ("comedy from the 2000s", "comedy from the", 2000, 2009),
            ("westerns before 1970", "westerns", i16::MIN, 1969),
            ("rpg since 2015, turn based", "rpg , turn based", 2015, i16::MAX),
            ("drama between 1970 and 1985", "drama", 1970, 1985),
            ("from 1985 to 1970", "", 1970, 1985),
            ("after 1980 before 1990", "", 1981, 1989),
            ("70s or 80s rock", "or rock", 1970, 1989),
            ("90年代喜剧", "喜剧", 1990, 1999),
            ("八十年代的动作片", "的动作片", 1980, 1989),
        ] {
            assert_eq!(taken(text), (rest.to_owned(), Some((from, to)), Vec::new()), "{text}");
        }
    }

    #[test]
    fn what_is_not_wanted_is_taken_out() {
        for (text, rest, without) in [
            ("comedy but no horror", "comedy but", &["horror"][..]),
            ("science fiction without any horror or romance", "science fiction", &["horror", "romance"]),
            ("not too much romance, more drama", ", more drama", &["romance"]),
            ("I don't like horror", "i", &["horror"]),
            ("no hip hop please", "please", &["hip hop"]),
            ("anything but horror", "", &["horror"]),
            ("科幻，不要恐怖", "科幻,", &["恐怖"]),
            ("没有爱情片的喜剧", "的喜剧", &["爱情片"]),
        ] {
            assert_eq!(
                taken(text),
                (rest.to_owned(), None, without.iter().map(|&name| name.to_owned()).collect()),
                "{text}"
            );
        }
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in [
            "no country for old men",
            "not only horror",
            "anything but that",
            "no-horror",
            "blade runner 2049",
            "100s",
            "in the mood",
            "不是药神",
            "no",
            "early",
            "from",
            "9s",
        ] {
            assert_eq!(taken(text), (text.to_owned(), None, Vec::new()), "{text}");
        }
    }
}
