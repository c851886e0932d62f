//! The section `log`: how much is told, and in which form.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// By name and, as the filter counts them, by number.
const LEVELS: [&str; 12] = ["off", "error", "warn", "info", "debug", "trace", "0", "1", "2", "3", "4", "5"];

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    level: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

impl Log {
    /// What `level` says; `None` where it says nothing that can be meant.
    #[must_use]
    pub fn filter(&self) -> Option<EnvFilter> {
        let directives: Vec<&str> = self.level.split(',').map(str::trim).collect();
        let is_clear = directives.iter().all(|directive| directive.is_empty() || names_a_level(directive));
        EnvFilter::try_new(directives.join(",")).ok().filter(|_| is_clear)
    }

    /// What must hold of the settings, and what is said where it does not.
    pub(super) fn rules(&self) -> impl Iterator<Item = (bool, &'static str)> {
        let levels = "log.level: off, error, warn, info, debug or trace, for everything or for a part (medley=debug)";
        std::iter::once((self.filter().is_some(), levels))
    }
}

/// The filter takes a word that is no level for the name of a part: "loud" would silence all parts but the one of that name. Spans, in brackets,
/// need no level.
fn names_a_level(directive: &str) -> bool {
    let last = directive.rsplit('=').next().unwrap_or(directive);
    directive.ends_with(']') || LEVELS.iter().any(|level| level.eq_ignore_ascii_case(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_levels() {
        let filter = |level: &str| Log { level: level.to_owned(), format: LogFormat::Auto }.filter();
        for level in [
            "info",
            "WARN",
            "off",
            "",
            "medley=debug,tower_http=info",
            "warn, medley::http=Trace ",
            "medley[request]=debug",
            "medley=3",
            "[request{id=7}]",
        ] {
            assert!(filter(level).is_some(), "{level}");
        }
        for level in ["loud", "info,loud", "medley", "medley=loud", "medley=", "=info", "info;debug", "[request]=loud"]
        {
            assert!(filter(level).is_none(), "{level}");
        }
        assert_eq!(filter("warn, medley=debug").unwrap().to_string(), "medley=debug,warn");
    }
}
