//! Languages that generated words can be in.

use serde::{Serialize, Serializer};

/// Which letters a language is written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Script {
    Latin,
    Cyrillic,
    Greek,
    Arabic,
    Hebrew,
    Devanagari,
    Bengali,
    Thai,
    Han,
    Kana,
    Hangul,
}

/// A language: its tag (BCP 47), its name in English, its letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Language {
    pub tag: &'static str,
    pub name: &'static str,
    script: Script,
}

impl Serialize for Language {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.tag)
    }
}

const fn of(tag: &'static str, name: &'static str, script: Script) -> Language {
    Language { tag, name, script }
}

/// All that can be asked for.
const LANGUAGES: [Language; 36] = [
    of("en", "English", Script::Latin),
    of("zh", "Simplified Chinese", Script::Han),
    of("zh-Hant", "Traditional Chinese", Script::Han),
    of("ar", "Arabic", Script::Arabic),
    of("bg", "Bulgarian", Script::Cyrillic),
    of("bn", "Bengali", Script::Bengali),
    of("ca", "Catalan", Script::Latin),
    of("cs", "Czech", Script::Latin),
    of("da", "Danish", Script::Latin),
    of("de", "German", Script::Latin),
    of("el", "Greek", Script::Greek),
    of("es", "Spanish", Script::Latin),
    of("et", "Estonian", Script::Latin),
    of("fa", "Persian", Script::Arabic),
    of("fi", "Finnish", Script::Latin),
    of("fr", "French", Script::Latin),
    of("he", "Hebrew", Script::Hebrew),
    of("hi", "Hindi", Script::Devanagari),
    of("hr", "Croatian", Script::Latin),
    of("hu", "Hungarian", Script::Latin),
    of("id", "Indonesian", Script::Latin),
    of("it", "Italian", Script::Latin),
    of("ja", "Japanese", Script::Kana),
    of("ko", "Korean", Script::Hangul),
    of("nl", "Dutch", Script::Latin),
    of("nb", "Norwegian", Script::Latin),
    of("pl", "Polish", Script::Latin),
    of("pt", "Portuguese", Script::Latin),
    of("ro", "Romanian", Script::Latin),
    of("ru", "Russian", Script::Cyrillic),
    of("sk", "Slovak", Script::Latin),
    of("sv", "Swedish", Script::Latin),
    of("th", "Thai", Script::Thai),
    of("tr", "Turkish", Script::Latin),
    of("uk", "Ukrainian", Script::Cyrillic),
    of("vi", "Vietnamese", Script::Latin),
];

impl Language {
    /// What plain words are in.
    pub const ENGLISH: Self = LANGUAGES[0];

    /// The language of a tag such as `pt-BR`; `None` for one that is not known.
    #[must_use]
    pub fn tagged(tag: &str) -> Option<Self> {
        let mut parts = tag.split('-');
        let first = parts.next()?.to_ascii_lowercase();
        let is_traditional = parts.any(|part| ["hant", "tw", "hk", "mo"].contains(&part.to_ascii_lowercase().as_str()));
        let wanted = match first.as_str() {
            "zh" if is_traditional => "zh-Hant",
            "no" | "nn" => "nb",
            other => other,
        };
        LANGUAGES.into_iter().find(|language| language.tag == wanted)
    }

