//! Public keys.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::{SqliteStore, writer::Write};
use crate::store::{KeyStore, StoreError, StoredKey};

#[async_trait]
impl KeyStore for SqliteStore {
    async fn add_key(&self, key: &StoredKey) -> Result<(), StoreError> {
        self.write(AddKey(key.clone())).await
    }

    async fn keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT id, key, expires_at FROM backstage_backend_public_keys__keys ORDER BY rowid")
                .fetch_all(&self.0.readers)
                .await?;
        rows.into_iter().map(|(id, key, expires_at)| StoredKey::from_row(id, &key, &expires_at)).collect()
    }

    async fn remove_keys(&self, ids: &[String]) -> Result<(), StoreError> {
        self.write(RemoveKeys(ids.to_vec())).await
    }
}

struct AddKey(StoredKey);

#[async_trait]
impl Write for AddKey {
    type Output = ();
    async fn run(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO backstage_backend_public_keys__keys (id, key, expires_at) VALUES (?, ?, ?)")
            .bind(&self.0.id)
            .bind(self.0.key.to_string())
            .bind(self.0.expiry_text())
            .execute(conn)
            .await?;
        Ok(())
    }
}

struct RemoveKeys(Vec<String>);

#[async_trait]
impl Write for RemoveKeys {
    type Output = ();
    async fn run(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        for id in &self.0 {
            sqlx::query("DELETE FROM backstage_backend_public_keys__keys WHERE id = ?")
                .bind(id)
                .execute(&mut *conn)
                .await?;
        }
        Ok(())
    }
}
