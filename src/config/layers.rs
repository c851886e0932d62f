//! The layers of the settings, laid over one another as one table: the embedded default, a file, the environment, flags.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{ConfigError, DEFAULT, Overrides, invalid};

/// All layers as one table, not yet checked.
pub(super) fn table(
    overrides: &Overrides,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Table, ConfigError> {
    let mut table: Table = DEFAULT.parse().map_err(|error| invalid("config/default.toml", error))?;
    let known = table.clone();
    if let Some(path) = &overrides.file {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        let layer: Table = text.parse().map_err(|error| invalid(&path.display().to_string(), error))?;
        merge(&mut table, layer);
    }
    for (name, text) in environment {
        if name == "MEDLEY_DATABASE_URL" {
            set(&mut table, "database", "url", Value::String(text));
        } else if let Some(rest) = name.strip_prefix("MEDLEY_").filter(|rest| rest.contains("__")) {
            let path = rest.to_lowercase();
            let mut path: Vec<&str> = path.split("__").collect();
            let Some(key) = path.pop() else { continue };
            let section = path.iter().try_fold(&known, |table, name| table.get(*name)?.as_table());
            let value = match section.and_then(|section| section.get(key)) {
                None if path.starts_with(&["large_model", "providers"]) => provider_variable(key, &text),
                default => parse_variable(default, &text),
            };
            // From the inside out: a.b.c = v is {a: {b: {c: v}}}.
            let layer = path.iter().rev().fold(Table::from_iter([(key.to_owned(), value)]), |inner, name| {
                Table::from_iter([((*name).to_owned(), Value::Table(inner))])
            });
            merge(&mut table, layer);
        }
    }
    if let Some(address) = overrides.address {
        set(&mut table, "server", "address", Value::String(address.to_string()));
    }
    if let Some(dir) = &overrides.data_dir {
        set(&mut table, "server", "data_dir", Value::String(dir.display().to_string()));
    }
    if let Some(url) = &overrides.database_url {
        set(&mut table, "database", "url", Value::String(url.clone()));
    }
    Ok(table)
}

fn merge(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

fn set(table: &mut Table, section: &str, key: &str, value: Value) {
    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = section {
        section.insert(key.to_owned(), value);
    }
}

/// A variable is text: it is read as the type that the default has.
fn parse_variable(default: Option<&Value>, text: &str) -> Value {
    let parsed = match default {
        Some(Value::Integer(_)) => text.parse().ok().map(Value::Integer),
        Some(Value::Float(_)) => text.parse().ok().map(Value::Float),
        Some(Value::Boolean(_)) => text.parse().ok().map(Value::Boolean),
        Some(Value::Array(_) | Value::Table(_)) => {
            format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"))
        }
        _ => None,
    };
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// A variable of a provider, which has no default to tell its type.
fn provider_variable(key: &str, text: &str) -> Value {
    let is_text =
        ["kind", "base_url", "path", "query_prefix", "passage_prefix", "model", "revision", "api_key", "scoring"]
            .contains(&key);
    let number = || text.parse().map(Value::Integer).or_else(|_| text.parse().map(Value::Float)).ok();
    let boolean = || text.parse().map(Value::Boolean).ok();
    (!is_text).then(|| number().or_else(boolean)).flatten().unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Reads the process environment for [`Config::load`].
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("MEDLEY_"))
        .collect()
}
