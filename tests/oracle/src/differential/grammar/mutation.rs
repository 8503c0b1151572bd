//! Sources that are nearly templates.

use super::Grammar;

const TOKENS: [&str; 44] = [
    "{{",
    "}}",
    "${{",
    "{%",
    "%}",
    "{#",
    "#}",
    "-",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    ".",
    "|",
    "'",
    "\"",
    "\\",
    "=",
    "==",
    "!",
    " ",
    "\n",
    " if ",
    " else ",
    " is ",
    " in ",
    " not ",
    " and ",
    "{% endif %}",
    "{% else %}",
    "{% endfor %}",
    "{% if t %}",
    "{% for i in arr %}",
    "{% raw %}",
    "{% endraw %}",
    "1",
    "r/",
    "constructor",
    "é",
    "~",
];

impl Grammar {
    /// The source with a few pieces taken out, put in, doubled or exchanged.
    pub(super) fn mutated(&mut self, source: &str) -> String {
        let mut characters: Vec<char> = source.chars().collect();
        for _ in 0..=self.below(2) {
            let start = self.below(characters.len() + 1);
            let end = (start + 1 + self.below(4)).min(characters.len());
            match self.below(4) {
                0 | 1 => {
                    let token: Vec<char> = self.pick(&TOKENS).chars().collect();
                    characters.splice(start..start, token);
                }
                2 => drop(characters.splice(start..end, [])),
                _ => {
                    let piece = characters[start..end].to_vec();
                    characters.splice(end..end, piece);
                }
            }
        }
        characters.into_iter().collect()
    }
}
