//! The report as one page that needs nothing else: tables, and intervals drawn as points with whiskers.

use super::intervals::Estimate;
use super::report::{COMPARED, METRICS, Report};
use super::tables::{Table, about, by_ndcg, tables, verdict};

const STYLE: &str = "\
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .75rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #8884 }
th:first-child, td:first-child { text-align: left }
svg { max-width: 100%; font: 13px system-ui, sans-serif; fill: currentColor; stroke: currentColor }
svg text { stroke: none }
.above { color: light-dark(#0a6b2d, #5fd38a) } .below { color: light-dark(#b3261e, #ff8a80) }
";
const ROW: usize = 24;
const LABELS: usize = 260;
const PLOT: usize = 420;
const MARGIN: usize = 40;
/// A longer name is cut in a drawing; the whole of it is in the row's title.
const LABEL_CHARS: usize = 34;

/// The whole page.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut body = String::new();
    for line in about(report) {
        body += &format!("<p>{}</p>\n", escape(&line));
    }
    body += &drawings(report);
    for table in tables(report) {
        body += &rendered(&table);
    }
    if !report.notes.is_empty() {
        let notes: String = report.notes.iter().map(|note| format!("<li>{}</li>\n", escape(note))).collect();
        body += &format!("<h2>Notes</h2>\n<ul>\n{notes}</ul>\n");
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Comparison of models</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>Comparison of models</h1>\n{body}</body>\n</html>\n"
    )
}

fn drawings(report: &Report) -> String {
    let mut out = String::new();
    for (name, _) in METRICS.iter().take(COMPARED) {
        let metric = format!("{name}@{}", report.k);
        let of_models = by_ndcg(report)
            .into_iter()
            .filter_map(|model| Some((model.name.clone(), *model.metrics.get(&metric)?)))
            .collect::<Vec<_>>();
        out += &intervals(&metric, &of_models, false);
        let of_pairs = report
            .comparisons
            .iter()
            .filter(|comparison| comparison.metric == metric)
            .map(|c| (format!("{} − {}", c.model, c.baseline), c.difference))
            .collect::<Vec<_>>();
        out += &intervals(&format!("Difference in {metric}"), &of_pairs, true);
    }
    out
}

/// A point with whiskers for each estimate, on one axis; with `zero` the axis holds 0, marked by a dashed line.
fn intervals(title: &str, rows: &[(String, Estimate)], zero: bool) -> String {
    let start = if zero { (0.0f64, 0.0f64) } else { (f64::INFINITY, f64::NEG_INFINITY) };
    let (least, most) = rows.iter().fold(start, |(least, most), (_, estimate)| {
        (least.min(estimate.low).min(estimate.mean), most.max(estimate.high).max(estimate.mean))
    });
    if rows.is_empty() || !least.is_finite() || !most.is_finite() {
        return String::new();
    }
    let span = (most - least).max(1e-9);
    let x = |value: f64| LABELS as f64 + 10.0 + (value - least) / span * PLOT as f64;
    let height = (rows.len() + 1) * ROW;
    let mut marks = String::new();
    if zero {
        let at = x(0.0);
        marks += &format!("<path d=\"M{at:.1} 0V{}\" stroke-dasharray=\"3 3\" opacity=\"0.6\"/>\n", rows.len() * ROW);
    }
    for (place, (name, estimate)) in rows.iter().enumerate() {
        let y = place * ROW + ROW / 2;
        let (low, mean, high) = (x(estimate.low), x(estimate.mean), x(estimate.high));
        let lies = if zero { verdict(estimate).split(' ').next().unwrap_or_default() } else { "" };
        let (label, whole) = (escape(&shortened(name)), escape(name));
        marks += &format!(
            "<g class=\"{lies}\"><title>{whole}: {:.4}, {:.4} to {:.4}</title>\
             <text x=\"{LABELS}\" y=\"{}\" text-anchor=\"end\">{label}</text>\
             <path d=\"M{low:.1} {y}H{high:.1}M{low:.1} {}v8M{high:.1} {}v8\" fill=\"none\" stroke=\"currentColor\"/>\
             <circle cx=\"{mean:.1}\" cy=\"{y}\" r=\"4\" fill=\"currentColor\"/></g>\n",
            estimate.mean,
            estimate.low,
            estimate.high,
            y + 4,
            y - 4,
            y - 4,
        );
    }
    for value in [least, most] {
        let (x, y) = (x(value), height - 6);
        marks += &format!("<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\" opacity=\"0.7\">{value:.4}</text>\n");
    }
    let (title, width) = (escape(title), LABELS + PLOT + 10 + MARGIN);
    format!(
        "<h2>{title}</h2>\n<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
         aria-label=\"{title}, with 95 % intervals\">\n{marks}</svg>\n"
    )
}

fn rendered(table: &Table) -> String {
    let cells = |tag: &str, row: &[String]| -> String {
        row.iter().map(|cell| format!("<{tag}{}>{}</{tag}>", class(cell), escape(cell))).collect()
    };
    let rows: String = table.rows.iter().map(|row| format!("<tr>{}</tr>\n", cells("td", row))).collect();
    format!(
        "<h2>{}</h2>\n<div class=\"wide\"><table>\n<thead><tr>{}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n",
        escape(table.title),
        cells("th", &table.header)
    )
}

fn class(cell: &str) -> &'static str {
    match cell {
        "above 0" => " class=\"above\"",
        "below 0" => " class=\"below\"",
        _ => "",
    }
}

