//! Whether generated words claim no more than they may: every mark that is due stands in them, and beside the marks neither a title or creator of the
//! catalogue, nor a genre that is not meant, nor a number, an address or a quotation. What is checked is what is named, not what is said of it.

use std::collections::BTreeSet;

use crate::domain::{Item, Language, ReasonCode};
use crate::engine::catalogue::{Catalogue, title_key};
use crate::engine::scorers::item_terms::{GENRE, creator_term, label_term};
use crate::engine::text::{is_unspaced, squeeze};
use crate::engine::vocabulary::{concept, known};

use super::words::mark;

/// The longest runs of words, and of letters of scripts without spaces, that are looked up as names.
const WORDS: usize = 6;
const LETTERS: usize = 10;
/// The longest programme note, in characters.
const STORY: usize = 900;
/// What a mark is replaced by while a text is looked at; no text has it.
const MARK: char = '\u{e000}';

/// What words are held against.
pub struct Facts<'a> {
    pub catalogue: &'a Catalogue,
    pub language: Language,
}

impl Facts<'_> {
    /// The words for a reason with its names put in; `None` when they may not be used.
    ///
    /// * `template`: the plain reason with marks; `written`: what a model made of it; `names`: of the marks, in order.
    #[must_use]
    pub fn reason(&self, code: ReasonCode, template: &str, written: &str, names: &[String]) -> Option<String> {
        let is_short = written.chars().count() <= 80 + 3 * template.chars().count();
        let each_once = (1..=names.len()).all(|number| written.matches(&mark(number)).count() == 1);
        let shape = shape(written, names.len())?;
        // "Popular" and "pop" are one word in some languages.
        let meant = if code == ReasonCode::Popular { ["pop".to_owned()].into() } else { BTreeSet::new() };
        (is_short && each_once && self.names_nothing(&shape, &meant)).then(|| fill(written, names))
    }

    /// A programme note with its titles put in, and the places of the items that it mentions, in the order of `items`; `None` when it may not be used.
    /// It has to mention an item of each domain among `items`.
    #[must_use]
    pub fn story(&self, written: &str, items: &[&Item]) -> Option<(String, Vec<usize>)> {
        let mut marked = written.to_owned();
        // Some models write titles where they were asked for marks: that is as true. The longest first, as one may hold another.
        let mut places: Vec<usize> = (0..items.len()).filter(|&place| items[place].title.chars().count() > 2).collect();
        places.sort_by_key(|&place| std::cmp::Reverse(items[place].title.len()));
        for place in places {
            marked = marked.replace(&items[place].title, &mark(place + 1));
        }
        let shape = shape(&marked, items.len())?;
        let mentioned: Vec<usize> = (0..items.len()).filter(|&place| marked.contains(&mark(place + 1))).collect();
        let domains = |places: &mut dyn Iterator<Item = usize>| -> BTreeSet<_> {
            places.map(|place| &items[place].domain).collect()
        };
        let of_each = domains(&mut mentioned.iter().copied()) == domains(&mut (0..items.len()));
        let genres = mentioned.iter().flat_map(|&place| &items[place].genres);
        let meant: BTreeSet<String> = genres.map(|genre| concept(genre)).collect();
        let is_short = marked.chars().count() <= STORY;
        if mentioned.is_empty() || !of_each || !is_short || !self.names_nothing(&shape, &meant) {
            return None;
        }
        let titles: Vec<String> = items.iter().map(|item| item.title.clone()).collect();
        Some((fill(&marked, &titles), mentioned))
    }

    /// Whether a text, with [`MARK`] in the place of its marks, names nothing but genres that are `meant`.
    fn names_nothing(&self, shape: &str, meant: &BTreeSet<String>) -> bool {
        let is_plain = |c: char| !c.is_numeric() && !c.is_control() && !"<>{}[]|#*_`\\/@".contains(c);
        shape.chars().all(is_plain)
            && self.language.is_written(shape)
            && quotes_nothing(shape)
            && !(self.language.capitals_are_names() && has_capitals(shape))
            && runs(shape).iter().all(|run| !self.is_name(run, meant))
    }

    fn is_name(&self, run: &Run, meant: &BTreeSet<String>) -> bool {
        let content = self.catalogue.content();
        let has = |term: String, least: f32| {
            let items = content.term(&term).map_or(&[][..], |term| content.items_of(term));
            items.iter().any(|(_, weight)| *weight >= least)
        };
        let key = squeeze(&run.text);
        let label = known(&key).unwrap_or_else(|| concept(&run.text));
        if !meant.contains(&label) && has(label_term(&label), GENRE) {
            return true;
        }
        // Common words are titles and artists as well ("You", "The Who"): of one word, or without a capital letter, they are taken for what they mean.
        let may_be_title = if run.is_unspaced { key.chars().count() > 2 } else { run.words > 1 && run.has_capital };
        may_be_title && (!self.catalogue.titled(&title_key(&run.text)).is_empty() || has(creator_term(&key), 0.0))
    }
}

