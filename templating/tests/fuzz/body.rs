//! What is done with the bytes that a fuzzer makes up.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::sync::LazyLock;

use serde_json::json;
use understudy_regex::{Flags, Text};
use understudy_templating::{Context, Definition, DefinitionKind, Dialect, Engine, Error, ErrorKind, Limits};

/// Pieces of the language, for inputs that are sequences of them.
const PIECES: &[&str] = &[
    "${{ ",
    " }}",
    "{{",
    "{% ",
    " %}",
    "{%- ",
    " -%}",
    "${{- ",
    " -}}",
    "{# ",
    " #}",
    "if ",
    "elif ",
    "else",
    "endif",
    "for ",
    "a, b",
    " in ",
    "endfor",
    "set ",
    "endset",
    "macro ",
    "endmacro",
    "call ",
    "endcall",
    "filter ",
    "endfilter",
    "block ",
    "endblock",
    "switch ",
    "case ",
    "default",
    "endswitch",
    "raw",
    "endraw",
    "verbatim",
    "include ",
    "import ",
    "a",
    "b",
    "s",
    "n",
    "list",
    "data",
    "text",
    "loop",
    "caller",
    "m",
    "f",
    "x",
    "=",
    "==",
    "===",
    "!=",
    "<",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "**",
    "~",
    "|",
    ".",
    ",",
    ":",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "not ",
    " and ",
    " or ",
    " is ",
    " if ",
    " else ",
    "true",
    "none",
    "0",
    "1",
    "2.5",
    "100000",
    "1e9",
    "'",
    "\"",
    "'x'",
    "'é😀'",
    "''",
    "'\\n'",
    "r/a+/g",
    "r/(.)*?/",
    "r/(?=a)\\1/",
    "|upper",
    "|join(',')",
    "|sort",
    "|dump",
    "|replace('a', 'b')",
    "|replace(r/x/g, '$&')",
    "|batch(2, 0)",
    "|slice(3)",
    "|groupby('k')",
    "|dictsort",
    "|indent(2)",
    "|truncate(5)",
    "|select('odd')",
    "|safe",
    "|escape",
    "|list",
    "|length",
    "|round",
    "|int",
    "|title",
    "|urlize",
    "|striptags",
    "|wordcount",
    "|random",
    "|sum",
    "|center(9)",
    "|default(1)",
    "|first",
    "|last",
    "|reverse",
    "|own",
    "|again",
    ".length",
    ".push(",
    ".slice(1)",
    ".split('')",
    ".concat(",
    ".repeat(",
    ".padStart(9)",
    ".match(",
    ".map(",
    ".sort(",
    ".splice(",
    ".join()",
    ".flat()",
    ".replace(",
    ".constructor",
    "['__proto__']",
    ".test(",
    ".exec(",
    "range(",
    "cycler(",
    "joiner(",
    "own(",
    "fan(1)",
    "odd",
    "defined",
    "equalto(1)",
    "\n",
    " ",
    "é",
    "😀",
    "\\",
    "$",
    "m()",
    "caller()",
    "[1, 2]",
    "{a: 1}",
    "[0:2]",
    "[::-1]",
];

/// The engines: a bit of `choice` for each switch.
fn engine(choice: u8) -> &'static Engine {
    static ENGINES: LazyLock<Vec<Engine>> = LazyLock::new(|| (0..16).map(build).collect());
    &ENGINES[usize::from(choice % 16)]
}

fn build(choice: u8) -> Engine {
    let on = |bit: u8| choice & (1 << bit) != 0;
    let definition = |kind, name, expression| Definition { kind, name, expression };
    Engine::builder()
        .dialect(if on(0) { Dialect::Nunjucks3 } else { Dialect::Nunjitsu })
        .cookiecutter(on(1))
        .trim_blocks(on(2))
        .lstrip_blocks(on(3))
        .filter("own", |values| Ok(values.first().cloned().unwrap_or_default()))
        .global_fn("own", |values| Ok(values.first().cloned().unwrap_or_default()))
        .build()
        .with_definitions(&[
            definition(DefinitionKind::Filter, "again", "args[0] | again"),
            definition(DefinitionKind::Function, "fan", "fan(args[0] + 1) ~ fan(args[0] + 1)"),
        ])
        .unwrap()
}

