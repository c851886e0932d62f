//! The catalogue: items, full-text search, and the order of changes that copies in memory follow.

use std::collections::HashMap;

use rayon::prelude::*;
use sqlx::QueryBuilder;

use super::searching::{TITLES_END, search_text, words};
use super::shared::{Lock, from_json, id, to_json};
use super::{ItemChange, ItemPage, ItemSearch, Result, Upserted};
use crate::domain::{Item, ItemId, ItemPatch};

/// Items in one statement: six values each, under SQLite's limit of 32,766 values and Postgres' of 65,535.
const CHUNK: usize = 1_000;

/// The revision of the newest change; 0 when there is none. Deleted items keep their row, so it never falls.
const NEWEST_REVISION: &str = "SELECT revision FROM items WHERE tenant = $1 ORDER BY revision DESC LIMIT 1";

/// A transaction's first revision comes so far behind the newest there is, at most.
const STEP: i64 = 1 << 24;

/// The first revision of a transaction, behind the newest there is. Nobody can foresee it, so that two stores of which one is not the other's past never have a
/// revision in common.
fn next_revision(newest: Option<i64>) -> i64 {
    newest.unwrap_or(0) + rand::random_range(1..=STEP)
}

/// What becomes of each of `items`, one after the other, and those whose last state differs from what is stored.
fn compare<'a>(items: &'a [Item], stored: &'a HashMap<ItemId, Item>) -> (Vec<Upserted>, Vec<&'a Item>) {
    let mut latest: HashMap<&ItemId, &Item> = stored.iter().collect();
    let outcomes = items
        .iter()
        .map(|item| match latest.insert(&item.id, item) {
            None => Upserted::Created,
            Some(before) if before == item => Upserted::Unchanged,
            Some(_) => Upserted::Updated,
        })
        .collect();
    let is_latest = |item: &&Item| latest.get(&item.id).is_some_and(|last| std::ptr::eq(*last, *item));
    let changed = items.iter().filter(is_latest).filter(|item| stored.get(&item.id) != Some(item)).collect();
    (outcomes, changed)
}

