//! Where templates and entities come from.
//!
//! [`EmbeddedCatalog`] keeps templates registered by URL or named in the configuration in our database. Beside a Backstage
//! [`RemoteCatalog`] takes its place.

mod annotate;
mod discover;
mod embedded;
mod index;
mod location;
pub mod query;
mod relations;
mod remote;
#[cfg(test)]
mod tests;
mod validation;

use std::sync::Arc;

use understudy_sdk::Catalog;

use crate::auth::Credentials;

pub use discover::Problem;
pub use embedded::{AddedLocation, EmbeddedCatalog, LocationView};
pub use location::{Location, LocationKind};
pub use remote::{Refusal, RemoteCatalog};
pub use validation::{problems, validate};

/// Makes the catalog as somebody sees it.
pub type CatalogFactory = Arc<dyn Fn(&Credentials) -> Arc<dyn Catalog> + Send + Sync>;
