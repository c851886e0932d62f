//! The tables of a report, in words: what the plain text and the page both show.

use std::collections::BTreeMap;

use super::intervals::Estimate;
use super::report::{COMPARED, METRICS, ModelReport, Report};

/// One table: the first column names the row.
pub(super) struct Table {
    pub title: &'static str,
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

const MISSING: &str = "-";
const BEYOND: [&str; 5] = ["coverage", "gini", "novelty", "diversity", "calibration"];

/// All tables that have rows.
pub(super) fn tables(report: &Report) -> Vec<Table> {
    let models = by_ndcg(report);
    let mut tables =
        vec![accuracy(report, &models), differences(report), beyond(report, &models), slices(report, &models)];
    tables.retain(|table| !table.rows.is_empty());
    tables
}

/// The models, best nDCG first; those without come last.
pub(super) fn by_ndcg(report: &Report) -> Vec<&ModelReport> {
    let name = format!("{}@{}", METRICS[0].0, report.k);
    let ndcg = |model: &ModelReport| model.metrics.get(&name).map_or(f64::NEG_INFINITY, |estimate| estimate.mean);
    let mut models: Vec<&ModelReport> = report.models.iter().collect();
    models.sort_by(|a, b| ndcg(b).total_cmp(&ndcg(a)));
    models
}

/// What the cases are, a line each.
pub(super) fn about(report: &Report) -> Vec<String> {
    let source = &report.source;
    let mut lines = vec![
        format!("{} split: {}", source.kind, source.description),
        format!(
            "{} training and {} test interactions, {} people, {} items; full ranking at {}",
            thousands(source.train_interactions),
            thousands(source.test_interactions),
            thousands(source.users),
            thousands(source.items),
            report.k,
        ),
    ];
    lines.extend(source.cutoff.map(|cutoff| format!("training ends {cutoff}")));
    lines
}

/// Where an interval lies.
pub(super) fn verdict(difference: &Estimate) -> &'static str {
    if difference.low > 0.0 {
        "above 0"
    } else if difference.high < 0.0 {
        "below 0"
    } else {
        "across 0"
    }
}

fn accuracy(report: &Report, models: &[&ModelReport]) -> Table {
    let names: Vec<String> = METRICS.iter().map(|(name, _)| format!("{name}@{}", report.k)).collect();
    let row = |model: &&ModelReport| {
        let mut row = vec![model.name.clone(), thousands(model.users as u64)];
        row.extend(names.iter().map(|name| estimate(&model.metrics, name)));
        row
    };
    let rows = models.iter().map(row).collect();
    let header = ["model", "people"].map(str::to_owned).into_iter().chain(names).collect();
    Table { title: "Accuracy (± half the 95 % interval)", header, rows }
}

fn differences(report: &Report) -> Table {
    let row = |comparison: &super::report::Comparison| {
        let Estimate { mean, low, high } = comparison.difference;
        vec![
            format!("{} − {}", comparison.model, comparison.baseline),
            comparison.metric.clone(),
            format!("{mean:+.4}"),
            format!("{low:+.4} to {high:+.4}"),
            verdict(&comparison.difference).to_owned(),
        ]
    };
    let header = ["models", "metric", "difference", "95 % interval", "lies"].map(str::to_owned).to_vec();
    Table { title: "Paired differences", header, rows: report.comparisons.iter().map(row).collect() }
}

fn beyond(report: &Report, models: &[&ModelReport]) -> Table {
    let names = BEYOND.map(|name| format!("{name}@{}", report.k));
    let row = |model: &&ModelReport| {
        let mut row = vec![model.name.clone()];
        row.extend(names.iter().map(|name| number(model.beyond.get(name), 3)));
        let time = model.microseconds.as_ref();
        row.extend([number(time.map(|time| &time.p50), 0), number(time.map(|time| &time.p95), 0)]);
        row.push(number(Some(&model.fit_seconds), 1));
        row
    };
    let rows = models.iter().map(row).collect();
    let mut header = vec!["model".to_owned()];
    header.extend(names);
    header.extend(["p50 µs", "p95 µs", "fit s"].map(str::to_owned));
    Table { title: "Beyond accuracy, and time", header, rows }
}

fn slices(report: &Report, models: &[&ModelReport]) -> Table {
    // All models answer the same cases, so the first one has every slice.
    let of_first = models.first().map(|model| &model.slices).into_iter().flatten();
    let rows = of_first.flat_map(|(name, slice)| {
        METRICS.iter().take(COMPARED).map(move |(metric, _)| {
            let metric = format!("{metric}@{}", report.k);
            let mut row = vec![name.clone(), thousands(slice.users as u64), thousands(slice.cases as u64)];
            row.push(metric.clone());
            row.extend(models.iter().map(|model| match model.slices.get(name) {
                Some(slice) => estimate(&slice.metrics, &metric),
                None => MISSING.to_owned(),
            }));
            row
        })
    });
    let mut header = ["slice", "people", "cases", "metric"].map(str::to_owned).to_vec();
    header.extend(models.iter().map(|model| model.name.clone()));
    Table { title: "Slices", rows: rows.collect(), header }
}

fn estimate(metrics: &BTreeMap<String, Estimate>, name: &str) -> String {
    metrics.get(name).map_or(MISSING.to_owned(), |estimate| {
        format!("{:.4} ±{:.4}", estimate.mean, (estimate.high - estimate.low) / 2.0)
    })
}

fn number(value: Option<&f64>, decimals: usize) -> String {
    value.map_or(MISSING.to_owned(), |value| format!("{value:.decimals$}"))
}

/// 1234567 as 1,234,567.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::example;
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let shown = [0, 999, 1000, 1_234_567].map(thousands);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn an_interval_lies_above_below_or_across() {
        let lies = |low, high| verdict(&Estimate { mean: 0.0, low, high });
        assert_eq!([lies(0.1, 0.2), lies(-0.2, -0.1), lies(-0.1, 0.1)], ["above 0", "below 0", "across 0"]);
        assert_eq!([lies(0.0, 0.1), lies(-0.1, 0.0)], ["across 0"; 2]);
    }

    #[test]
    fn the_best_model_comes_first_and_those_without_metrics_last() {
        let mut report = example();
        report.models.reverse();
        let mut unknown = report.models[0].clone();
        unknown.name = "unknown".to_owned();
        unknown.metrics.clear();
        report.models.insert(0, unknown);
        let names: Vec<&str> = by_ndcg(&report).iter().map(|model| model.name.as_str()).collect();
        assert_eq!(names, ["hybrid", "popularity", "unknown"]);
    }

    #[test]
    fn every_row_is_as_long_as_the_header() {
        for table in tables(&example()) {
            assert!(table.rows.iter().all(|row| row.len() == table.header.len()), "{}", table.title);
        }
    }
}
