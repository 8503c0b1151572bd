//! From source text to tags, and from a tag to tokens.

mod scan;
mod tag;
mod token;

pub(crate) use scan::{find_top_level, matching_bracket, split_at_word, trimmed};
pub(crate) use tag::{Piece, PieceKind, is_code_whitespace, split};
pub(crate) use token::{Token, TokenKind, is_word_character, number_value, regex_value, string_value, tokenize};
