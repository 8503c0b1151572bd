//! Going on after a mistake, to find the next one.
//!
//! Only tools that check templates ask for it; for all others the first fault ends the parsing. The rule is that a mistake
//! is told once: where nobody can know what was meant, what depends on it is passed over in silence.

use std::ops::Range;

use super::{Closer, Parser, Tokens};
use crate::ast::{Ast, ExprId, ExprKind, Stmt};
use crate::engine::Settings;
use crate::error::{Fault, Res};
use crate::lexer::{self, Token, TokenKind};
use crate::value::Value;

/// How many faults of one source are collected.
const MAX_FAULTS: usize = 100;

/// What went wrong so far.
#[derive(Default)]
pub(super) struct Recovery {
    faults: Vec<Fault>,
    /// Block tags that were left out; what closes them has nothing to close.
    left_out: usize,
    /// The tag that has been told of last, by the number of its piece.
    told: Option<usize>,
}

/// Parses what can be parsed of a source. The tree is not one to render: it has stand-ins where something was wrong.
pub(crate) fn parse_leniently(source: &str, settings: &Settings) -> (Ast, Vec<Fault>) {
    let nothing = Ast::default;
    let pieces =
        match super::check_length(source, settings).and_then(|()| lexer::split(source, &settings.syntax, Vec::new())) {
            Ok(pieces) => pieces,
            Err(fault) => return (nothing(), vec![*fault]),
        };
    let mut parser = Parser::new(source, settings, pieces);
    parser.recovery = Some(Recovery::default());
    let result = parser.template().and_then(|body| parser.check_blocks().map(|()| body));
    let mut faults = parser.recovery.take().unwrap_or_default().faults;
    match result {
        Ok(body) => {
            let mut ast = nothing();
            parser.finish(body, &mut ast);
            (ast, faults)
        }
        Err(fault) => {
            faults.push(*fault);
            (nothing(), faults)
        }
    }
}

impl<'s> Parser<'s> {
    /// Notes a fault and goes on, when all of them are asked for; otherwise it ends the parsing.
    pub(super) fn recover(&mut self, fault: Box<Fault>) -> Res<()> {
        match &mut self.recovery {
            Some(recovery) if recovery.faults.len() < MAX_FAULTS && !fault.is_limit() => {
                recovery.faults.push(*fault);
                Ok(())
            }
            _ => Err(fault),
        }
    }

    /// The expression that the rest of a tag is.
    pub(super) fn whole_expression(&mut self, tokens: &mut Tokens<'s>) -> Res<ExprId> {
        let (depth, stack, offset) = (self.depth, self.stack, tokens.offset());
        let parsed = self.expression(tokens).and_then(|expr| tokens.expect_end().map(|()| expr));
        parsed.or_else(|fault| {
            (self.depth, self.stack) = (depth, stack);
            self.stand_in(fault, offset)
        })
    }

    /// The tokens of a block tag after its keyword.
    pub(super) fn tag_tokens(&mut self, keyword: &str, code: Range<usize>) -> Res<Tokens<'s>> {
        let offset = code.start as u32;
        self.tokens(code).or_else(|fault| {
            if !matches!(keyword, "if" | "elif" | "elseif" | "switch" | "case") {
                return Err(fault);
            }
            self.recover(fault)?;
            let source = "none";
            let end = source.len() as u32;
            let tokens = vec![
                Token { offset, start: 0, end, kind: TokenKind::Name },
                Token { offset, start: end, end, kind: TokenKind::End },
            ];
            Ok(Tokens { source, tokens, next: 0 })
        })
    }

    /// What takes an expression's place.
    pub(super) fn stand_in(&mut self, fault: Box<Fault>, offset: u32) -> Res<ExprId> {
        self.recover(fault)?;
        self.push(offset, ExprKind::Literal(Value::Undefined))
    }

    /// Goes on without a block tag that nobody knows.
    pub(super) fn leave_out_unknown(&mut self, fault: Box<Fault>, keyword: &str) -> Res<()> {
        match &mut self.recovery {
            Some(recovery) if recovery.left_out > 0 && keyword.starts_with("end") => {
                recovery.left_out -= 1;
                Ok(())
            }
            _ => self.leave_out(fault),
        }
    }

    /// Goes on without a block tag that nobody understands.
    fn leave_out(&mut self, fault: Box<Fault>) -> Res<()> {
        self.recover(fault)?;
        if let Some(recovery) = &mut self.recovery {
            recovery.left_out += 1;
        }
        Ok(())
    }

    /// Goes on after a statement that failed, if that was because of its own tag.
    pub(super) fn leave_out_statement(
        &mut self,
        fault: Box<Fault>,
        code: &str,
        next_piece: usize,
        depth: u64,
    ) -> Res<()> {
        if self.next_piece != next_piece {
            return Err(fault);
        }
        self.depth = depth;
        // An assignment with `=` has no closer.
        if code.trim_start().starts_with("set") && code.contains('=') {
            return self.recover(fault);
        }
        self.leave_out(fault)
    }

    /// Goes on at a closer that does not fit what is open. The body ends here, if the closer may fit something around it.
    pub(super) fn misfit(
        &mut self,
        fault: Box<Fault>,
        keyword: &str,
        opener: Option<(u32, &'static str)>,
    ) -> Res<Option<Closer<'s>>> {
        let piece = self.next_piece - 1;
        match &mut self.recovery {
            Some(recovery) if recovery.left_out > 0 => {
                recovery.left_out -= usize::from(keyword.starts_with("end"));
                return Ok(None);
            }
            Some(recovery) if recovery.told == Some(piece) => {}
            Some(recovery) => {
                recovery.told = Some(piece);
                self.recover(fault)?;
            }
            None => return Err(fault),
        }
        let Some((offset, keyword)) = opener else { return Ok(None) };
        self.next_piece = piece;
        Ok(Some(self.closer(offset, keyword)))
    }

    /// Goes on at the end of the source without a closer.
    pub(super) fn missing(
        &mut self,
        body: Vec<Stmt>,
        offset: u32,
        keyword: &'static str,
    ) -> Res<(Vec<Stmt>, Option<Closer<'s>>)> {
        self.recover(Fault::syntax(offset, format!("Missing {keyword} tag")))?;
        Ok((body, Some(self.closer(offset, keyword))))
    }

    fn closer(&self, offset: u32, keyword: &'static str) -> Closer<'s> {
        let end = self.source.len();
        Closer { keyword, offset, rest: end..end }
    }
}