    /// The first known language of an `Accept-Language` header (RFC 9110, section 12.5.4), by its weights.
    #[must_use]
    pub fn accepted(header: &str) -> Option<Self> {
        let wanted = header.split(',').filter_map(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let language = Self::tagged(parts.next()?)?;
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |text| text.parse().ok())?;
            (weight > 0.0 && weight <= 1.0).then_some((language, weight))
        });
        let best = wanted.fold(None, |best: Option<(Self, f32)>, next| match best {
            Some(best) if best.1 >= next.1 => Some(best),
            _ => Some(next),
        });
        best.map(|(language, _)| language)
    }

    /// The language that texts are in as far as their letters tell; `None` for Latin letters, which tell nothing.
    #[must_use]
    pub fn of_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let letters: Vec<char> =
            texts.into_iter().flat_map(str::chars).filter(|c| c.is_alphabetic() && !c.is_ascii()).collect();
        let has = |script: Script| letters.iter().any(|&c| script.has(c));
        let tag = match () {
            () if letters.iter().any(|c| matches!(c, '\u{3040}'..='\u{30ff}')) => "ja",
            () if has(Script::Hangul) => "ko",
            () if has(Script::Han) => "zh",
            () if letters.iter().any(|c| "іїєґІЇЄҐ".contains(*c)) => "uk",
            () if has(Script::Cyrillic) => "ru",
            () if has(Script::Greek) => "el",
            () if letters.iter().any(|c| "پچژگ".contains(*c)) => "fa",
            () if has(Script::Arabic) => "ar",
            () if has(Script::Hebrew) => "he",
            () if has(Script::Devanagari) => "hi",
            () if has(Script::Bengali) => "bn",
            () if has(Script::Thai) => "th",
            () => return None,
        };
        Self::tagged(tag)
    }

    /// Whether most letters of a text are of this language.
    #[must_use]
    pub fn is_written(self, text: &str) -> bool {
        let letters = text.chars().filter(|c| c.is_alphabetic());
        let (own, all) = letters.fold((0, 0), |(own, all), c| (own + usize::from(self.script.has(c)), all + 1));
        own > 0 && own * 2 > all
    }

    /// Whether a capital letter within a sentence tells a name. Not in German, which has them at all nouns, nor where there are none.
    #[must_use]
    pub fn capitals_are_names(self) -> bool {
        self.tag != "de"
    }
}

impl Script {
    fn has(self, c: char) -> bool {
        let han = matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}');
        match self {
            Self::Latin => {
                matches!(c, 'a'..='z' | 'A'..='Z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}')
            }
            Self::Cyrillic => matches!(c, '\u{400}'..='\u{52f}'),
            Self::Greek => matches!(c, '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}'),
            Self::Arabic => matches!(c, '\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}'),
            Self::Hebrew => matches!(c, '\u{590}'..='\u{5ff}'),
            Self::Devanagari => matches!(c, '\u{900}'..='\u{97f}'),
            Self::Bengali => matches!(c, '\u{980}'..='\u{9ff}'),
            Self::Thai => matches!(c, '\u{e00}'..='\u{e7f}'),
            Self::Han => han,
            Self::Kana => han || matches!(c, '\u{3005}' | '\u{3040}'..='\u{30ff}'),
            Self::Hangul => matches!(c, '\u{ac00}'..='\u{d7a3}' | '\u{1100}'..='\u{11ff}'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_by_weight_and_nonsense_is_nothing() {
        for (header, tag) in [
            ("de", Some("de")),
            ("de-AT, en;q=0.5", Some("de")),
            ("en;q=0.3, fr;q=0.9, de;q=0.8", Some("fr")),
            ("xx, zh-TW;q=0.1", Some("zh-Hant")),
            ("ZH-cn", Some("zh")),
            ("*", None),
            ("de;q=0", None),
            ("de;q=nan", None),
            ("ignore the above", None),
            ("", None),
            (";;,,;q=1", None),
        ] {
            assert_eq!(Language::accepted(header).map(|language| language.tag), tag, "{header}");
        }
    }

    #[test]
    fn letters_tell_a_language_or_nothing() {
        for (text, tag) in [
            ("安静的雨夜", Some("zh")),
            ("静かな雨の夜", Some("ja")),
            ("비 오는 밤", Some("ko")),
            ("тихая ночь", Some("ru")),
            ("тиха ніч", Some("uk")),
            ("horror, été", None),
            ("17", None),
        ] {
            assert_eq!(Language::of_texts([text]).map(|language| language.tag), tag, "{text}");
        }
        let chinese = Language::tagged("zh").unwrap();
        assert!(chinese.is_written("因为你喜欢 X") && !chinese.is_written("because you liked 他"));
    }
}
