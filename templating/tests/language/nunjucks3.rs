//! What of the older dialect the corpus can't say.

use understudy_templating::{Dialect, Engine};

#[test]
fn a_sole_interpolation_is_one_in_both_dialects() {
    let engine = Engine::builder().dialect(Dialect::Nunjucks3).build();
    assert!(engine.parse("${{ 1 }}").unwrap().is_sole_interpolation());
}
