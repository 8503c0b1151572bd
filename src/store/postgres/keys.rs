//! Public keys.

use async_trait::async_trait;

use super::PostgresStore;
use crate::store::{KeyStore, StoreError, StoredKey};

#[async_trait]
impl KeyStore for PostgresStore {
    async fn add_key(&self, key: &StoredKey) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO backstage_backend_public_keys__keys (id, key, expires_at) VALUES ($1, $2, $3)")
            .bind(&key.id)
            .bind(key.key.to_string())
            .bind(key.expiry_text())
            .execute(&self.0.pool)
            .await?;
        Ok(())
    }

    async fn keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT id, key, expires_at FROM backstage_backend_public_keys__keys ORDER BY expires_at, id",
        )
        .fetch_all(&self.0.pool)
        .await?;
        rows.into_iter().map(|(id, key, expires_at)| StoredKey::from_row(id, &key, &expires_at)).collect()
    }

    async fn remove_keys(&self, ids: &[String]) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM backstage_backend_public_keys__keys WHERE id = ANY($1)")
            .bind(ids)
            .execute(&self.0.pool)
            .await?;
        Ok(())
    }
}
