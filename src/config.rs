//! Settings: the embedded default, a file, environment variables and flags, laid over one another into one checked [`Config`].

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use toml::Value;

use crate::domain::{Domain, Tenant};
use crate::engine::pipeline::MODEL_NAMES;
use crate::engine::settings::{EngineSettings, InteractionSettings};
use crate::large_model::LargeModelSettings;

mod encryption;
mod layers;
mod log;
mod server;

pub use encryption::{Encryption, KeySource};
pub use layers::environment;
pub use log::{Log, LogFormat};
pub use server::Server;

/// The documented default configuration.
pub const DEFAULT: &str = include_str!("../config/default.toml");

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{origin}: {message}")]
    Invalid { origin: String, message: String },
}

/// All settings in force.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub domains: Vec<Domain>,
    pub server: Server,
    pub log: Log,
    pub database: Database,
    pub auth: Auth,
    pub encryption: Encryption,
    pub demo: Demo,
    pub recommend: Recommend,
    pub interactions: InteractionSettings,
    pub engine: EngineSettings,
    pub training: Training,
    pub large_model: LargeModelSettings,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    #[serde(serialize_with = "without_password")]
    url: SecretString,
    pub max_connections: u32,
    acquire_timeout_ms: u64,
    history_timeout_ms: u64,
    timeout_ms: u64,
    refresh_interval_ms: u64,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    #[serde(serialize_with = "hidden")]
    admin_key: SecretString,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Demo {
    pub catalogue: DemoCatalogue,
    pub listeners: usize,
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DemoCatalogue {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Recommend {
    pub limit: usize,
    pub diversity: f32,
    pub model: String,
    pub rerank: String,
    pub kept_answers_mib: u64,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    pub seed: u64,
    pub validation_share: f64,
    pub validation_max_users: usize,
    pub validation_rounds: usize,
    pub blend_samples: usize,
    pub keep_versions: usize,
    pub max_memory_mib: u64,
    take_over_after_ms: u64,
}

/// What the command line and the environment lay over the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub file: Option<PathBuf>,
    pub address: Option<SocketAddr>,
    pub data_dir: Option<PathBuf>,
    pub database_url: Option<String>,
}

impl Config {
    /// Reads the layers: the embedded default, `overrides.file`, `environment` (pairs such as
    /// `MEDLEY_SERVER__ADDRESS`), then the other overrides.
    ///
    /// # Errors
    /// [`ConfigError`] names the layer and the key that is unknown or out of range.
    pub fn load(
        overrides: &Overrides,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let table = layers::table(overrides, environment)?;
        let config: Self = serde_path_to_error::deserialize(Value::Table(table))
            .map_err(|error| invalid("settings", layers::fault(&error)))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let [lowest, highest] = self.interactions.rating_scale;
        let rules = [
            (!self.domains.is_empty(), "domains: name at least one"),
            (
                self.domains.iter().collect::<HashSet<_>>().len() == self.domains.len(),
                "domains: name each of them once",
            ),
            (
                self.domains.iter().all(|domain| !RESERVED.contains(&domain.as_str())),
                "domains: a domain cannot have the name of a field of the recommend request or answer",
            ),
            ((1..=200).contains(&self.recommend.limit), "recommend.limit: 1 to 200"),
            ((0.0..=1.0).contains(&self.recommend.diversity), "recommend.diversity: 0 to 1"),
            (
                ["none", "llm"].contains(&self.recommend.rerank.as_str())
                    || self.large_model.names().contains(&self.recommend.rerank.as_str()),
                "recommend.rerank: none, llm or the name of a provider",
            ),
            (
                lowest < highest && (highest - lowest).is_finite(),
                "interactions.rating_scale: the lowest and the highest rating, the lowest below the highest",
            ),
            (self.recommend.kept_answers_mib <= 65_536, "recommend.kept_answers_mib: 0 to 65536"),
            (self.encryption.is_clear(), "encryption: one of master_key, master_key_file and master_key_command"),
            (self.database.max_connections > 0, "database.max_connections: at least 1"),
            ((0.0..1.0).contains(&self.engine.ease_dropout), "engine.ease_dropout: 0 to below 1"),
            ((0.0..0.9).contains(&self.training.validation_share), "training.validation_share: 0 to 0.9"),
            ((1..=10).contains(&self.training.validation_rounds), "training.validation_rounds: 1 to 10"),
            ((1..=100).contains(&self.training.blend_samples), "training.blend_samples: 1 to 100"),
            (self.training.keep_versions >= 2, "training.keep_versions: at least 2, to be able to roll back"),
            (
                self.auth.admin_key.expose_secret().is_empty() || self.auth.admin_key.expose_secret().len() >= 32,
                "auth.admin_key: at least 32 characters",
            ),
        ];
        for (holds, message) in rules.into_iter().chain(self.server.rules()).chain(self.log.rules()) {
            if !holds {
                return Err(invalid("settings", message));
            }
        }
        if !MODEL_NAMES.contains(&self.recommend.model.as_str()) {
            return Err(invalid("settings", format!("recommend.model: one of {}", MODEL_NAMES.join(", "))));
        }
        self.large_model.fault().map_or(Ok(()), |fault| Err(invalid("settings", fault)))
    }

    /// The database in force: the one configured, else SQLite in the data folder.
    #[must_use]
    pub fn database_url(&self) -> String {
        let url = self.database.url.expose_secret();
        if url.is_empty() {
            format!("sqlite://{}", self.server.data_dir.join("medley.db").display())
        } else {
            url.to_owned()
        }
    }

    /// Whether the operator named a database.
    #[must_use]
    pub fn database_is_configured(&self) -> bool {
        !self.database.url.expose_secret().is_empty()
    }

    /// Where a tenant's trained models lie.
    #[must_use]
    pub fn models_dir(&self, tenant: &Tenant) -> PathBuf {
        let folder = &self.server.data_dir;
        if tenant.is_default() {
            folder.join("models")
        } else {
            folder.join("tenants").join(tenant.as_str()).join("models")
        }
    }

    /// Where the snapshot of a tenant's catalogue lies that a start begins with: beside the models.
    #[must_use]
    pub fn snapshot(&self, tenant: &Tenant) -> PathBuf {
        self.models_dir(tenant).with_file_name("catalogue.snapshot")
    }

    /// Where the hashes of the API keys lie for a start without the database.
    #[must_use]
    pub fn kept_keys(&self) -> PathBuf {
        self.server.data_dir.join("keys.json")
    }

    /// What is in force, as TOML, secrets hidden.
    #[must_use]
    pub fn describe(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| format!("# cannot be shown: {error}"))
    }
}

