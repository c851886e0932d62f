//! Text as vectors by a static table that ships with the program: word pieces, each with 128 numbers, mainly English and Chinese.
//!
//! No large model: a bag of word pieces without order or negation, for what the catalogue's own words do not reach. `make.py` in this folder makes the
//! table (`NOTICE` names its sources): the input embeddings of multilingual-e5-small on their principal axes, weighted by smooth inverse frequency (Arora,
//! Liang & Ma, "A Simple but Tough-to-Beat Baseline for Sentence Embeddings", ICLR 2017).

use std::collections::HashMap;
use std::sync::LazyLock;

use safetensors::SafeTensors;
use unicode_normalization::UnicodeNormalization as _;

use super::text::is_unspaced;

/// The name of the table.
pub const NAME: &str = "embedded-static";
/// The revision of the table, as its file has it.
pub const REVISION: &str = "1";
/// Numbers of a vector.
pub const DIMENSIONS: usize = 128;

/// A unit vector, centred: two texts that have nothing to do with each other are at right angles.
pub type Vector = [f32; DIMENSIONS];

const FILE: &[u8] = include_bytes!("embedded-static.safetensors");
/// What a word begins with.
const WORD: char = '\u{2581}';
/// An unknown character is so much less likely than the rarest piece (in the logarithm).
const UNKNOWN: f64 = 10.0;

static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::read(FILE).expect("the table is part of the program, and a test reads it"));

struct Table {
    /// By piece: its place.
    pieces: HashMap<&'static str, u32>,
    /// The most characters of a piece.
    longest: usize,
    /// Logarithms of probabilities.
    scores: Vec<f32>,
    rows: &'static [u8],
    scales: Vec<f32>,
    mean: Vec<f32>,
    unknown: f64,
}

/// The vector of a text; `None` when the table knows none of its words.
#[must_use]
pub fn embed(text: &str) -> Option<Vector> {
    TABLE.embed(text)
}

/// Whether a text has a word that the table knows as a whole (in scripts without spaces: a piece of two characters), and not only syllables, of which any
/// string of letters can be put together.
#[must_use]
pub fn knows_a_word(text: &str) -> bool {
    let text = text.nfkc().collect::<String>().to_lowercase();
    text.split_whitespace().any(|word| {
        let letters: Vec<char> = word.chars().filter(|c| c.is_alphabetic()).collect();
        let whole = letters.len() > 2 && TABLE.pieces.contains_key(format!("{WORD}{word}").as_str());
        let is_pair = |pair: &[char]| {
            pair.iter().all(|&c| is_unspaced(c)) && TABLE.pieces.contains_key(pair.iter().collect::<String>().as_str())
        };
        whole || letters.windows(2).any(is_pair)
    })
}

/// The cosine of two vectors, -1 to 1.
#[must_use]
pub fn cosine(a: &Vector, b: &Vector) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Table {
    fn read(file: &'static [u8]) -> Option<Self> {
        let tensors = SafeTensors::deserialize(file).ok()?;
        let bytes = |name: &str| Some(tensors.tensor(name).ok()?.data());
        let numbers = |name: &str| -> Option<Vec<f32>> { Some(bytemuck::allocation::pod_collect_to_vec(bytes(name)?)) };
        let text = std::str::from_utf8(tensors.tensor("pieces").ok()?.data()).ok()?;
        let (scores, scales, mean) = (numbers("scores")?, numbers("scales")?, numbers("mean")?);
        let pieces: HashMap<&'static str, u32> = text.split('\n').zip(0..).collect();
        let longest = pieces.keys().map(|piece| piece.chars().count()).max()?;
        let unknown = f64::from(scores.iter().copied().fold(f32::INFINITY, f32::min)) - UNKNOWN;
        let table = Self { longest, scores, rows: tensors.tensor("rows").ok()?.data(), scales, mean, unknown, pieces };
        let count = table.pieces.len();
        let fits = table.scores.len() == count && table.scales.len() == count && table.mean.len() == DIMENSIONS;
        (fits && table.rows.len() == count * DIMENSIONS).then_some(table)
    }

    fn embed(&self, text: &str) -> Option<Vector> {
        let text = text.nfkc().collect::<String>().to_lowercase();
        let mut sum = [0.0f32; DIMENSIONS];
        for word in text.split_whitespace() {
            for piece in self.pieces_of(word) {
                let (row, scale) =
                    (&self.rows[piece as usize * DIMENSIONS..][..DIMENSIONS], self.scales[piece as usize]);
                for (sum, &value) in sum.iter_mut().zip(row) {
                    *sum += scale * f32::from(value.cast_signed());
                }
            }
        }
        let mut vector = unit(sum)?;
        vector.iter_mut().zip(&self.mean).for_each(|(value, mean)| *value -= mean);
        unit(vector)
    }

    /// The most likely pieces of a word (Kudo, "Subword Regularization", ACL 2018: the Viterbi path of the unigram model).
    fn pieces_of(&self, word: &str) -> Vec<u32> {
        let word: String = std::iter::once(WORD).chain(word.chars()).collect();
        let bounds: Vec<usize> = word.char_indices().map(|(at, _)| at).chain([word.len()]).collect();
        let count = bounds.len() - 1;
        let mut best = vec![(f64::NEG_INFINITY, 0, None); count + 1];
        best[0].0 = 0.0;
        for end in 1..=count {
            for start in end.saturating_sub(self.longest)..end {
                let piece = self.pieces.get(&word[bounds[start]..bounds[end]]).copied();
                let score = match piece {
                    Some(piece) => f64::from(self.scores[piece as usize]),
                    None if end - start == 1 => self.unknown,
                    None => continue,
                };
                let total = best[start].0 + score;
                if total > best[end].0 {
                    best[end] = (total, start, piece);
                }
            }
        }
        let (mut found, mut at) = (Vec::new(), count);
        while at > 0 {
            found.extend(best[at].2);
            at = best[at].1;
        }
        found.reverse();
        found
    }
}

