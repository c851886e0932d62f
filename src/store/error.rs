//! What an error of the driver means to a caller. The text that a caller may see never carries SQL, an URL or data:
//! the details go to the log.

use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::migrate::MigrateError;

use super::StoreError;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error;
        tracing::debug!(%error, "the database reported an error");
        match error {
            Error::PoolTimedOut => Self::Unavailable("no connection became free in time".to_owned()),
            Error::PoolClosed => Self::Unavailable("the store is closed".to_owned()),
            Error::Io(error) => Self::Unavailable(error.kind().to_string()),
            Error::Tls(_) => Self::Unavailable("no TLS connection could be made".to_owned()),
            Error::WorkerCrashed | Error::Protocol(_) | Error::BeginFailed => {
                Self::Unavailable("the connection was lost".to_owned())
            }
            Error::Configuration(_) | Error::InvalidArgument(_) => {
                Self::Failed("the database URL is not valid".to_owned())
            }
            Error::Database(error) => from_database(&*error),
            error => {
                tracing::error!(%error, "the database could not be used");
                Self::Failed("an answer of the database could not be read".to_owned())
            }
        }
    }
}

fn from_database(error: &dyn DatabaseError) -> StoreError {
    let code = error.code().unwrap_or_default();
    if error.kind() == ErrorKind::UniqueViolation {
        return StoreError::Conflict("it exists already".to_owned());
    }
    if let Ok(code) = code.parse::<i32>()
        && error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some()
    {
        return from_sqlite(code);
    }
    let meaning = from_postgres(&code);
    if matches!(meaning, StoreError::Failed(_)) {
        tracing::error!(%error, %code, "Postgres refused");
    }
    meaning
}

const DEADLOCK: &str = "two writers waited for each other";

impl StoreError {
    /// Whether two transactions waited for each other and this one was ended for it: tried again it may pass.
    pub(super) fn is_deadlock(&self) -> bool {
        matches!(self, Self::Unavailable(reason) if reason == DEADLOCK)
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn from_postgres(code: &str) -> StoreError {
    // Lost connections; transactions that lost a race; no resources left; a server that shuts down, starts, or was asked to cancel; a stand-by; its
    // file system.
    let passing = ["08", "40", "53", "55P03", "57", "25006", "58"];
    match code {
        "28P01" | "28000" => StoreError::Failed("the name or password was not accepted".to_owned()),
        "40P01" => StoreError::Unavailable(DEADLOCK.to_owned()),
        "42P05" | "26000" => StoreError::Failed(
            "a pooler gives prepared statements to the wrong connections; PgBouncer needs max_prepared_statements (docs/operations.md)"
                .to_owned(),
        ),
        "3D000" => StoreError::Failed("there is no database of this name".to_owned()),
        // disk_full
        "53100" => StoreError::Full,
        code if passing.iter().any(|class| code.starts_with(class)) => {
            StoreError::Unavailable(format!("Postgres error {code}"))
        }
        code => StoreError::Failed(format!("Postgres error {code}")),
    }
}

/// <https://sqlite.org/rescode.html>; the primary code is the low byte.
fn from_sqlite(code: i32) -> StoreError {
    match code & 0xff {
        5 | 6 => StoreError::Unavailable("another process is writing (SQLite)".to_owned()),
        10 => StoreError::Unavailable("the disk could not be read or written (SQLite)".to_owned()),
        13 => StoreError::Full,
        14 => StoreError::Unavailable("the file cannot be opened (SQLite)".to_owned()),
        8 => StoreError::Failed("the file is read-only (SQLite)".to_owned()),
        11 | 26 => StoreError::Failed("the file is damaged, or no database (SQLite)".to_owned()),
        primary => {
            tracing::error!(code, "SQLite refused");
            StoreError::Failed(format!("SQLite error {primary}"))
        }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) => error.into(),
            MigrateError::ExecuteMigration(error, version) => match error.into() {
                Self::Failed(reason) => Self::Failed(format!("migration {version}: {reason}")),
                other => other,
            },
            MigrateError::VersionMissing(version) => Self::Failed(format!(
                "its schema is newer than this program (migration {version}); start a newer version of Medley"
            )),
            MigrateError::VersionMismatch(version) => {
                Self::Failed(format!("migration {version} differs from the one that was applied"))
            }
            error => {
                tracing::error!(%error, "the schema could not be brought up to date");
                Self::Failed("the schema could not be brought up to date".to_owned())
            }
        }
    }
}

/// Whether SQLite gave up waiting for another writer.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_may_pass_is_unavailable_and_one_that_stays_has_failed() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert!(matches!(StoreError::from(sqlx::Error::Io(refused)), StoreError::Unavailable(_)));
        assert!(matches!(StoreError::from(sqlx::Error::PoolTimedOut), StoreError::Unavailable(_)));
        assert!(matches!(from_sqlite(5 | (1 << 8)), StoreError::Unavailable(_)), "SQLITE_BUSY_RECOVERY");
        assert!(matches!(from_sqlite(1), StoreError::Failed(_)));
        assert!(matches!(from_postgres("53300"), StoreError::Unavailable(_)), "too many connections");
        assert!(matches!(from_postgres("42P01"), StoreError::Failed(_)), "no such table");
        assert!(from_postgres("40P01").is_deadlock() && !from_postgres("40001").is_deadlock());
        let configuration = sqlx::Error::Configuration("postgres://u:secret@h".into());
        assert!(!StoreError::from(configuration).to_string().contains("secret"));
    }

    #[test]
    fn a_full_disk_is_an_error_of_its_own() {
        assert!(matches!(from_sqlite(13), StoreError::Full));
        assert!(matches!(from_postgres("53100"), StoreError::Full));
        assert!(matches!(from_postgres("53200"), StoreError::Unavailable(_)), "out of memory");
    }
}
