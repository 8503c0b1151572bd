//! The names that the language comes with: filters, tests, methods.

use super::Kind::{self, Any, List, Number, Record, Text, Truth};

/// Something with arguments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Function {
    pub(super) name: &'static str,
    /// What it is usually applied to.
    pub(super) of: Kind,
    /// What it usually gives.
    pub(super) gives: Kind,
    /// How many of the parameters must be there.
    pub(super) required: usize,
    pub(super) parameters: &'static [Parameter],
}

/// A parameter: a name for keyword arguments, and what is passed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter(pub(super) &'static str, pub(super) Argument);

/// What is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    /// An expression of the kind.
    Of(Kind),
    /// A whole number that makes nothing large.
    Small,
    /// A key that records have.
    Key,
    /// Text or a regular expression.
    Pattern,
    /// One of a few words.
    Word(&'static [&'static str]),
}

use Argument::{Key, Of, Pattern, Small, Word};

const fn function(
    name: &'static str,
    of: Kind,
    gives: Kind,
    required: usize,
    parameters: &'static [Parameter],
) -> Function {
    Function { name, of, gives, required, parameters }
}

const ROUNDING: Argument = Word(&["'ceil'", "'floor'", "'common'", "none"]);
const ATTRIBUTE: Parameter = Parameter("attribute", Key);

/// `random` chooses, so that it can't be compared.
pub(super) const FILTERS: [Function; 42] = [
    function("abs", Number, Number, 0, &[]),
    function("batch", List, List, 1, &[Parameter("size", Small), Parameter("fill_with", Of(Any))]),
    function("capitalize", Text, Text, 0, &[]),
    function("center", Text, Text, 0, &[Parameter("width", Small)]),
    function("default", Any, Any, 1, &[Parameter("value", Of(Any)), Parameter("boolean", Of(Truth))]),
    function("d", Any, Any, 1, &[Parameter("value", Of(Any)), Parameter("boolean", Of(Truth))]),
    function(
        "dictsort",
        Record,
        List,
        0,
        &[Parameter("cs", Of(Truth)), Parameter("by", Word(&["'key'", "'value'", "'x'"]))],
    ),
    function("dump", Any, Text, 0, &[Parameter("indent", Small)]),
    function("e", Text, Text, 0, &[]),
    function("escape", Text, Text, 0, &[]),
    function("first", List, Any, 0, &[]),
    function("float", Text, Number, 0, &[Parameter("default", Of(Any))]),
    function("forceescape", Text, Text, 0, &[]),
    function("groupby", List, Record, 1, &[ATTRIBUTE]),
    function("indent", Text, Text, 0, &[Parameter("width", Small), Parameter("first", Of(Truth))]),
    function(
        "int",
        Text,
        Number,
        0,
        &[Parameter("default", Of(Any)), Parameter("base", Word(&["2", "8", "10", "16", "36", "1", "0"]))],
    ),
    function("join", List, Text, 0, &[Parameter("d", Of(Text)), ATTRIBUTE]),
    function("last", List, Any, 0, &[]),
    function("length", Any, Number, 0, &[]),
    function("list", Any, List, 0, &[]),
    function("lower", Text, Text, 0, &[]),
    function("nl2br", Text, Text, 0, &[]),
    function("reject", List, List, 0, &[]),
    function("rejectattr", List, List, 1, &[ATTRIBUTE]),
    function(
        "replace",
        Text,
        Text,
        2,
        &[Parameter("old", Pattern), Parameter("new", Of(Text)), Parameter("count", Small)],
    ),
    function("reverse", List, List, 0, &[]),
    function("round", Number, Number, 0, &[Parameter("precision", Small), Parameter("method", ROUNDING)]),
    function("safe", Text, Text, 0, &[]),
    function("select", List, List, 0, &[]),
    function("selectattr", List, List, 1, &[ATTRIBUTE]),
    function("slice", List, List, 1, &[Parameter("slices", Small), Parameter("fill_with", Of(Any))]),
    function(
        "sort",
        List,
        List,
        0,
        &[Parameter("reverse", Of(Truth)), Parameter("case_sensitive", Of(Truth)), ATTRIBUTE],
    ),
    function("string", Any, Text, 0, &[]),
    function("striptags", Text, Text, 0, &[Parameter("preserve_linebreaks", Of(Truth))]),
    function("sum", List, Number, 0, &[ATTRIBUTE, Parameter("start", Of(Number))]),
    function("title", Text, Text, 0, &[]),
    function("trim", Text, Text, 0, &[]),
    function(
        "truncate",
        Text,
        Text,
        0,
        &[Parameter("length", Small), Parameter("killwords", Of(Truth)), Parameter("end", Of(Text))],
    ),
    function("upper", Text, Text, 0, &[]),
    function("urlencode", Any, Text, 0, &[]),
    function("urlize", Text, Text, 0, &[Parameter("length", Small), Parameter("nofollow", Of(Truth))]),
    function("wordcount", Text, Number, 0, &[]),
];

const ONE: &[Parameter] = &[Parameter("x", Of(Any))];
const ONE_NUMBER: &[Parameter] = &[Parameter("x", Of(Number))];

