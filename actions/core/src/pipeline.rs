//! Work on many items with effects in their order: items are prepared by several threads at once, and what that gave is
//! carried out one after the other.
//!
//! So nothing of what happens tells how many threads there were: the first item in order that fails ends the run with
//! its error, all before it have been carried out, none behind it has. There is no thread of its own for the effects;
//! whichever thread finds the next item prepared goes on with it, the others keep preparing.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use understudy_sdk::{ActionContext, ActionError};

/// How far preparing may run ahead of the effects, in items.
const WINDOW: usize = 256;
/// How much may lie prepared, in bytes, before no more items are begun.
const MAX_WAITING: usize = 16 << 20;
/// Rendering recurses with the nesting of templates.
pub(crate) const STACK: usize = 8 << 20;

/// The number of threads that is worth while on this machine.
pub(crate) fn parallelism() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// What an item was prepared to.
pub(crate) trait Prepared: Send {
    /// The bytes it holds in memory.
    fn weight(&self) -> usize;
}

/// Prepares items on `threads` threads and carries them out in order.
///
/// `prepare` has no effects and gets a state of its thread's own; `commit` is called by one thread at a time.
///
/// # Errors
/// The first error of `commit` in the order of items, a cancelled task, or no thread can be started. A panic of either
/// function ends the run as an error of its item does.
pub(crate) fn in_order<I, S, P>(
    ctx: &ActionContext,
    threads: usize,
    items: &[I],
    prepare: impl Fn(&mut S, &I) -> P + Sync,
    commit: impl FnMut(&I, P) -> Result<(), ActionError> + Send,
) -> Result<(), ActionError>
where
    I: Sync,
    S: Default,
    P: Prepared,
{
    let run = Run {
        ctx,
        items,
        prepare,
        commit: Mutex::new(commit),
        queue: Mutex::new(Queue {
            begun: 0,
            done: 0,
            prepared: VecDeque::new(),
            waiting: 0,
            committing: false,
            idle: 0,
            failure: None,
        }),
        progress: Condvar::new(),
    };
    thread::scope(|scope| {
        for started in 0..threads.clamp(1, items.len().max(1)) {
            let thread = thread::Builder::new().name("render".into()).stack_size(STACK);
            match thread.spawn_scoped(scope, || run.work()) {
                // The others can do without it.
                Err(_) if started > 0 => break,
                Err(error) => return Err(ActionError::from(error)),
                Ok(_) => {}
            }
        }
        Ok(())
    })?;
    run.queue.into_inner().unwrap_or_else(PoisonError::into_inner).failure.map_or(Ok(()), Err)
}

struct Run<'a, I, F, C, P> {
    ctx: &'a ActionContext,
    items: &'a [I],
    prepare: F,
    commit: Mutex<C>,
    queue: Mutex<Queue<P>>,
    /// An item was carried out, or the run is over.
    progress: Condvar,
}

struct Queue<P> {
    /// Items that a thread took on.
    begun: usize,
    /// Items carried out.
    done: usize,
    /// What the items after those became; `None` while one is under work.
    prepared: VecDeque<Option<Slot<P>>>,
    /// Bytes in `prepared`.
    waiting: usize,
    /// Whether a thread is carrying out.
    committing: bool,
    /// Threads that wait for progress.
    idle: usize,
    /// Once there is one, nothing more happens.
    failure: Option<ActionError>,
}

enum Slot<P> {
    Value(P),
    /// Preparing it panicked.
    BrokeOff,
}

impl<I, F, C, P> Run<'_, I, F, C, P>
where
    C: FnMut(&I, P) -> Result<(), ActionError> + Send,
    P: Prepared,
{
    fn lock(&self) -> MutexGuard<'_, Queue<P>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work<S: Default>(&self)
    where
        F: Fn(&mut S, &I) -> P,
    {
        let mut state = S::default();
        let mut queue = self.lock();
        loop {
            // The next item to be carried out may always be begun: everything else may have to wait for it.
            let full = |queue: &Queue<P>| {
                queue.begun > queue.done && (queue.begun - queue.done >= WINDOW || queue.waiting >= MAX_WAITING)
            };
            while queue.failure.is_none() && queue.begun < self.items.len() && full(&queue) {
                queue.idle += 1;
                queue = self.progress.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            }
            if queue.failure.is_some() {
                return;
            }
            let index = queue.begun;
            let Some(item) = self.items.get(index) else { return };
            queue.begun += 1;
            queue.prepared.push_back(None);
            drop(queue);
            let slot = if self.ctx.cancel.is_cancelled() {
                Slot::BrokeOff
            } else {
                catch_unwind(AssertUnwindSafe(|| (self.prepare)(&mut state, item))).map_or(Slot::BrokeOff, Slot::Value)
            };
            queue = self.lock();
            queue.waiting += slot.weight();
            let place = index - queue.done;
            // It was pushed above, and only `carry_out` takes away from the front, up to the first that is not prepared.
            if let Some(prepared) = queue.prepared.get_mut(place) {
                *prepared = Some(slot);
            }
            if !queue.committing {
                queue = self.carry_out(queue);
            }
        }
    }

    /// Carries out what is prepared, up to the first item that is not.
    fn carry_out<'q>(&'q self, mut queue: MutexGuard<'q, Queue<P>>) -> MutexGuard<'q, Queue<P>> {
        queue.committing = true;
        while queue.failure.is_none() && matches!(queue.prepared.front(), Some(Some(_))) {
            let (Some(Some(slot)), Some(item)) = (queue.prepared.pop_front(), self.items.get(queue.done)) else {
                break;
            };
            // Until it is done its place must not be counted as free.
            queue.prepared.push_front(None);
            drop(queue);
            let weight = slot.weight();
            let result = self.ctx.check_cancelled().and_then(|()| self.carry_out_one(item, slot));
            queue = self.lock();
            queue.prepared.pop_front();
            queue.done += 1;
            queue.waiting -= weight;
            if let Err(error) = result {
                queue.failure = Some(error);
            }
            // Threads that wait are woken for more than a single item.
            let roomy = queue.begun - queue.done <= WINDOW / 2 && queue.waiting <= MAX_WAITING / 2;
            if queue.idle > 0 && (roomy || queue.failure.is_some()) {
                self.progress.notify_all();
            }
        }
        queue.committing = false;
        queue
    }

    fn carry_out_one(&self, item: &I, slot: Slot<P>) -> Result<(), ActionError> {
        let broke_off = || ActionError::failed("the work on a file broke off; please report it");
        let Slot::Value(prepared) = slot else { return Err(broke_off()) };
        let mut commit = self.commit.lock().unwrap_or_else(PoisonError::into_inner);
        catch_unwind(AssertUnwindSafe(|| (*commit)(item, prepared))).unwrap_or_else(|_| Err(broke_off()))
    }
}

