//! Statements: text, interpolations and block tags.

use std::sync::Arc;

use super::{Parser, Tokens};
use crate::ast::{ExprId, ExprKind, For, Macro, Parameter, Stmt, StmtKind, Switch};
use crate::error::{Fault, Position, Res};
use crate::lexer::{PieceKind, TokenKind, is_code_whitespace};
use crate::suggest;

/// Tags that open a statement.
const OPENERS: [&str; 8] = ["if", "for", "set", "macro", "call", "filter", "block", "switch"];

/// Tags that continue or end one.
const CLOSERS: [&str; 14] = [
    "elif",
    "elseif",
    "else",
    "endif",
    "endfor",
    "endset",
    "endmacro",
    "endcall",
    "endfilter",
    "endblock",
    "case",
    "default",
    "endswitch",
    "endeach",
];

const LOADING: [&str; 4] = ["include", "import", "from", "extends"];

/// Tags that the older dialect has too. What they run is not asynchronous here, so they do the same as those without.
const ASYNCHRONOUS: [&str; 3] = ["ifAsync", "asyncEach", "asyncAll"];

/// A block tag that ended a body.
pub(super) struct Closer<'s> {
    pub(super) keyword: &'s str,
    pub(super) offset: u32,
    pub(super) tokens: Tokens<'s>,
}

impl Closer<'_> {
    /// Most closers stand alone.
    fn expect_bare(&self) -> Res<()> {
        if self.tokens.at_end() {
            return Ok(());
        }
        Err(Fault::syntax(self.offset, format!("{} tag does not accept trailing content", self.keyword)))
    }
}

impl<'s> Parser<'s> {
    pub(super) fn template(&mut self) -> Res<Vec<Stmt>> {
        let (body, _) = self.body(&[], None)?;
        Ok(body)
    }

