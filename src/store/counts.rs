//! Counting what many callers want counted at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Mutex as AsyncMutex;

use super::{StoreError, TaskFilter};

/// The last count, and when it was begun.
type Shared = AsyncMutex<Option<(Instant, i64)>>;

/// Counts under way, by what they count. A list says how many tasks match, however many that are; counting a million rows takes
/// a while, and many who ask at the same time would each have all of them counted.
///
/// A count answers everybody who asked before it began, and nobody who asked later: it tells of everything that was written
/// before they asked.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<HashMap<String, Arc<Shared>>>);

/// One caller's part in a count. When the last one goes, what is shared goes.
struct Part<'a> {
    counts: &'a Counts,
    key: String,
    shared: Option<Arc<Shared>>,
}

impl Counts {
    /// How many tasks match; `count` asks the database when nobody else's question answers this one.
    ///
    /// # Errors
    /// What `count` fails with. Others who wait ask for themselves then.
    pub(super) async fn get(
        &self,
        filter: &TaskFilter,
        count: impl AsyncFnOnce() -> Result<i64, StoreError>,
    ) -> Result<i64, StoreError> {
        let asked = Instant::now();
        let part = self.part(filter);
        let Some(shared) = &part.shared else { return count().await };
        let mut last = shared.lock().await;
        match *last {
            Some((began, total)) if began > asked => Ok(total),
            _ => {
                let began = Instant::now();
                let total = count().await?;
                *last = Some((began, total));
                Ok(total)
            }
        }
    }

    fn part(&self, filter: &TaskFilter) -> Part<'_> {
        // Order and page make no difference to the number.
        let TaskFilter { created_by, status, template_ref, text, visible, order: _, limit: _, offset: _ } = filter;
        let key = format!("{:?}", (created_by, status, template_ref, text, visible));
        let shared = Arc::clone(self.locked().entry(key.clone()).or_default());
        Part { counts: self, key, shared: Some(shared) }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Arc<Shared>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        let mut counts = self.counts.locked();
        self.shared = None;
        if counts.get(&self.key).is_some_and(|shared| Arc::strong_count(shared) == 1) {
            counts.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicI64, Ordering};

    use tokio::{sync::Semaphore, task::JoinSet};

    use super::*;

    /// A database whose counts end when they are let.
    #[derive(Default)]
    struct Database {
        counts: Counts,
        rows: AtomicI64,
        counted: AtomicI64,
        lets: Option<Semaphore>,
    }

    impl Database {
        async fn total(&self, filter: &TaskFilter) -> Result<i64, StoreError> {
            let count = async || {
                let rows = self.rows.load(Ordering::SeqCst);
                self.counted.fetch_add(1, Ordering::SeqCst);
                if let Some(lets) = &self.lets {
                    lets.acquire().await.unwrap().forget();
                }
                if rows < 0 { Err(StoreError::NotWritten("refused".into())) } else { Ok(rows) }
            };
            self.counts.get(filter, count).await
        }
    }

    async fn all_wait(database: &Arc<Database>, callers: usize) -> JoinSet<Result<i64, StoreError>> {
        let mut waiting = JoinSet::new();
        for _ in 0..callers {
            let database = Arc::clone(database);
            waiting.spawn(async move { database.total(&TaskFilter::default()).await });
        }
        // All tasks run up to where they wait: there is one thread.
        for _ in 0..callers * 4 {
            tokio::task::yield_now().await;
        }
        waiting
    }

    #[tokio::test]
    async fn who_asks_during_a_count_shares_the_next() {
        let database = Arc::new(Database { lets: Some(Semaphore::new(0)), ..Database::default() });
        let first = all_wait(&database, 1).await;
        // Written after the first count began: whoever asks now must see it.
        database.rows.store(7, Ordering::SeqCst);
        let others = all_wait(&database, 20).await;
        database.lets.as_ref().unwrap().add_permits(2);
        let first = first.join_all().await.pop().unwrap().unwrap();
        let others: Vec<i64> = others.join_all().await.into_iter().map(Result::unwrap).collect();
        assert_eq!((first, others), (0, vec![7; 20]));
        assert_eq!(database.counted.load(Ordering::SeqCst), 2);
        assert!(database.counts.locked().is_empty());
    }

    #[tokio::test]
    async fn other_filters_and_later_callers_have_counts_of_their_own() {
        let database = Database::default();
        let failed = TaskFilter { text: Some("x".into()), ..TaskFilter::default() };
        let page = TaskFilter { limit: Some(20), offset: Some(3), ..TaskFilter::default() };
        for (rows, filter) in [(1, &TaskFilter::default()), (2, &failed), (3, &page), (4, &page)] {
            database.rows.store(rows, Ordering::SeqCst);
            assert_eq!(database.total(filter).await.unwrap(), rows);
        }
        assert_eq!(database.counted.load(Ordering::SeqCst), 4);
        assert_eq!(database.counts.part(&TaskFilter::default()).key, database.counts.part(&page).key);
        assert_ne!(database.counts.part(&failed).key, database.counts.part(&page).key);
        assert!(database.counts.locked().is_empty());
    }

    #[tokio::test]
    async fn a_failed_or_abandoned_count_is_nobody_elses() {
        let database = Arc::new(Database { lets: Some(Semaphore::new(0)), ..Database::default() });
        database.rows.store(-1, Ordering::SeqCst);
        let mut first = all_wait(&database, 1).await;
        database.rows.store(5, Ordering::SeqCst);
        let second = all_wait(&database, 1).await;
        database.lets.as_ref().unwrap().add_permits(2);
        assert!(first.join_next().await.unwrap().unwrap().is_err());
        assert_eq!(second.join_all().await.pop().unwrap().unwrap(), 5);

        let mut gone = all_wait(&database, 1).await;
        let waits = all_wait(&database, 1).await;
        gone.abort_all();
        assert!(gone.join_next().await.unwrap().unwrap_err().is_cancelled());
        database.lets.as_ref().unwrap().add_permits(1);
        assert_eq!(waits.join_all().await.pop().unwrap().unwrap(), 5);
        assert!(database.counts.locked().is_empty());
    }
}
