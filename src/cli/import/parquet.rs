//! Reads the rows of a Parquet file as JSON objects.

use std::fs::File;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::{Field, Row as ParquetRow};
use serde_json::{Map, Value};

use super::reader::{Reading, Sink};
use super::row::Row;

/// How many rows a file has.
///
/// # Errors
/// It is no Parquet file.
pub fn count(file: File) -> Result<u64, ParquetError> {
    let rows = SerializedFileReader::new(file)?.metadata().file_metadata().num_rows();
    Ok(u64::try_from(rows).unwrap_or(0))
}

/// The column names of a file.
///
/// # Errors
/// It is no Parquet file.
pub fn columns(file: File) -> Result<Vec<String>, ParquetError> {
    let reader = SerializedFileReader::new(file)?;
    let schema = reader.metadata().file_metadata().schema();
    Ok(schema.get_fields().iter().map(|field| field.name().to_owned()).collect())
}

/// Hands the rows of a file to `sink`, row group by row group.
///
/// # Errors
/// The file is broken or packed by a codec that is not built in (Snappy and Zstandard are).
pub fn rows(file: File, sink: &mut Sink<'_>) -> Result<(), ParquetError> {
    let reader = SerializedFileReader::new(file)?;
    for (row, place) in reader.get_row_iter(None)?.zip(1..) {
        let object = object(row?);
        if !sink(Reading { place, done: place, repaired: false, row: Ok(Row::Object(&object)) }) {
            break;
        }
    }
    Ok(())
}

fn object(row: ParquetRow) -> Map<String, Value> {
    row.into_columns().into_iter().map(|(name, field)| (name, value(&field))).collect()
}

fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(yes) => Value::from(*yes),
        Field::Byte(number) => Value::from(*number),
        Field::Short(number) => Value::from(*number),
        Field::Int(number) => Value::from(*number),
        Field::Long(number) => Value::from(*number),
        Field::UByte(number) => Value::from(*number),
        Field::UShort(number) => Value::from(*number),
        Field::UInt(number) => Value::from(*number),
        Field::ULong(number) => Value::from(*number),
        Field::Float16(number) => Value::from(number.to_f64()),
        // By way of its shortest text, so that 3.6 stays 3.6.
        Field::Float(number) => number.to_string().parse::<f64>().map_or(Value::Null, Value::from),
        Field::Double(number) => Value::from(*number),
        Field::Str(text) => Value::from(text.as_str()),
        Field::Bytes(bytes) => Value::from(String::from_utf8_lossy(bytes.data()).into_owned()),
        Field::Date(days) => jiff::civil::date(1970, 1, 1)
            .checked_add(jiff::Span::new().days(*days))
            .map_or(Value::Null, |date| Value::from(date.to_string())),
        Field::TimestampMillis(at) => moment(jiff::Timestamp::from_millisecond(*at)),
        Field::TimestampMicros(at) => moment(jiff::Timestamp::from_microsecond(*at)),
        Field::Group(row) => row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect(),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::MapInternal(map) => map.entries().iter().map(|(key, entry)| (text(&value(key)), value(entry))).collect(),
        other @ (Field::Decimal(_) | Field::TimeMillis(_) | Field::TimeMicros(_)) => Value::from(other.to_string()),
    }
}

fn moment(at: Result<jiff::Timestamp, jiff::Error>) -> Value {
    at.map_or(Value::Null, |at| Value::from(at.to_string()))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
