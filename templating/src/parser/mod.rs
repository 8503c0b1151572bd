//! From tags to the syntax tree.
//!
//! The statements are a recursive descent over the tags, the expressions over the tokens of one tag. Both count how deep
//! they are, so that no source can exhaust the stack.

mod cost;
mod expression;
mod names;
mod recovery;
mod resolve;
mod statement;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use self::names::Names;
use crate::ast::{Ast, Expr, ExprId, ExprKind, LookupId, NameId, Stmt};
use crate::dialect::Dialect;
use crate::engine::Settings;
use crate::error::{Fault, Phase, Res, quote};
use crate::filters::Unknown;
use crate::lexer::{self, Piece, Token, TokenKind, number_value, regex_value, string_value};
use crate::limits::{LimitKind, Limits};
use crate::regex::{self, Regex};

pub(crate) use self::recovery::parse_leniently;
use self::{recovery::Recovery, statement::Closer};

/// Parses a source into a tree where the tree stays: moving one costs more than many a template does.
pub(crate) fn parse(source: &str, settings: &Settings, ast: &mut Ast) -> Res<()> {
    check_length(source, settings)?;
    let Room { pieces, tokens } = ROOM.take();
    let pieces = lexer::split(source, &settings.syntax, pieces)?;
    let mut parser = Parser::new(source, settings, pieces);
    parser.spare_tokens = tokens;
    let body = parser.template()?;
    parser.check_blocks()?;
    parser.finish(body, ast);
    if parser.binds {
        resolve::resolve(ast);
    }
    ROOM.set(Room::new(parser.pieces, parser.spare_tokens));
    Ok(())
}

/// Memory that the next parse of the thread uses again.
#[derive(Default)]
struct Room {
    pieces: Vec<Piece>,
    tokens: Vec<Token>,
}

thread_local! {
    static ROOM: Cell<Room> = const { Cell::new(Room { pieces: Vec::new(), tokens: Vec::new() }) };
}

impl Room {
    /// What is not worth keeping is given back.
    fn new(mut pieces: Vec<Piece>, mut tokens: Vec<Token>) -> Self {
        const MOST: usize = 1024;
        pieces.clear();
        pieces.shrink_to(MOST);
        tokens.clear();
        tokens.shrink_to(MOST);
        Self { pieces, tokens }
    }
}

/// Parses a source that is one expression, without delimiters.
pub(crate) fn parse_expression(source: &str, settings: &Settings) -> Res<(Ast, ExprId)> {
    check_length(source, settings)?;
    let mut tokens = Tokens::new(source, 0..source.len(), settings.syntax.dialect, Vec::new())?;
    let mut parser = Parser::new(source, settings, Vec::new());
    parser.unknown_is_fault = true;
    let expr = parser.expression(&mut tokens)?;
    tokens.expect_end()?;
    let mut ast = Ast::default();
    parser.finish(Vec::new(), &mut ast);
    Ok((ast, expr))
}

fn check_length(source: &str, settings: &Settings) -> Res<()> {
    let units = if source.is_ascii() { source.len() } else { source.encode_utf16().count() } as u64;
    // Offsets are kept as u32; a source that long is beyond any sensible limit anyway.
    let source_limit = settings.limits.source_code_units.min(u64::from(u32::MAX / 4));
    if units > source_limit {
        let fault = Fault::limit(Phase::Parsing, LimitKind::SourceCodeUnits, source_limit, units);
        return Err(fault.at(0));
    }
    Ok(())
}

/// How many calls of the expression parser may be under way at once. An operator with a tighter one in its right
/// operand needs a call that [`Limits::nesting_depth`] doesn't count.
const MAX_EXPRESSION_CALLS: u32 = 1200;

struct Parser<'s> {
    source: &'s str,
    settings: &'s Settings,
    limits: Limits,
    pieces: Vec<Piece>,
    next_piece: usize,
    exprs: Vec<Expr>,
    lists: Vec<ExprId>,
    keywords: Vec<(NameId, ExprId)>,
    /// The elements of lists that are not complete.
    pending: Vec<ExprId>,
    pending_keywords: Vec<(NameId, ExprId)>,
    names: Names<'s>,
    lookups: u32,
    has_units: bool,
    /// Whether anything binds names: a loop, a macro, a block or the body of a `call`.
    binds: bool,
    /// The regular expressions so far, by pattern and flags.
    regexes: HashMap<(&'s str, &'s str), Regex>,
    /// The filters and tests that nobody knows, by what is said about them.
    unknowns: HashMap<String, Arc<Unknown>>,
    /// Room for the tokens of the next tag.
    spare_tokens: Vec<Token>,
    nodes: u64,
    depth: u64,
    stack: u32,
    /// The blocks declared so far, with their offsets.
    blocks: Vec<(NameId, u32)>,
    /// Whether a filter or test that nobody knows ends the parsing.
    unknown_is_fault: bool,
    /// How many macros there are so far.
    macros: usize,
    /// How often `loop` has been read as a name.
    loop_uses: usize,
    /// Set when parsing goes on after a fault.
    recovery: Option<Recovery>,
}

