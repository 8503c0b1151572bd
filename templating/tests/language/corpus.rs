//! Every row of the corpus has the result that the reference implementation was recorded with.

use std::fmt::Write as _;

use understudy_corpus::{Expected, Feature, Older, evaluate};
use understudy_templating::Dialect;

#[test]
fn agrees_with_nunjitsu() {
    let mut differences = String::new();
    let mut rows = 0;
    for feature in Feature::all().unwrap() {
        for row in feature.rows() {
            let expected = row.expected.as_ref().unwrap_or_else(|| {
                panic!("{}:{} has no result; `cargo run -p understudy-oracle -- record --new`", feature.name, row.line)
            });
            let found = Expected::try_from(&evaluate(Dialect::Nunjitsu, &row.case)).unwrap();
            if found != *expected {
                let template = &row.case.source;
                let _ = write!(
                    differences,
                    "\n{}:{}: {template}\n  expected {expected}\n  found    {found}",
                    feature.name, row.line
                );
            }
            rows += 1;
        }
    }
    assert!(differences.is_empty(), "rows that differ from nunjitsu:{differences}");
    assert!(rows >= 1300, "only {rows} rows were found");
}

#[test]
fn agrees_with_nunjucks_3() {
    let mut differences = String::new();
    let mut rows = 0;
    for feature in Feature::all().unwrap() {
        for row in feature.rows() {
            let expected = match &row.older {
                Older::Same => row.expected.as_ref().unwrap(),
                Older::Differs(expected) => expected,
                Older::NotFollowed(_) => continue,
            };
            let found = Expected::try_from(&evaluate(Dialect::Nunjucks3, &row.case)).unwrap();
            if found != *expected && !(found.is_error() && expected.is_error()) {
                let template = &row.case.source;
                let _ = write!(
                    differences,
                    "\n{}:{}: {template}\n  expected {expected}\n  found    {found}",
                    feature.name, row.line
                );
            }
            rows += 1;
        }
    }
    assert!(differences.is_empty(), "rows that differ from nunjucks 3.2.4:{differences}");
    assert!(rows >= 1300, "only {rows} rows were found");
}
