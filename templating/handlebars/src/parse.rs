//! From text to a syntax tree that is safe to walk.

use std::{panic::catch_unwind, thread};

use handlebars::{
    TemplateError, TemplateErrorReason,
    template::{HelperTemplate, Parameter, Template, TemplateElement},
};

use crate::{Error, Helpers};

/// How long a source may be, in bytes. The parser needs a few hundred times as much memory where tags are dense.
const MAX_SOURCE: usize = 256 * 1024;
/// How deeply blocks and subexpressions may nest, together.
pub(crate) const MAX_NESTING: usize = 64;
/// So many brackets can't nest deep enough to be of concern.
const FEW_BRACKETS: usize = 200;
/// More brackets than these are refused unseen.
const MANY_BRACKETS: usize = 20_000;
/// Room for nesting that is refused only once it has been read.
const STACK: usize = 256 << 20;
/// The parser looks ahead behind each backslash of a row.
const MAX_BACKSLASHES: usize = 64;

pub(crate) fn parse(source: &str) -> Result<Template, Error> {
    if source.len() > MAX_SOURCE {
        return Err(Error::new(format!("the template is longer than {MAX_SOURCE} bytes")));
    }
    if source.contains(&"\\".repeat(MAX_BACKSLASHES + 1)) {
        return Err(Error::new(format!("more than {MAX_BACKSLASHES} backslashes stand in a row")));
    }
    let brackets = source.bytes().filter(|byte| matches!(byte, b'(' | b'[' | b'{')).count();
    match brackets {
        0..=FEW_BRACKETS => parse_here(source),
        MANY_BRACKETS.. => Err(Error::new(format!("the template has {MANY_BRACKETS} brackets or more"))),
        // How deep they nest shows only when they are read, which recurses.
        _ => thread::scope(|scope| {
            let thread = thread::Builder::new().name("handlebars".into()).stack_size(STACK);
            let thread = thread.spawn_scoped(scope, || parse_here(source));
            let thread = thread.map_err(|error| Error::new(format!("no thread to read the template: {error}")))?;
            thread.join().unwrap_or_else(|_| Err(unreadable()))
        }),
    }
}

fn parse_here(source: &str) -> Result<Template, Error> {
    // Templates say `{{.}}` where the parser wants `{{this}}`.
    let source = source.replace("{{.}}", "{{this}}").replace("{{ . }}", "{{ this }}");
    // The parser holds some things to be impossible, and panics when they are not.
    let parsed = catch_unwind(|| Template::compile(&source)).map_err(|_| unreadable())?;
    let template = parsed.map_err(|error| Error::new(reason(&source, &error)).at(error.pos()))?;
    check(&template, 0)?;
    Ok(template)
}

/// Why a source is no template, for its author rather than for the parser's.
fn reason(source: &str, error: &TemplateError) -> String {
    let TemplateErrorReason::InvalidSyntax(_) = error.reason() else { return error.reason().to_string() };
    let line = error.pos().and_then(|(line, _)| source.lines().nth(line.saturating_sub(1))).unwrap_or_default();
    let is_section = line.split("{{").skip(1).any(|tag| {
        let tag = tag.trim_start_matches('~');
        match tag.strip_prefix('#') {
            Some(name) => {
                name.split(|c: char| c.is_whitespace() || c == '}').next().is_some_and(|name| name.contains(['.', '/']))
            }
            None => tag.strip_prefix('^').is_some_and(|rest| !rest.trim_start_matches('~').starts_with("}}")),
        }
    });
    if is_section {
        return "sections of a path ({{#a.b}}) and inverted ones ({{^a}}) can't be read; use #if, #unless, #each or #with".to_string();
    }
    "the tag can't be read: expected something like {{ parameters.name }}, {{ json parameters.list }} or a block that is \
     closed, {{#if x}}…{{/if}}"
        .to_string()
}