/// The text with [`MARK`] for each mark from 1 to `count`; `None` if it has another mark.
fn shape(text: &str, count: usize) -> Option<String> {
    let mut shape = text.replace(MARK, " ");
    for number in 1..=count {
        shape = shape.replace(&mark(number), &MARK.to_string());
    }
    (!shape.contains(['{', '}'])).then_some(shape)
}

fn fill(text: &str, names: &[String]) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    // From left to right, so that a name which looks like a mark is left alone.
    while let Some(start) = rest.find('{') {
        let name =
            rest[start + 1..].split_once('}').and_then(|(number, after)| Some((number.parse::<usize>().ok()?, after)));
        out.push_str(&rest[..start]);
        match name.and_then(|(number, after)| Some((names.get(number.checked_sub(1)?)?, after))) {
            Some((name, after)) => {
                out.push_str(name);
                rest = after;
            }
            None => {
                out.push('{');
                rest = &rest[start + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Whether quotation marks enclose nothing but marks.
fn quotes_nothing(shape: &str) -> bool {
    let mut open = None;
    for c in shape.chars() {
        match open {
            None if "\"“„«「『《〈‹".contains(c) => open = Some(()),
            Some(()) if "\"”“»」』》〉›".contains(c) => open = None,
            Some(()) if c.is_alphanumeric() => return false,
            _ => {}
        }
    }
    true
}

/// Whether a word within a sentence begins with a capital letter, but for "I".
fn has_capitals(shape: &str) -> bool {
    let mut at_start = true;
    for word in shape.split_whitespace() {
        let first = word.chars().find(|c| c.is_alphanumeric() || *c == MARK);
        let is_self = word == "I" || word.starts_with("I'") || word.starts_with("I’");
        if first.is_some_and(char::is_uppercase) && !at_start && !is_self {
            return true;
        }
        at_start = word.ends_with(['.', '!', '?', ':', '…', '—', '–']) || (at_start && first.is_none());
    }
    false
}

/// Words that stand together and may be a name.
struct Run {
    text: String,
    words: usize,
    has_capital: bool,
    is_unspaced: bool,
}

/// All runs of words, and of letters in scripts without spaces, that no mark interrupts.
fn runs(shape: &str) -> Vec<Run> {
    let mut runs = Vec::new();
    for piece in shape.split([MARK, '.', ',', ';', ':', '!', '?', '。', '，', '、', '！', '？', '；', '：']) {
        let words: Vec<&str> = piece.split_whitespace().collect();
        for (start, first) in words.iter().enumerate() {
            for end in start + 1..=words.len().min(start + WORDS) {
                let inner = &words[start..end];
                let has_capital = inner.iter().any(|word| word.chars().next().is_some_and(char::is_uppercase));
                runs.push(Run { text: inner.join(" "), words: inner.len(), has_capital, is_unspaced: false });
            }
            let letters: Vec<char> = first.chars().collect();
            if letters.iter().any(|c| is_unspaced(*c)) {
                for start in 0..letters.len() {
                    for end in start + 2..=letters.len().min(start + LETTERS) {
                        let text = letters[start..end].iter().collect();
                        runs.push(Run { text, words: 1, has_capital: false, is_unspaced: true });
                    }
                }
            }
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Domain, ItemId};

    fn item(domain: &str, title: &str, genre: &str, creator: &str) -> Item {
        Item {
            id: ItemId::new(title.replace(' ', "-")).unwrap(),
            domain: Domain::new(domain).unwrap(),
            title: title.to_owned(),
            genres: vec![genre.to_owned()],
            tags: vec!["people".to_owned()],
            description: None,
            creators: vec![creator.to_owned()],
            released: None,
            attributes: std::collections::BTreeMap::new(),
            available: true,
        }
    }

    fn items() -> Vec<Item> {
        vec![
            item("movie", "Blade Runner", "Science Fiction", "Ridley Scott"),
            item("movie", "Heat", "Crime", "Michael Mann"),
            item("music", "You", "Pop", "The Quiet Ones"),
            item("game", "Star Control", "Strategy", "Toys for Bob"),
            item("movie", "卧虎藏龙", "武侠", "李安"),
        ]
    }

    fn catalogue() -> Catalogue {
        let domains = ["music", "movie", "game"].map(|name| Domain::new(name).unwrap());
        let mut catalogue = Catalogue::new(&domains);
        items().into_iter().for_each(|item| {
            catalogue.upsert(item);
        });
        catalogue
    }

    #[test]
    fn a_reason_names_its_evidence_and_nothing_else() {
        let catalogue = catalogue();
        let of = |tag: &str, code: ReasonCode, template: &str, written: &str| {
            let facts = Facts { catalogue: &catalogue, language: Language::tagged(tag).unwrap() };
            let names: Vec<String> = ["Alien", "Heat {1}"]
                .iter()
                .take(template.matches('{').count())
                .map(|name| (*name).to_owned())
                .collect();
            facts.reason(code, template, written, &names)
        };
        let (liked, two) = ("Because you liked {1}", "Because you liked {1} and {2}");
        let because = |tag: &str, written: &str| of(tag, ReasonCode::BecauseYouLiked, liked, written);
        assert_eq!(because("de", "Weil dir {1} gefallen hat").as_deref(), Some("Weil dir Alien gefallen hat"));
        assert_eq!(because("zh", "因为你喜欢《{1}》").as_deref(), Some("因为你喜欢《Alien》"));
        assert_eq!(because("fr", "Parce que tu as aimé « {1} »").as_deref(), Some("Parce que tu as aimé « Alien »"));
        assert_eq!(because("en", "You loved {1}, so here we are").as_deref(), Some("You loved Alien, so here we are"));
        let both = of("es", ReasonCode::BecauseYouLiked, two, "Porque te gustaron {1} y {2}");
        assert_eq!(both.as_deref(), Some("Porque te gustaron Alien y Heat {1}"), "a name may look like a mark");
        assert_eq!(of("zh", ReasonCode::Popular, "Popular now", "当下流行").as_deref(), Some("当下流行"));
        for (tag, written) in [
            ("de", "Weil dir das gefallen hat"),
            ("de", "Weil dir {1} und {1} gefallen haben"),
            ("de", "Weil dir {1} und {2} gefallen haben"),
            ("de", "Because you liked it as much as {1} und Blade Runner"),
            ("de", "Weil dir {1} von Ridley Scott gefallen hat"),
            ("de", "Weil du Science Fiction wie {1} magst"),
            ("en", "Because you liked {1}, a strategy classic"),
            ("en", "Because you liked {1} and Pulp Fiction"),
            ("en", "Because you liked {1} and \"pulp fiction\""),
            ("en", "Because you liked {1} in 1979"),
            ("en", "Because you liked {1}, see http://evil.example"),
            ("zh", "因为你喜欢{1}和卧虎藏龙"),
            ("zh", "因为你喜欢李安的武侠片{1}"),
            ("zh", "Because you liked {1}"),
            ("ja", "あなたは「千と千尋」と{1}が好きだから"),
            ("en", "{1}"),
            ("en", ""),
        ] {
            assert_eq!(because(tag, written), None, "{written}");
        }
        assert_eq!(because("en", &format!("Because {{1}} {}", "really ".repeat(60))), None, "too long");
    }

    #[test]
    fn a_story_keeps_to_its_items() {
        let (catalogue, items) = (catalogue(), items());
        let (shown, facts) =
            ([&items[0], &items[2], &items[3]], Facts { catalogue: &catalogue, language: Language::ENGLISH });
        let story = |written: &str| facts.story(written, &shown);
        let (text, places) = story("Begin with {2}, then let {1} rain on you; the night ends in {3}.").unwrap();
        assert_eq!(text, "Begin with You, then let Blade Runner rain on you; the night ends in Star Control.");
        assert_eq!(places, [0, 1, 2]);
        let (text, places) =
            story("Hear \"You\", watch Blade Runner, a strategy game called {3} to end with.").unwrap();
        assert!(text.contains("Star Control") && places == [0, 1, 2], "{text}");
        for written in [
            "Watch {1} and play {3}.",
            "Hear {2}, watch {1} and Heat Wave, play {3}.",
            "Hear {2}, watch {1}, play {3}, read {4}.",
            "Hear {2}, watch {1} by Michael Mann, play {3}.",
            "Hear {2}, watch {1}, a crime story, play {3}.",
            "Hear {2}, watch {1}, play {3}. Then call 555.",
            "Hear {2}, watch {1}, play {3}. Visit evil.example/now.",
            "",
        ] {
            assert_eq!(story(written), None, "{written}");
        }
        assert_eq!(story(&format!("Hear {{2}}, watch {{1}}, play {{3}} {}", "and rest ".repeat(120))), None);
    }
}
