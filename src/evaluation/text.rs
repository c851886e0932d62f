//! The report as plain text for a terminal: aligned tables, then notes.

use super::report::Report;
use super::tables::{Table, about, tables};

/// All tables of the report, models by falling nDCG, and what is to be known of them.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut blocks = vec![about(report).join("\n")];
    blocks.extend(tables(report).iter().map(aligned));
    if !report.notes.is_empty() {
        let notes: Vec<String> = report.notes.iter().map(|note| format!("- {note}")).collect();
        blocks.push(format!("Notes\n{}", notes.join("\n")));
    }
    blocks.join("\n\n") + "\n"
}

/// The first column to the left, the others to the right.
fn aligned(table: &Table) -> String {
    let lines: Vec<&Vec<String>> = std::iter::once(&table.header).chain(&table.rows).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..table.header.len()).map(width).collect();
    let mut out = vec![table.title.to_owned()];
    for line in lines {
        let cell = |(column, cell): (usize, &String)| match (column, widths[column]) {
            (0, width) => format!("{cell:<width$}"),
            (_, width) => format!("{cell:>width$}"),
        };
        let cells: Vec<String> = line.iter().enumerate().map(cell).collect();
        out.push(cells.join("  ").trim_end().to_owned());
    }
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::example;
    use super::*;

    #[test]
    fn the_tables_are_aligned() {
        let text = table(&example());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "published split: two <people>");
        assert_eq!(lines[1], "21 training and 4 test interactions, 16 people, 6 items; full ranking at 2");
        let start = lines.iter().position(|line| line.starts_with("Accuracy")).unwrap();
        let accuracy = &lines[start + 1..start + 4];
        assert!(accuracy[0].starts_with("model       people"), "{text}");
        assert!(accuracy[1].starts_with("hybrid           2  0.8710 ±0."), "{text}");
        assert!(accuracy[2].starts_with("popularity       2  "), "{text}");
        let widths: Vec<usize> = accuracy.iter().map(|line| line.chars().count()).collect();
        assert_eq!(widths, [widths[0]; 3], "{text}");
        assert!(text.contains("hybrid − popularity  recall@2     +0.3333  +0.0000 to +1.0000  across 0"), "{text}");
        assert!(text.ends_with("ignored: 1.\n") && text.contains("\n- A note.\n"), "{text}");
    }

    #[test]
    fn a_report_on_nothing_says_what_it_is() {
        let mut report = example();
        (report.models, report.comparisons, report.notes) = (vec![], vec![], vec![]);
        assert_eq!(table(&report).lines().count(), 2);
    }
}
