//! Glob patterns as globby 11 reads them: names that start with a dot match, `*` stays within a directory, a pattern
//! that names a directory means what lies in it, `!` takes matches away again.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use understudy_sdk::ActionError;

/// A list of patterns.
#[derive(Debug)]
pub(crate) struct Globs {
    positive: GlobSet,
    negative: GlobSet,
}

impl Globs {
    /// Compiles patterns that are relative to one directory. `is_dir` tells whether a path is a directory there.
    ///
    /// # Errors
    /// `InputError` for patterns too large to compile.
    pub(crate) fn new(patterns: &[String], is_dir: impl Fn(&str) -> bool) -> Result<Self, ActionError> {
        let (mut positive, mut negative) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in patterns {
            let (set, pattern) = match pattern.strip_prefix('!') {
                Some(rest) => (&mut negative, rest),
                None => (&mut positive, pattern.as_str()),
            };
            let pattern = pattern.trim_start_matches("./");
            let plain = pattern.trim_end_matches('/');
            if plain.is_empty() || plain == "." || is_dir(plain) {
                let below = if plain.is_empty() || plain == "." { "**".to_string() } else { format!("{plain}/**") };
                set.add(compile(&below)?);
            } else {
                set.add(compile(pattern)?);
            }
        }
        let build = |set: GlobSetBuilder| {
            set.build().map_err(|error| ActionError::input(format!("the patterns can't be used together: {error}")))
        };
        Ok(Self { positive: build(positive)?, negative: build(negative)? })
    }

    /// Whether a path relative to the directory matches.
    pub(crate) fn matches(&self, path: &str) -> bool {
        self.positive.is_match(path) && !self.negative.is_match(path)
    }
}

/// A pattern that is none (an unclosed bracket) stands for itself.
fn compile(pattern: &str) -> Result<globset::Glob, ActionError> {
    let build = |pattern: &str| {
        GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).empty_alternates(true).build()
    };
    build(pattern)
        .or_else(|_| build(&globset::escape(pattern)))
        .map_err(|error| ActionError::input(format!("'{pattern}' is not a glob pattern: {}", error.kind())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_globby() {
        let files = ["a.txt", ".b.txt", "d/c.txt", "d/e/f.md", "d/e/.g", "x{y"];
        let matching = |patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
            let globs = Globs::new(&patterns, |path| matches!(path, "d" | "d/e")).unwrap();
            files.iter().copied().filter(|file| globs.matches(file)).collect::<Vec<_>>()
        };
        let cases: [(&[&str], &[&str]); 13] = [
            (&["*.txt"], &["a.txt", ".b.txt"]),
            (&["**/*.txt"], &["a.txt", ".b.txt", "d/c.txt"]),
            (&["**"], &files),
            (&["d"], &["d/c.txt", "d/e/f.md", "d/e/.g"]),
            (&["./d/"], &["d/c.txt", "d/e/f.md", "d/e/.g"]),
            (&["d/*"], &["d/c.txt"]),
            (&["d/**", "!d/e"], &["d/c.txt"]),
            (&["**", "!**/*.txt"], &["d/e/f.md", "d/e/.g", "x{y"]),
            (&["{a,d/c}.txt"], &["a.txt", "d/c.txt"]),
            (&["?.txt"], &["a.txt"]),
            (&["[ab].txt"], &["a.txt"]),
            (&["nothing", "!a.txt"], &[]),
            (&["x{y"], &["x{y"]),
        ];
        for (patterns, expected) in cases {
            assert_eq!(matching(patterns), expected, "{patterns:?}");
        }
    }
}
