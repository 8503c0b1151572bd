//! Renders a syntax tree.

use std::borrow::Cow;

use handlebars::{
    Path, PathSeg,
    template::{BlockParam, HelperTemplate, Parameter, Template, TemplateElement},
};
use serde_json::Value as Json;

use crate::{
    Error, Helpers,
    helpers::BUILT_IN,
    parse::{missing_helper, place},
    value::Value,
};

/// Elements rendered and names looked up; 64 bytes of text count as one.
const MAX_WORK: usize = 1_000_000;
/// The length of a text, in bytes.
const MAX_OUTPUT: usize = 16 << 20;

pub(crate) fn render(template: &Template, data: &Json, helpers: &Helpers) -> Result<String, Error> {
    let mut run = Run { helpers, root: data, work: 0 };
    let scope = Scope { context: Value::data(data), outer: None, around: None, names: Vec::new(), locals: None };
    run.program(template, &scope).map(|value| value.text().into_owned())
}

/// One rendering.
struct Run<'a> {
    helpers: &'a Helpers,
    root: &'a Json,
    work: usize,
}

/// What names mean in a template or block.
struct Scope<'a, 's> {
    context: Value<'a>,
    /// Where `..` leads: to the nearest scope around that has another context.
    outer: Option<&'s Scope<'a, 's>>,
    /// The scope of the surrounding block.
    around: Option<&'s Scope<'a, 's>>,
    /// What `as |a b|` names.
    names: Vec<(&'a str, Value<'a>)>,
    /// Where an `each` is.
    locals: Option<Locals>,
}

/// `@index` and its like.
#[derive(Clone)]
struct Locals {
    index: usize,
    key: Json,
    is_first: bool,
    is_last: bool,
}

impl<'a> Run<'a> {
    fn charge(&mut self, units: usize) -> Result<(), Error> {
        self.work = self.work.saturating_add(units);
        if self.work > MAX_WORK {
            return Err(Error::new(format!("rendering exceeds the limit of {MAX_WORK} units of work")));
        }
        Ok(())
    }

    /// What a template or block gives: its parts added as JavaScript adds them, which is how Handlebars.js without
    /// escaping does it: two numbers with nothing between them become their sum.
    fn program(&mut self, template: &'a Template, scope: &Scope<'a, '_>) -> Result<Value<'a>, Error> {
        let mut sum: Option<Value<'a>> = None;
        for (index, element) in template.elements.iter().enumerate() {
            let part = self.element(element, scope).map_err(|error| error.at(place(template, index)))?;
            let Some(part) = part else { continue };
            sum = Some(match sum {
                None => part,
                Some(sum) => self.plus(sum, &part)?,
            });
        }
        Ok(sum.unwrap_or_else(|| Value::made("")))
    }

    fn plus(&mut self, sum: Value<'a>, part: &Value<'a>) -> Result<Value<'a>, Error> {
        // Behind a text only what is added costs; a text that isn't ours yet is copied once.
        let before = match &sum {
            Value::Json(Cow::Owned(Json::String(text))) => text.len(),
            _ => 0,
        };
        let sum = sum.plus(part);
        if let Value::Json(Cow::Owned(Json::String(text))) = &sum {
            if text.len() > MAX_OUTPUT {
                return Err(Error::new(format!("the text exceeds the limit of {MAX_OUTPUT} bytes")));
            }
            self.charge((text.len() - before) / 64)?;
        }
        Ok(sum)
    }

