//! Tests of the engine as a whole, over a real store.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bench;
mod dry_run;
mod events;
mod failures;
mod limits;
mod recovery;
mod steps;
mod worker;