impl<P: Prepared> Slot<P> {
    fn weight(&self) -> usize {
        match self {
            Self::Value(prepared) => prepared.weight(),
            Self::BrokeOff => 0,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;
    use crate::testing::Bench;

    #[derive(Debug)]
    struct Number(usize);

    impl Prepared for Number {
        fn weight(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn effects_come_in_order_up_to_the_first_failure() {
        let items: Vec<usize> = (0..2_000).collect();
        let ctx = Bench::new().context();
        for threads in [1, 2, 7] {
            for failing in [0, 1, 777, 1_999, 2_000] {
                let mut seen = Vec::new();
                let result = in_order(
                    &ctx,
                    threads,
                    &items,
                    |spun: &mut usize, item| {
                        // Some take longer than others.
                        *spun = (0..item % 17 * 50).fold(*spun, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
                        Number(*item)
                    },
                    |item, prepared| {
                        assert_eq!(*item, prepared.0);
                        // Later ones would fail too.
                        if *item >= failing && item % 3 == failing % 3 {
                            return Err(ActionError::failed(format!("{item}")));
                        }
                        seen.push(*item);
                        Ok(())
                    },
                );
                let message = result.err().map(|error| error.message().to_string());
                assert_eq!(message, (failing < 2_000).then(|| failing.to_string()));
                assert_eq!(seen, items[..failing.min(2_000)], "{threads} threads");
            }
        }
    }

    /// The first item holds all others up, so they would all be prepared at once.
    #[test]
    fn what_lies_prepared_is_bounded() {
        let heavy = MAX_WAITING / 8;
        for (weight, bound) in [(1, WINDOW), (heavy, 8 + 4)] {
            let (prepared, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let mut done = 0;
            let result = in_order(
                &Bench::new().context(),
                4,
                &(0..1_000).collect::<Vec<usize>>(),
                |(): &mut (), item| {
                    if *item == 0 {
                        while prepared.load(Ordering::SeqCst) < bound / 2 {
                            thread::yield_now();
                        }
                        // Time for the others to go too far.
                        thread::sleep(Duration::from_millis(20));
                    }
                    prepared.fetch_add(1, Ordering::SeqCst);
                    Number(weight)
                },
                |_, _| {
                    done += 1;
                    most.fetch_max(prepared.load(Ordering::SeqCst) + 1 - done, Ordering::SeqCst);
                    Ok(())
                },
            );
            assert!(result.is_ok());
            assert_eq!(done, 1_000);
            assert!(most.load(Ordering::SeqCst) <= bound, "{most:?} of {weight} bytes lay prepared");
        }
    }

    #[test]
    fn a_panic_is_an_error_of_its_item() {
        let ctx = Bench::new().context();
        let items: Vec<usize> = (0..500).collect();
        for in_prepare in [true, false] {
            let mut seen = 0;
            let result = in_order(
                &ctx,
                3,
                &items,
                |(): &mut (), item| {
                    assert!(!in_prepare || *item != 100, "on purpose");
                    Number(*item)
                },
                |item, _| {
                    assert!(in_prepare || *item != 100, "on purpose");
                    seen += 1;
                    Ok(())
                },
            );
            assert_eq!(result.unwrap_err().message(), "the work on a file broke off; please report it");
            assert_eq!(seen, 100);
        }
    }

    #[test]
    fn a_cancelled_task_ends_soon() {
        let bench = Bench::new();
        let ctx = bench.context();
        let mut seen = 0;
        let result = in_order(
            &ctx,
            2,
            &(0..100_000).collect::<Vec<usize>>(),
            |(): &mut (), item| Number(*item),
            |item, _| {
                seen += 1;
                if *item == 50 {
                    bench.cancel.cancel();
                }
                Ok(())
            },
        );
        assert_eq!(result.unwrap_err().message(), ActionError::cancelled().message());
        assert_eq!(seen, 51);
    }
}
