//! The audit log: what admins did, to what, and when. The database refuses to change or delete its rows.

use async_trait::async_trait;
use jiff::Timestamp;

use super::Result;
use super::people::People as _;
use super::shared::{micros, timestamp};
use crate::domain::UserId;

/// Who or what something was done to.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    None,
    /// A key, an item, a version.
    Thing(&'a str),
    /// Recorded as [`AuditStore::person_in_audit`], never by their id.
    Person(&'a UserId),
}

/// What an admin is about to do.
#[derive(Debug, Clone, Copy)]
pub struct NewAct<'a> {
    pub at: Timestamp,
    /// The id of an API key; `configuration`, `anyone` or `command`.
    pub actor: &'a str,
    /// `user.erase`, say.
    pub act: &'a str,
    pub subject: Subject<'a>,
    pub request_id: Option<&'a str>,
}

/// What an admin did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    pub at: Timestamp,
    pub actor: String,
    pub act: String,
    /// Empty: nothing, or a person who cannot be named.
    pub subject: String,
    pub request_id: Option<String>,
}

#[async_trait]
pub trait AuditStore: Send + Sync {
    async fn record_act(&self, act: &NewAct<'_>) -> Result<()>;
    /// The newest first, at most `limit`; those done to `subject`, if there is one.
    async fn acts(&self, subject: Option<&str>, limit: u32) -> Result<Vec<Act>>;
    /// What stands for a person in the log, and in no other table: a pseudonym where behaviour is encrypted. Where it is not, nothing
    /// does, as an erased person would be named there for ever.
    async fn person_in_audit(&self, user: &UserId) -> Result<Option<String>>;
}

type Row = (i64, String, String, String, Option<String>);

fn act((at, actor, act, subject, request_id): Row) -> Result<Act> {
    Ok(Act { at: timestamp(at)?, actor, act, subject, request_id })
}

for_both_databases! {
impl AuditStore {
    async fn record_act(&self, act: &NewAct<'_>) -> Result<()> {
        let subject = match act.subject {
            Subject::None => String::new(),
            Subject::Thing(name) => name.to_owned(),
            Subject::Person(user) => self.person_in_audit(user).await?.unwrap_or_default(),
        };
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO audit (tenant, at, actor, act, subject, request_id) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(self.tenant.as_str())
            .bind(micros(act.at))
            .bind(act.actor)
            .bind(act.act)
            .bind(subject)
            .bind(act.request_id)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    async fn acts(&self, subject: Option<&str>, limit: u32) -> Result<Vec<Act>> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT at, actor, act, subject, request_id FROM audit
             WHERE tenant = $1 AND ($2 IS NULL OR subject = $2) ORDER BY sequence DESC LIMIT $3",
        )
        .bind(self.tenant.as_str())
        .bind(subject)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(act).collect()
    }

    async fn person_in_audit(&self, user: &UserId) -> Result<Option<String>> {
        Ok(self.sealer().await?.map(|sealer| sealer.person_in_audit(user)))
    }
}
}