    /// The statements up to one of the tags in `closers`, or, when there are none to wait for, up to the end.
    fn body(&mut self, closers: &[&str], opener: Option<(u32, &'static str)>) -> Res<(Vec<Stmt>, Option<Closer<'s>>)> {
        let mut body = Vec::new();
        while let Some(piece) = self.pieces.get(self.next_piece) {
            let offset = piece.offset as u32;
            let kind = piece.kind.clone();
            self.next_piece += 1;
            let kind = match kind {
                PieceKind::Text(range) => {
                    self.count_node(offset)?;
                    StmtKind::Text(self.source[range].into())
                }
                PieceKind::Variable(code) => {
                    self.count_node(offset)?;
                    StmtKind::Output(self.interpolation(code)?)
                }
                PieceKind::Block(code) => {
                    let (keyword, code_start) = match self.keyword(code.clone(), offset) {
                        Ok(found) => found,
                        Err(fault) => {
                            self.recover(fault)?;
                            continue;
                        }
                    };
                    let rest = self.source[code_start..code.end].trim_end_matches(is_code_whitespace);
                    let code_end = code_start + rest.len();
                    if CLOSERS.contains(&keyword) || (self.is_older() && keyword == "endall") {
                        if !closers.contains(&keyword) {
                            let fault = Fault::syntax(offset, unexpected(keyword, closers));
                            match self.misfit(fault, keyword, opener)? {
                                Some(closer) => return Ok((body, Some(closer))),
                                None => continue,
                            }
                        }
                        let tokens = self.tag_tokens(keyword, code_start..code_end)?;
                        return Ok((body, Some(Closer { keyword, offset, tokens })));
                    }
                    if let Err(fault) = self.check_known(keyword, offset) {
                        self.leave_out(fault)?;
                        continue;
                    }
                    self.count_node(offset)?;
                    self.enter_statement(offset)?;
                    let (piece, depth) = (self.next_piece, self.depth - 1);
                    let tokens = self.tag_tokens(keyword, code_start..code_end);
                    match tokens.and_then(|tokens| self.statement(keyword, offset, tokens)) {
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

    fn interpolation(&mut self, code: std::ops::Range<usize>) -> Res<ExprId> {
        let offset = code.start as u32;
        match Tokens::new(self.source, code, self.settings.syntax.dialect) {
            Ok(mut tokens) => self.whole_expression(&mut tokens),
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
        let message = format!("Unknown template tag \"{keyword}\"");
        Err(suggest::unknown(offset, message, keyword, OPENERS.into_iter()))
    }

    fn statement(&mut self, keyword: &str, offset: u32, tokens: Tokens<'s>) -> Res<StmtKind> {
        match keyword {
            "if" | "ifAsync" => self.if_statement(offset, tokens),
            "for" => self.for_statement(offset, tokens, "endfor"),
            "asyncEach" => self.for_statement(offset, tokens, "endeach"),
            "asyncAll" => self.for_statement(offset, tokens, "endall"),
            "include" | "import" | "from" | "extends" => self.load_statement(keyword, offset, tokens),
            "set" => self.set_statement(offset, tokens),
            "macro" => self.macro_statement(offset, tokens),
            "call" => self.call_statement(offset, tokens),
            "filter" => self.filter_statement(offset, tokens),
            "block" => self.block_statement(offset, tokens),
            _ => self.switch_statement(offset, tokens),
        }
    }

    fn if_statement(&mut self, offset: u32, mut tokens: Tokens<'s>) -> Res<StmtKind> {
        const ALL: [&str; 4] = ["elif", "elseif", "else", "endif"];
        let mut branches = Vec::new();
        let mut otherwise = Vec::new();
        loop {
            let condition = self.whole_expression(&mut tokens)?;
            let (body, closer) = self.closed_body(&ALL, offset, "endif")?;
            branches.push((condition, body));
            match closer.keyword {
                "elif" | "elseif" => {
                    tokens = closer.tokens;
                    continue;
                }
                "else" => {
                    closer.expect_bare()?;
                    let (body, closer) = self.closed_body(&["endif"], offset, "endif")?;
                    closer.expect_bare()?;
                    otherwise = body;
                }
                _ => closer.expect_bare()?,
            }
            return Ok(StmtKind::If { branches, otherwise });
        }
    }

    fn for_statement(&mut self, offset: u32, mut tokens: Tokens<'s>, end: &'static str) -> Res<StmtKind> {
        let not_a_loop = || Fault::syntax(offset, "For tag requires an in expression");
        if !tokens.tokens.iter().any(|token| matches!(token.kind, TokenKind::Name("in"))) {
            return Err(not_a_loop());
        }
        let targets = self.names(&mut tokens)?;
        if targets.len() == 1 && &*targets[0] == "loop" {
            return Err(Fault::syntax(offset, "A single loop target cannot be named loop"));
        }
        if !tokens.take_name("in") {
            return Err(not_a_loop());
        }
        let iterable = self.whole_expression(&mut tokens)?;
        let uses_before = self.loop_uses;
        let (body, closer) = self.closed_body(&["else", end], offset, end)?;
        let uses_loop = self.loop_uses > uses_before;
        closer.expect_bare()?;
        let mut otherwise = Vec::new();
        if closer.keyword == "else" {
            let (body, closer) = self.closed_body(&[end], offset, end)?;
            closer.expect_bare()?;
            otherwise = body;
        }
        Ok(StmtKind::For(Box::new(For { targets, iterable, body, otherwise, uses_loop })))
    }

    fn load_statement(&mut self, keyword: &str, offset: u32, mut tokens: Tokens<'s>) -> Res<StmtKind> {
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
            if !tokens.take_symbol(",") {
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

    fn set_statement(&mut self, offset: u32, mut tokens: Tokens<'s>) -> Res<StmtKind> {
        let names = self.names(&mut tokens)?;
        if tokens.take_symbol("=") {
            let value = self.whole_expression(&mut tokens)?;
            return Ok(StmtKind::Set { names, value });
        }
        tokens.expect_end()?;
        let (body, closer) = self.closed_body(&["endset"], offset, "endset")?;
        closer.expect_bare()?;
        Ok(StmtKind::SetBlock { names, body })
    }

    /// Names with commas between them.
    fn names(&mut self, tokens: &mut Tokens<'s>) -> Res<Vec<Arc<str>>> {
        let mut names = Vec::new();
        loop {
            let (name, offset) = tokens.expect_name()?;
            names.push(self.name(name, offset)?);
            if !tokens.take_symbol(",") {
                return Ok(names);
            }
        }
    }

    fn macro_statement(&mut self, offset: u32, mut tokens: Tokens<'s>) -> Res<StmtKind> {
        let invalid = || Fault::syntax(offset, "Invalid macro signature");
        let TokenKind::Name(name) = *tokens.peek() else { return Err(invalid()) };
        let name = self.name(name, tokens.offset())?;
        tokens.next += 1;
        if !tokens.take_symbol("(") || !tokens.tokens.iter().any(|token| matches!(token.kind, TokenKind::Symbol(")"))) {
            return Err(invalid());
        }
        let parameters = self.parameters(&mut tokens)?;
        tokens.expect_end()?;
        let (body, closer) = self.closed_body(&["endmacro"], offset, "endmacro")?;
        closer.expect_bare()?;
        Ok(StmtKind::Macro(Arc::new(Macro { name, parameters, body })))
    }

    /// The formal parameters after `(`, up to and with `)`.
    fn parameters(&mut self, tokens: &mut Tokens<'s>) -> Res<Vec<Parameter>> {
        let mut parameters = Vec::new();
        if tokens.take_symbol(")") {
            return Ok(parameters);
        }
        loop {
            let offset = tokens.offset();
            let TokenKind::Name(name) = *tokens.peek() else {
                return Err(Fault::syntax(offset, "Formal parameters must be names"));
            };
            tokens.next += 1;
            let name = self.name(name, offset)?;
            let default = if tokens.take_symbol("=") { Some(self.expression(tokens)?) } else { None };
            parameters.push(Parameter { name, default });
            if !tokens.take_symbol(",") {
                break;
            }
        }
        tokens.expect_symbol(")")?;
        Ok(parameters)
    }

    fn call_statement(&mut self, offset: u32, mut tokens: Tokens<'s>) -> Res<StmtKind> {
        let parameters = if tokens.take_symbol("(") { self.parameters(&mut tokens)? } else { Vec::new() };
        let call = self.whole_expression(&mut tokens)?;
        if !matches!(self.exprs[call.0 as usize].kind, ExprKind::Call { .. }) {
            return Err(Fault::syntax(offset, "Call block requires a function call"));
        }
        let (body, closer) = self.closed_body(&["endcall"], offset, "endcall")?;
        closer.expect_bare()?;
        Ok(StmtKind::Call { call, caller: Arc::new(Macro { name: "caller".into(), parameters, body }) })
    }

    fn filter_statement(&mut self, offset: u32, mut tokens: Tokens<'s>) -> Res<StmtKind> {
        let (filter, filter_offset, arguments) = self.filter_reference(&mut tokens)?;
        tokens.expect_end()?;
        let (body, closer) = self.closed_body(&["endfilter"], offset, "endfilter")?;
        closer.expect_bare()?;
        Ok(StmtKind::Filter { filter, filter_offset, arguments, body })
    }

    fn block_statement(&mut self, offset: u32, mut tokens: Tokens<'s>) -> Res<StmtKind> {
        let name_offset = tokens.offset();
        if tokens.at_end() {
            return Err(Fault::syntax(name_offset, "Unexpected expression token at end of input"));
        }
        let not_a_name = || Fault::syntax(offset, "Block name must be an identifier");
        let TokenKind::Name(name) = *tokens.peek() else { return Err(not_a_name()) };
        tokens.next += 1;
        if !tokens.at_end() {
            return Err(not_a_name());
        }
        let name = self.name(name, name_offset)?;
        if let Some((_, first)) = self.blocks.iter().find(|(known, _)| *known == name) {
            let Position { line, column } = Position::find(self.source, *first);
            let message = format!(
                "Block \"{name}\" is declared more than once; the first declaration is at line {line}, column {column}"
            );
            return Err(Fault::syntax(offset, message));
        }
        self.blocks.push((name.clone(), offset));
        let (body, mut closer) = self.closed_body(&["endblock"], offset, "endblock")?;
        closer.tokens.take_name(&name);
        if !closer.tokens.at_end() {
            return Err(Fault::syntax(closer.offset, "Endblock name must match its opening block"));
        }
        Ok(StmtKind::Block { body })
    }

    fn switch_statement(&mut self, offset: u32, mut tokens: Tokens<'s>) -> Res<StmtKind> {
        const ALL: [&str; 3] = ["case", "default", "endswitch"];
        let subject = self.whole_expression(&mut tokens)?;
        let (before, mut closer) = self.closed_body(&ALL, offset, "endswitch")?;
        if !before.is_empty() && !self.is_older() {
            return Err(Fault::syntax(offset, "Switch content must begin with case or default"));
        }
        let mut switch = Switch { subject, cases: Vec::new(), otherwise: Vec::new() };
        let mut has_default = false;
        loop {
            match closer.keyword {
                "case" => {
                    let value = self.whole_expression(&mut closer.tokens)?;
                    let (body, next) = self.closed_body(&ALL, offset, "endswitch")?;
                    switch.cases.push((value, body));
                    closer = next;
                }
                // The first tag is taken for a case; then `default` is a name.
                "default" if self.is_older() && switch.cases.is_empty() => {
                    closer.expect_bare()?;
                    let value = self.push(closer.offset, ExprKind::Name("default".into()))?;
                    let (body, next) = self.closed_body(&ALL, offset, "endswitch")?;
                    switch.cases.push((value, body));
                    closer = next;
                }
                "default" => {
                    closer.expect_bare()?;
                    has_default = true;
                    let (body, next) = self.closed_body(&["endswitch"], offset, "endswitch")?;
                    switch.otherwise = body;
                    closer = next;
                }
                _ => {
                    closer.expect_bare()?;
                    break;
                }
            }
        }
        if switch.cases.is_empty() && !has_default {
            return Err(Fault::syntax(offset, "Switch requires at least one case or default"));
        }
        Ok(StmtKind::Switch(Box::new(switch)))
    }
}

fn unexpected(keyword: &str, expected: &[&str]) -> String {
    let quoted: Vec<String> = expected.iter().map(|name| format!("\"{name}\"")).collect();
    let list = match quoted.as_slice() {
        [] => return format!("Unexpected \"{keyword}\" tag without a matching opening tag"),
        [only] => only.clone(),
        [first, second] => format!("{first} or {second}"),
        [rest @ .., last] => format!("{}, or {last}", rest.join(", ")),
    };
    format!("Unexpected \"{keyword}\" tag; expected {list}")
}