    /// What an element adds; `None`: nothing, not even an empty text.
    fn element(&mut self, element: &'a TemplateElement, scope: &Scope<'a, '_>) -> Result<Option<Value<'a>>, Error> {
        self.charge(1)?;
        let value = match element {
            TemplateElement::RawString(text) if text.is_empty() => return Ok(None),
            TemplateElement::RawString(text) => Value::made(text.as_str()),
            TemplateElement::Expression(helper) | TemplateElement::HtmlExpression(helper) => {
                self.expression(helper, scope)?
            }
            TemplateElement::HelperBlock(helper) => self.block(helper, scope)?,
            _ => return Ok(None),
        };
        Ok(Some(if value.is_nothing() { Value::made("") } else { value }))
    }

    fn expression(&mut self, helper: &'a HelperTemplate, scope: &Scope<'a, '_>) -> Result<Value<'a>, Error> {
        if let Parameter::Subexpression(inner) = &helper.name {
            return match inner.as_element() {
                TemplateElement::Expression(inner) => self.expression(inner, scope),
                _ => Ok(Value::Undefined),
            };
        }
        let name = simple_name(&helper.name);
        let is_called = !helper.params.is_empty() || !helper.hash.is_empty();
        if let Some(name) = name
            && scope.named(name).is_none()
            && (is_called || self.helpers.knows(name))
        {
            let arguments = self.arguments(helper, scope)?;
            return self.call(name, &arguments);
        }
        if is_called {
            return Err(Error::new(missing_helper(helper.name.as_name().unwrap_or_default())));
        }
        self.parameter(&helper.name, scope)
    }

    fn arguments(&mut self, helper: &'a HelperTemplate, scope: &Scope<'a, '_>) -> Result<Vec<Value<'a>>, Error> {
        helper.params.iter().map(|parameter| self.parameter(parameter, scope)).collect()
    }

    /// A helper without a block.
    fn call(&mut self, name: &str, arguments: &[Value<'a>]) -> Result<Value<'a>, Error> {
        match name {
            "log" => return Ok(Value::Undefined),
            "lookup" => {
                let [target, key] = arguments else {
                    return Err(Error::new("lookup needs two arguments"));
                };
                return Ok(if target.is_truthy() { target.get(&key.text()) } else { target.clone() });
            }
            name if BUILT_IN.contains(&name) => {
                return Err(Error::new(format!("{name} needs a block, as in {{{{#{name} x}}}}…{{{{/{name}}}}}")));
            }
            _ => {}
        }
        if let Some(result) = self.helpers.call(name, arguments) {
            let value = result.map_err(Error::new)?;
            if let Value::Json(Cow::Owned(Json::String(text))) = &value {
                self.charge(text.len() / 64)?;
            }
            return Ok(value);
        }
        Err(Error::new(missing_helper(name)))
    }

    fn block(&mut self, helper: &'a HelperTemplate, scope: &Scope<'a, '_>) -> Result<Value<'a>, Error> {
        let arguments = self.arguments(helper, scope)?;
        let name = helper.name.as_name().unwrap_or_default();
        let one = |what: &str| match arguments.as_slice() {
            [argument] => Ok(argument.clone()),
            _ => Err(Error::new(format!("#{what} requires exactly one argument"))),
        };
        let is_named = scope.named(name).is_some();
        match name {
            "if" | "unless" if !is_named => {
                let condition = one(name)?;
                let include_zero = match helper.hash.get("includeZero") {
                    Some(parameter) => self.parameter(parameter, scope)?.is_truthy(),
                    None => false,
                };
                let holds = !condition.is_empty() && (include_zero || condition.is_truthy());
                self.branch(helper, holds == (name == "if"), scope)
            }
            "each" if !is_named => match arguments.into_iter().next() {
                Some(items) => self.each(helper, items, scope),
                None => Err(Error::new("Must pass iterator to #each")),
            },
            "with" if !is_named => {
                let context = one(name)?;
                if context.is_empty() {
                    return self.branch(helper, false, scope);
                }
                let names = names(helper, context.clone(), None);
                self.inner(helper.template.as_ref(), context, names, None, scope)
            }
            name if !is_named && self.helpers.knows(name) => self.call(name, &arguments),
            name if !arguments.is_empty() || !helper.hash.is_empty() => Err(Error::new(missing_helper(name))),
            // A section: its name is looked up, and decides whether and how often its body is there.
            name => {
                let value = scope.named(name).unwrap_or_else(|| scope.context.get(name));
                match value.json().as_deref() {
                    Some(Json::Bool(true)) => self.branch(helper, true, scope),
                    None | Some(Json::Null | Json::Bool(false)) => self.branch(helper, false, scope),
                    Some(Json::Array(_)) => self.each(helper, value.clone(), scope),
                    Some(_) => self.inner(helper.template.as_ref(), value.clone(), Vec::new(), None, scope),
                }
            }
        }
    }

    /// The block's body or its `else`, in the same context.
    fn branch(&mut self, helper: &'a HelperTemplate, holds: bool, scope: &Scope<'a, '_>) -> Result<Value<'a>, Error> {
        let body = if holds { &helper.template } else { &helper.inverse };
        self.inner(body.as_ref(), scope.context.clone(), Vec::new(), None, scope)
    }

    /// A block's body.
    fn inner(
        &mut self,
        body: Option<&'a Template>,
        context: Value<'a>,
        names: Vec<(&'a str, Value<'a>)>,
        locals: Option<Locals>,
        scope: &Scope<'a, '_>,
    ) -> Result<Value<'a>, Error> {
        let Some(body) = body else { return Ok(Value::made("")) };
        let is_other = !(context.is_same(&scope.context) || context.is_nothing() && scope.context.is_nothing());
        let outer = if is_other { Some(scope) } else { scope.outer };
        self.program(body, &Scope { context, outer, around: Some(scope), names, locals })
    }

    fn each(
        &mut self,
        helper: &'a HelperTemplate,
        items: Value<'a>,
        scope: &Scope<'a, '_>,
    ) -> Result<Value<'a>, Error> {
        let entries: Vec<(Json, Value<'a>)> = match &items {
            Value::Json(Cow::Borrowed(Json::Array(list))) => {
                list.iter().enumerate().map(|(index, item)| (index.into(), Value::data(item))).collect()
            }
            Value::Json(Cow::Borrowed(Json::Object(members))) => {
                members.iter().map(|(key, member)| (key.as_str().into(), Value::data(member))).collect()
            }
            Value::Json(Cow::Owned(Json::Array(list))) => {
                list.iter().enumerate().map(|(index, item)| (index.into(), Value::made(item.clone()))).collect()
            }
            Value::Json(Cow::Owned(Json::Object(members))) => {
                members.iter().map(|(key, member)| (key.as_str().into(), Value::made(member.clone()))).collect()
            }
            _ => Vec::new(),
        };
        if entries.is_empty() {
            return self.branch(helper, false, scope);
        }
        let last = entries.len() - 1;
        let mut text = Value::made("");
        for (index, (key, item)) in entries.into_iter().enumerate() {
            self.charge(1)?;
            let names = names(helper, item.clone(), Some(&key));
            let locals = Locals { index, key, is_first: index == 0, is_last: index == last };
            let turn = self.inner(helper.template.as_ref(), item, names, Some(locals), scope)?;
            text = self.plus(text, &turn)?;
        }
        Ok(text)
    }

    fn parameter(&mut self, parameter: &'a Parameter, scope: &Scope<'a, '_>) -> Result<Value<'a>, Error> {
        self.charge(1)?;
        match parameter {
            Parameter::Literal(literal) => Ok(Value::data(literal)),
            Parameter::Name(name) => Ok(scope.named(name).unwrap_or_else(|| scope.context.get(name))),
            Parameter::Path(Path::Local((level, name, _))) => Ok(self.local(*level, name, scope)),
            Parameter::Path(Path::Relative((segments, raw))) => self.look_up(segments, raw, scope),
            Parameter::Subexpression(inner) => match inner.as_element() {
                TemplateElement::Expression(helper) => self.expression(helper, scope),
                _ => Ok(Value::Undefined),
            },
            _ => Ok(Value::Undefined),
        }
    }

    fn look_up(&mut self, segments: &'a [PathSeg], raw: &str, scope: &Scope<'a, '_>) -> Result<Value<'a>, Error> {
        self.charge(segments.len())?;
        let mut names = segments.iter().filter_map(|segment| match segment {
            PathSeg::Named(name) => Some(name.as_str()),
            _ => None,
        });
        let mut value = if raw.starts_with("@root") {
            Value::data(self.root)
        } else {
            // What isn't a name leads up.
            let mut ups = segments.iter().filter(|segment| !matches!(segment, PathSeg::Named(_)));
            let at = ups.try_fold(scope, |at, _| at.outer);
            at.map_or(Value::Undefined, |scope| scope.context.clone())
        };
        if !is_scoped(raw)
            && let Some(first) = names.clone().next()
            && let Some(named) = scope.named(first)
        {
            names.next();
            value = named;
        }
        Ok(names.fold(value, |value, name| value.get(name)))
    }

    fn local(&self, level: usize, name: &str, scope: &Scope<'a, '_>) -> Value<'a> {
        if name == "root" {
            return Value::data(self.root);
        }
        let mut level = level;
        let mut at = Some(scope);
        while let Some(scope) = at {
            if let Some(locals) = &scope.locals {
                if level == 0 {
                    return match name {
                        "index" => Value::made(locals.index),
                        "key" => Value::made(locals.key.clone()),
                        "first" => Value::made(locals.is_first),
                        "last" => Value::made(locals.is_last),
                        _ => Value::Undefined,
                    };
                }
                level -= 1;
            }
            at = scope.around;
        }
        Value::Undefined
    }
}

impl<'a> Scope<'a, '_> {
    /// The value that `as |name|` gave a name, here or in a block around.
    fn named(&self, name: &str) -> Option<Value<'a>> {
        let mut at = Some(self);
        while let Some(scope) = at {
            if let Some((_, value)) = scope.names.iter().find(|(known, _)| *known == name) {
                return Some(value.clone());
            }
            at = scope.around;
        }
        None
    }
}

/// What `as |a b|` names in one turn of a block.
fn names<'a>(helper: &'a HelperTemplate, value: Value<'a>, key: Option<&Json>) -> Vec<(&'a str, Value<'a>)> {
    let name = |parameter: &'a Parameter| parameter.as_name().unwrap_or_default();
    match &helper.block_param {
        Some(BlockParam::Single(first)) => vec![(name(first), value)],
        Some(BlockParam::Pair((first, second))) => {
            let key = key.map_or(Value::Undefined, |key| Value::made(key.clone()));
            vec![(name(first), value), (name(second), key)]
        }
        _ => Vec::new(),
    }
}

/// The name of a path that is one name and nothing else.
fn simple_name(parameter: &Parameter) -> Option<&str> {
    match parameter {
        Parameter::Name(name) => Some(name),
        Parameter::Path(Path::Relative((segments, raw))) if !is_scoped(raw) => match segments.as_slice() {
            [PathSeg::Named(name)] => Some(name),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a path starts at a context that it names: `this.a`, `./a`, `../a`, `@root.a`.
fn is_scoped(raw: &str) -> bool {
    raw.starts_with(['.', '@']) || raw == "this" || raw.starts_with("this.") || raw.starts_with("this/")
}
