//! The catalogue: items, full-text search, and the order of changes that copies in memory follow.

use std::collections::HashMap;

use rayon::prelude::*;
use sqlx::QueryBuilder;
use unicode_normalization::UnicodeNormalization as _;

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

/// Text without the differences that a search should not see: width of letters, composition of accents, case.
fn folded(text: &str) -> String {
    // A NUL cannot be stored by Postgres.
    text.nfkc().flat_map(char::to_lowercase).map(|c| if c == '\0' { ' ' } else { c }).collect()
}

/// Everything of an item that a search looks at.
fn search_text(item: &Item) -> String {
    let original = item.attributes.get("original_title");
    let lists = [&item.creators, &item.genres, &item.tags].into_iter().chain(original);
    let texts: Vec<&str> = std::iter::once(item.title.as_str())
        .chain(lists.flatten().map(String::as_str))
        .chain(item.description.as_deref())
        .collect();
    folded(&texts.join("\n"))
}

/// The `LIKE` patterns of which each must match: one for every word.
fn patterns(text: &str) -> Vec<String> {
    let pattern = |word: &str| {
        let literal = word.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_");
        format!("%{literal}%")
    };
    folded(text).split_whitespace().map(pattern).collect()
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
        let mut query = QueryBuilder::new("SELECT fields FROM items WHERE fields IS NOT NULL AND tenant = ");
        query.push_bind(self.tenant.as_str());
        if let Some(domain) = &search.domain {
            query.push(" AND domain = ").push_bind(domain.as_str());
        }
        if let Some(after) = &search.after {
            query.push(" AND id > ").push_bind(after.as_str());
        }
        for pattern in patterns(search.text.as_deref().unwrap_or_default()) {
            query.push(" AND search_text LIKE ").push_bind(pattern).push(r" ESCAPE '\'");
        }
        // One more than asked for tells whether there is a next page.
        query.push(" ORDER BY id LIMIT ").push_bind(i64::from(search.limit) + 1);
        let rows: Vec<String> = query.build_query_scalar().persistent(false).fetch_all(&self.pool).await?;
        let mut items = rows.iter().map(|fields| from_json(fields, "item")).collect::<Result<Vec<Item>>>()?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|item| item.id.clone());
        Ok(ItemPage { items, next })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_in_a_search_are_letters() {
        assert_eq!(patterns("100% _A\\"), [r"%100\%%", r"%\_a\\%"]);
        assert_eq!(patterns("ＦＵＬＬ Größe"), ["%full%", "%größe%"]);
        assert!(patterns(" \t").is_empty());
    }
}
