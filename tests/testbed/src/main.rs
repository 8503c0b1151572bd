//! Runs the counterparts for people.

fn main() {}