for_both_databases! {
impl CatalogueStore {
    async fn upsert_items(&self, items: &[Item]) -> Result<Vec<Upserted>> {
        let mut tx = self.begin().await?;
        self.lock(&mut tx, Lock::Catalogue).await?;
        let mut stored: HashMap<ItemId, Item> = HashMap::with_capacity(items.len());
        for chunk in items.chunks(CHUNK) {
            let mut query = QueryBuilder::new("SELECT fields FROM items WHERE fields IS NOT NULL AND tenant = ");
            query.push_bind(self.tenant.as_str()).push(" AND id IN (");
            let mut ids = query.separated(", ");
            for item in chunk {
                ids.push_bind(item.id.as_str());
            }
            query.push(")");
            let rows: Vec<String> = query.build_query_scalar().persistent(false).fetch_all(&mut *tx).await?;
            for fields in rows {
                let item: Item = from_json(&fields, "item")?;
                stored.insert(item.id.clone(), item);
            }
        }
        let (outcomes, changed) = compare(items, &stored);
        let newest: Option<i64> = sqlx::query_scalar(NEWEST_REVISION).bind(self.tenant.as_str()).fetch_optional(&mut *tx).await?;
        let mut revision = next_revision(newest);
        for chunk in changed.chunks(CHUNK) {
            let rows = chunk.iter().map(|item| Ok((*item, to_json(item)?))).collect::<Result<Vec<_>>>()?;
            let mut query =
                QueryBuilder::new("INSERT INTO items (tenant, id, domain, fields, search_text, revision) ");
            query.push_values(rows, |mut row, (item, fields)| {
                row.push_bind(self.tenant.as_str())
                    .push_bind(item.id.as_str())
                    .push_bind(item.domain.as_str())
                    .push_bind(fields)
                    .push_bind(search_text(item))
                    .push_bind(revision);
                revision += 1;
            });
            query.push(
                " ON CONFLICT (tenant, id) DO UPDATE SET domain = excluded.domain, fields = excluded.fields, \
                 search_text = excluded.search_text, revision = excluded.revision",
            );
            query.build().persistent(false).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(outcomes)
    }

    async fn item(&self, id: &ItemId) -> Result<Option<Item>> {
        let fields: Option<String> =
            sqlx::query_scalar("SELECT fields FROM items WHERE tenant = $1 AND id = $2 AND fields IS NOT NULL")
                .bind(self.tenant.as_str())
                .bind(id.as_str())
                .fetch_optional(&self.pool)
                .await?;
        fields.map(|fields| from_json(&fields, "item")).transpose()
    }

    async fn patch_item(&self, id: &ItemId, patch: &ItemPatch) -> Result<Option<Item>> {
        let mut tx = self.begin().await?;
        self.lock(&mut tx, Lock::Catalogue).await?;
        let fields: Option<String> =
            sqlx::query_scalar("SELECT fields FROM items WHERE tenant = $1 AND id = $2 AND fields IS NOT NULL")
                .bind(self.tenant.as_str())
                .bind(id.as_str())
                .fetch_optional(&mut *tx)
                .await?;
        let Some(fields) = fields else { return Ok(None) };
        let before: Item = from_json(&fields, "item")?;
        let mut item = before.clone();
        patch.clone().apply(&mut item);
        if item == before {
            return Ok(Some(item));
        }
        let newest: Option<i64> = sqlx::query_scalar(NEWEST_REVISION).bind(self.tenant.as_str()).fetch_optional(&mut *tx).await?;
        sqlx::query(
            "UPDATE items SET domain = $3, fields = $4, search_text = $5, revision = $6 WHERE tenant = $1 AND id = $2",
        )
        .bind(self.tenant.as_str())
        .bind(id.as_str())
        .bind(item.domain.as_str())
        .bind(to_json(&item)?)
        .bind(search_text(&item))
        .bind(next_revision(newest))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some(item))
    }

    async fn delete_item(&self, id: &ItemId) -> Result<bool> {
        let mut tx = self.begin().await?;
        self.lock(&mut tx, Lock::Catalogue).await?;
        let newest: Option<i64> = sqlx::query_scalar(NEWEST_REVISION).bind(self.tenant.as_str()).fetch_optional(&mut *tx).await?;
        let deleted = sqlx::query(
            "UPDATE items SET fields = NULL, search_text = '', revision = $3
             WHERE tenant = $1 AND id = $2 AND fields IS NOT NULL",
        )
        .bind(self.tenant.as_str())
        .bind(id.as_str())
        .bind(next_revision(newest))
        .execute(&mut *tx)
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok(deleted > 0)
    }

    async fn search_items(&self, search: &ItemSearch) -> Result<ItemPage> {
        let limit = search.limit as usize;
        let words = words(search.text.as_deref().unwrap_or_default());
        let mut query = QueryBuilder::new("SELECT place, fields FROM (SELECT id, fields, CASE WHEN ");
        for word in &words {
            // Before the end of the titles.
            query.push("search_text LIKE ").push_bind(format!("%{word}%{TITLES_END}%")).push(r" ESCAPE '\' AND ");
        }
        query.push(if words.is_empty() { "FALSE" } else { "TRUE" });
        query.push(" THEN 0 ELSE 1 END AS place FROM items WHERE fields IS NOT NULL AND tenant = ");
        query.push_bind(self.tenant.as_str());
        if let Some(domain) = &search.domain {
            query.push(" AND domain = ").push_bind(domain.as_str());
        }
        for word in &words {
            query.push(" AND search_text LIKE ").push_bind(format!("%{word}%")).push(r" ESCAPE '\'");
        }
        query.push(") AS found");
        if let Some((by_title, id)) = &search.after {
            query.push(if *by_title { " WHERE place > 0 OR id > " } else { " WHERE place > 0 AND id > " });
            query.push_bind(id.as_str());
        }
        // Without words all have one place, and an index has them in order. One more than asked for tells whether there is a next page.
        query.push(if words.is_empty() { " ORDER BY id LIMIT " } else { " ORDER BY place, id LIMIT " });
        query.push_bind(i64::from(search.limit) + 1);
        let rows: Vec<(i32, String)> = query.build_query_as().persistent(false).fetch_all(&self.pool).await?;
        let found = rows.iter().map(|(place, fields)| Ok((*place == 0, from_json::<Item>(fields, "item")?)));
        let mut found = found.collect::<Result<Vec<_>>>()?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(by_title, item)| (*by_title, item.id.clone()));
        Ok(ItemPage { items: found.into_iter().map(|(_, item)| item).collect(), next })
    }

    async fn renew_search(&self) -> Result<()> {
        // In the words and in the order of the index over these rows: else Postgres would look through all items.
        const EARLIER: &str = "SELECT tenant, id, fields FROM items
            WHERE fields IS NOT NULL AND substr(search_text, 1, 1) <> 'S' ORDER BY tenant, id LIMIT 1000";
        // Most starts find none, and wait for no writer.
        while sqlx::query(EARLIER).fetch_optional(&self.pool).await?.is_some() {
            let mut tx = self.begin().await?;
            self.lock(&mut tx, Lock::Catalogue).await?;
            let rows: Vec<(String, String, String)> = sqlx::query_as(EARLIER).fetch_all(&mut *tx).await?;
            let texts = rows.iter().map(|(.., fields)| Ok(search_text(&from_json(fields, "item")?)));
            let texts = texts.collect::<Result<Vec<_>>>()?;
            let mut update = QueryBuilder::new("UPDATE items SET search_text = new.column3 FROM (");
            update.push_values(rows.iter().zip(texts), |mut row, ((tenant, id, _), text)| {
                row.push_bind(tenant).push_bind(id).push_bind(text);
            });
            update.push(") AS new WHERE items.tenant = new.column1 AND items.id = new.column2");
            // Another start may have been faster.
            if !rows.is_empty() {
                update.build().persistent(false).execute(&mut *tx).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    async fn count_items(&self) -> Result<u64> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM items WHERE tenant = $1 AND fields IS NOT NULL")
            .bind(self.tenant.as_str())
            .fetch_one(&self.pool)
            .await?;
        Ok(count.unsigned_abs())
    }

    async fn has_revision(&self, revision: i64) -> Result<bool> {
        let query = "SELECT EXISTS (SELECT 1 FROM items WHERE tenant = $1 AND revision = $2)";
        Ok(sqlx::query_scalar(query).bind(self.tenant.as_str()).bind(revision).fetch_one(&self.pool).await?)
    }

    async fn item_changes(&self, revision: i64, limit: u32) -> Result<Vec<(i64, ItemChange)>> {
        let rows: Vec<(i64, String, Option<String>)> = sqlx::query_as(
            "SELECT revision, id, fields FROM items WHERE tenant = $1 AND revision > $2 ORDER BY revision LIMIT $3",
        )
        .bind(self.tenant.as_str())
        .bind(revision)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        // All of a page at once: a start reads the whole catalogue.
        rows.into_par_iter()
            .map(|(revision, item, fields)| {
                let change = match fields {
                    Some(fields) => ItemChange::Stored(from_json(&fields, "item")?),
                    None => ItemChange::Deleted(id(item)?),
                };
                Ok((revision, change))
            })
            .collect()
    }
}
}
