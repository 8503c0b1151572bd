//! Expressions.
//!
//! The grammar is Nunjucks', whose compiler writes JavaScript without parentheses. Where that changes the meaning of the
//! parsed tree, this parser builds the tree JavaScript would see: `2 * 7 % 4` is `(2 * 7) % 4` although `%` binds
//! tighter, and `not a == b` is `(not a) == b`.

use std::collections::HashSet;
use std::sync::Arc;

use super::statement::is_literal;
use super::{MAX_EXPRESSION_CALLS, Parser, Tokens};
use crate::ast::{
    Arguments, BinaryOp, Call, Dict, ExprId, ExprKind, FilterCall, LoopField, NameId, Run, Slice, TestCall, UnaryOp,
    Variable,
};
use crate::error::{Fault, Phase, Res, quote};
use crate::filters::{self, FilterRef, Unknown};
use crate::lexer::{TokenKind, regex_value, string_value};
use crate::limits::LimitKind;
use crate::shape::Shape;
use crate::suggest;
use crate::tests::{self, TestRef};
use crate::value::{Value, array_index, is_reserved};

/// How tightly an operator binds; a larger number binds tighter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Or,
    And,
    Not,
    In,
    Is,
    Equality,
    Relation,
    Additive,
    Multiplicative,
    Floor,
    Remainder,
    Power,
    Operand,
}

