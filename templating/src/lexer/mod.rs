//! From source text to tags, and from a tag to tokens.

mod tag;
mod token;

pub(crate) use tag::{Piece, PieceKind, is_code_whitespace, split};
pub(crate) use token::{Token, TokenKind, tokenize};