fn unit(mut vector: Vector) -> Option<Vector> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length <= f32::MIN_POSITIVE {
        return None;
    }
    vector.iter_mut().for_each(|value| *value /= length);
    Some(vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fall_into_the_pieces_and_vectors_of_the_reference() {
        // As `make.py` computes them.
        let cases: [(&str, &[&str], [f32; 4]); 4] = [
            (
                "something quiet for a rainy night",
                &["▁something", "▁quiet", "▁for", "▁a", "▁rain", "y", "▁night"],
                [0.171_732, -0.272_025, -0.075_521, 0.105_682],
            ),
            ("安静的雨夜", &["▁", "安静", "的", "雨", "夜"], [0.005_239, -0.163_693, 0.022_457, 0.061_442]),
            (
                "周杰伦 City Pop 专辑",
                &["▁", "周", "杰", "伦", "▁city", "▁pop", "▁", "专辑"],
                [-0.124_657, 0.145_829, -0.194_634, -0.025_185],
            ),
            (
                "Ｆｉｎａｌ Fantasy Ⅶ 🎮 ქართული",
                &["▁final", "▁fantasy", "▁vii", "▁", "🎮", "▁"],
                [-0.297_430, -0.088_150, -0.000_004, 0.069_273],
            ),
        ];
        for (text, pieces, start) in cases {
            let folded = text.nfkc().collect::<String>().to_lowercase();
            let found = folded.split_whitespace().flat_map(|word| TABLE.pieces_of(word));
            let names: HashMap<u32, &str> = TABLE.pieces.iter().map(|(name, place)| (*place, *name)).collect();
            assert_eq!(found.map(|piece| names[&piece]).collect::<Vec<_>>(), pieces);
            let vector = embed(text).unwrap();
            for (found, expected) in vector.iter().zip(start) {
                assert!((found - expected).abs() < 1e-4, "{text}: {:?}", &vector[..4]);
            }
        }
        for text in ["", "   ", "!!!", "ქართული"] {
            assert_eq!(embed(text), None, "{text}");
        }
    }

    #[test]
    fn letters_alone_are_no_words() {
        for text in ["zzqx wvvt", "asdf qwer", "", "!!! ???", "a b c"] {
            assert!(!knows_a_word(text), "{text}");
        }
        for text in ["mechas fighting kaijus", "令人心碎", "Something QUIET"] {
            assert!(knows_a_word(text), "{text}");
        }
    }

    #[test]
    fn texts_of_one_meaning_are_near_in_two_languages() {
        let alike = |a: &str, b: &str| cosine(&embed(a).unwrap(), &embed(b).unwrap());
        for (english, chinese, other) in [
            ("science fiction space war", "科幻太空战争", "古典钢琴协奏曲"),
            ("sad love film", "悲伤的爱情电影", "回合制策略"),
            ("zombie survival horror", "僵尸 生存 恐怖", "爵士乐"),
        ] {
            assert!(alike(english, chinese) > alike(english, other) + 0.1, "{english}");
        }
    }
}
