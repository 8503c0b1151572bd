//! `understudy migrate`: the database's tables, and nothing else.

use std::fmt::Write as _;

use super::{Failure, print};
use crate::{
    config::Config,
    store::{Stores, pending_migrations},
};

/// Brings the database to this version, or says what that would take.
///
/// # Errors
/// [`Failure::Input`] when the database can't be used, [`Failure::Task`] when something is left to do.
pub(super) async fn run(config: &Config, check: bool) -> Result<(), Failure> {
    let pending = pending_migrations(&config.backend.database).await.map_err(Failure::input)?;
    let mut text = String::new();
    for step in &pending {
        // Writing to a text can't fail.
        let _ = writeln!(text, "{step}");
    }
    if pending.is_empty() {
        return print("the database is up to date\n");
    }
    if check {
        print(&text)?;
        return Err(Failure::task(format!("{} steps are to be taken; `understudy migrate` takes them", pending.len())));
    }
    // Asked for by name, so a key that keeps the service from it has no say.
    let backend = crate::config::BackendConfig { skip_migrations: false, ..config.backend.clone() };
    let stores = Stores::open(&backend, &config.scaffolder.secrets).await.map_err(Failure::input)?;
    stores.tasks.close().await;
    print(&text)
}
