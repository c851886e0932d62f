//! Reports on a world of two people, two domains and six items, with every number worked out by hand.

use serde_json::{Value, json};

use super::super::text;
use super::*;

pub(crate) fn example() -> Report {
    let facts = ItemFacts {
        genres: vec![vec![0], vec![0, 1], vec![1], vec![], vec![2], vec![2]],
        popularity: vec![8, 4, 2, 0, 6, 1],
        first_seen: vec![None; 6],
        domain: vec![0, 0, 0, 0, 1, 1],
    };
    let cases = [
        Case { user: 5, domain: 0, history: vec![0], relevant: vec![1, 3] },
        Case { user: 5, domain: 1, history: vec![0], relevant: vec![4] },
        Case { user: 6, domain: 0, history: vec![], relevant: vec![] },
        Case { user: 7, domain: 0, history: vec![4], relevant: vec![2] },
    ];
    let outcome =
        |case: u32, ranked: &[u32]| Outcome { case, ranked: ranked.to_vec(), seconds: 1e-6 * f64::from(case) };
    let hybrid = [outcome(0, &[1, 2, 3]), outcome(1, &[4, 5]), outcome(2, &[0, 1]), outcome(3, &[2, 2])];
    let popular = [outcome(0, &[2, 1]), outcome(1, &[4, 5]), outcome(9, &[0])];
    let runs = [
        Run { name: "hybrid".to_owned(), outcomes: hybrid.to_vec(), fit_seconds: 2.5 },
        Run { name: "popularity".to_owned(), outcomes: popular.to_vec(), fit_seconds: 0.1 },
    ];
    let source = Source {
        kind: "published".to_owned(),
        description: "two <people>".to_owned(),
        train_interactions: 21,
        test_interactions: 4,
        users: 16,
        items: 6,
        cutoff: None,
    };
    let domains = ["movie", "game"].map(str::to_owned);
    report(source, &domains, &cases, &facts, &runs, 2, "hybrid", 1, vec!["A note.".to_owned()])
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {pointer} of {value:#}"))
}

#[track_caller]
fn close(value: &Value, pointer: &str, expected: f64) {
    let found = number(value, pointer);
    assert!((found - expected).abs() < 1e-12, "{pointer}: {found} is not {expected}");
}

#[test]
fn the_numbers_are_those_worked_out_by_hand() {
    let json = serde_json::to_value(example()).unwrap();
    let (hybrid, popular) = (&json["models"][0], &json["models"][1]);
    // nDCG: of the ideal (1 + 1/log2 3) the first place; then 1 and 1. The second answer of the first model to nothing relevant is left out.
    let first = 1.0 / (1.0 + 1.0 / 3f64.log2());
    close(hybrid, "/metrics/ndcg@2/mean", (first + 1.0 + 1.0) / 3.0);
    close(hybrid, "/metrics/recall@2/mean", (0.5 + 1.0 + 1.0) / 3.0);
    close(hybrid, "/metrics/mrr@2/mean", 1.0);
    close(hybrid, "/metrics/hit_rate@2/mean", 1.0);
    // The item named twice counts once.
    close(hybrid, "/metrics/precision@2/mean", 0.5);
    assert_eq!((&hybrid["users"], &hybrid["fit_seconds"]), (&json!(2), &json!(2.5)));
    // The case without an answer counts as an empty list.
    close(popular, "/metrics/mrr@2/mean", (0.5 + 1.0 + 0.0) / 3.0);
    close(popular, "/metrics/hit_rate@2/mean", 2.0 / 3.0);
    close(popular, "/microseconds/p50", 1.0);
    close(hybrid, "/microseconds/p50", 1.5);
    close(hybrid, "/microseconds/p95", 2.85);

    // Lists at 2: (1, 2), (4, 5), (0, 1), (2, 2): all but item 3; shown 1, 2, 3, 0, 1, 1 times.
    close(hybrid, "/beyond/coverage@2", 5.0 / 6.0);
    close(hybrid, "/beyond/gini@2", (-5.0 * 0.0 - 3.0 - 1.0 + 1.0 + 3.0 * 2.0 + 5.0 * 3.0) / (8.0 * 5.0));
    let bits = [(2.0 + 3.0) / 2.0, ((16f64 / 6.0).log2() + 4.0) / 2.0, (1.0 + 2.0) / 2.0, 3.0];
    close(hybrid, "/beyond/novelty@2", bits.iter().sum::<f64>() / 4.0);
    close(hybrid, "/beyond/diversity@2", (0.5 + 0.0 + 0.5 + 0.0) / 4.0);
    // Only the first person has a history in the domain asked for: genre 0, a quarter of the list.
    close(hybrid, "/beyond/calibration@2", (1.0f64 / (0.99 * 0.25 + 0.01)).ln());
}

#[test]
fn slices_restrict_cases_and_relevance() {
    let json = serde_json::to_value(example()).unwrap();
    let slices = json["models"][0]["slices"].as_object().unwrap();
    let sizes = |name: &str| slices.get(name).map(|slice| (slice["users"].clone(), slice["cases"].clone()));
    let size = |users: u32, cases: u32| Some((json!(users), json!(cases)));
    assert_eq!(sizes("history/0"), size(2, 2));
    assert_eq!(sizes("history/1-5"), size(1, 1));
    assert_eq!(sizes("domain/movie"), size(2, 2));
    assert_eq!(sizes("domain/game"), size(1, 1));
    // Movies: 14 interactions, so item 0 is the head. Games: 7, so item 4 is.
    assert_eq!(sizes("popularity/head"), size(1, 1));
    assert_eq!(sizes("popularity/torso"), None);
    assert_eq!(sizes("popularity/tail"), size(2, 2));
    assert_eq!(sizes("age/new"), size(1, 1));
    close(&slices["age/new"], "/metrics/recall@2/mean", 0.0);
    close(&slices["domain/game"], "/metrics/ndcg@2/mean", 1.0);
    assert_eq!(slices["domain/game"]["metrics"].as_object().unwrap().len(), COMPARED);
}

#[test]
fn differences_are_of_the_model_to_each_other() {
    let report = example();
    let shown: Vec<_> =
        report.comparisons.iter().map(|c| (c.model.as_str(), c.baseline.as_str(), c.metric.as_str())).collect();
    assert_eq!(shown, [("hybrid", "popularity", "ndcg@2"), ("hybrid", "popularity", "recall@2")]);
    // Recall: the same of the first two cases, all against nothing of the last.
    assert!((report.comparisons[1].difference.mean - 1.0 / 3.0).abs() < 1e-12);
    assert_eq!(report.comparisons[1].difference.low, 0.0);
    assert_eq!(
        report.notes,
        [
            "A note.",
            "Cases with nothing relevant, which are in no metric: 1 of 4.",
            "popularity: cases without an answer, counted as empty lists: 2.",
            "popularity: answers to no case, or to one already answered, ignored: 1.",
        ]
    );
    assert_eq!(report, example());
}

#[test]
fn the_contract_is_kept_and_read_back() {
    let report = example();
    let text = serde_json::to_string(&report).unwrap();
    let keys = [
        "{\"models\":[{\"name\":\"hybrid\",\"users\":2,\"metrics\":{",
        "\"comparisons\":[{\"model\":",
        "\"source\":",
        "\"k\":2",
    ];
    let places: Vec<_> =
        keys.iter().map(|key| text.find(key).unwrap_or_else(|| panic!("{key} is not in {text}"))).collect();
    assert!(places.is_sorted(), "{places:?}");
    // JSON's numbers are read to within a last bit: what is shown is the same.
    let read: Report = serde_json::from_str(&text).unwrap();
    assert_eq!(text::table(&read), text::table(&report));
}

#[test]
fn a_report_on_nothing_is_empty() {
    let source = example().source;
    let run = Run { name: "hybrid".to_owned(), outcomes: vec![], fit_seconds: 0.0 };
    let report = report(source, &[], &[], &ItemFacts::default(), &[run], 20, "hybrid", 1, vec![]);
    let model = &report.models[0];
    assert!(model.metrics.is_empty() && model.beyond.is_empty() && model.slices.is_empty());
    assert_eq!((model.users, &model.microseconds, report.comparisons.len()), (0, &None, 0));
}

#[test]
fn without_the_model_to_compare_there_are_no_comparisons() {
    let source = example().source;
    let run = Run { name: "ease".to_owned(), outcomes: vec![], fit_seconds: 0.0 };
    let cases = [Case { user: 0, domain: 0, history: vec![], relevant: vec![0] }];
    let report = report(source, &["movie".to_owned()], &cases, &ItemFacts::default(), &[run], 20, "hybrid", 1, vec![]);
    assert_eq!(report.comparisons, []);
    assert_eq!(report.models[0].metrics["ndcg@20"], Estimate { mean: 0.0, low: 0.0, high: 0.0 });
}
