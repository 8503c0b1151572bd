//! The language as its users see it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod closed;
mod corpus;
mod definitions;
mod limits;
mod nunjucks3;
mod registered;