pub(super) const TESTS: [Function; 28] = [
    function("callable", Any, Truth, 0, &[]),
    function("defined", Any, Truth, 0, &[]),
    function("divisibleby", Number, Truth, 1, ONE_NUMBER),
    function("escaped", Any, Truth, 0, &[]),
    function("eq", Any, Truth, 1, ONE),
    function("equalto", Any, Truth, 1, ONE),
    function("sameas", Any, Truth, 1, ONE),
    function("even", Number, Truth, 0, &[]),
    function("falsy", Any, Truth, 0, &[]),
    function("ge", Number, Truth, 1, ONE_NUMBER),
    function("greaterthan", Number, Truth, 1, ONE_NUMBER),
    function("gt", Any, Truth, 1, ONE),
    function("iterable", Any, Truth, 0, &[]),
    function("le", Number, Truth, 1, ONE_NUMBER),
    function("lessthan", Number, Truth, 1, ONE_NUMBER),
    function("lt", Any, Truth, 1, ONE),
    function("lower", Text, Truth, 0, &[]),
    function("mapping", Any, Truth, 0, &[]),
    function("ne", Any, Truth, 1, ONE),
    function("none", Any, Truth, 0, &[]),
    function("null", Any, Truth, 0, &[]),
    function("number", Any, Truth, 0, &[]),
    function("odd", Number, Truth, 0, &[]),
    function("string", Any, Truth, 0, &[]),
    function("truthy", Any, Truth, 0, &[]),
    function("undefined", Any, Truth, 0, &[]),
    function("upper", Text, Truth, 0, &[]),
    function("notest", Any, Truth, 0, &[]),
];

const INDEX: Parameter = Parameter("i", Small);
const END: Parameter = Parameter("j", Small);
const NEEDLE: Parameter = Parameter("s", Of(Text));
const ITEM: Parameter = Parameter("x", Of(Any));

pub(super) const METHODS: [Function; 40] = [
    function("charAt", Text, Text, 0, &[INDEX]),
    function("charCodeAt", Text, Number, 0, &[INDEX]),
    function("concat", Text, Text, 0, &[NEEDLE, ITEM]),
    function("endsWith", Text, Truth, 1, &[NEEDLE, INDEX]),
    function("includes", Text, Truth, 1, &[NEEDLE, INDEX]),
    function("indexOf", Text, Number, 1, &[NEEDLE, INDEX]),
    function("lastIndexOf", Text, Number, 1, &[NEEDLE, INDEX]),
    function("replace", Text, Text, 2, &[Parameter("old", Pattern), NEEDLE]),
    function("slice", Text, Text, 0, &[INDEX, END]),
    function("split", Text, List, 0, &[Parameter("by", Pattern), Parameter("limit", Small)]),
    function("startsWith", Text, Truth, 1, &[NEEDLE, INDEX]),
    function("substring", Text, Text, 0, &[INDEX, END]),
    function("toLowerCase", Text, Text, 0, &[]),
    function("toUpperCase", Text, Text, 0, &[]),
    function("trim", Text, Text, 0, &[]),
    function("trimEnd", Text, Text, 0, &[]),
    function("trimStart", Text, Text, 0, &[]),
    function("padStart", Text, Text, 0, &[]),
    function("toExponential", Number, Text, 0, &[INDEX]),
    function("toFixed", Number, Text, 0, &[INDEX]),
    function("toPrecision", Number, Text, 0, &[INDEX]),
    function("toString", Number, Text, 0, &[Parameter("radix", Word(&["2", "8", "10", "16", "36"]))]),
    function("at", List, Any, 0, &[INDEX]),
    function("concat", List, List, 0, &[Parameter("l", Of(List)), ITEM]),
    function("copyWithin", List, List, 0, &[INDEX, END, Parameter("k", Small)]),
    function("fill", List, List, 0, &[ITEM, INDEX, END]),
    function("flat", List, List, 0, &[INDEX]),
    function("includes", List, Truth, 1, &[ITEM, INDEX]),
    function("indexOf", List, Number, 1, &[ITEM, INDEX]),
    function("join", List, Text, 0, &[NEEDLE]),
    function("lastIndexOf", List, Number, 1, &[ITEM, INDEX]),
    function("pop", List, Any, 0, &[]),
    function("push", List, Number, 0, &[ITEM, ITEM]),
    function("reverse", List, List, 0, &[]),
    function("shift", List, Any, 0, &[]),
    function("slice", List, List, 0, &[INDEX, END]),
    function("sort", List, List, 0, &[]),
    function("splice", List, List, 0, &[INDEX, END, ITEM, ITEM]),
    function("unshift", List, Number, 0, &[ITEM, ITEM]),
    function("keys", Record, List, 0, &[]),
];

pub(super) const COOKIECUTTER_METHODS: [Function; 12] = [
    function("append", List, Number, 1, &[ITEM]),
    function("count", List, Number, 1, &[ITEM]),
    function("find", List, Number, 1, &[ITEM]),
    function("index", List, Number, 1, &[ITEM]),
    function("insert", List, Any, 2, &[INDEX, ITEM]),
    function("remove", List, Any, 1, &[ITEM]),
    function("pop", List, Any, 0, &[INDEX]),
    function("get", Record, Any, 1, &[Parameter("key", Key), Parameter("default", Of(Any))]),
    function("has_key", Record, Truth, 1, &[Parameter("key", Key)]),
    function("items", Record, List, 0, &[]),
    function("keys", Record, List, 0, &[]),
    function("values", Record, List, 0, &[]),
];
