//! Statements: text, interpolations and block tags.

use std::ops::Range;

use super::{Parser, Tokens};
use crate::ast::{
    Assigned, ExprId, ExprKind, FilterBlock, For, Macro, Parameter, Slot, Span, Stmt, StmtKind, Switch, Variable,
};
use crate::error::{Fault, Places, Position, Res, quote};
use crate::lexer::{self, PieceKind, TokenKind, is_code_whitespace};
use crate::suggest;
use crate::value::Value;

/// Tags that open a statement.
const OPENERS: [&str; 8] = ["if", "for", "set", "macro", "call", "filter", "block", "switch"];

/// Tags that continue or end one.
const CLOSERS: [&str; 12] = [
    "elif",
    "elseif",
    "else",
    "endif",
    "endfor",
    "endset",
    "endmacro",
    "endcall",
    "endfilter",
    "case",
    "default",
    "endswitch",
];

const LOADING: [&str; 4] = ["include", "import", "from", "extends"];

/// Tags that the older dialect has too. What they run is not asynchronous here, so they do the same as those without.
const ASYNCHRONOUS: [&str; 3] = ["ifAsync", "asyncEach", "asyncAll"];

/// A block tag that ended a body.
pub(super) struct Closer<'s> {
    pub(super) keyword: &'s str,
    pub(super) offset: u32,
    /// What comes after the keyword.
    pub(super) rest: Range<usize>,
}

/// A block tag that opens something.
#[derive(Clone)]
struct Tag {
    offset: u32,
    /// The whole code, without white space around it.
    code: Range<usize>,
    /// What comes after the keyword, without white space around it.
    rest: Range<usize>,
}

impl<'s> Parser<'s> {
    pub(super) fn template(&mut self) -> Res<Vec<Stmt>> {
        let (body, _) = self.body(&[], None)?;
        Ok(body)
    }

