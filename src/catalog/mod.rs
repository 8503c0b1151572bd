//! Where templates and entities come from.
//!
//! `embedded` keeps templates registered by URL or file in our database. A Backstage catalog over HTTP takes its place in
//! the split deployment.
