//! Locations and entities of the embedded catalog.

use async_trait::async_trait;
use sqlx::{PgConnection, Postgres, Transaction};

use super::PostgresStore;
use crate::store::{
    CatalogStore, StoreError, StoredEntity, StoredLocation,
    rows::{EntityRow, entity, entity_rows, refuse_location},
};

#[async_trait]
impl CatalogStore for PostgresStore {
    async fn locations(&self) -> Result<Vec<StoredLocation>, StoreError> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT id, type, target FROM understudy_locations ORDER BY number")
                .fetch_all(&self.0.pool)
                .await?;
        Ok(rows.into_iter().map(|(id, kind, target)| StoredLocation { id, kind, target }).collect())
    }

    async fn put_location(&self, location: &StoredLocation, entities: &[StoredEntity]) -> Result<(), StoreError> {
        let StoredLocation { id, kind, target } = location;
        let origin = format!("{kind}:{target}");
        let rows = entity_rows(entities)?;
        let mut tx = self.lock_catalog().await?;
        let inserted = sqlx::query(
            "INSERT INTO understudy_locations (id, type, target) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(kind)
        .bind(target)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if inserted == 0 {
            return Err(refuse_location(kind, target));
        }
        replace(&mut tx, &origin, &rows).await?;
        self.commit_catalog(tx).await
    }

    async fn remove_location(&self, id: &str) -> Result<bool, StoreError> {
        let mut tx = self.lock_catalog().await?;
        let removed: Option<(String, String)> =
            sqlx::query_as("DELETE FROM understudy_locations WHERE id = $1 RETURNING type, target")
                .bind(id)
                .fetch_optional(&mut *tx)
                .await?;
        let Some((kind, target)) = removed else { return Ok(false) };
        replace(&mut tx, &format!("{kind}:{target}"), &[]).await?;
        self.commit_catalog(tx).await?;
        Ok(true)
    }

    async fn replace_origin(&self, origin: &str, entities: &[StoredEntity]) -> Result<(), StoreError> {
        let rows = entity_rows(entities)?;
        let mut tx = self.lock_catalog().await?;
        // Each replica reads all locations: most of the time somebody else has found the same just now.
        let before: Vec<EntityRow> = sqlx::query_as(
            "SELECT entity_ref, location, entity FROM understudy_entities WHERE origin = $1 ORDER BY number",
        )
        .bind(origin)
        .fetch_all(&mut *tx)
        .await?;
        if before == rows {
            return Ok(());
        }
        replace(&mut tx, origin, &rows).await?;
        self.commit_catalog(tx).await
    }

    async fn entities(&self) -> Result<Vec<StoredEntity>, StoreError> {
        let rows: Vec<(String, String, String, String)> =
            sqlx::query_as("SELECT entity_ref, location, origin, entity FROM understudy_entities ORDER BY number")
                .fetch_all(&self.0.pool)
                .await?;
        rows.into_iter().map(entity).collect()
    }
}

impl PostgresStore {
    /// One writer of the catalog at a time: replicas that start together read the same locations.
    async fn lock_catalog(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        let mut tx = self.0.pool.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock(hashtext('understudy_entities'))").execute(&mut *tx).await?;
        Ok(tx)
    }

    async fn commit_catalog(&self, mut tx: Transaction<'static, Postgres>) -> Result<(), StoreError> {
        sqlx::query("SELECT pg_notify($1, '')").bind(&self.0.channels.catalog).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }
}

async fn replace(conn: &mut PgConnection, origin: &str, rows: &[EntityRow]) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM understudy_entities WHERE origin = $1").bind(origin).execute(&mut *conn).await?;
    for (entity_ref, location, entity) in rows {
        sqlx::query("INSERT INTO understudy_entities (entity_ref, location, origin, entity) VALUES ($1, $2, $3, $4)")
            .bind(entity_ref)
            .bind(location)
            .bind(origin)
            .bind(entity)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}
