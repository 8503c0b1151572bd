//! Runs the reference implementations of the template language, pinned, under the Node that they want.
//!
//! [`Installation::ensure`] has npm put them into a cache outside the tree, once; [`Oracle`] evaluates cases with them.
//!
//! ```no_run
//! use understudy_corpus::{Case, Options};
//! use understudy_oracle::Oracle;
//! use understudy_templating::Dialect;
//!
//! # fn main() -> Result<(), understudy_oracle::Error> {
//! let mut oracle = Oracle::start()?;
//! let case = Case { source: "${{ 1 + n }}".to_owned(), context: serde_json::json!({"n": 1}).into(), options: Options::default() };
//! for outcome in oracle.evaluate(Dialect::Nunjitsu, &[case])? {
//!     println!("{outcome}");
//! }
//! # Ok(())
//! # }
//! ```

mod differential;
mod error;
mod install;
mod oracle;
mod record;
mod report;

pub use differential::{Explanation, Settings, Summary, Unexplained, differential, differential_with};
pub use error::Error;
pub use install::Installation;
pub use oracle::Oracle;
pub use record::record;
pub use report::{Agreement, Report};