#[cfg(test)]
mod tests {
    use crate::Engine;

    #[test]
    fn every_mistake_is_told_once() {
        for (source, expected) in [
            ("fine ${{ a }}", &[][..]),
            (
                "${{ a | }}\n${{ a b }}\n${{ a | nope | upper | neither }}",
                &[
                    "1:9 Expected name, received end of input",
                    "2:7 Expected eof, received \"b\"",
                    "3:9 Unknown template filter \"nope\"",
                    "3:24 Unknown template filter \"neither\"",
                ],
            ),
            ("{% if a is od %}${{ 1 + }}{% elif b | %}{% else %}${{ 'x }}", &["1:51 Unterminated variable tag"]),
            (
                "{% if a is od %}${{ 1 + }}{% elif b | %}{% else %}${{ # }}{% endif %}",
                &[
                    "1:12 Unknown template test \"od\"; did you mean \"odd\"?",
                    "1:25 Unexpected expression token at end of input",
                    "1:38 Expected name, received end of input",
                    "1:55 Unexpected character \"#\"",
                ],
            ),
            (
                "{% fro x in y %}${{ x | upr }}{% endfor %}{% include 'x' %}{% if %}{% endif %}",
                &[
                    "1:1 Unknown template tag \"fro\"; did you mean \"for\"?",
                    "1:25 Unknown template filter \"upr\"",
                    "1:43 Unsupported template-loading tag \"include\"",
                    "1:65 Unexpected expression token at end of input",
                ],
            ),
            (
                "{% for x on y %}{% endfor %}${{ | }}",
                &["1:1 For tag requires an in expression", "1:33 Unexpected expression token \"|\""],
            ),
            (
                "{% if a && b %}{% elif c && d %}${{ e | f }}{% else %}{% endif %}{% endif %}",
                &[
                    "1:9 Unexpected character \"&\"; write \"and\" instead of \"&&\"",
                    "1:26 Unexpected character \"&\"; write \"and\" instead of \"&&\"",
                    "1:41 Unknown template filter \"f\"; did you mean \"d\"?",
                    "1:66 Unexpected \"endif\" tag without a matching opening tag",
                ],
            ),
            (
                "{% set a = b && c %}{% set d, = 3 %}{% filter nope %}{% endfilter %}{% endif %}",
                &[
                    "1:14 Unexpected character \"&\"; write \"and\" instead of \"&&\"",
                    "1:31 Expected name, received end of input",
                    "1:47 Unknown template filter \"nope\"",
                    "1:69 Unexpected \"endif\" tag without a matching opening tag",
                ],
            ),
            ("{% if a %}${{ b | nope }}", &["1:19 Unknown template filter \"nope\"", "1:1 Missing endif tag"]),
            (
                "a{% endif %}b{% endfor %}",
                &[
                    "1:2 Unexpected \"endif\" tag without a matching opening tag",
                    "1:14 Unexpected \"endfor\" tag without a matching opening tag",
                ],
            ),
            (
                "{% for x in y %}{% if x %}{% endfor %}${{ z | nope }}",
                &[
                    "1:27 Unexpected \"endfor\" tag; expected \"elif\", \"elseif\", \"else\", or \"endif\"",
                    "1:47 Unknown template filter \"nope\"",
                ],
            ),
            (
                "{% if x %}{% endfor %}${{ | }}",
                &[
                    "1:11 Unexpected \"endfor\" tag; expected \"elif\", \"elseif\", \"else\", or \"endif\"",
                    "1:27 Unexpected expression token \"|\"",
                ],
            ),
        ] {
            let found: Vec<String> = Engine::default()
                .inspect(source)
                .errors
                .iter()
                .map(|error| {
                    let place = |number: Option<u32>| number.unwrap_or_default();
                    let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
                    format!("{}:{} {}{hint}", place(error.line()), place(error.column()), error.message())
                })
                .collect();
            assert_eq!(found, expected, "{source}");
        }
    }

    #[test]
    fn agrees_with_parsing_on_the_first() {
        for source in ["${{ a | }}${{ b | }}", "{% if a %}", "{% x %}", "{{% if %}", "${{ constructor }}", "#}"] {
            let first = Engine::default().parse(source).err().map(|error| error.to_string());
            let all = Engine::default().inspect(source).errors;
            assert_eq!(first, all.first().map(ToString::to_string), "{source}");
        }
    }

    #[test]
    fn hostile_sources_end() {
        let many = "${{ | }}".repeat(10_000);
        assert_eq!(Engine::default().inspect(&many).errors.len(), 101);
        let open = "{% if a %}".repeat(10_000);
        assert!(Engine::default().inspect(&open).errors.len() <= 101);
        let closed = "{% endif %}".repeat(10_000);
        assert!(Engine::default().inspect(&closed).errors.len() <= 101);
        let mixed = "{% for x in y %}{% if a %}{% endfor %}".repeat(1_000);
        assert!(Engine::default().inspect(&mixed).errors.len() <= 101);
    }
}