fn shortened(name: &str) -> String {
    match name.char_indices().nth(LABEL_CHARS) {
        Some((cut, _)) => format!("{}…", &name[..cut]),
        None => name.to_owned(),
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::example;
    use super::*;

    #[test]
    fn the_page_holds_tables_drawings_and_notes_and_needs_nothing_else() {
        let page = page(&example());
        assert!(page.starts_with("<!doctype html>") && page.contains("color-scheme: light dark"));
        assert_eq!((page.matches("<svg").count(), page.matches("<table>").count()), (4, 4));
        assert!(page.contains("<li>A note.</li>") && page.contains("hybrid − popularity"));
        for foreign in ["<script", "<link", "src=", "href=", "url(", "http://", "https://", "@import"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn everything_is_escaped() {
        let mut report = example();
        let bad = "<b onload='x'>&\"";
        report.models[0].name = bad.to_owned();
        report.comparisons[0].model = bad.to_owned();
        report.comparisons[0].baseline = bad.to_owned();
        report.comparisons[0].metric = "ndcg@2".to_owned();
        report.notes.push(bad.to_owned());
        report.source.description = bad.to_owned();
        report.source.kind = bad.to_owned();
        let page = page(&report);
        assert!(!page.contains("<b ") && !page.contains("onload='"), "{page}");
        assert!(page.matches("&lt;b onload=&#39;x&#39;&gt;&amp;&quot;").count() >= 8);
    }

    #[test]
    fn a_point_lies_where_its_value_is() {
        let rows = [
            ("a".to_owned(), Estimate { mean: 0.5, low: 0.25, high: 1.0 }),
            ("b".to_owned(), Estimate { mean: -0.5, low: -1.0, high: -0.25 }),
        ];
        let svg = intervals("x", &rows, true);
        // The axis from −1 to 1 is 420 wide and begins at 270.
        assert!(svg.contains("M480.0 0V48") && svg.contains("<circle cx=\"585.0\" cy=\"12\""), "{svg}");
        assert!(svg.contains("<g class=\"above\">") && svg.contains("M270.0 36H427.5"), "{svg}");
        assert_eq!(intervals("x", &[], true), "");
    }

    #[test]
    fn equal_values_and_long_names_can_be_drawn() {
        let point = Estimate { mean: 0.5, low: 0.5, high: 0.5 };
        let svg = intervals("x", &[("é".repeat(40), point)], false);
        assert!(svg.contains("cx=\"270.0\"") && svg.contains(&format!(">{}…<", "é".repeat(34))), "{svg}");
    }
}
