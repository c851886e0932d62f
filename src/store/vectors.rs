//! Vectors of texts, by the model that made them: what a provider was asked once is not asked again.

use crate::domain::VectorSource;

use super::shared::unreadable;
use super::{Result, StoreError, TextHash, TextVector};

type Row = (Vec<u8>, i32, Vec<u8>);

fn vector((hash, dimensions, bytes): Row) -> Result<TextVector> {
    let hash = TextHash::try_from(hash).map_err(|_| unreadable("text hash"))?;
    let vector: Vec<f32> =
        bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect();
    let whole = bytes.len() == 4 * vector.len() && i32::try_from(vector.len()) == Ok(dimensions);
    if whole && vector.iter().all(|value| value.is_finite()) { Ok((hash, vector)) } else { Err(unreadable("vector")) }
}

for_both_databases! {
impl VectorStore {
    async fn text_vectors(
        &self,
        source: &VectorSource,
        after: Option<&TextVector>,
        limit: u32,
    ) -> Result<Vec<TextVector>> {
        let (dimensions, hash) = after.map_or((0, &[] as &[u8]), |(hash, vector)| (vector.len() as i32, hash));
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT text_hash, dimensions, vector FROM text_vectors
             WHERE tenant = $1 AND provider = $2 AND model = $3 AND revision = $4 AND (dimensions, text_hash) > ($5, $6)
             ORDER BY dimensions, text_hash LIMIT $7",
        )
        .bind(self.tenant.as_str())
        .bind(&source.provider)
        .bind(&source.model)
        .bind(&source.revision)
        .bind(dimensions)
        .bind(hash)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(vector).collect()
    }

    async fn keep_text_vectors(&self, source: &VectorSource, vectors: &[TextVector]) -> Result<()> {
        let mut tx = self.begin().await?;
        for (hash, vector) in vectors {
            if vector.is_empty() || vector.iter().any(|value| !value.is_finite()) {
                return Err(StoreError::Failed("a vector is empty or not finite".to_owned()));
            }
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            sqlx::query(
                "INSERT INTO text_vectors (tenant, provider, model, revision, dimensions, text_hash, vector)
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            )
            .bind(self.tenant.as_str())
            .bind(&source.provider)
            .bind(&source.model)
            .bind(&source.revision)
            .bind(vector.len() as i32)
            .bind(hash.as_slice())
            .bind(bytes)
            .execute(&mut *tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }
}
}