    /// The statements up to one of the tags in `closers`, or, when there are none to wait for, up to the end.
    fn body(&mut self, closers: &[&str], opener: Option<(u32, &'static str)>) -> Res<(Vec<Stmt>, Option<Closer<'s>>)> {
        let most = if opener.is_none() { self.pieces.len().min(16) } else { 0 };
        let mut body = Vec::with_capacity(most);
        while let Some(piece) = self.pieces.get(self.next_piece) {
            let (offset, kind, code) = (piece.offset, piece.kind, piece.range());
            self.next_piece += 1;
            let kind = match kind {
                PieceKind::Text => {
                    let range = code;
                    self.count_node(offset)?;
                    let text = &self.source[range.clone()];
                    let units = if text.is_ascii() { text.len() } else { text.encode_utf16().count() };
                    let span = Span { start: range.start as u32, end: range.end as u32 };
                    StmtKind::Text { span, units: units as u32 }
                }
                PieceKind::Variable => {
                    self.count_node(offset)?;
                    StmtKind::Output(self.interpolation(code)?)
                }
                PieceKind::Block => {
                    let (keyword, code_start) = match self.keyword(code.clone(), offset) {
                        Ok(found) => found,
                        Err(fault) => {
                            self.recover(fault)?;
                            continue;
                        }
                    };
                    let code = lexer::trimmed(self.source, code);
                    let rest = lexer::trimmed(self.source, code_start..code.end.max(code_start));
                    if self.is_closer(keyword, closers) {
                        if !closers.contains(&keyword) {
                            let fault = Fault::syntax(offset, unexpected(keyword, closers));
                            match self.misfit(fault, keyword, opener)? {
                                Some(closer) => return Ok((body, Some(closer))),
                                None => continue,
                            }
                        }
                        if !rest.is_empty() && !matches!(keyword, "elif" | "elseif" | "case" | "endblock") {
                            let message = format!("{keyword} tag does not accept trailing content");
                            self.recover(Fault::syntax(offset, message))?;
                        }
                        // There may be a body for each few bytes of a source.
                        body.shrink_to_fit();
                        return Ok((body, Some(Closer { keyword, offset, rest })));
                    }
                    if let Err(fault) = self.check_known(keyword, offset) {
                        self.leave_out_unknown(fault, keyword)?;
                        continue;
                    }
                    self.count_node(offset)?;
                    self.enter_statement(offset)?;
                    let (piece, depth) = (self.next_piece, self.depth - 1);
                    let tag = Tag { offset, code: code.clone(), rest };
                    match self.statement(keyword, tag) {
                        Ok(kind) => {
                            self.leave();
                            kind
                        }
                        Err(fault) => {
                            self.leave_out_statement(fault, &self.source[code], piece, depth)?;
                            continue;
                        }
                    }
                }
            };
            body.push(Stmt { offset, kind });
        }
        match opener {
            None => Ok((body, None)),
            Some((offset, end)) => self.missing(body, offset, end),
        }
    }

    fn is_closer(&self, keyword: &str, closers: &[&str]) -> bool {
        match keyword {
            // Out of place, this is a tag like any other that nobody knows.
            "endblock" => closers.contains(&keyword),
            "endeach" | "endall" => self.is_older(),
            _ => CLOSERS.contains(&keyword),
        }
    }

    fn interpolation(&mut self, code: std::ops::Range<usize>) -> Res<ExprId> {
        let offset = code.start as u32;
        match self.tokens(code) {
            Ok(mut tokens) => {
                let expr = self.whole_expression(&mut tokens);
                self.recycle(tokens);
                expr
            }
            Err(fault) => self.stand_in(fault, offset),
        }
    }

    /// A body that must be closed: the closer is there.
    fn closed_body(&mut self, closers: &[&str], offset: u32, end: &'static str) -> Res<(Vec<Stmt>, Closer<'s>)> {
        match self.body(closers, Some((offset, end)))? {
            (body, Some(closer)) => Ok((body, closer)),
            (_, None) => Err(Fault::syntax(offset, format!("Missing {end} tag"))),
        }
    }

    /// The first word of a block tag, and the offset after it.
    fn keyword(&self, code: std::ops::Range<usize>, offset: u32) -> Res<(&'s str, usize)> {
        let source: &'s str = self.source;
        let end = code.end;
        let code = source[code].trim_start_matches(is_code_whitespace);
        let length = code.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(code.len());
        if length == 0 || code.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(Fault::syntax(offset, "Template block tag cannot be empty"));
        }
        Ok((&code[..length], end - code.len() + length))
    }

    fn check_known(&self, keyword: &str, offset: u32) -> Res<()> {
        if OPENERS.contains(&keyword) {
            return Ok(());
        }
        if self.is_older() && (LOADING.contains(&keyword) || ASYNCHRONOUS.contains(&keyword)) {
            return Ok(());
        }
        if LOADING.contains(&keyword) {
            return Err(Fault::syntax(offset, format!("Unsupported template-loading tag \"{keyword}\"")));
        }
        let message = format!("Unknown template tag {}", quote(keyword));
        Err(suggest::unknown(offset, message, keyword, OPENERS.into_iter().chain(LOADING)))
    }

    fn statement(&mut self, keyword: &str, tag: Tag) -> Res<StmtKind> {
        match keyword {
            "if" | "ifAsync" => self.if_statement(tag),
            "for" => self.for_statement(tag, "endfor"),
            "asyncEach" => self.for_statement(tag, "endeach"),
            "asyncAll" => self.for_statement(tag, "endall"),
            "include" | "import" | "from" | "extends" => self.load_statement(keyword, &tag),
            "set" => self.set_statement(tag),
            "macro" => self.macro_statement(tag),
            "call" => self.call_statement(tag),
            "filter" => self.filter_statement(tag),
            "block" => self.block_statement(tag),
            _ => self.switch_statement(tag),
        }
    }

