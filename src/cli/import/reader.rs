//! Reads delimited text and NDJSON line by line, so that one broken line costs that line and no more.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use csv::StringRecord;
use serde_json::{Map, Value};

use super::row::Row;

/// The longest line that is read, in bytes.
const MAX_LINE_BYTES: usize = 1 << 20;
/// A quoted cell may go on over this many lines; beyond it the quote counts as forgotten.
const MAX_LINES_PER_RECORD: usize = 100;

/// Where a row stands, and what it holds or why it cannot be read.
pub struct Reading<'a> {
    /// The line, counted from 1 (in a Parquet file: the row).
    pub place: u64,
    /// How far the file has been read, in the unit of its size.
    pub done: u64,
    /// Bytes that were no UTF-8 have been replaced.
    pub repaired: bool,
    pub row: Result<Row<'a>, String>,
}

/// Takes rows one after another; `false` ends the reading.
pub type Sink<'s> = dyn FnMut(Reading<'_>) -> bool + 's;

/// How the cells of a delimited file are to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub delimiter: u8,
    /// Whether `"` encloses cells.
    pub quotes: bool,
    /// The lines that are not data: header, preamble.
    pub skip: u64,
    /// The names of the cells, in order.
    pub names: Vec<String>,
}

struct Line {
    number: u64,
    text: Result<String, String>,
    repaired: bool,
}

struct Lines<R> {
    inner: R,
    number: u64,
    bytes: u64,
    /// Lines that were read ahead and are read again.
    again: VecDeque<Line>,
}

impl<R: BufRead> Lines<R> {
    fn new(inner: R) -> Self {
        Self { inner, number: 0, bytes: 0, again: VecDeque::new() }
    }

    fn next(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.again.pop_front() {
            return Ok(Some(line));
        }
        let mut raw = Vec::new();
        let read = io::Read::take(&mut self.inner, MAX_LINE_BYTES as u64).read_until(b'\n', &mut raw)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.bytes += read as u64;
        if read == MAX_LINE_BYTES && raw.last() != Some(&b'\n') {
            self.bytes += self.inner.skip_until(b'\n')? as u64;
            let text = Err(format!("the line is longer than {MAX_LINE_BYTES} bytes"));
            return Ok(Some(Line { number: self.number, text, repaired: false }));
        }
        while matches!(raw.last(), Some(b'\n' | b'\r')) {
            raw.pop();
        }
        if self.number == 1 && raw.starts_with(b"\xef\xbb\xbf") {
            raw.drain(..3);
        }
        let (text, repaired) = match String::from_utf8(raw) {
            Ok(text) => (text, false),
            Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), true),
        };
        Ok(Some(Line { number: self.number, text: Ok(text), repaired }))
    }
}

/// Hands the rows of a delimited file to `sink`; empty lines are passed over.
///
/// # Errors
/// The file cannot be read.
pub fn delimited(file: impl BufRead, layout: &Layout, sink: &mut Sink<'_>) -> io::Result<()> {
    let mut lines = Lines::new(file);
    let mut record = StringRecord::new();
    while let Some(line) = lines.next()? {
        let (place, mut repaired) = (line.number, line.repaired);
        let filled = match line.text {
            _ if place <= layout.skip => continue,
            Ok(text) if text.trim().is_empty() => continue,
            Ok(text) if layout.quotes && text.contains('"') => {
                quoted(text, &mut lines, layout, &mut record, &mut repaired)?
            }
            Ok(text) => {
                record.clear();
                text.split(char::from(layout.delimiter)).for_each(|cell| record.push_field(cell));
                Ok(())
            }
            Err(reason) => Err(reason),
        };
        let row = filled.map(|()| Row::Cells { names: &layout.names, cells: &record });
        if !sink(Reading { place, done: lines.bytes, repaired, row }) {
            break;
        }
    }
    Ok(())
}

/// Fills `record` from a line with quotes, and from the lines over which a quoted cell goes on. A quote that is never
/// closed costs its own line only: the others are read again.
fn quoted<R: BufRead>(
    mut text: String,
    lines: &mut Lines<R>,
    layout: &Layout,
    record: &mut StringRecord,
    repaired: &mut bool,
) -> io::Result<Result<(), String>> {
    let mut quote = Quote::default();
    let mut ahead = Vec::new();
    quote.scan(&text, layout.delimiter);
    while quote == Quote::Open || (quote == Quote::Broken && !ahead.is_empty()) {
        let go_on = quote == Quote::Open && ahead.len() < MAX_LINES_PER_RECORD;
        let next = if go_on { lines.next()? } else { None };
        let Some(line) = next else {
            for line in ahead.into_iter().rev() {
                lines.again.push_front(line);
            }
            return Ok(Err("a quote is not closed".to_owned()));
        };
        if let Ok(more) = &line.text {
            quote.scan("\n", layout.delimiter);
            quote.scan(more, layout.delimiter);
            text.push('\n');
            text.push_str(more);
        }
        *repaired |= line.repaired;
        ahead.push(line);
    }
    let mut parser = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(layout.delimiter)
        .from_reader(text.as_bytes());
    Ok(parser.read_record(record).map(|_| ()).map_err(|error| error.to_string()))
}

/// Follows RFC 4180: a cell is quoted when its first character is a quote; a doubled quote inside stands for one.
#[derive(Default, Clone, Copy, PartialEq)]
enum Quote {
    #[default]
    CellStart,
    Plain,
    Open,
    /// A quote inside a quoted cell: its end, or the first of two.
    Closing,
    /// Text after the end of a quoted cell. Within a line that passes; when the cell began on an earlier line, this is
    /// where another cell opens, and the first quote was never closed.
    Broken,
}

