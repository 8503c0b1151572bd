//! Locations and entities of the embedded catalog.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::{SqliteStore, writer::Write};
use crate::store::{
    CatalogStore, StoreError, StoredEntity, StoredLocation,
    rows::{EntityRow, entity, entity_rows, refuse_location},
};

#[async_trait]
impl CatalogStore for SqliteStore {
    async fn locations(&self) -> Result<Vec<StoredLocation>, StoreError> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT id, type, target FROM understudy_locations ORDER BY rowid")
                .fetch_all(&self.0.readers)
                .await?;
        Ok(rows.into_iter().map(|(id, kind, target)| StoredLocation { id, kind, target }).collect())
    }

    async fn put_location(&self, location: &StoredLocation, entities: &[StoredEntity]) -> Result<(), StoreError> {
        let origin = format!("{}:{}", location.kind, location.target);
        let entities = entity_rows(entities)?;
        self.write(PutLocation { location: location.clone(), replace: ReplaceOrigin { origin, entities } }).await
    }

    async fn remove_location(&self, id: &str) -> Result<bool, StoreError> {
        self.write(RemoveLocation { id: id.to_string() }).await
    }

    async fn replace_origin(&self, origin: &str, entities: &[StoredEntity]) -> Result<(), StoreError> {
        self.write(ReplaceOrigin { origin: origin.to_string(), entities: entity_rows(entities)? }).await
    }

    async fn entities(&self) -> Result<Vec<StoredEntity>, StoreError> {
        let rows: Vec<(String, String, String, String)> =
            sqlx::query_as("SELECT entity_ref, location, origin, entity FROM understudy_entities ORDER BY rowid")
                .fetch_all(&self.0.readers)
                .await?;
        rows.into_iter().map(entity).collect()
    }
}

struct PutLocation {
    location: StoredLocation,
    replace: ReplaceOrigin,
}

#[async_trait]
impl Write for PutLocation {
    type Output = ();
    async fn run(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        let StoredLocation { id, kind, target } = &self.location;
        let inserted =
            sqlx::query("INSERT INTO understudy_locations (id, type, target) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
                .bind(id.clone())
                .bind(kind.clone())
                .bind(target.clone())
                .execute(&mut *conn)
                .await?
                .rows_affected();
        if inserted == 0 {
            return Err(refuse_location(kind, target));
        }
        self.replace.run(conn).await
    }
}

struct RemoveLocation {
    id: String,
}

#[async_trait]
impl Write for RemoveLocation {
    type Output = bool;
    async fn run(&self, conn: &mut SqliteConnection) -> Result<bool, StoreError> {
        let removed: Option<(String, String)> =
            sqlx::query_as("DELETE FROM understudy_locations WHERE id = ? RETURNING type, target")
                .bind(self.id.clone())
                .fetch_optional(&mut *conn)
                .await?;
        let Some((kind, target)) = removed else { return Ok(false) };
        sqlx::query("DELETE FROM understudy_entities WHERE origin = ?")
            .bind(format!("{kind}:{target}"))
            .execute(conn)
            .await?;
        Ok(true)
    }
}

struct ReplaceOrigin {
    origin: String,
    entities: Vec<EntityRow>,
}

#[async_trait]
impl Write for ReplaceOrigin {
    type Output = ();
    async fn run(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM understudy_entities WHERE origin = ?")
            .bind(self.origin.clone())
            .execute(&mut *conn)
            .await?;
        for (entity_ref, location, entity) in &self.entities {
            sqlx::query("INSERT INTO understudy_entities (entity_ref, location, origin, entity) VALUES (?, ?, ?, ?)")
                .bind(entity_ref.clone())
                .bind(location.clone())
                .bind(self.origin.clone())
                .bind(entity.clone())
                .execute(&mut *conn)
                .await?;
        }
        Ok(())
    }
}