impl Level {
    fn tighter(self) -> Self {
        match self {
            Self::Or => Self::And,
            Self::And => Self::Not,
            Self::Not => Self::In,
            Self::In => Self::Is,
            Self::Is => Self::Equality,
            Self::Equality => Self::Relation,
            Self::Relation => Self::Additive,
            Self::Additive => Self::Multiplicative,
            Self::Multiplicative => Self::Floor,
            Self::Floor => Self::Remainder,
            Self::Remainder => Self::Power,
            Self::Power | Self::Operand => Self::Operand,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Infix {
    Or,
    And,
    In { negated: bool },
    Is,
    Floor,
    Binary(BinaryOp),
}

impl<'s> Parser<'s> {
    /// `a if b else c` and everything tighter.
    pub(super) fn expression(&mut self, tokens: &mut Tokens<'s>) -> Res<ExprId> {
        let then = self.infix(tokens, Level::Or)?;
        if !tokens.take(TokenKind::If) {
            return Ok(then);
        }
        let condition = self.infix(tokens, Level::Or)?;
        let mut otherwise = None;
        if tokens.take(TokenKind::Else) {
            self.enter(tokens.offset())?;
            otherwise = Some(self.infix(tokens, Level::Or)?);
            self.leave();
        }
        let offset = self.exprs[then.0 as usize].offset;
        self.push(offset, ExprKind::InlineIf { condition, then, otherwise })
    }

    /// An expression inside of brackets.
    fn inner_expression(&mut self, tokens: &mut Tokens<'s>) -> Res<ExprId> {
        self.enter(tokens.offset())?;
        let expr = self.expression(tokens)?;
        self.leave();
        Ok(expr)
    }

    /// An operand with the operators after it that bind at least as tightly as `level`.
    fn infix(&mut self, tokens: &mut Tokens<'s>, level: Level) -> Res<ExprId> {
        let offset = tokens.offset();
        self.stack += 1;
        if self.stack > MAX_EXPRESSION_CALLS {
            let limit = self.limits.nesting_depth;
            return Err(Fault::limit(Phase::Parsing, LimitKind::NestingDepth, limit, limit + 1).at(offset));
        }
        // A second test can't follow, nor one after the operand of `not`, which has taken the first.
        let mut had_test = level <= Level::Not && tokens.at(TokenKind::Not);
        let mut left = if level <= Level::Not && tokens.take(TokenKind::Not) {
            self.enter(tokens.offset())?;
            let operand = self.infix(tokens, Level::Not)?;
            self.leave();
            self.negate_leftmost(offset, operand)?
        } else {
            self.unary(tokens, true)?
        };
        while let Some((infix, binds)) = peek_infix(tokens) {
            if binds < level || (had_test && binds >= Level::Is) {
                break;
            }
            tokens.next += if matches!(infix, Infix::In { negated: true }) { 2 } else { 1 };
            if matches!(infix, Infix::Is) {
                left = self.test(tokens, left)?;
                had_test = true;
                continue;
            }
            let right = self.infix(tokens, binds.tighter())?;
            left = self.combine(infix, left, right)?;
        }
        self.stack -= 1;
        Ok(left)
    }

    /// Where messages place an operator: at its left operand, and if that is a negated test, at what is tested.
    fn place(&self, left: ExprId) -> u32 {
        match &self.exprs[left.0 as usize].kind {
            ExprKind::Test(test) if test.negated => self.place(test.input),
            _ => self.exprs[left.0 as usize].offset,
        }
    }

    fn combine(&mut self, infix: Infix, left: ExprId, right: ExprId) -> Res<ExprId> {
        let offset = self.place(left);
        let kind = match infix {
            Infix::Or => ExprKind::Or(left, right),
            Infix::And => ExprKind::And(left, right),
            Infix::In { negated } => ExprKind::In { negated, needle: left, container: right },
            Infix::Floor => {
                let quotient = self.graft(offset, BinaryOp::Divide, left, right)?;
                ExprKind::Unary { op: UnaryOp::Floor, operand: quotient }
            }
            Infix::Binary(op @ (BinaryOp::Multiply | BinaryOp::Divide)) => return self.graft(offset, op, left, right),
            // `is` ends the chain of its operand, so nothing is left of it.
            Infix::Is => return Ok(left),
            Infix::Binary(op) => ExprKind::Binary { op, left, right },
        };
        self.push(offset, kind)
    }

    /// `left op right`, where `right` may be a chain of remainders: then the operator applies to the first of them.
    fn graft(&mut self, offset: u32, op: BinaryOp, left: ExprId, right: ExprId) -> Res<ExprId> {
        let mut leaf = right;
        let mut parent = None;
        while let ExprKind::Binary { op: BinaryOp::Remainder, left: inner, .. } = self.exprs[leaf.0 as usize].kind {
            self.exprs[leaf.0 as usize].offset = offset;
            self.forget_cost(leaf);
            parent = Some(leaf);
            leaf = inner;
        }
        let joined = self.push(offset, ExprKind::Binary { op, left, right: leaf })?;
        match parent {
            None => Ok(joined),
            Some(parent) => {
                self.replace_left(parent, joined);
                Ok(right)
            }
        }
    }

    /// Applies `not` to the leftmost operand of the arithmetic and comparisons in `operand`.
    fn negate_leftmost(&mut self, offset: u32, operand: ExprId) -> Res<ExprId> {
        let mut leaf = operand;
        let mut parent = None;
        while let ExprKind::Binary { op, left, .. } = self.exprs[leaf.0 as usize].kind {
            if op == BinaryOp::Power {
                break;
            }
            self.exprs[leaf.0 as usize].offset = offset;
            self.forget_cost(leaf);
            parent = Some(leaf);
            leaf = left;
        }
        let negated = self.push(offset, ExprKind::Unary { op: UnaryOp::Not, operand: leaf })?;
        match parent {
            None => Ok(negated),
            Some(parent) => {
                self.replace_left(parent, negated);
                Ok(operand)
            }
        }
    }

    fn replace_left(&mut self, parent: ExprId, replacement: ExprId) {
        if let ExprKind::Binary { left, .. } = &mut self.exprs[parent.0 as usize].kind {
            *left = replacement;
        }
    }

    /// What follows `is`: a name, with or without arguments. Nunjucks reads a whole comparison there, so in
    /// `a is odd == b` the right side is not the name of a test, and then the test never holds.
    fn test(&mut self, tokens: &mut Tokens<'s>, input: ExprId) -> Res<ExprId> {
        let negated = tokens.take(TokenKind::Not);
        let offset = tokens.offset();
        let operand = self.infix(tokens, Level::Equality)?;
        let place = self.exprs[operand.0 as usize].offset;
        let literal = ExprKind::Literal(Value::Undefined);
        // What is no name at all is the test `undefined`.
        let (name, arguments) = match std::mem::replace(&mut self.exprs[operand.0 as usize].kind, literal) {
            ExprKind::Name(variable) => (self.names.text(variable.name).to_owned(), Arguments::default()),
            ExprKind::Literal(value) => (literal_name(&value), Arguments::default()),
            ExprKind::Call(call) => (self.test_name(call.callee), call.arguments),
            ExprKind::Filter(call) => {
                let start = self.lists.len() as u32;
                let Run { start: first, end } = call.arguments.positional;
                self.lists.push(call.input);
                self.lists.extend_from_within(first as usize..end as usize);
                let positional = Run { start, end: self.lists.len() as u32 };
                (call.filter.name().to_owned(), Arguments { positional, ..call.arguments })
            }
            _ => ("undefined".to_owned(), Arguments::default()),
        };
        let test = match tests::find(&name) {
            Some(test) => TestRef::Known(test),
            None => {
                let message = format!("Unknown template test {}", quote(&name));
                TestRef::Unknown(self.unknown(offset, message, &name, tests::names().collect())?)
            }
        };
        self.push(place, ExprKind::Test(Box::new(TestCall { test, negated, input, arguments })))
    }

    fn test_name(&self, callee: ExprId) -> String {
        match &self.exprs[callee.0 as usize].kind {
            ExprKind::Name(variable) => self.names.text(variable.name).to_owned(),
            ExprKind::Literal(value) => literal_name(value),
            _ => "undefined".to_owned(),
        }
    }

    /// A sign, or an operand with its filters.
    fn unary(&mut self, tokens: &mut Tokens<'s>, filters_follow: bool) -> Res<ExprId> {
        let offset = tokens.offset();
        let op = match tokens.peek() {
            TokenKind::Minus => Some(UnaryOp::Negate),
            TokenKind::Plus => Some(UnaryOp::Plus),
            _ => None,
        };
        let mut operand = match op {
            Some(op) => {
                let sign = tokens.peek();
                tokens.next += 1;
                let operand_offset = tokens.offset();
                self.enter(operand_offset)?;
                let repeated = tokens.at(sign);
                let operand = self.unary(tokens, false)?;
                self.leave();
                if repeated {
                    let sign = sign.symbol();
                    let message = format!("Repeated unparenthesized unary {sign} is not supported");
                    return Err(Fault::syntax(operand_offset, message));
                }
                self.push(offset, ExprKind::Unary { op, operand })?
            }
            None => self.primary(tokens)?,
        };
        while filters_follow && tokens.take(TokenKind::Pipe) {
            operand = self.filter(tokens, operand)?;
        }
        Ok(operand)
    }

    fn filter(&mut self, tokens: &mut Tokens<'s>, input: ExprId) -> Res<ExprId> {
        let (filter, offset, arguments) = self.filter_reference(tokens)?;
        self.push(offset, ExprKind::Filter(Box::new(FilterCall { filter, input, arguments })))
    }

    /// A filter's name, which may have dots, with its arguments.
    pub(super) fn filter_reference(&mut self, tokens: &mut Tokens<'s>) -> Res<(FilterRef, u32, Arguments)> {
        let (first, offset) = tokens.expect_name()?;
        self.check_filter_name(first, offset)?;
        let mut name = first.to_owned();
        while tokens.take(TokenKind::Dot) {
            let (segment, place) = tokens.expect_name()?;
            self.check_filter_name(segment, place)?;
            name.push('.');
            name.push_str(segment);
        }
        let mut arguments = if tokens.at(TokenKind::Open) { self.arguments(tokens)? } else { Arguments::default() };
        if self.is_older() && matches!(tokens.peek(), TokenKind::Dot | TokenKind::OpenBracket | TokenKind::Open) {
            self.later_arguments(tokens, &mut arguments)?;
        }
        let settings = self.settings;
        if let Some((name, index)) = settings.defined_filters.get_key_value(name.as_str()) {
            return Ok((FilterRef::Defined { name: name.clone(), index: *index }, offset, arguments));
        }
        if let Some((name, function)) = settings.filters.get_key_value(name.as_str()) {
            return Ok((FilterRef::Host { name: name.clone(), function: function.clone() }, offset, arguments));
        }
        if let Some(builtin) = filters::find(&name, settings.syntax.cookiecutter) {
            return Ok((FilterRef::Builtin(builtin), offset, arguments));
        }
        let known = settings.filters.keys().chain(settings.defined_filters.keys());
        let known: Vec<&str> = known.map(|name| &**name).collect();
        let known = filters::names(settings.syntax.cookiecutter).map(|name: &str| name).chain(known).collect();
        let message = format!("Unknown template filter {}", quote(&name));
        let unknown = self.unknown(offset, message, &name, known)?;
        Ok((FilterRef::Unknown(unknown), offset, arguments))
    }

    /// Refuses the reserved names, which the older dialect only doesn't know.
    fn check_filter_name(&self, name: &str, offset: u32) -> Res<()> {
        if self.is_older() { Ok(()) } else { check_name(name, offset) }
    }

    /// What is known of a name that stands for nothing. A tool that checks templates is told of it at once.
    fn unknown(&mut self, offset: u32, message: String, name: &str, known: Vec<&str>) -> Res<Arc<Unknown>> {
        // To find a name that may be meant takes longer than all else about a name.
        const MOST: usize = 1000;
        let is_told = self.unknown_is_fault || self.recovery.is_some();
        if let Some(unknown) = self.unknowns.get(&message) {
            let unknown = unknown.clone();
            if is_told {
                self.recover(Fault::syntax(offset, unknown.message.clone()).hint(unknown.hint.clone()))?;
            }
            return Ok(unknown);
        }
        let is_few = self.unknowns.len() < MOST;
        let known = if is_few { known } else { Vec::new() };
        let fault = suggest::unknown(offset, message.clone(), name, known.into_iter());
        let (text, hint) = fault.clone().into_parts();
        if is_told {
            self.recover(fault)?;
        }
        let unknown = Arc::new(Unknown { name: name.into(), message: text, hint });
        if is_few {
            self.unknowns.insert(message, unknown.clone());
        }
        Ok(unknown)
    }

    /// What follows the arguments of a filter in the older dialect: more look-ups and calls, of which nothing remains but
    /// the arguments of the last call.
    fn later_arguments(&mut self, tokens: &mut Tokens<'s>, arguments: &mut Arguments) -> Res<()> {
        let offset = tokens.offset();
        let nothing = self.push(offset, ExprKind::Literal(Value::Undefined))?;
        let last = self.postfix(tokens, nothing)?;
        match std::mem::replace(&mut self.exprs[last.0 as usize].kind, ExprKind::Literal(Value::Undefined)) {
            ExprKind::Call(later) => *arguments = later.arguments,
            ExprKind::Literal(_) => {}
            _ => return Err(Fault::syntax(offset, "Nothing can be looked up in a filter")),
        }
        Ok(())
    }

    /// A literal, a name, or something in brackets; with the look-ups and calls after it.
    fn primary(&mut self, tokens: &mut Tokens<'s>) -> Res<ExprId> {
        let offset = tokens.offset();
        let token = tokens.token(0);
        if token.kind.is_word() {
            let name = tokens.text(token);
            tokens.next += 1;
            let operand = match self.constant(name) {
                Some(value) => self.push(offset, ExprKind::Literal(value))?,
                None => {
                    let variable = self.variable(name, offset)?;
                    self.push(offset, ExprKind::Name(variable))?
                }
            };
            return self.postfix(tokens, operand);
        }
        let value = match token.kind {
            TokenKind::Number => Value::Number(tokens.number()),
            TokenKind::String => Value::String(string_value(tokens.text(token))),
            TokenKind::Regex => {
                let (pattern, flags) = regex_value(tokens.text(token));
                Value::Regex(self.regex(pattern, flags, offset)?)
            }
            TokenKind::Open | TokenKind::OpenBracket | TokenKind::OpenBrace => return self.bracketed(tokens),
            TokenKind::End => return Err(Fault::syntax(offset, "Unexpected expression token at end of input")),
            _ => {
                let message = format!("Unexpected expression token {}", quote(&tokens.shown()));
                return Err(Fault::syntax(offset, message));
            }
        };
        tokens.next += 1;
        let operand = self.push(offset, ExprKind::Literal(value))?;
        self.postfix(tokens, operand)
    }

    fn bracketed(&mut self, tokens: &mut Tokens<'s>) -> Res<ExprId> {
        let offset = tokens.offset();
        let kind = match tokens.advance().kind {
            TokenKind::Open => self.group(tokens, offset)?,
            TokenKind::OpenBracket => self.elements(tokens, TokenKind::CloseBracket).map(ExprKind::Array)?,
            _ => self.dict(tokens)?,
        };
        let operand = self.push(offset, kind)?;
        self.postfix(tokens, operand)
    }

    fn constant(&self, name: &str) -> Option<Value> {
        Some(match name {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "none" | "null" => Value::Null,
            _ => return None,
        })
    }

    /// A name where it stands for a variable that is read.
    fn variable(&mut self, name: &'s str, offset: u32) -> Res<Variable> {
        self.loop_uses += usize::from(name == "loop");
        let name = self.read_name(name, offset)?;
        Ok(self.names.variable(name))
    }

    /// A name whose value is read. In the older dialect nothing has the reserved ones, but they can be asked for.
    fn read_name(&mut self, name: &'s str, offset: u32) -> Res<NameId> {
        if self.is_older() { Ok(self.names.number(name)) } else { self.name(name, offset) }
    }

    /// A name that is not one of the reserved ones.
    pub(super) fn name(&mut self, name: &'s str, offset: u32) -> Res<NameId> {
        check_name(name, offset)?;
        Ok(self.names.number(name))
    }

    fn group(&mut self, tokens: &mut Tokens<'s>, offset: u32) -> Res<ExprKind> {
        if tokens.at(TokenKind::Close) {
            return Err(Fault::syntax(offset, "Parenthesized expression cannot be empty"));
        }
        self.elements(tokens, TokenKind::Close).map(ExprKind::Group)
    }

    /// Expressions with commas between them, up to `close`.
    fn elements(&mut self, tokens: &mut Tokens<'s>, close: TokenKind) -> Res<Run> {
        let outer = self.pending.len();
        if tokens.take(close) {
            return Ok(Run::default());
        }
        loop {
            let element = self.inner_expression(tokens)?;
            self.pending.push(element);
            if !tokens.take(TokenKind::Comma) {
                break;
            }
        }
        self.expect_close(tokens, close)?;
        Ok(complete(&mut self.pending, outer, &mut self.lists))
    }

    /// The bracket that ends a list, a group or a dictionary; the older dialect takes any.
    fn expect_close(&self, tokens: &mut Tokens<'s>, close: TokenKind) -> Res<()> {
        let any = self.is_older()
            && matches!(tokens.peek(), TokenKind::Close | TokenKind::CloseBracket | TokenKind::CloseBrace);
        if any {
            tokens.next += 1;
            return Ok(());
        }
        tokens.expect(close)
    }

    fn dict(&mut self, tokens: &mut Tokens<'s>) -> Res<ExprKind> {
        let (mut keys, mut values): (Vec<Arc<str>>, Vec<ExprId>) = Default::default();
        if !tokens.take(TokenKind::CloseBrace) {
            loop {
                let key = tokens.advance();
                let text: Arc<str> = match key.kind {
                    kind if kind.is_word() && !is_literal(tokens.text(key)) => tokens.text(key).into(),
                    TokenKind::String => string_value(tokens.text(key)).to_key(),
                    _ => return Err(Fault::syntax(key.offset, "Dictionary keys must be strings or names")),
                };
                check_name(&text, key.offset)?;
                keys.push(text);
                tokens.expect(TokenKind::Colon)?;
                values.push(self.inner_expression(tokens)?);
                if !tokens.take(TokenKind::Comma) {
                    break;
                }
            }
            self.expect_close(tokens, TokenKind::CloseBrace)?;
        }
        let mut seen = HashSet::new();
        let is_plain = keys.iter().all(|key| array_index(key).is_none() && seen.insert(key));
        let shape = is_plain.then(|| Shape::new(keys.as_slice().into()));
        Ok(ExprKind::Dict(Box::new(Dict { keys, values, shape })))
    }

    fn postfix(&mut self, tokens: &mut Tokens<'s>, mut operand: ExprId) -> Res<ExprId> {
        loop {
            let symbol = tokens.peek();
            if symbol == TokenKind::Dot {
                tokens.next += 1;
                let (name, offset) = tokens.expect_name()?;
                if self.is_older() && self.constant(name).is_some_and(|_| name.starts_with(char::is_lowercase)) {
                    return Err(Fault::syntax(offset, format!("Expected name, received {name}")));
                }
                let field = match self.exprs[operand.0 as usize].kind {
                    ExprKind::Name(_) => LoopField::find(name),
                    _ => None,
                };
                let is_path = self.only_looks_up(operand);
                let (name, lookup) = (self.read_name(name, offset)?, self.lookup());
                operand = self.push(offset, ExprKind::Member { target: operand, name, lookup, field, is_path })?;
            } else if symbol == TokenKind::OpenBracket {
                tokens.next += 1;
                operand = self.subscript(tokens, operand)?;
            } else if symbol != TokenKind::Open {
                return Ok(operand);
            } else {
                let offset = self.exprs[operand.0 as usize].offset;
                let arguments = self.arguments(tokens)?;
                operand = self.push(offset, ExprKind::Call(Box::new(Call { callee: operand, arguments })))?;
            }
        }
    }

    /// `[key]` or `[start:stop:step]`, after the bracket.
    fn subscript(&mut self, tokens: &mut Tokens<'s>, target: ExprId) -> Res<ExprId> {
        let offset = tokens.offset();
        if tokens.at(TokenKind::CloseBracket) {
            return Err(Fault::syntax(offset, "Expected subscript expression"));
        }
        let start = self.bound(tokens)?;
        if let Some(key) = start
            && !tokens.at(TokenKind::Colon)
        {
            self.expect_close(tokens, TokenKind::CloseBracket)?;
            if let ExprKind::Literal(Value::String(text)) = &self.exprs[key.0 as usize].kind
                && !self.is_older()
            {
                check_name(&text.to_lossy(), offset)?;
            }
            let (lookup, is_path) = (self.lookup(), self.only_looks_up(target) && self.only_looks_up(key));
            return self.push(offset, ExprKind::Index { target, key, lookup, is_path });
        }
        if self.is_older() && !self.settings.syntax.cookiecutter {
            return Err(Fault::syntax(tokens.offset(), "Slices are not part of the language \"nunjucks-3\""));
        }
        tokens.expect(TokenKind::Colon)?;
        let stop = self.bound(tokens)?;
        let mut step = None;
        if tokens.take(TokenKind::Colon) && !tokens.at(TokenKind::CloseBracket) {
            step = Some(self.inner_expression(tokens)?);
        }
        tokens.expect(TokenKind::CloseBracket)?;
        self.push(offset, ExprKind::Slice(Box::new(Slice { target, start, stop, step })))
    }

    fn only_looks_up(&self, id: ExprId) -> bool {
        self.exprs[id.0 as usize].kind.is_path()
    }

    fn bound(&mut self, tokens: &mut Tokens<'s>) -> Res<Option<ExprId>> {
        if tokens.at(TokenKind::Colon) || tokens.at(TokenKind::CloseBracket) {
            return Ok(None);
        }
        self.inner_expression(tokens).map(Some)
    }

    /// `(a, b, key=c)`.
    pub(super) fn arguments(&mut self, tokens: &mut Tokens<'s>) -> Res<Arguments> {
        tokens.expect(TokenKind::Open)?;
        self.argument_list(tokens)
    }

    /// The same after the opening bracket.
    pub(super) fn argument_list(&mut self, tokens: &mut Tokens<'s>) -> Res<Arguments> {
        if tokens.take(TokenKind::Close) {
            return Ok(Arguments::default());
        }
        let (outer, outer_keywords) = (self.pending.len(), self.pending_keywords.len());
        loop {
            let token = tokens.token(0);
            match (token.kind.is_word(), tokens.peek_second()) {
                (true, TokenKind::Assign) if !(self.is_older() && self.constant(tokens.text(token)).is_some()) => {
                    let name = self.name(tokens.text(token), token.offset)?;
                    tokens.next += 2;
                    let value = self.inner_expression(tokens)?;
                    self.pending_keywords.push((name, value));
                }
                _ => {
                    let value = self.inner_expression(tokens)?;
                    self.pending.push(value);
                }
            }
            if !tokens.take(TokenKind::Comma) {
                break;
            }
        }
        tokens.expect(TokenKind::Close)?;
        Ok(Arguments {
            positional: complete(&mut self.pending, outer, &mut self.lists),
            keyword: complete(&mut self.pending_keywords, outer_keywords, &mut self.keywords),
        })
    }
}

/// Moves the elements of a list that is complete to where all lists are.
fn complete<T>(pending: &mut Vec<T>, from: usize, lists: &mut Vec<T>) -> Run {
    let start = lists.len() as u32;
    lists.extend(pending.drain(from..));
    Run { start, end: lists.len() as u32 }
}

/// Refuses the reserved names.
fn check_name(name: &str, offset: u32) -> Res<()> {
    if is_reserved(name) {
        return Err(Fault::syntax(offset, format!("Template name {} is reserved", quote(name))));
    }
    Ok(())
}

/// The text of a literal that stands where a test's name does.
fn literal_name(value: &Value) -> String {
    match value {
        Value::Undefined => "undefined".to_owned(),
        Value::Null => "null".to_owned(),
        value => value.to_string(),
    }
}

#[inline]
fn peek_infix(tokens: &Tokens<'_>) -> Option<(Infix, Level)> {
    let binary = |op, level| Some((Infix::Binary(op), level));
    match tokens.peek() {
        TokenKind::Or => Some((Infix::Or, Level::Or)),
        TokenKind::And => Some((Infix::And, Level::And)),
        TokenKind::In => Some((Infix::In { negated: false }, Level::In)),
        TokenKind::Not if tokens.peek_second() == TokenKind::In => Some((Infix::In { negated: true }, Level::In)),
        TokenKind::Is => Some((Infix::Is, Level::Is)),
        TokenKind::Equal => binary(BinaryOp::Equal, Level::Equality),
        TokenKind::NotEqual => binary(BinaryOp::NotEqual, Level::Equality),
        TokenKind::StrictEqual => binary(BinaryOp::StrictEqual, Level::Equality),
        TokenKind::StrictNotEqual => binary(BinaryOp::StrictNotEqual, Level::Equality),
        TokenKind::Less => binary(BinaryOp::Less, Level::Relation),
        TokenKind::LessOrEqual => binary(BinaryOp::LessOrEqual, Level::Relation),
        TokenKind::Greater => binary(BinaryOp::Greater, Level::Relation),
        TokenKind::GreaterOrEqual => binary(BinaryOp::GreaterOrEqual, Level::Relation),
        TokenKind::Plus => binary(BinaryOp::Add, Level::Additive),
        TokenKind::Minus => binary(BinaryOp::Subtract, Level::Additive),
        TokenKind::Tilde => binary(BinaryOp::Concat, Level::Additive),
        TokenKind::Star => binary(BinaryOp::Multiply, Level::Multiplicative),
        TokenKind::Slash => binary(BinaryOp::Divide, Level::Multiplicative),
        TokenKind::Floor => Some((Infix::Floor, Level::Floor)),
        TokenKind::Percent => binary(BinaryOp::Remainder, Level::Remainder),
        TokenKind::Power => binary(BinaryOp::Power, Level::Power),
        _ => None,
    }
}
