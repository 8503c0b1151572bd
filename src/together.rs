//! Asking once what many want to know at the same time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Mutex as AsyncMutex;

/// The last answer to a question, and when the question was put.
type Shared<V> = AsyncMutex<Option<(Instant, V)>>;

/// Questions under way, by what they ask. Many who want to know the same at the same time would each put the question; here one
/// of those who wait puts it for all of them.
///
/// An answer serves everybody who came before its question was put, and nobody who came later. So it knows of everything that
/// was done before they came, as if each had asked alone.
#[derive(Debug)]
pub(crate) struct Together<V>(Mutex<HashMap<String, Arc<Shared<V>>>>);

impl<V> Default for Together<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// One caller's part in a question. When the last one goes, what is shared goes.
struct Part<'a, V> {
    all: &'a Together<V>,
    question: String,
    shared: Option<Arc<Shared<V>>>,
}

impl<V: Clone> Together<V> {
    /// The answer to a question; `ask` is called unless an answer to somebody else serves.
    ///
    /// # Errors
    /// What `ask` fails with. Others who wait ask for themselves then.
    pub(crate) async fn get<E>(&self, question: String, ask: impl AsyncFnOnce() -> Result<V, E>) -> Result<V, E> {
        let came = Instant::now();
        let part = self.part(question);
        let Some(shared) = &part.shared else { return ask().await };
        let mut last = shared.lock().await;
        match &*last {
            Some((put, answer)) if *put > came => Ok(answer.clone()),
            _ => {
                let put = Instant::now();
                let answer = ask().await?;
                *last = Some((put, answer.clone()));
                Ok(answer)
            }
        }
    }
}

impl<V> Together<V> {
    fn part(&self, question: String) -> Part<'_, V> {
        let shared = Arc::clone(self.locked().entry(question.clone()).or_default());
        Part { all: self, question, shared: Some(shared) }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Arc<Shared<V>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Drop for Part<'_, V> {
    fn drop(&mut self) {
        let mut all = self.all.locked();
        self.shared = None;
        if all.get(&self.question).is_some_and(|shared| Arc::strong_count(shared) == 1) {
            all.remove(&self.question);
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
        counts: Together<i64>,
        rows: AtomicI64,
        counted: AtomicI64,
        lets: Option<Semaphore>,
    }

    impl Database {
        async fn total(&self, of: &str) -> Result<i64, &'static str> {
            let count = async || {
                let rows = self.rows.load(Ordering::SeqCst);
                self.counted.fetch_add(1, Ordering::SeqCst);
                if let Some(lets) = &self.lets {
                    lets.acquire().await.unwrap().forget();
                }
                if rows < 0 { Err("refused") } else { Ok(rows) }
            };
            self.counts.get(of.to_owned(), count).await
        }
    }

    async fn all_wait(database: &Arc<Database>, callers: usize) -> JoinSet<Result<i64, &'static str>> {
        let mut waiting = JoinSet::new();
        for _ in 0..callers {
            let database = Arc::clone(database);
            waiting.spawn(async move { database.total("tasks").await });
        }
        // All tasks run up to where they wait: there is one thread.
        for _ in 0..callers * 4 {
            tokio::task::yield_now().await;
        }
        waiting
    }

    #[tokio::test]
    async fn who_comes_during_a_question_shares_the_next() {
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
    async fn other_questions_and_later_callers_have_answers_of_their_own() {
        let database = Database::default();
        for (rows, of) in [(1, "tasks"), (2, "events"), (3, "tasks"), (4, "tasks")] {
            database.rows.store(rows, Ordering::SeqCst);
            assert_eq!(database.total(of).await.unwrap(), rows);
        }
        assert_eq!(database.counted.load(Ordering::SeqCst), 4);
        assert!(database.counts.locked().is_empty());
    }

    #[tokio::test]
    async fn a_failed_or_abandoned_question_is_nobody_elses() {
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