fn unreadable() -> Error {
    Error::new("the template can't be read")
}

/// Refuses what has no place here, and what nests too deeply.
fn check(template: &Template, depth: usize) -> Result<(), Error> {
    if depth > MAX_NESTING {
        return Err(Error::new(format!("blocks nest more than {MAX_NESTING} levels deep")));
    }
    for (index, element) in template.elements.iter().enumerate() {
        check_element(element, depth).map_err(|error| error.at(place(template, index)))?;
    }
    Ok(())
}

fn check_element(element: &TemplateElement, depth: usize) -> Result<(), Error> {
    match element {
        TemplateElement::RawString(_) | TemplateElement::Comment(_) => Ok(()),
        TemplateElement::Expression(helper)
        | TemplateElement::HtmlExpression(helper)
        | TemplateElement::HelperBlock(helper) => {
            parameters(helper).try_for_each(|parameter| check_parameter(parameter, depth))?;
            helper.template.iter().chain(&helper.inverse).try_for_each(|inner| check(inner, depth + 1))
        }
        TemplateElement::DecoratorExpression(_) | TemplateElement::DecoratorBlock(_) => {
            Err(Error::new("decorators can't be used in steps"))
        }
        TemplateElement::PartialExpression(_) | TemplateElement::PartialBlock(_) => {
            Err(Error::new("partials can't be used in steps"))
        }
        _ => Err(unreadable()),
    }
}

fn check_parameter(parameter: &Parameter, depth: usize) -> Result<(), Error> {
    if depth > MAX_NESTING {
        return Err(Error::new(format!("expressions nest more than {MAX_NESTING} levels deep")));
    }
    match parameter {
        Parameter::Subexpression(inner) => check_element(inner.as_element(), depth + 1),
        // The parser knows such literals; Handlebars doesn't.
        Parameter::Literal(literal) if literal.is_array() || literal.is_object() => {
            Err(Error::new("lists and objects can't be written in a template"))
        }
        _ => Ok(()),
    }
}

/// A helper's name and arguments.
fn parameters(helper: &HelperTemplate) -> impl Iterator<Item = &Parameter> {
    std::iter::once(&helper.name).chain(&helper.params).chain(helper.hash.values())
}

/// Where an element stands.
pub(crate) fn place(template: &Template, index: usize) -> Option<(usize, usize)> {
    template.mapping.get(index).map(|mapping| (mapping.0, mapping.1))
}

pub(crate) fn missing_helpers(template: &Template, helpers: &Helpers) -> Vec<Error> {
    let mut missing = Vec::new();
    collect(template, helpers, &mut missing);
    missing
}

fn collect(template: &Template, helpers: &Helpers, missing: &mut Vec<Error>) {
    for (index, element) in template.elements.iter().enumerate() {
        let first = missing.len();
        collect_element(element, helpers, missing);
        for error in &mut missing[first..] {
            *error = error.clone().at(place(template, index));
        }
    }
}

fn collect_element(element: &TemplateElement, helpers: &Helpers, missing: &mut Vec<Error>) {
    let (TemplateElement::Expression(helper)
    | TemplateElement::HtmlExpression(helper)
    | TemplateElement::HelperBlock(helper)) = element
    else {
        return;
    };
    let is_called = !helper.params.is_empty() || !helper.hash.is_empty();
    if let Some(name) = helper.name.as_name().filter(|name| is_called && !helpers.knows(name)) {
        missing.push(Error::new(missing_helper(name)));
    }
    for parameter in parameters(helper) {
        if let Parameter::Subexpression(inner) = parameter {
            collect_element(inner.as_element(), helpers, missing);
        }
    }
    for inner in helper.template.iter().chain(&helper.inverse) {
        collect(inner, helpers, missing);
    }
}

/// Handlebars' words.
pub(crate) fn missing_helper(name: &str) -> String {
    format!("Missing helper: \"{name}\"")
}
