//! Random templates: the same ones every time, so that a failure is one for everybody. A longer run, or another:
//! `cargo run --release -p understudy-oracle -- differential --cases 200000`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use understudy_oracle::{Explanation, Oracle, Settings, differential};
use understudy_templating::Dialect;

#[test]
fn random_templates_give_what_nunjitsu_gives() {
    let settings = Settings { seed: 20_260_101, cases: 5_000, dialect: Dialect::Nunjitsu, differences: 10 };
    let summary = differential(&mut Oracle::start().unwrap(), &settings).unwrap();
    println!("{summary}");
    assert!(summary.unexplained.is_empty(), "{summary}");
    assert_eq!(summary.cases, settings.cases);
    assert!(summary.values * 10 > summary.cases * 6, "most templates should evaluate: {summary}");
}

#[test]
fn explained_differences_are_documented() {
    let page = include_str!("../../../docs/templating.md");
    for explanation in Explanation::all() {
        assert!(page.contains(&format!("**{}**", explanation.name)), "docs/templating.md lacks {:?}", explanation.name);
    }
}
