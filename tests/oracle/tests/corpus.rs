//! The corpus against the reference implementations themselves.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use understudy_oracle::{Oracle, Report};

#[test]
fn the_recorded_results_are_the_oracles_and_ours() {
    let report = Report::of_corpus(&mut Oracle::start().unwrap()).unwrap();
    println!("{report}");
    assert!(report.stale.is_empty(), "recorded results that are not the oracle's:\n{}", report.stale.join("\n"));
    assert!(report.differences.is_empty(), "differences from nunjitsu:\n{}", report.differences.join("\n"));
}