static CONTEXT: LazyLock<Context> = LazyLock::new(|| {
    let data = json!({
        "a": 1, "b": [3, 1, 2], "s": "some text", "n": -0.5, "x": null, "text": "é 😀 http://a.com <b>x</b>\n",
        "list": [{"k": "a", "v": 1}, {"k": "b", "v": [1, [2]]}, {"k": "a"}], "data": {"k": {"v": true}, "length": 3},
    });
    Context::try_from(&data).unwrap()
});

/// Parses, inspects and renders a template. The first byte chooses the engine, and whether the others are its text or
/// name pieces of the language.
///
/// # Panics
/// When an error is nowhere in the source, or a limit isn't kept.
pub(crate) fn template(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let source = if choice & 0x80 == 0 {
        String::from_utf8_lossy(rest).into_owned()
    } else {
        rest.iter().map(|byte| PIECES[usize::from(*byte) % PIECES.len()]).collect()
    };
    render(engine(*choice), &source);
}

fn render(engine: &Engine, source: &str) {
    let inspection = engine.inspect(source);
    inspection.errors.iter().for_each(|error| check(error, source));
    let template = match engine.parse(source) {
        Ok(template) => template,
        Err(error) => {
            check(&error, source);
            assert!(!inspection.errors.is_empty(), "inspection found nothing wrong, but: {error}");
            return;
        }
    };
    let most = Limits::default().output_code_units as usize;
    match template.render(&CONTEXT) {
        Ok(text) => assert!(text.encode_utf16().count() <= most, "more output than allowed"),
        Err(error) => check(&error, source),
    }
    match template.render_value(&CONTEXT) {
        Ok(value) => drop(value.to_json()),
        Err(error) => check(&error, source),
    }
    drop(template.facts());
}

/// An error lies in its source and can be shown.
fn check(error: &Error, source: &str) {
    assert!(!error.message().is_empty());
    if let Some(offset) = error.offset() {
        assert!(offset <= source.len(), "{error} is at {offset} of {}", source.len());
        let (line, column) = (error.line().unwrap(), error.column().unwrap());
        let found = source.split('\n').nth(line as usize - 1).expect("the line of an error is one of the source");
        assert!(column as usize <= found.encode_utf16().count() + 1, "{error} is behind the end of its line");
    } else {
        assert_ne!(error.kind(), ErrorKind::Syntax, "a syntax error without a place: {error}");
    }
    assert!(
        error
            .report("template")
            .contains(error.message().lines().next().unwrap_or_default().get(..1).unwrap_or_default())
    );
}

/// Compiles a pattern and searches a text. The first byte gives the flags, the second how long the pattern is.
///
/// # Panics
/// When a match lies outside of the text, or two ways of asking differ.
pub(crate) fn regex(data: &[u8]) {
    let [flags, length, rest @ ..] = data else { return };
    let (pattern, text) = rest.split_at(usize::from(*length).min(rest.len()));
    let (pattern, text) = (String::from_utf8_lossy(pattern), String::from_utf8_lossy(text));
    let on = |bit: u8| flags & (1 << bit) != 0;
    let flags = Flags { ignore_case: on(0), multiline: on(1), unicode: on(2) };
    let Ok(regex) = understudy_regex::Regex::new(&pattern, flags) else { return };
    let matches = regex.is_match(&text);
    if flags.unicode {
        return;
    }
    let units: Vec<u16> = text.encode_utf16().collect();
    let searched = Text::new(&units);
    let mut from = 0;
    for turn in 0..20 {
        let Ok(found) = regex.find_at(&searched, from) else { return };
        if turn == 0
            && let Ok(matches) = matches
        {
            assert_eq!(matches, found.is_some(), "/{pattern}/ on {text:?}");
        }
        let Some(found) = found else { return };
        assert!(from <= found.start() && found.start() <= found.end() && found.end() <= units.len());
        for group in found.groups().flatten() {
            assert!(group.start <= group.end && group.end <= units.len());
        }
        from = found.end() + usize::from(found.end() == found.start());
        if from > units.len() {
            return;
        }
    }
}