/// Shows that a secret is set, not what it is.
fn hidden<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if secret.expose_secret().is_empty() { "" } else { "***" })
}

/// Shows a database URL without the password and without its parameters, which may hold one as well.
fn without_password<S: Serializer>(url: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    let Some((kind, rest)) = url.expose_secret().split_once("://") else {
        return hidden(url, serializer);
    };
    if kind == "sqlite" {
        return serializer.serialize_str(url.expose_secret());
    }
    let (login_and_host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (path, parameters) = path.split_once('?').map_or((path, ""), |(path, _)| (path, "?***"));
    // Whatever looks odd, such as a password with a slash that is not escaped, is hidden as a whole.
    if path.contains('@') || login_and_host.contains('?') {
        return serializer.serialize_str(&format!("{kind}://***"));
    }
    let shown = match login_and_host.rsplit_once('@') {
        Some((login, host)) => format!("{}:***@{host}", login.split(':').next().unwrap_or_default()),
        None => login_and_host.to_owned(),
    };
    serializer.serialize_str(&format!("{kind}://{shown}/{path}{parameters}"))
}

/// Names that a domain cannot have, because requests and answers have fields of these names.
pub const RESERVED: [&str; 19] = [
    "user_id",
    "history",
    "query",
    "domains",
    "limit",
    "filter",
    "exclude",
    "include_seen",
    "model",
    "diversity",
    "explain",
    "rerank",
    "story",
    "deadline_ms",
    "min_watermark",
    "recommendation_id",
    "unmatched",
    "degraded",
    "timing_ms",
];

impl Database {
    #[must_use]
    pub fn acquire_timeout(&self) -> Duration {
        Duration::from_millis(self.acquire_timeout_ms)
    }
    #[must_use]
    pub fn history_timeout(&self) -> Duration {
        Duration::from_millis(self.history_timeout_ms)
    }
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
    #[must_use]
    pub fn refresh_interval(&self) -> Duration {
        Duration::from_millis(self.refresh_interval_ms.max(10))
    }
}

impl Training {
    #[must_use]
    pub fn take_over_after(&self) -> Duration {
        Duration::from_millis(self.take_over_after_ms)
    }
}

impl Auth {
    /// The secret of the configuration that may do everything, if there is one.
    #[must_use]
    pub fn admin_key(&self) -> Option<&SecretString> {
        Some(&self.admin_key).filter(|key| !key.expose_secret().is_empty())
    }
}

fn invalid(origin: &str, message: impl ToString) -> ConfigError {
    ConfigError::Invalid { origin: origin.to_owned(), message: message.to_string() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn load(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::load(&Overrides::default(), pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn the_embedded_default_is_valid() {
        let config = load(&[]).unwrap();
        assert_eq!(config.domains.len(), 3);
        assert_eq!(config.database_url(), "sqlite://./data/medley.db");
    }

    #[test]
    fn variables_lie_over_the_default_and_keep_its_types() {
        let config =
            load(&[("MEDLEY_RECOMMEND__LIMIT", "25"), ("MEDLEY_DATABASE_URL", "postgres://u:secret@h/d")]).unwrap();
        assert_eq!(config.recommend.limit, 25);
        assert_eq!(config.database_url(), "postgres://u:secret@h/d");
        let config = load(&[("MEDLEY_ENGINE__IALS__DIMENSIONS", "96")]).unwrap();
        assert_eq!((config.engine.ials.dimensions, config.engine.ials.epochs), (96, 12));
    }

    #[test]
    fn the_description_is_the_configuration_with_secrets_hidden() {
        let plain = load(&[]).unwrap().describe();
        let again: Config = toml::from_str(&plain).unwrap();
        assert_eq!(again.describe(), plain);
        assert!(plain.contains("diversity = 0.1\n"), "{plain}");

        let key = "0123456789abcdef0123456789abcdef";
        for (url, shown) in [
            ("postgres://u:secret@h:5/d?password=secret", "postgres://u:***@h:5/d?***"),
            ("postgres://u:se/secret@h/d", "postgres://***"),
            ("postgres://h/d", "postgres://h/d"),
            ("secret", "***"),
        ] {
            let config = load(&[
                ("MEDLEY_DATABASE_URL", url),
                ("MEDLEY_AUTH__ADMIN_KEY", key),
                ("MEDLEY_ENCRYPTION__MASTER_KEY", key),
            ])
            .unwrap();
            let described = config.describe();
            assert!(described.contains(&format!("url = \"{shown}\"")), "{described}");
            assert!(described.contains("admin_key = \"***\""), "{described}");
            assert!(described.contains("master_key = \"***\""), "{described}");
            assert!(!described.contains("secret") && !described.contains(key), "{described}");
        }
    }

    #[test]
    fn the_program_that_gives_the_master_key_is_shown_without_its_arguments() {
        let program = r#"["vault", "read", "-token=secret"]"#;
        let described = load(&[("MEDLEY_ENCRYPTION__MASTER_KEY_COMMAND", program)]).unwrap().describe();
        assert!(described.contains(r#"master_key_command = ["vault", "***", "***"]"#), "{described}");
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_refused_by_name() {
        let error = load(&[("MEDLEY_RECOMMEND__LIMITS", "25")]).unwrap_err().to_string();
        assert!(error.contains("limits"), "{error}");
        let error = load(&[("MEDLEY_RECOMMEND__LIMIT", "many")]).unwrap_err().to_string();
        assert!(error.contains("recommend.limit"), "{error}");
        for (variable, value, said) in [
            ("MEDLEY_RECOMMEND__LIMIT", "0", "recommend.limit"),
            ("MEDLEY_RECOMMEND__MODEL", "x", "recommend.model: one of hybrid, "),
            ("MEDLEY_INTERACTIONS__RATING_SCALE", "[5.0, 0.5]", "interactions.rating_scale"),
            ("MEDLEY_INTERACTIONS__RATING_SCALE", "[1.0, 1.0]", "interactions.rating_scale"),
            ("MEDLEY_INTERACTIONS__RATING_SCALE", "[1.0, inf]", "interactions.rating_scale"),
            ("MEDLEY_LOG__LEVEL", "loud", "log.level: off, error, warn"),
        ] {
            let error = load(&[(variable, value)]).unwrap_err().to_string();
            assert!(error.contains(said), "{value}: {error}");
        }
        assert!(load(&[("MEDLEY_RECOMMEND__MODEL", "ease"), ("MEDLEY_LOG__LEVEL", "warn,medley=debug")]).is_ok());
        let mut config = load(&[]).unwrap();
        config.domains.push(config.domains[0].clone());
        assert!(config.check().unwrap_err().to_string().contains("domains: name each of them once"));
    }

    #[test]
    fn a_provider_has_a_public_address_unless_another_one_is_meant() {
        let provider = |url: &str, more: &[(&str, &str)]| {
            let of =
                |(key, value): &(&str, &str)| (format!("MEDLEY_LARGE_MODEL__PROVIDERS__P__{key}"), (*value).to_owned());
            let settings = [("KIND", "chat"), ("MODEL", "m"), ("BASE_URL", url)];
            Config::load(&Overrides::default(), settings.iter().chain(more).map(of)).map_err(|error| error.to_string())
        };
        assert!(provider("https://api.openai.com/v1", &[]).is_ok());
        for url in ["http://127.0.0.1:8000/v1", "http://169.254.169.254/", "http://localhost/v1"] {
            let error = provider(url, &[]).unwrap_err();
            assert!(error.contains("allow_private = true"), "{url}: {error}");
            assert!(provider(url, &[("ALLOW_PRIVATE", "true")]).is_ok(), "{url}");
        }
        for url in ["ftp://example.com", "example.com", "http://"] {
            assert!(provider(url, &[]).unwrap_err().contains("base_url"), "{url}");
        }
    }

    #[test]
    fn a_certificate_and_its_key_go_together() {
        let error = load(&[("MEDLEY_SERVER__TLS_KEY", "key.pem")]).unwrap_err().to_string();
        assert!(error.contains("tls_certificate"), "{error}");
        let both = load(&[("MEDLEY_SERVER__TLS_KEY", "key.pem"), ("MEDLEY_SERVER__TLS_CERTIFICATE", "cert.pem")]);
        assert_eq!(both.unwrap().server.tls_files(), Some((Path::new("cert.pem"), Path::new("key.pem"))));
    }
}
