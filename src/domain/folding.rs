//! Text as the engine compares it and the store searches it: without case and accents, in any script.

use std::collections::HashMap;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization as _;

/// Pairs of a traditional Chinese character and its simplified form.
const HAN_VARIANTS: &str = include_str!("han_variants.txt");

static SIMPLIFIED: LazyLock<HashMap<char, char>> = LazyLock::new(|| {
    let pairs = HAN_VARIANTS.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
    pairs.filter_map(|pair| pair.chars().next().zip(pair.chars().nth(1))).collect()
});

/// Compatible forms made one, lower case, Latin, Greek and Cyrillic letters without accents, Chinese characters simplified.
#[must_use]
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.nfkc().flat_map(char::to_lowercase) {
        match c {
            '\0'..='\u{7f}' => out.push(c),
            'ø' => out.push('o'),
            'ł' => out.push('l'),
            'đ' | 'ð' => out.push('d'),
            'ı' => out.push('i'),
            'ß' => out.push_str("ss"),
            'æ' => out.push_str("ae"),
            'œ' => out.push_str("oe"),
            'þ' => out.push_str("th"),
            // Marks are dropped only where they are accents: in other scripts they make another letter.
            '\u{80}'..'\u{530}' | '\u{1e00}'..='\u{1fff}' => {
                out.extend(std::iter::once(c).nfd().filter(|c| !('\u{300}'..='\u{36f}').contains(c)));
            }
            '\u{2e80}'.. => out.push(SIMPLIFIED.get(&c).copied().unwrap_or(c)),
            _ => out.push(c),
        }
    }
    out
}

/// Whether the letter belongs to a script whose words are not (or not finely) parted by spaces: Han, Kana, Hangul, Thai, Lao.
#[must_use]
pub fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3005}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' | '\u{e00}'..='\u{eff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_go_and_letters_of_other_scripts_stay() {
        assert_eq!(fold("Amélie — ÉTÉ"), "amelie — ete");
        assert_eq!(fold("Röyksopp, Mø, Straße"), "royksopp, mo, strasse");
        assert_eq!(fold("が"), "が");
        assert_eq!(fold("Ｒ＆Ｂ"), "r&b");
    }

    #[test]
    fn traditional_characters_meet_simplified_ones() {
        for (traditional, simplified) in
            [("動作", "动作"), ("搖滾樂", "摇滚乐"), ("臥虎藏龍", "卧虎藏龙"), ("遊戲", "游戏")]
        {
            assert_eq!(fold(traditional), fold(simplified));
        }
    }
}
