//! Templates with the results that the reference implementations of the template language give.
//!
//! The tables are in `features/`, one file a feature; `README.md` says how they are written. [`Feature::all`] reads them.

mod case;
mod context;
mod feature;
mod notation;
mod ours;

pub use case::{Case, Mode, Options, Outcome};
pub use feature::{Error, Expected, Feature, Older, Row};
pub use notation::notation;
pub use ours::evaluate;
