//! The built-in filters.

mod collection;
mod json;
mod number;
mod quick;
mod sequence;
mod text;
mod web;

pub(crate) use self::sequence::{join_texts, sort_stably};

use std::sync::Arc;

use crate::dialect::Dialect;
use crate::error::{Fault, Res};
use crate::eval::Interp;
use crate::function::HostFn;
use crate::string::Str;
use crate::value::Value;

/// A filter that a template applies.
pub(crate) enum FilterRef {
    Builtin(&'static Filter),
    Host {
        name: Arc<str>,
        function: Arc<HostFn>,
    },
    /// Written in the language, by its number in the engine.
    Defined {
        name: Arc<str>,
        index: usize,
    },
    /// One that nobody knows. That is a mistake only once it is to be applied.
    Unknown(Arc<Unknown>),
}

/// A name that was looked for in vain.
pub(crate) struct Unknown {
    pub(crate) name: Arc<str>,
    /// What to say when it is used, and what may help.
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Unknown {
    pub(crate) fn fault(&self) -> Box<Fault> {
        Fault::evaluation(self.message.clone()).hint(self.hint.clone())
    }
}

impl FilterRef {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Builtin(filter) => filter.name,
            Self::Host { name, .. } | Self::Defined { name, .. } => name,
            Self::Unknown(unknown) => &unknown.name,
        }
    }
}

/// A built-in filter.
pub(crate) struct Filter {
    pub(crate) name: &'static str,
    /// Gets the filtered value, then the arguments.
    pub(crate) apply: Apply,
}

pub(crate) type Apply = fn(&mut Interp<'_>, &[Value]) -> Res<Value>;

const fn filter(name: &'static str, apply: Apply) -> Filter {
    Filter { name, apply }
}

/// All filters, sorted by name.
static FILTERS: [Filter; 43] = [
    filter("abs", number::abs),
    filter("batch", sequence::batch),
    filter("capitalize", text::capitalize),
    filter("center", text::center),
    filter("d", collection::default),
    filter("default", collection::default),
    filter("dictsort", collection::dictsort),
    filter("dump", json::dump),
    filter("e", web::escape),
    filter("escape", web::escape),
    filter("first", sequence::first),
    filter("float", number::float),
    filter("forceescape", web::forceescape),
    filter("groupby", collection::groupby),
    filter("indent", text::indent),
    filter("int", number::int),
    filter("join", sequence::join),
    filter("last", sequence::last),
    filter("length", collection::length),
    filter("list", collection::list),
    filter("lower", text::lower),
    filter("nl2br", web::nl2br),
    filter("random", sequence::random),
    filter("reject", sequence::reject),
    filter("rejectattr", sequence::rejectattr),
    filter("replace", text::replace),
    filter("reverse", sequence::reverse),
    filter("round", number::round),
    filter("safe", web::safe),
    filter("select", sequence::select),
    filter("selectattr", sequence::selectattr),
    filter("slice", sequence::slice),
    filter("sort", sequence::sort),
    filter("string", text::string),
    filter("striptags", web::striptags),
    filter("sum", number::sum),
    filter("title", text::title),
    filter("trim", text::trim),
    filter("truncate", text::truncate),
    filter("upper", text::upper),
    filter("urlencode", web::urlencode),
    filter("urlize", web::urlize),
    filter("wordcount", text::wordcount),
];

/// The filters of cookiecutter mode.
static COOKIECUTTER: [Filter; 1] = [filter("jsonify", json::dump)];

/// The built-in filter of that name.
pub(crate) fn find(name: &str, cookiecutter: bool) -> Option<&'static Filter> {
    let more = if cookiecutter { COOKIECUTTER.as_slice() } else { &[] };
    FILTERS.iter().chain(more).find(|filter| filter.name == name)
}

/// The names of the built-in filters.
pub(crate) fn names(cookiecutter: bool) -> impl Iterator<Item = &'static str> {
    let more = if cookiecutter { COOKIECUTTER.as_slice() } else { &[] };
    FILTERS.iter().chain(more).map(|filter| filter.name)
}

/// The value at `index`; `undefined` when there are fewer.
fn argument(values: &[Value], index: usize) -> &Value {
    values.get(index).unwrap_or(&Value::Undefined)
}

/// The parameters of a filter that Nunjucks declares with names: keywords, which come last as a record, go to them.
fn named<const N: usize>(values: &[Value], names: [&str; N]) -> [Value; N] {
    let (positional, keywords) = match values {
        [positional @ .., Value::Record(record)] if record.get("__keywords").is_some() => (positional, Some(record)),
        _ => (values, None),
    };
    let mut index = 0;
    names.map(|name| {
        index += 1;
        let given = positional.get(index - 1).cloned();
        given.or_else(|| keywords.and_then(|record| record.get(name)).cloned()).unwrap_or_default()
    })
}

/// The text of a filter's input, where `undefined`, `null` and `false` count as empty.
fn text_or_empty(value: &Value) -> Res<Str> {
    match value {
        Value::Undefined | Value::Null | Value::Bool(false) => Ok(Str::default()),
        value => strict_text(value),
    }
}

fn strict_text(value: &Value) -> Res<Str> {
    value.as_string().cloned().ok_or_else(|| Fault::evaluation("Filter input must be a string"))
}

/// A text that is safe if what it was made of is.
fn like(original: &Value, text: Str) -> Value {
    match original {
        Value::Safe(_) => Value::safe(text),
        _ => Value::String(text),
    }
}

/// `count` copies of `unit`, where a fraction counts as one more, as JavaScript's loops have it.
fn repeat(interp: &mut Interp<'_>, unit: char, count: f64) -> Res<String> {
    if count.is_nan() || count <= 0.0 {
        return Ok(String::new());
    }
    let count = count.ceil();
    if count > 16.0 * 1024.0 * 1024.0 && interp.dialect() == Dialect::Nunjitsu {
        return Err(Fault::evaluation("Filter spacing exceeds the supported bound"));
    }
    interp.charge_bytes(if count < 1e15 { count as usize } else { usize::MAX })?;
    Ok(std::iter::repeat_n(unit, count as usize).collect())
}
