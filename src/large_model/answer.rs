//! Reading what a chat model says: the probability of "yes", or a number for each candidate, out of whatever it wrote.

use serde_json::Value;

use super::Scores;

/// Models rate from 0 to this.
pub const BEST: f32 = 10.0;

/// The probability of "yes" among "yes" and "no", from the alternatives of the first token and their log-probabilities; `None` when neither is there.
#[must_use]
pub fn yes_share(alternatives: &[(String, f64)]) -> Option<f32> {
    let (mut yes, mut no) = (0.0, 0.0);
    for (token, log_probability) in alternatives.iter().filter(|(_, value)| !value.is_nan()) {
        let probability = log_probability.min(0.0).exp();
        match token.trim().to_lowercase().as_str() {
            "yes" | "y" | "是" => yes += probability,
            "no" | "n" | "不" | "否" => no += probability,
            _ => {}
        }
    }
    (yes + no > 0.0).then(|| (yes / (yes + no)) as f32)
}

/// The numbers that a text gives to `count` candidates, which were numbered from 1. The text should be JSON; of one that is not, or was cut off, the
/// numbers are read in pairs. A number that no candidate has is dropped, and so is whatever is said of one again.
#[must_use]
pub fn ratings(text: &str, count: usize) -> Scores {
    let mut scores = vec![None; count];
    let json = text.find(['{', '[']).and_then(|start| {
        // A model may go on talking after its JSON.
        serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>().next()?.ok()
    });
    let mut pairs = Vec::new();
    match &json {
        Some(value) => collect(value, &mut pairs),
        None => {
            let numbers = numbers(text);
            // A lone number rates nothing; an odd one at the end is half of a pair that was cut off.
            pairs.extend(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        }
    }
    for (number, rating) in pairs {
        let is_place = number.fract() == 0.0 && (1.0..=count as f64).contains(&number);
        if is_place && (0.0..=f64::from(BEST)).contains(&rating) {
            scores[number as usize - 1].get_or_insert(rating as f32 / BEST);
        }
    }
    scores
}

/// All pairs of a number and its rating in a JSON value: `{"number": 1, "score": 7}`, `{"1": 7}`, `[1, 7]`.
fn collect(value: &Value, pairs: &mut Vec<(f64, f64)>) {
    match value {
        Value::Object(fields) => {
            let named = |names: &[&str]| names.iter().find_map(|name| fields.get(*name)?.as_f64());
            if let (Some(number), Some(rating)) =
                (named(&["number", "index", "id", "work"]), named(&["score", "rating", "value"]))
            {
                pairs.push((number, rating));
                return;
            }
            for (name, inner) in fields {
                match (name.trim().parse::<f64>(), inner.as_f64()) {
                    (Ok(number), Some(rating)) => pairs.push((number, rating)),
                    _ => collect(inner, pairs),
                }
            }
        }
        Value::Array(entries) => match entries.as_slice() {
            [number, rating] if number.is_number() && rating.is_number() => {
                pairs.extend(number.as_f64().zip(rating.as_f64()));
            }
            entries => entries.iter().for_each(|entry| collect(entry, pairs)),
        },
        _ => {}
    }
}

/// The numbers of a text, in order.
fn numbers(text: &str) -> Vec<f64> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.')
        .filter_map(|word| word.trim_matches('.').parse::<f64>().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ratings_are_read_from_json_talk_and_pieces() {
        let expected = [Some(0.7), None, Some(0.2)];
        for text in [
            r#"{"scores": [{"number": 1, "score": 7}, {"number": 3, "score": 2}]}"#,
            r#"Sure! Here you are: [{"index": 1, "score": 7.0}, {"index": 3, "score": 2}] Enjoy!"#,
            r#"{"1": 7, "3": 2, "4": 9, "0": 9}"#,
            "[[1, 7], [3, 2], [1, 9]]",
            "1: 7\n3: 2",
            r#"{"scores": [{"number": 1, "score": 7}, {"number": 3, "score": 2}, {"num"#,
        ] {
            assert_eq!(ratings(text, 3), expected, "{text}");
        }
        for text in ["", "I cannot do that.", "null", "42", r#"{"scores": "many"}"#, "[1, 99]", "[-1, 5]", "1.5: 3"] {
            assert_eq!(ratings(text, 3), [None, None, None], "{text}");
        }
    }

    #[test]
    fn yes_is_weighed_against_no() {
        let of = |pairs: &[(&str, f64)]| {
            yes_share(&pairs.iter().map(|(token, value)| ((*token).to_owned(), *value)).collect::<Vec<_>>())
        };
        assert!((of(&[(" Yes", 0.5f64.ln()), ("no", 0.25f64.ln()), ("NO", 0.25f64.ln())]).unwrap() - 0.5).abs() < 1e-6);
        assert_eq!(of(&[("maybe", -0.1)]), None);
        assert_eq!(of(&[("yes", f64::NAN)]), None);
        assert_eq!(of(&[("yes", f64::NEG_INFINITY)]), None);
    }

    proptest! {
        #[test]
        fn whatever_is_written_stays_within_bounds(text in "[\\[\\]{}:,\"0-9a-z. -]{0,200}", count in 0usize..30) {
            let scores = ratings(&text, count);
            prop_assert_eq!(scores.len(), count);
            prop_assert!(scores.iter().flatten().all(|score| (0.0..=1.0).contains(score)));
        }
    }
}