impl Quote {
    fn scan(&mut self, text: &str, delimiter: u8) {
        for &byte in text.as_bytes() {
            *self = match (*self, byte) {
                (Self::Broken, _) => Self::Broken,
                (Self::CellStart | Self::Closing, b'"') => Self::Open,
                (Self::Open, b'"') => Self::Closing,
                (Self::Open, _) => Self::Open,
                (_, byte) if byte == delimiter => Self::CellStart,
                (Self::Closing, _) => Self::Broken,
                _ => Self::Plain,
            };
        }
    }
}

/// Hands the objects of an NDJSON file to `sink`, one a line; empty lines are passed over.
///
/// # Errors
/// The file cannot be read.
pub fn ndjson(file: impl BufRead, sink: &mut Sink<'_>) -> io::Result<()> {
    let mut lines = Lines::new(file);
    while let Some(line) = lines.next()? {
        let object = match line.text {
            Ok(text) if text.trim().is_empty() => continue,
            Ok(text) => serde_json::from_str::<Map<String, Value>>(&text).map_err(|error| json_error(&error)),
            Err(reason) => Err(reason),
        };
        let row = object.as_ref().map(Row::Object).map_err(Clone::clone);
        if !sink(Reading { place: line.number, done: lines.bytes, repaired: line.repaired, row }) {
            break;
        }
    }
    Ok(())
}

/// The message without serde's own "at line 1": the line of the file is named beside it.
fn json_error(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or(&text);
    format!("not a JSON object: {reason} at column {}", error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &[u8], delimiter: u8, quotes: bool) -> Vec<(u64, Result<Vec<String>, String>)> {
        let layout = Layout { delimiter, quotes, skip: 1, names: vec![] };
        let mut out = Vec::new();
        delimited(text, &layout, &mut |reading| {
            let cells = reading.row.map(|row| match row {
                Row::Cells { cells, .. } => cells.iter().map(str::to_owned).collect(),
                Row::Object(_) => unreachable!("a delimited file has cells"),
            });
            out.push((reading.place, cells));
            true
        })
        .unwrap();
        out
    }

    fn cells(cells: &[&str]) -> Result<Vec<String>, String> {
        Ok(cells.iter().map(|cell| (*cell).to_owned()).collect())
    }

    #[test]
    fn lines_keep_their_numbers_over_carriage_returns_empty_lines_and_quoted_line_ends() {
        let read = rows(b"a,b\r\n1,x\r\n\r\n2,\"y\r\nz, \"\"q\"\"\"\r\n3,5\" vinyl\r\n", b',', true);
        let expected = [(2, cells(&["1", "x"])), (4, cells(&["2", "y\nz, \"q\""])), (6, cells(&["3", "5\" vinyl"]))];
        assert_eq!(read, expected);
    }

    #[test]
    fn a_quote_that_is_not_closed_costs_one_line() {
        let mut text = b"a,b\n1,\"open\n".to_vec();
        for n in 0..300 {
            text.extend_from_slice(format!("{n},\"closed, {n}\"\n").as_bytes());
        }
        let read = rows(&text, b',', true);
        assert_eq!(read.len(), 301);
        assert_eq!(read[0], (2, Err("a quote is not closed".to_owned())));
        assert_eq!(read[300], (302, cells(&["299", "closed, 299"])));
        let read = rows(b"a,b\n1,\"open\n2,plain\n3,\"closed, 3\",x\n4,\"odd\" end\n", b',', true);
        let expected = [
            (2, Err("a quote is not closed".to_owned())),
            (3, cells(&["2", "plain"])),
            (4, cells(&["3", "closed, 3", "x"])),
            (5, cells(&["4", "odd end"])),
        ];
        assert_eq!(read, expected, "the quotes of a later line do not close it");
    }

    #[test]
    fn bytes_that_are_no_utf8_are_replaced_and_a_byte_order_mark_is_dropped() {
        assert_eq!(rows(b"h\nBj\xf6rk\t1\n", b'\t', false), [(2, cells(&["Bj\u{fffd}rk", "1"]))]);
        let mut lines = Lines::new(&b"\xef\xbb\xbfid\n"[..]);
        assert_eq!(lines.next().unwrap().unwrap().text.unwrap(), "id");
    }

    #[test]
    fn an_endless_line_is_refused_and_the_next_is_read() {
        let mut text = b"h\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 3 * MAX_LINE_BYTES));
        text.extend_from_slice(b"\nok\n");
        let read = rows(&text, b',', true);
        assert_eq!(read[0].0, 2);
        assert!(read[0].1.is_err());
        assert_eq!(read[1], (3, cells(&["ok"])));
    }

    #[test]
    fn a_line_that_is_no_object_is_refused_by_column() {
        let mut read = Vec::new();
        ndjson(&b"{\"a\":1}\n\n[1]\n{\"a\":\n"[..], &mut |reading| {
            read.push((reading.place, reading.row.map(|_| ())));
            true
        })
        .unwrap();
        assert_eq!(read[0], (1, Ok(())));
        assert_eq!(read[1].0, 3);
        assert!(read[1].1.as_ref().unwrap_err().starts_with("not a JSON object: invalid type: sequence"));
        assert!(read[2].1.as_ref().unwrap_err().starts_with("not a JSON object: EOF while parsing"));
    }
}
