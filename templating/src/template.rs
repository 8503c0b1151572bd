//! A parsed source.

use std::sync::{Arc, OnceLock};

use crate::ast::Ast;
use crate::context::Context;
use crate::dialect::Dialect;
use crate::engine::{Engine, Settings};
use crate::error::{Error, ErrorKind, Res};
use crate::eval;
use crate::facts::{self, Facts};
use crate::json;
use crate::parser;
use crate::string::{Str, StrBuilder};
use crate::value::Value;

/// A parsed template. Cloning is cheap, and one template can be rendered by many threads at once.
#[derive(Clone)]
pub struct Template(Arc<Parsed>);

struct Parsed {
    ast: Ast,
    engine: Engine,
    /// With [`Dialect::Nunjucks3`]: the form of the template that writes its value as JSON, once it has been asked for.
    as_json: OnceLock<Option<Ast>>,
}

impl Template {
    pub(crate) fn parse(engine: &Engine, source: &str) -> Result<Self, Error> {
        let mut parsed = Parsed { ast: Ast::default(), engine: engine.clone(), as_json: OnceLock::new() };
        parser::parse(source, &engine.0, &mut parsed.ast).map_err(|fault| fault.into_error(source))?;
        Ok(Self(Arc::new(parsed)))
    }

    /// Parses a source and renders it at once.
    pub(crate) fn render_once(engine: &Engine, source: &str, context: &Context) -> Result<String, Error> {
        let mut ast = Ast::default();
        parser::parse(source, &engine.0, &mut ast).map_err(|fault| fault.into_error(source))?;
        render_into(&ast, &engine.0, context).map(StrBuilder::finish_lossy)
    }

    /// The text the template was parsed from.
    pub fn source(&self) -> &str {
        &self.0.ast.source
    }

    /// Renders to text. Half of a character that stands alone (a lone surrogate) becomes U+FFFD, as it does when
    /// JavaScript writes text to a file.
    ///
    /// # Errors
    /// When an expression cannot be evaluated, a registered function fails or a limit is exceeded.
    pub fn render(&self, context: &Context) -> Result<String, Error> {
        self.render_into(context).map(StrBuilder::finish_lossy)
    }

    fn render_text(&self, context: &Context) -> Result<Str, Error> {
        self.render_into(context).map(StrBuilder::finish)
    }

    fn render_into(&self, context: &Context) -> Result<StrBuilder, Error> {
        let Parsed { ast, engine, .. } = &*self.0;
        render_into(ast, &engine.0, context)
    }

    /// Renders to a value: when the template is one interpolation and nothing else (comments aside), what its expression
    /// gives; otherwise the rendered text as a string.
    ///
    /// With [`Dialect::Nunjucks3`], as `@backstage/plugin-scaffolder-backend` 4.0.2 did it: when the template is one tag
    /// and nothing else, it is rendered with every interpolation passed through `dump`, and what that gives is read as
    /// JSON; if it isn't any, or the template is more than that, the value is the rendered text. An empty text is
    /// `undefined`.
    ///
    /// # Errors
    /// As [`Template::render`], and when the value is a function or contains itself.
    pub fn render_value(&self, context: &Context) -> Result<Value, Error> {
        let Parsed { ast, engine, .. } = &*self.0;
        let source = &*ast.source;
        if engine.dialect() == Dialect::Nunjucks3 {
            return self.render_reread(context);
        }
        match ast.sole_interpolation() {
            Some((expr, offset)) => {
                eval::evaluate(ast, expr, offset, &engine.0, context).map_err(|fault| fault.into_error(source))
            }
            None => match ast.sole_filter_block() {
                Some(block) => {
                    let value = eval::evaluate_block(ast, block, &engine.0, context);
                    value.map_err(|fault| fault.into_error(source))
                }
                None => self.render_text(context).map(Value::String),
            },
        }
    }

    fn render_reread(&self, context: &Context) -> Result<Value, Error> {
        if let Some(ast) = self.0.as_json.get_or_init(|| self.json_form()) {
            // Whatever fails here makes the template a text. A limit would only be hit again.
            match self.reread(ast, context).map_err(|fault| fault.into_error(&self.0.ast.source)) {
                Ok(Some(value)) => return Ok(value),
                Err(error) if matches!(error.kind(), ErrorKind::Limit(_)) => return Err(error),
                Ok(None) | Err(_) => {}
            }
        }
        let text = self.render_text(context)?;
        Ok(if text.is_empty() { Value::Undefined } else { Value::String(text) })
    }

    /// The value of what the JSON form writes; `None` when that isn't JSON.
    fn reread(&self, ast: &Ast, context: &Context) -> Res<Option<Value>> {
        let settings = &self.0.engine.0;
        let text = eval::render(ast, settings, context)?.finish();
        if text.is_empty() {
            return Ok(Some(Value::Undefined));
        }
        json::parse(&text.to_lossy(), settings.limits.work_units)
    }

    /// The form that writes JSON, if the template is one tag and the form is a template.
    fn json_form(&self) -> Option<Ast> {
        let Parsed { ast, engine, .. } = &*self.0;
        let source = &*ast.source;
        if !ast.is_sole_tag() {
            return None;
        }
        // Both trees together have no more nodes than one may.
        let mut settings = Settings::clone(&engine.0);
        settings.limits.ast_nodes = settings.limits.ast_nodes.saturating_sub(ast.exprs.len() as u64);
        let mut form = Ast::default();
        parser::parse(&dumping(source), &settings, &mut form).ok().map(|()| form)
    }

    /// Whether the template is exactly one interpolation, so that [`Template::render_value`] keeps its value's type.
    pub fn is_sole_interpolation(&self) -> bool {
        self.0.ast.sole_interpolation().is_some()
    }

    /// The filters, functions and names that the template uses.
    pub fn facts(&self) -> Facts {
        facts::collect(&self.0.ast, &self.0.ast.source)
    }
}

fn render_into(ast: &Ast, settings: &Settings, context: &Context) -> Result<StrBuilder, Error> {
    eval::render(ast, settings, context).map_err(|fault| fault.into_error(&ast.source))
}

/// The source with `| dump` applied to what stands between the first opening and the last closing delimiter of each
/// line. This is the replacement of `/\${{(.+)}}/g` by `${{ ( $1 ) | dump }}`, with all its accidents: a line with two
/// interpolations becomes something else, and `${{- n }}` a negation.
fn dumping(source: &str) -> String {
    // Whatever the delimiters of the engine are: the values of steps are the only ones that were read so.
    let (open, close) = ("${{", "}}");
    let mut result = String::with_capacity(source.len() + 16);
    for line in source.split_inclusive(['\n', '\r', '\u{2028}', '\u{2029}']) {
        let between = line.find(open).and_then(|start| {
            let end = line.rfind(close)?;
            (start + open.len() < end).then_some((start, end))
        });
        match between {
            None => result.push_str(line),
            Some((start, end)) => {
                let (code, rest) = (&line[start + open.len()..end], &line[end + close.len()..]);
                result.extend([&line[..start], open, " ( ", code, " ) | dump ", close, rest]);
            }
        }
    }
    result
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Template").field(&self.source()).finish()
    }
}