    /// The tokens of a part of a tag. Messages place a part where its text occurs in the tag, the last time or, for what
    /// is bound, the first: that is another place than its own when the text is there twice.
    fn part(&mut self, tag: &Tag, part: Range<usize>, first: bool) -> Res<Tokens<'s>> {
        let (code, text) = (&self.source[tag.code.clone()], &self.source[part.clone()]);
        let found = match (text.is_empty(), first) {
            (true, _) => Some(code.len()),
            (false, true) => code.find(text),
            (false, false) => code.rfind(text),
        };
        let place = tag.code.start + found.unwrap_or(0);
        let shift = place as i64 - part.start as i64;
        let room = std::mem::take(&mut self.spare_tokens);
        Tokens::shifted(self.source, part, self.settings.syntax.dialect, room, shift)
    }

    /// A condition or the like: the expression after a keyword.
    fn tag_expression(&mut self, keyword: &str, rest: Range<usize>) -> Res<ExprId> {
        let mut tokens = self.tag_tokens(keyword, rest)?;
        let expr = self.whole_expression(&mut tokens);
        self.recycle(tokens);
        expr
    }

    fn if_statement(&mut self, tag: Tag) -> Res<StmtKind> {
        const ALL: [&str; 4] = ["elif", "elseif", "else", "endif"];
        let mut branches = Vec::new();
        let mut otherwise = Vec::new();
        let Tag { mut offset, mut rest, .. } = tag;
        loop {
            let condition = self.tag_expression("if", rest)?;
            let (body, closer) = self.closed_body(&ALL, offset, "endif")?;
            branches.push((condition, body));
            match closer.keyword {
                "elif" | "elseif" => (offset, rest) = (closer.offset, closer.rest),
                "else" => {
                    (otherwise, _) = self.closed_body(&["endif"], offset, "endif")?;
                    break;
                }
                _ => break,
            }
        }
        Ok(StmtKind::If { branches, otherwise })
    }

    fn for_statement(&mut self, tag: Tag, end: &'static str) -> Res<StmtKind> {
        let offset = tag.offset;
        let Some((targets, iterable)) = lexer::split_at_word(self.source, tag.rest.clone(), "in") else {
            return Err(Fault::syntax(offset, "For tag requires an in expression"));
        };
        let targets = self.targets(&tag, targets)?;
        if targets.len() == 1 && self.names.text(targets[0].variable.name) == "loop" {
            return Err(Fault::syntax(offset, "A single loop target cannot be named loop"));
        }
        let iterable = self.tag_expression("for", iterable)?;
        let uses_before = self.loop_uses;
        let (body, closer) = self.closed_body(&["else", end], offset, end)?;
        self.binds = true;
        let loop_name = self.names.find("loop").filter(|_| self.loop_uses > uses_before);
        let loop_variable = loop_name.map(|name| self.names.variable(name));
        let mut otherwise = Vec::new();
        if closer.keyword == "else" {
            (otherwise, _) = self.closed_body(&[end], offset, end)?;
        }
        Ok(StmtKind::For(Box::new(For { targets, length: Slot::default(), iterable, body, otherwise, loop_variable })))
    }

    fn load_statement(&mut self, keyword: &str, tag: &Tag) -> Res<StmtKind> {
        let offset = tag.offset;
        let mut tokens = self.part(tag, tag.rest.clone(), false)?;
        let template = self.expression(&mut tokens)?;
        let mut ignore_missing = false;
        match keyword {
            "include" => ignore_missing = tokens.take_name("ignore") && tokens.take_name("missing"),
            "import" => {
                self.expect_word(&mut tokens, "as", offset)?;
                self.expression(&mut tokens)?;
                self.with_context(&mut tokens)?;
            }
            "from" => {
                self.expect_word(&mut tokens, "import", offset)?;
                self.imported_names(&mut tokens)?;
            }
            _ => {}
        }
        tokens.expect_end()?;
        Ok(StmtKind::Load { template, ignore_missing })
    }

    fn imported_names(&mut self, tokens: &mut Tokens<'s>) -> Res<()> {
        loop {
            let (name, offset) = tokens.expect_name()?;
            if name.starts_with('_') {
                return Err(Fault::syntax(offset, "Names that start with an underscore cannot be imported"));
            }
            if tokens.take_name("as") {
                tokens.expect_name()?;
            }
            self.with_context(tokens)?;
            if !tokens.take(TokenKind::Comma) {
                return Ok(());
            }
        }
    }

    fn with_context(&mut self, tokens: &mut Tokens<'s>) -> Res<()> {
        let offset = tokens.offset();
        if tokens.take_name("with") || tokens.take_name("without") {
            self.expect_word(tokens, "context", offset)?;
        }
        Ok(())
    }

    fn expect_word(&self, tokens: &mut Tokens<'s>, word: &str, offset: u32) -> Res<()> {
        if tokens.take_name(word) {
            return Ok(());
        }
        Err(Fault::syntax(offset, format!("Expected {word}")))
    }

    fn set_statement(&mut self, tag: Tag) -> Res<StmtKind> {
        let rest = tag.rest.clone();
        if let Some(equals) = lexer::find_top_level(self.source, rest.clone(), b'=') {
            let names = self.targets(&tag, rest.start..equals)?;
            let value = self.tag_expression("set", equals + 1..rest.end)?;
            return Ok(StmtKind::Set { names, value });
        }
        let names = self.targets(&tag, rest)?;
        let macros = self.macros;
        let (body, _) = self.closed_body(&["endset"], tag.offset, "endset")?;
        self.no_macros_since(macros, tag.offset, "set")?;
        Ok(StmtKind::SetBlock { names, body })
    }

    /// What is captured must not define macros.
    fn no_macros_since(&self, macros: usize, offset: u32, what: &str) -> Res<()> {
        if self.macros == macros || self.is_older() {
            return Ok(());
        }
        Err(Fault::syntax(offset, format!("Macro declarations are not supported inside {what} captures")))
    }

    /// Names with commas between them, and nothing else.
    fn targets(&mut self, tag: &Tag, part: Range<usize>) -> Res<Vec<Assigned>> {
        let mut tokens = self.part(tag, part, true)?;
        let mut names = Vec::with_capacity(1);
        loop {
            let (name, offset) = tokens.expect_name()?;
            if is_literal(name) {
                return Err(Fault::syntax(offset, "Binding targets must be ordinary names"));
            }
            let name = self.name(name, offset)?;
            names.push(self.names.variable(name).into());
            if !tokens.take(TokenKind::Comma) {
                break;
            }
        }
        tokens.expect_end()?;
        self.recycle(tokens);
        names.shrink_to_fit();
        Ok(names)
    }

    fn macro_statement(&mut self, tag: Tag) -> Res<StmtKind> {
        let offset = tag.offset;
        let Some((name, parameters)) = self.signature(tag.rest.clone()) else {
            return Err(Fault::syntax(offset, "Invalid macro signature"));
        };
        if is_literal(&self.source[name.clone()]) {
            return Err(Fault::syntax(offset, "Macro name must be an identifier"));
        }
        let mut tokens = self.part(&tag, name, true)?;
        let (name, place) = tokens.expect_name()?;
        self.recycle(tokens);
        let name = self.name(name, place)?;
        let name = self.names.variable(name);
        let unit = self.names.new_unit();
        let outer = self.names.enter(unit);
        let parameters = self.parameters(&tag, parameters)?;
        self.macros += 1;
        let (body, _) = self.closed_body(&["endmacro"], offset, "endmacro")?;
        let caller = self.names.slot_of("caller");
        let unit = self.names.leave(outer);
        (self.has_units, self.binds) = (true, true);
        let definition = Macro {
            slot: Slot::default(),
            frame: 0,
            required: required(&parameters),
            simple: false,
            parameters,
            body,
            slots: unit.slots(),
            caller,
            captures: Vec::new(),
        };
        Ok(StmtKind::Macro { name, definition: Box::new(definition) })
    }

    /// `name(parameters)`.
    fn signature(&self, code: Range<usize>) -> Option<(Range<usize>, Range<usize>)> {
        let text = &self.source[code.clone()];
        let is_name_character = |c: char| match self.is_older() {
            true => lexer::is_word_character(c),
            false => c.is_ascii_alphanumeric() || c == '_',
        };
        let length = text.find(|c| !is_name_character(c)).unwrap_or(text.len());
        let open = text[length..].trim_start_matches(is_code_whitespace);
        let inner = open.strip_prefix('(')?.strip_suffix(')')?;
        if length == 0 || text.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let end = code.end - 1;
        Some((code.start..code.start + length, end - inner.len()..end))
    }

    /// Formal parameters.
    fn parameters(&mut self, tag: &Tag, part: Range<usize>) -> Res<Vec<Parameter>> {
        if lexer::trimmed(self.source, part.clone()).is_empty() {
            return Ok(Vec::new());
        }
        let mut tokens = self.part(tag, part, false)?;
        tokens.close();
        let arguments = self.argument_list(&mut tokens)?;
        tokens.expect_end()?;
        self.recycle(tokens);
        let mut parameters = Vec::with_capacity(arguments.positional.len() + arguments.keyword.len());
        for id in &self.lists[arguments.positional.start as usize..arguments.positional.end as usize] {
            let expr = &self.exprs[id.0 as usize];
            let ExprKind::Name(variable) = expr.kind else {
                return Err(Fault::syntax(expr.offset, "Formal parameters must be names"));
            };
            parameters.push(Parameter { variable, slot: None, is_read: true, default: None });
        }
        for (name, value) in &self.keywords[arguments.keyword.start as usize..arguments.keyword.end as usize] {
            let variable = self.names.variable(*name);
            parameters.push(Parameter { variable, slot: None, is_read: true, default: Some(*value) });
        }
        Ok(parameters)
    }

    fn call_statement(&mut self, tag: Tag) -> Res<StmtKind> {
        let Tag { offset, mut rest, .. } = tag.clone();
        let mut parameters = rest.start..rest.start;
        if self.source[rest.clone()].starts_with('(') {
            let Some(close) = lexer::matching_bracket(self.source, rest.clone()) else {
                return Err(Fault::syntax(offset, "Invalid call-block arguments"));
            };
            parameters = rest.start + 1..close;
            rest = lexer::trimmed(self.source, close + 1..rest.end);
        }
        let call = self.tag_expression("call", rest)?;
        let ExprKind::Call(target) = &self.exprs[call.0 as usize].kind else {
            return Err(Fault::syntax(offset, "Call block requires a function call"));
        };
        if !self.is_path(target.callee) {
            return Err(Fault::syntax(offset, "Call block target must be a static macro reference"));
        }
        let unit = self.names.new_unit();
        let outer = self.names.enter(unit);
        let (body, _) = self.closed_body(&["endcall"], offset, "endcall")?;
        let parameters = self.parameters(&tag, parameters)?;
        let caller = self.names.slot_of("caller");
        let unit = self.names.leave(outer);
        (self.has_units, self.binds) = (true, true);
        let captures = self.names.captures(&unit);
        let caller = Macro {
            slot: Slot::default(),
            frame: 0,
            required: required(&parameters),
            simple: false,
            parameters,
            body,
            slots: unit.slots(),
            caller,
            captures,
        };
        Ok(StmtKind::Call { call, caller: Box::new(caller) })
    }

    /// Whether this is a name with fixed keys after it.
    fn is_path(&self, id: ExprId) -> bool {
        // Without recursion: a chain is as long as its source.
        let mut id = id;
        loop {
            id = match &self.exprs[id.0 as usize].kind {
                ExprKind::Name(_) => return true,
                ExprKind::Member { target, .. } => *target,
                ExprKind::Index { target, key, .. } => {
                    let fixed = matches!(&self.exprs[key.0 as usize].kind, ExprKind::Literal(literal) if !matches!(literal, Value::Regex(_)));
                    if !fixed {
                        return false;
                    }
                    *target
                }
                _ => return false,
            }
        }
    }

    fn filter_statement(&mut self, tag: Tag) -> Res<StmtKind> {
        let macros = self.macros;
        let (body, _) = self.closed_body(&["endfilter"], tag.offset, "endfilter")?;
        self.no_macros_since(macros, tag.offset, "filter")?;
        // What is set in it outlives it in the exports only.
        self.has_units = true;
        let mut tokens = self.part(&tag, tag.rest.clone(), false)?;
        let (filter, filter_offset, arguments) = self.filter_reference(&mut tokens)?;
        tokens.expect_end()?;
        Ok(StmtKind::Filter(Box::new(FilterBlock { filter, filter_offset, arguments, body })))
    }

    fn block_statement(&mut self, tag: Tag) -> Res<StmtKind> {
        let offset = tag.offset;
        let expr = self.tag_expression("block", tag.rest)?;
        let ExprKind::Name(Variable { name, .. }) = self.exprs[expr.0 as usize].kind else {
            return Err(Fault::syntax(offset, "Block name must be an identifier"));
        };
        self.blocks.push((name, offset));
        let (body, closer) = self.closed_body(&["endblock"], offset, "endblock")?;
        if !closer.rest.is_empty() && self.source[closer.rest] != *self.names.text(name) {
            return Err(Fault::syntax(closer.offset, "Endblock name must match its opening block"));
        }
        self.binds = true;
        Ok(StmtKind::Block { body, frame: 0 })
    }

    /// No name may be that of two blocks.
    pub(super) fn check_blocks(&mut self) -> Res<()> {
        for (index, (name, offset)) in self.blocks.iter().enumerate() {
            if let Some((_, first)) = self.blocks[..index].iter().find(|(known, _)| known == name) {
                let Position { line, column } = Places::new(self.source).position(*first);
                let message = format!(
                    "Block {} is declared more than once; the first declaration is at line {line}, column {column}",
                    quote(self.names.text(*name))
                );
                let fault = Fault::syntax(*offset, message);
                return self.recover(fault);
            }
        }
        Ok(())
    }

    fn switch_statement(&mut self, tag: Tag) -> Res<StmtKind> {
        const ALL: [&str; 3] = ["case", "default", "endswitch"];
        let offset = tag.offset;
        let subject = self.tag_expression("switch", tag.rest)?;
        let (before, mut closer) = self.closed_body(&ALL, offset, "endswitch")?;
        if !before.is_empty() && !self.is_older() {
            return Err(Fault::syntax(offset, "Switch content must begin with case or default"));
        }
        let mut switch = Switch { subject, cases: Vec::new(), otherwise: Vec::new() };
        // In the older dialect the first tag is taken for a case; then `default` is a name.
        while closer.keyword == "case" || (self.is_older() && closer.keyword == "default" && switch.cases.is_empty()) {
            let value = match closer.keyword {
                "default" => {
                    let name = self.names.number(closer.keyword);
                    let variable = self.names.variable(name);
                    self.push(closer.offset, ExprKind::Name(variable))?
                }
                _ => self.tag_expression("case", closer.rest)?,
            };
            let (body, next) = self.closed_body(&ALL, offset, "endswitch")?;
            switch.cases.push((value, body));
            closer = next;
        }
        let has_default = closer.keyword == "default";
        if has_default {
            (switch.otherwise, _) = self.closed_body(&["endswitch"], offset, "endswitch")?;
        }
        if switch.cases.is_empty() && !has_default {
            return Err(Fault::syntax(offset, "Switch requires at least one case or default"));
        }
        Ok(StmtKind::Switch(Box::new(switch)))
    }
}

/// How many parameters have no default; they come first.
fn required(parameters: &[Parameter]) -> usize {
    parameters.iter().take_while(|parameter| parameter.default.is_none()).count()
}

/// Words that are values, so that nothing can be called so.
pub(super) fn is_literal(name: &str) -> bool {
    matches!(name, "true" | "false" | "none" | "null")
}

fn unexpected(keyword: &str, expected: &[&str]) -> String {
    let quoted: Vec<String> = expected.iter().map(|name| format!("\"{name}\"")).collect();
    let list = match quoted.as_slice() {
        [] => return format!("Unexpected \"{keyword}\" tag without a matching opening tag"),
        [only] => only.clone(),
        [rest @ .., last] => format!("{}, or {last}", rest.join(", ")),
    };
    format!("Unexpected \"{keyword}\" tag; expected {list}")
}
