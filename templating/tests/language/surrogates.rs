//! Strings are UTF-16: an index can cut a character in half, and the halves can come together again.

use super::check;

#[test]
fn halves_of_characters() {
    check(&[
        ("${{ emoji[1] }}", "\"\u{fffd}\""),
        ("${{ emoji[1] ~ emoji[2] }}", "\"😀\""),
        ("${{ emoji[1] }}${{ emoji[2] }}", "\"😀\""),
        ("{% for c in emoji %}${{ c }}{% endfor %}", "\"a😀b\""),
        ("{% for c in emoji %}${{ c }}.{% endfor %}", "\"a.\u{fffd}.\u{fffd}.b.\""),
        ("${{ emoji | reverse }}", "\"b\u{fffd}\u{fffd}a\""),
        ("${{ emoji | reverse | reverse }}", "\"a😀b\""),
        ("${{ emoji[1] | dump }}", r#""\"\\ud83d\"""#),
        ("${{ emoji.slice(1, 3) }}", "\"😀\""),
        ("${{ emoji.indexOf('b') }}", "3"),
        ("${{ emoji.charCodeAt(1) }}", "55357"),
        ("${{ emoji[1] === emoji.charAt(1) }}", "true"),
        ("${{ emoji | replace('', '-') | length }}", "9"),
    ]);
}