impl<'s> Parser<'s> {
    #[inline(always)]
    fn new(source: &'s str, settings: &'s Settings, pieces: Vec<Piece>) -> Self {
        Self {
            source,
            settings,
            limits: settings.limits,
            pieces,
            next_piece: 0,
            exprs: Vec::with_capacity((source.len() / 8 + 4).min(4096)),
            lists: Vec::new(),
            keywords: Vec::new(),
            pending: Vec::new(),
            pending_keywords: Vec::new(),
            names: Names::default(),
            lookups: 0,
            has_units: false,
            binds: false,
            regexes: HashMap::new(),
            unknowns: HashMap::new(),
            spare_tokens: Vec::new(),
            nodes: 0,
            depth: 0,
            stack: 0,
            blocks: Vec::new(),
            unknown_is_fault: false,
            macros: 0,
            loop_uses: 0,
            recovery: None,
        }
    }

    /// Puts what has been parsed into a tree.
    fn finish(&mut self, body: Vec<Stmt>, ast: &mut Ast) {
        ast.source = self.source.into();
        ast.exprs = std::mem::take(&mut self.exprs);
        ast.lists = std::mem::take(&mut self.lists);
        ast.keywords = std::mem::take(&mut self.keywords);
        ast.names = self.names.spans(self.source);
        ast.body = body;
        ast.slots = self.names.slots();
        ast.frame = 0;
        ast.lookups = self.lookups;
        ast.has_units = self.has_units;
    }

    // Inlined, so that the expression is written where it stays.
    #[inline(always)]
    fn push(&mut self, offset: u32, kind: ExprKind) -> Res<ExprId> {
        self.exprs.push(Expr { offset, cost: 0, height: 0, kind });
        self.count_expr()
    }

    /// Counts the last expression, and notes what it costs.
    #[inline(never)]
    fn count_expr(&mut self) -> Res<ExprId> {
        let id = self.exprs.len() - 1;
        let (cost, height) = self.flat_cost(&self.exprs[id].kind);
        let expr = &mut self.exprs[id];
        (expr.cost, expr.height) = (cost, height);
        let offset = expr.offset;
        self.count_node(offset)?;
        Ok(ExprId(id as u32))
    }

    fn lookup(&mut self) -> LookupId {
        self.lookups += 1;
        LookupId(self.lookups - 1)
    }

    /// The tokens of an interpolation. Give them back with [`recycle`](Self::recycle).
    fn tokens(&mut self, code: std::ops::Range<usize>) -> Res<Tokens<'s>> {
        let room = std::mem::take(&mut self.spare_tokens);
        Tokens::new(self.source, code, self.settings.syntax.dialect, room)
    }

    /// Keeps the memory of tokens that nobody needs any more for the next tag.
    fn recycle(&mut self, tokens: Tokens<'s>) {
        self.spare_tokens = tokens.tokens;
    }

    /// The regular expression of a literal. Each is another one, but those alike are compiled once.
    fn regex(&mut self, pattern: &'s str, flags: &'s str, offset: u32) -> Res<Arc<Regex>> {
        if let Some(known) = self.regexes.get(&(pattern, flags)) {
            return Ok(Arc::new(known.clone()));
        }
        self.count_nodes(regex::nodes(pattern, flags), offset)?;
        let regex = Regex::new(pattern, flags).map_err(|fault| fault.at(offset))?;
        self.regexes.insert((pattern, flags), regex.clone());
        Ok(Arc::new(regex))
    }

    fn count_node(&mut self, offset: u32) -> Res<()> {
        self.count_nodes(1, offset)
    }

    #[inline]
    fn count_nodes(&mut self, nodes: u64, offset: u32) -> Res<()> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > self.limits.ast_nodes {
            let fault = Fault::limit(Phase::Parsing, LimitKind::AstNodes, self.limits.ast_nodes, self.nodes);
            return Err(fault.at(offset));
        }
        Ok(())
    }

    fn enter(&mut self, offset: u32) -> Res<()> {
        self.depth += 1;
        if self.depth > self.limits.nesting_depth {
            let fault = Fault::limit(Phase::Parsing, LimitKind::NestingDepth, self.limits.nesting_depth, self.depth);
            return Err(fault.at(offset));
        }
        Ok(())
    }

    /// A statement is a level deeper than its depth, for it lies in the template.
    fn enter_statement(&mut self, offset: u32) -> Res<()> {
        self.enter(offset)?;
        self.enter(offset)?;
        self.leave();
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Whether the older dialect is spoken.
    fn is_older(&self) -> bool {
        self.settings.syntax.dialect == Dialect::Nunjucks3
    }
}

