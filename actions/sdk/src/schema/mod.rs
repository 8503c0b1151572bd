//! JSON Schemas: derived from Rust types in upstream's shape, and validated with upstream's wording.
//!
//! * [`of`] gives the draft-07 schema of a type as zod-made schemas of upstream look: inlined, no `null` for optional
//!   members, `additionalProperties: false` for structs, no titles or formats.
//! * [`Validator`] compiles a schema once and reports violations as npm `jsonschema` 1.5 words them, since those texts
//!   are part of the HTTP answers and task logs that clients read.

mod compile;
mod derive;
mod format;
mod pattern;
mod validate;

pub use derive::{of, published};
pub use validate::{Validator, Violation};
