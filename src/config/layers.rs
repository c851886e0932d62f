//! The layers of the settings, laid over one another as one table: the embedded default, a file, the environment, flags.

use std::collections::BTreeMap;
use std::path::Path;

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
        let layer: Table = text.parse().map_err(|error| misread(path, &text, &error))?;
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
        } else if let Some(meant) = name.strip_prefix("MEDLEY_").and_then(|rest| meant(&known, rest)) {
            return Err(invalid("the environment", format!("{name} is no setting; {meant} is")));
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

/// The variable that was meant by one without the two underscores between section and key, or without the section. Variables that resemble no setting are
/// somebody else's.
fn meant(known: &Table, rest: &str) -> Option<String> {
    let rest = rest.to_lowercase();
    let keys = known
        .iter()
        .flat_map(|(section, keys)| keys.as_table().into_iter().flatten().map(move |(key, _)| (section, key)));
    let mut found = keys.filter(|(section, key)| **key == rest || format!("{section}_{key}") == rest);
    found.next().map(|(section, key)| format!("MEDLEY_{}__{}", section.to_uppercase(), key.to_uppercase()))
}

/// What is wrong with a file, and in which line of it. The line itself is not shown: it may hold a secret.
fn misread(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().and_then(|span| text.as_bytes().get(..span.start));
    let line = before.map(|before| 1 + before.iter().filter(|&&byte| byte == b'\n').count());
    let place = line.map_or_else(String::new, |line| format!(", line {line}"));
    invalid(&format!("{}{place}", path.display()), without_value(error.message()))
}

/// What is wrong with a value, and with which.
pub(super) fn fault(error: &serde_path_to_error::Error<toml::de::Error>) -> String {
    let message = error.inner().message();
    error.to_string().replacen(message, &without_value(message), 1)
}

/// Leaves out the value in a message such as "invalid type: integer `7`, expected a string": it may be a secret as well.
fn without_value(message: &str) -> String {
    match (message.find(['"', '`']), message.rfind(", expected")) {
        (Some(value), Some(rest)) if message.starts_with("invalid ") && value < rest => {
            format!("{}{}", message[..value].trim_end(), &message[rest..])
        }
        _ => message.to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn refused(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("medley.toml");
        std::fs::write(&path, text).unwrap();
        let overrides = Overrides { file: Some(path.clone()), ..Overrides::default() };
        let error = Config::load(&overrides, []).unwrap_err().to_string();
        error.replace(&path.display().to_string(), "FILE")
    }

    #[test]
    fn a_variable_that_resembles_a_setting_is_refused() {
        let load = |name: &str| {
            let environment = [(name.to_owned(), "1".to_owned())];
            Config::load(&Overrides::default(), environment).map_err(|error| error.to_string())
        };
        for (name, meant) in [
            ("MEDLEY_RECOMMEND_LIMIT", "MEDLEY_RECOMMEND__LIMIT"),
            ("MEDLEY_DATA_DIR", "MEDLEY_SERVER__DATA_DIR"),
            ("MEDLEY_ADMIN_KEY", "MEDLEY_AUTH__ADMIN_KEY"),
            ("MEDLEY_LARGE_MODEL_RERANK", "MEDLEY_LARGE_MODEL__RERANK"),
        ] {
            let error = load(name).unwrap_err();
            assert!(error.contains(name) && error.contains(meant), "{error}");
        }
        assert!(load("MEDLEY_RECOMMEND__LIMIT").is_ok() && load("MEDLEY_BINARY").is_ok());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_the_secrets_in_it() {
        for (text, place) in [
            ("[auth]\nadmin_key = \"SECRET\n", "FILE, line 2: "),
            ("[auth]\r\n\r\nadmin_key = SECRET", "FILE, line 3: "),
            ("[auth]\nadmin_key = 111111111111111111111111", "FILE, line 2: invalid type: integer, expected "),
            ("[auth]\nadmin_key: \"SECRET\"", "FILE, line 2: "),
            ("[auth]\nadmin_key = \"a\"\nadmin_key = \"SECRET\"", "FILE, line 3: "),
            ("[auth]\nadmin_key = \"\\SECRET\"", "FILE, line 2: "),
            ("[auth]\nadmin_key = \"\"\"\nSECRET", "FILE, line "),
            ("admin = [\"SECRET\"", "FILE, line 1: "),
            ("SECRET", "FILE, line 1: "),
            ("[auth]\nadmin_key = [\"SECRET\"]", "auth.admin_key: invalid type: sequence, expected a string"),
            (
                "[encryption]\nmaster_key_command = \"x -t=SECRET, expected\"",
                "command: invalid type: string, expected a seq",
            ),
        ] {
            let error = refused(text);
            assert!(error.contains(place), "{text}: {error}");
            assert!(!error.contains("SECRET") && !error.contains("1111"), "{text}: {error}");
        }
        let error = refused("[auth]\nadmin_key = 12345678");
        assert!(error.contains("auth.admin_key: invalid type: integer, expected a string"), "{error}");
        let error = refused("[log]\nformat = \"loud\"");
        assert!(error.contains("log.format: unknown variant `loud`, expected one of `auto`"), "{error}");
    }
}
