//! Templates with the results that the reference implementations of the template language give.

mod case;
mod notation;
mod ours;

pub use case::{Case, Language, Mode, Options, Outcome};
pub use notation::notation;
pub use ours::evaluate;