/// The tokens of one tag, with a place to read at.
struct Tokens<'s> {
    /// What the tokens are in.
    source: &'s str,
    tokens: Vec<Token>,
    next: usize,
}

impl<'s> Tokens<'s> {
    fn new(source: &'s str, code: std::ops::Range<usize>, dialect: Dialect, room: Vec<Token>) -> Res<Self> {
        Ok(Self { source, tokens: lexer::tokenize(source, code, dialect, room)?, next: 0 })
    }

    /// The tokens of a part of a tag. Where messages place them is `shift` bytes away from where they are.
    fn shifted(
        source: &'s str,
        code: std::ops::Range<usize>,
        dialect: Dialect,
        room: Vec<Token>,
        shift: i64,
    ) -> Res<Self> {
        let moved = |offset: u32| u32::try_from(i64::from(offset) + shift).unwrap_or(offset);
        let mut tokens = lexer::tokenize(source, code, dialect, room).map_err(|fault| fault.moved(moved))?;
        if shift != 0 {
            tokens.iter_mut().for_each(|token| token.offset = moved(token.offset));
        }
        Ok(Self { source, tokens, next: 0 })
    }

    /// Puts a closing bracket after the last token.
    fn close(&mut self) {
        if let Some(end) = self.tokens.last_mut() {
            let bracket = Token { kind: TokenKind::Close, ..*end };
            end.offset += 1;
            let last = self.tokens.len() - 1;
            self.tokens.insert(last, bracket);
        }
    }

    #[inline]
    fn peek(&self) -> TokenKind {
        self.token(0).kind
    }

    fn peek_second(&self) -> TokenKind {
        self.token(1).kind
    }

    #[inline]
    fn token(&self, ahead: usize) -> Token {
        // The list ends with an `End`, and nothing reads past that.
        let last = self.tokens.len() - 1;
        self.tokens[(self.next + ahead).min(last)]
    }

    /// The text of a token.
    #[inline]
    fn text(&self, token: Token) -> &'s str {
        &self.source[token.start as usize..token.end as usize]
    }

    #[inline]
    fn offset(&self) -> u32 {
        self.token(0).offset
    }

    fn advance(&mut self) -> Token {
        let token = self.token(0);
        self.next += 1;
        token
    }

    #[inline]
    fn at(&self, kind: TokenKind) -> bool {
        self.peek() == kind
    }

    #[inline]
    fn at_end(&self) -> bool {
        self.at(TokenKind::End)
    }

    #[inline]
    fn take(&mut self, kind: TokenKind) -> bool {
        let found = self.at(kind);
        self.next += usize::from(found);
        found
    }

    /// Takes a word that is none of those that have a kind of their own.
    fn take_name(&mut self, name: &str) -> bool {
        let found = self.at(TokenKind::Name) && self.text(self.token(0)) == name;
        self.next += usize::from(found);
        found
    }

    #[inline]
    fn expect(&mut self, kind: TokenKind) -> Res<()> {
        if self.take(kind) {
            return Ok(());
        }
        Err(self.missing(kind))
    }

    #[cold]
    fn missing(&self, kind: TokenKind) -> Box<Fault> {
        Fault::syntax(self.offset(), format!("Expected {}", kind.symbol()))
    }

    #[inline]
    fn expect_name(&mut self) -> Res<(&'s str, u32)> {
        let token = self.token(0);
        if token.kind.is_word() {
            self.next += 1;
            return Ok((self.text(token), token.offset));
        }
        Err(Fault::syntax(token.offset, format!("Expected name, received {}", self.received())))
    }

    #[inline]
    fn expect_end(&self) -> Res<()> {
        if self.at_end() {
            return Ok(());
        }
        Err(Fault::syntax(self.offset(), format!("Expected eof, received {}", self.received())))
    }

    /// The current token as error messages quote it.
    fn received(&self) -> String {
        match (self.peek(), self.shown()) {
            (TokenKind::End, _) => "end of input".to_owned(),
            // `nunjitsu` takes an empty text for none.
            (TokenKind::String, text) if text.is_empty() => "end of input".to_owned(),
            (_, text) => quote(&text),
        }
    }

    /// The current token as a text.
    fn shown(&self) -> String {
        let token = self.token(0);
        let text = self.text(token);
        match token.kind {
            TokenKind::String => string_value(text).to_string(),
            TokenKind::Regex => {
                let (pattern, flags) = regex_value(text);
                format!("{pattern}/{flags}")
            }
            TokenKind::Number => text.to_owned(),
            kind if kind.is_word() => text.to_owned(),
            kind => kind.symbol().to_owned(),
        }
    }

    /// The value of the current token, which is a number.
    fn number(&self) -> f64 {
        number_value(self.text(self.token(0)))
    }
}
