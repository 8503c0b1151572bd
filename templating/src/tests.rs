//! The tests of `is`.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::dialect::Dialect;
use crate::error::{Fault, Res};
use crate::eval::{Interp, strictly_equal};
use crate::filters::Unknown;
use crate::function::Kind;
use crate::value::Value;

/// A test that a template asks for.
pub(crate) enum TestRef {
    Known(&'static Test),
    /// One that nobody knows. That is a mistake only once it is to be asked.
    Unknown(Arc<Unknown>),
}

impl TestRef {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Known(test) => test.name,
            Self::Unknown(unknown) => &unknown.name,
        }
    }
}

/// A test: `value is name(arguments)`.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    /// How many arguments it takes besides the tested value.
    pub(crate) arity: usize,
    pub(crate) holds: Holds,
    /// Whether functions can be tested; otherwise they are refused like wherever a value is needed.
    pub(crate) takes_functions: bool,
}

type Holds = fn(&mut Interp<'_>, &[Value]) -> Res<bool>;

const fn test(name: &'static str, arity: usize, holds: Holds) -> Test {
    Test { name, arity, holds, takes_functions: false }
}

/// A test of what a value is, not of what it says.
const fn identity(name: &'static str, arity: usize, holds: Holds) -> Test {
    Test { name, arity, holds, takes_functions: true }
}

/// All tests. Those with an argument get it as the second value.
static TESTS: [Test; 26] = [
    identity("callable", 0, |interp, values| {
        Ok(matches!(values[0], Value::Function(_)) && !is_older_cycler(interp, &values[0]))
    }),
    test("defined", 0, |_, values| Ok(!values[0].is_undefined())),
    test("divisibleby", 1, |interp, values| Ok(interp.number(&values[0])? % interp.number(&values[1])? == 0.0)),
    identity("eq", 1, |_, values| Ok(strictly_equal(&values[0], &values[1]))),
    identity("equalto", 1, |_, values| Ok(strictly_equal(&values[0], &values[1]))),
    test("escaped", 0, |_, values| Ok(matches!(values[0], Value::Safe(_)))),
    test("even", 0, |interp, values| Ok(interp.number(&values[0])? % 2.0 == 0.0)),
    test("falsy", 0, |_, values| Ok(!values[0].is_truthy())),
    test("ge", 1, |interp, values| compare(interp, values, Ordering::is_ge)),
    test("greaterthan", 1, |interp, values| compare(interp, values, Ordering::is_gt)),
    test("gt", 1, |interp, values| compare(interp, values, Ordering::is_gt)),
    test("iterable", 0, iterable),
    test("le", 1, |interp, values| compare(interp, values, Ordering::is_le)),
    test("lessthan", 1, |interp, values| compare(interp, values, Ordering::is_lt)),
    test("lower", 0, |_, values| cased(values, str::to_lowercase)),
    test("lt", 1, |interp, values| compare(interp, values, Ordering::is_lt)),
    test("mapping", 0, |interp, values| {
        Ok(is_older_cycler(interp, &values[0])
            || matches!(values[0], Value::Record(_) | Value::Regex(_) | Value::Safe(_)))
    }),
    identity("ne", 1, |_, values| Ok(!strictly_equal(&values[0], &values[1]))),
    test("null", 0, |_, values| Ok(matches!(values[0], Value::Null))),
    test("number", 0, |_, values| Ok(matches!(values[0], Value::Number(_)))),
    test("odd", 0, |interp, values| Ok(interp.number(&values[0])? % 2.0 == 1.0)),
    identity("sameas", 1, |_, values| Ok(strictly_equal(&values[0], &values[1]))),
    test("string", 0, |_, values| Ok(matches!(values[0], Value::String(_)))),
    test("truthy", 0, |_, values| Ok(values[0].is_truthy())),
    test("undefined", 0, |_, values| Ok(values[0].is_undefined())),
    test("upper", 0, |_, values| cased(values, str::to_uppercase)),
];

/// In the older dialect a cycler is an object and no function.
fn is_older_cycler(interp: &Interp<'_>, value: &Value) -> bool {
    let is_cycler = matches!(value, Value::Function(callable) if matches!(callable.0, Kind::Cycler(_)));
    is_cycler && interp.dialect() == Dialect::Nunjucks3
}

/// The test of that name.
pub(crate) fn find(name: &str) -> Option<&'static Test> {
    TESTS.iter().find(|test| test.name == name)
}

/// The names of all tests.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TESTS.iter().map(|test| test.name)
}

fn compare(interp: &mut Interp<'_>, values: &[Value], accept: fn(Ordering) -> bool) -> Res<bool> {
    Ok(interp.compare(&values[0], &values[1])?.is_some_and(accept))
}

fn iterable(_: &mut Interp<'_>, values: &[Value]) -> Res<bool> {
    match &values[0] {
        Value::Undefined | Value::Null => Err(Fault::evaluation("iterable test requires a value")),
        value => Ok(matches!(value, Value::Array(_) | Value::String(_) | Value::Safe(_))),
    }
}

fn cased(values: &[Value], change: fn(&str) -> String) -> Res<bool> {
    match &values[0] {
        Value::String(text) => Ok(text.map_text(change) == *text),
        // A safe string is an object, and no object is equal to a text.
        Value::Safe(_) => Ok(false),
        _ => Err(Fault::evaluation("Filter input must be a string")),
    }
}
