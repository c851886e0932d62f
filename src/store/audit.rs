//! The audit log: what admins did, to what, and when. The database refuses to change or delete its rows.

use super::people::People as _;
use super::shared::{micros, timestamp};
use super::{Act, NewAct, Result, Subject};
use crate::domain::UserId;

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
