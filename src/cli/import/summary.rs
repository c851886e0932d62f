//! What became of the rows of a file.

use std::fmt;
use std::time::Duration;

use indicatif::HumanCount;
use serde::Serialize;

/// How many rejected rows are named; the others are counted.
pub const NAMED: usize = 20;

/// A row that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// The line, counted from 1 (in a Parquet file: the row).
    pub line: u64,
    pub detail: String,
}

/// What became of the rows of a file; `read` is the sum of the four others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub read: u64,
    /// New, or different from what was stored.
    pub stored: u64,
    /// Known already: an event that is in the store or stands twice in the file; an item that the file has named before.
    pub duplicates: u64,
    /// Items that were stored just like this.
    pub unchanged: u64,
    pub rejected: u64,
    /// Rows in which bytes that were no UTF-8 were replaced.
    pub repaired: u64,
    /// The first rejected rows.
    pub errors: Vec<Rejected>,
    #[serde(skip)]
    pub took: Duration,
}

impl Summary {
    /// Counts a row that was not taken.
    pub fn reject(&mut self, rejected: Rejected) {
        self.rejected += 1;
        if self.errors.len() < NAMED {
            self.errors.push(rejected);
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows read: {} stored", HumanCount(self.read), HumanCount(self.stored))?;
        write!(f, ", {} duplicates", HumanCount(self.duplicates))?;
        if self.unchanged > 0 {
            write!(f, ", {} unchanged", HumanCount(self.unchanged))?;
        }
        writeln!(f, ", {} rejected ({:.1} s)", HumanCount(self.rejected), self.took.as_secs_f64())?;
        if self.repaired > 0 {
            writeln!(
                f,
                "{} rows held bytes that are no UTF-8; they were replaced by \u{fffd}",
                HumanCount(self.repaired)
            )?;
        }
        for Rejected { line, detail } in &self.errors {
            writeln!(f, "  line {line}: {detail}")?;
        }
        if self.rejected > self.errors.len() as u64 {
            writeln!(f, "  … and {} more", HumanCount(self.rejected - self.errors.len() as u64))?;
        }
        Ok(())
    }
}
