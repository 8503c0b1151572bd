//! Where templates and entities come from.
//!
//! [`EmbeddedCatalog`] keeps templates registered by URL or named in the configuration in our database. A Backstage
//! catalog over HTTP takes its place in the split deployment.

mod annotate;
mod discover;
mod embedded;
mod index;
mod location;
pub mod query;
mod relations;
#[cfg(test)]
mod tests;
mod validation;

pub use discover::Problem;
pub use embedded::{AddedLocation, EmbeddedCatalog, LocationView};
pub use location::{Location, LocationKind};
pub use validation::{problems, validate};
