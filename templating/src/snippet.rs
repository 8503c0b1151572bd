//! A line of a source with a caret under one of its columns, fit for a terminal.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar;

/// How many columns of a line are shown.
const WINDOW: usize = 100;
/// How many of them at least stand before the caret, where there are as many.
const BEFORE: usize = 60;
/// How wide a tab is shown.
const TAB: &str = "    ";

/// Two lines: `text` behind its number, and a caret under the character in `column` (from 1; one past the end is the
/// place behind the text). Of a long line, what surrounds the column is shown. Control characters are made visible
/// ([`printable`]), a tab takes four columns.
pub fn snippet(line: u64, text: &str, column: usize) -> String {
    let column = column.max(1) - 1;
    let mut cells: Vec<(Cow<'_, str>, usize)> = Vec::new();
    let mut caret = 0;
    let mut width = 0;
    for (index, character) in text.trim_end_matches(['\r', '\n']).chars().enumerate() {
        if index == column {
            caret = width;
        }
        let shown = shown(character);
        let cell = shown.chars().map(|character| character.width().unwrap_or(1)).sum();
        width += cell;
        cells.push((shown, cell));
        // Nothing so far behind the caret is shown.
        if index > column && width > caret + WINDOW {
            break;
        }
    }
    if cells.len() <= column {
        caret = width;
    }
    let (visible, caret) = window(&cells, width, caret);
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let mut lines = format!(" {number} | {visible}");
    lines.truncate(lines.trim_end().len());
    lines.push_str(&format!("\n {margin} | {}^", " ".repeat(caret)));
    lines
}

/// What is shown of the cells of a line that is `width` wide, and where the caret comes to stand.
fn window(cells: &[(Cow<'_, str>, usize)], width: usize, caret: usize) -> (String, usize) {
    let text = |cells: &[(Cow<'_, str>, usize)]| cells.iter().map(|(shown, _)| &**shown).collect::<String>();
    if width <= WINDOW {
        return (text(cells), caret);
    }
    let start = caret.saturating_sub(BEFORE);
    let mut at = 0;
    let (mut first, mut last, mut start_width) = (cells.len(), cells.len(), width);
    for (index, (_, cell)) in cells.iter().enumerate() {
        if first == cells.len() && at >= start {
            (first, start_width) = (index, at);
        }
        if at + cell > start_width.saturating_add(WINDOW) {
            last = index;
            break;
        }
        at += cell;
    }
    let before = if first > 0 { "…" } else { "" };
    let after = if last < cells.len() { "…" } else { "" };
    let visible = format!("{before}{}{after}", text(&cells[first..last]));
    (visible, caret - start_width + before.chars().count())
}

/// The text without characters that would steer a terminal or reorder what it shows: they appear as pictures of
/// themselves. For a text that stands on one line; line breaks count as control characters.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(picture).collect())
}

fn shown(character: char) -> Cow<'static, str> {
    match character {
        '\t' => Cow::Borrowed(TAB),
        character => Cow::Owned(picture(character).to_string()),
    }
}

fn picture(character: char) -> char {
    match character {
        character if is_plain(character) => character,
        '\u{7f}' => '\u{2421}',
        '\0'..='\u{1f}' => char::from_u32(0x2400 + character as u32).unwrap_or(char::REPLACEMENT_CHARACTER),
        _ => char::REPLACEMENT_CHARACTER,
    }
}

fn is_plain(character: char) -> bool {
    !character.is_control()
        // Marks that change the direction of the text around them, and separators of lines.
        && !matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_column() {
        for (text, column, expected) in [
            ("abc", 1, " 7 | abc\n   | ^"),
            ("abc", 3, " 7 | abc\n   |   ^"),
            ("abc", 4, " 7 | abc\n   |    ^"),
            ("abc", 99, " 7 | abc\n   |    ^"),
            ("", 1, " 7 |\n   | ^"),
            ("\ta\tb\r", 4, " 7 |     a    b\n   |          ^"),
            ("名前x", 3, " 7 | 名前x\n   |     ^"),
            ("e\u{301}x", 3, " 7 | e\u{301}x\n   |  ^"),
            ("a\u{1b}[31mb", 3, " 7 | a␛[31mb\n   |   ^"),
            ("a\u{202e}b\u{7f}\u{9b}", 3, " 7 | a\u{fffd}b␡\u{fffd}\n   |   ^"),
        ] {
            assert_eq!(snippet(7, text, column), expected, "{text:?} {column}");
        }
    }

    #[test]
    fn long_lines_are_cut_around_the_column() {
        let text = format!("{}!{}", "a".repeat(500), "b".repeat(500));
        for (column, starts, ends) in [(1, " 12 | aaa", "a…"), (501, " 12 | …aaa", "b…"), (1002, " 12 | …bbb", "bb")]
        {
            let shown = snippet(12, &text, column);
            let (line, caret) = shown.split_once('\n').unwrap_or_default();
            assert!(line.starts_with(starts) && line.ends_with(ends), "{shown}");
            assert!(line.chars().count() <= WINDOW + 10, "{shown}");
            let at = caret.find('^').unwrap_or_default();
            let under = line.chars().nth(at);
            let expected = text.chars().nth(column - 1);
            assert_eq!(under, expected, "{shown}");
        }
        let wide = "名".repeat(400);
        let shown = snippet(1, &wide, 200);
        let (line, caret) = shown.split_once('\n').unwrap_or_default();
        let before: String = line.chars().skip(5).collect();
        // One column for the ellipsis, two for each character before the caret.
        assert_eq!((caret.len() - 6 - 1) % 2, 0, "{shown}");
        assert!(before.starts_with("…名"), "{shown}");
    }

    #[test]
    fn what_is_printable_stays() {
        assert!(matches!(printable("häßlich 名"), Cow::Borrowed(_)));
        assert_eq!(printable("a\nb\u{1b}[0m\u{2066}"), "a␊b␛[0m\u{fffd}");
    }
}
