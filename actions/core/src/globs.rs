//! Glob patterns as globby 11 reads them: names that start with a dot match, `*` stays within a directory, a pattern
//! that names a directory means what lies in it, one that ends in `/` matches directories only, and `!` takes matches
//! away again.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use understudy_sdk::ActionError;

/// A list of patterns.
#[derive(Debug)]
pub(crate) struct Globs {
    positive: Sets,
    negative: Sets,
}

/// Patterns for entries of any kind, and those for directories.
#[derive(Debug)]
struct Sets {
    any: GlobSet,
    dirs: GlobSet,
}

struct Builders {
    any: GlobSetBuilder,
    dirs: GlobSetBuilder,
}

impl Globs {
    /// Compiles patterns that are relative to one directory. `is_dir` tells whether a path is a directory there, links
    /// followed.
    ///
    /// # Errors
    /// `InputError` for patterns that can't be told in a regular language (`!(…)`, `+(…)`, `*(…)`) or are too large.
    pub(crate) fn new(patterns: &[String], is_dir: impl Fn(&str) -> bool) -> Result<Self, ActionError> {
        let (mut positive, mut negative) = (Builders::new(), Builders::new());
        for pattern in patterns {
            match pattern.strip_prefix('!') {
                Some(rest) => {
                    negative.add(rest, &is_dir)?;
                    // What lies in a directory that is taken away goes with it.
                    let plain = rest.trim_end_matches('/');
                    let plain = plain.strip_suffix("/**").unwrap_or(plain);
                    negative.any.add(compile(plain)?);
                    negative.any.add(compile(&format!("{plain}/**"))?);
                }
                None => positive.add(pattern, &is_dir)?,
            }
        }
        Ok(Self { positive: positive.build()?, negative: negative.build()? })
    }

    /// Whether a path relative to the directory matches.
    pub(crate) fn matches(&self, path: &str, is_dir: bool) -> bool {
        self.positive.matches(path, is_dir) && !self.negative.matches(path, is_dir)
    }
}

impl Sets {
    fn matches(&self, path: &str, is_dir: bool) -> bool {
        self.any.is_match(path) || (is_dir && self.dirs.is_match(path))
    }
}

impl Builders {
    fn new() -> Self {
        Self { any: GlobSetBuilder::new(), dirs: GlobSetBuilder::new() }
    }

    fn add(&mut self, pattern: &str, is_dir: impl Fn(&str) -> bool) -> Result<(), ActionError> {
        let pattern = pattern.trim_start_matches("./");
        let plain = pattern.trim_end_matches('/');
        if plain.is_empty() || plain == "." {
            self.any.add(compile("**")?);
        } else if is_dir(plain) {
            self.any.add(compile(&format!("{}/**", globset::escape(plain)))?);
        } else if pattern.ends_with('/') {
            self.dirs.add(compile(plain)?);
        } else {
            self.any.add(compile(pattern)?);
            // `**/x/**` matches each `x` itself, while `x/**` is only what lies in it.
            if let Some(base) = pattern.strip_suffix("/**").filter(|base| base.contains(['*', '?', '[', '{'])) {
                self.dirs.add(compile(base)?);
            }
        }
        Ok(())
    }

    fn build(self) -> Result<Sets, ActionError> {
        let build = |set: GlobSetBuilder| {
            set.build().map_err(|error| ActionError::input(format!("the patterns can't be used together: {error}")))
        };
        Ok(Sets { any: build(self.any)?, dirs: build(self.dirs)? })
    }
}

/// Longer patterns can't match a path.
const MAX_PATTERN: usize = 4096;
/// Compiling recurses as deep as braces nest.
const MAX_GROUPS: usize = 64;

/// A pattern that is none (an unclosed bracket) stands for itself.
fn compile(pattern: &str) -> Result<globset::Glob, ActionError> {
    if pattern.len() > MAX_PATTERN || pattern.bytes().filter(|byte| b"{(".contains(byte)).count() > MAX_GROUPS {
        return Err(ActionError::input(format!(
            "the glob pattern '{}…' is longer than {MAX_PATTERN} bytes or has more than {MAX_GROUPS} groups; split it up",
            pattern.chars().take(60).collect::<String>()
        )));
    }
    let build = |pattern: &str| {
        GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).empty_alternates(true).build()
    };
    build(&without_groups(pattern)?)
        .or_else(|_| build(&globset::escape(pattern)))
        .map_err(|error| ActionError::input(format!("'{pattern}' is not a glob pattern: {}", error.kind())))
}

/// Writes `@(a|b)` as `{a,b}` and `?(a|b)` as `{a,b,}`.
fn without_groups(pattern: &str) -> Result<String, ActionError> {
    let mut out = String::new();
    let mut open: Vec<&str> = Vec::new();
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                out.push(character);
                out.extend(characters.next());
            }
            '@' | '?' | '!' | '+' | '*' if characters.peek() == Some(&'(') => {
                characters.next();
                out.push('{');
                match character {
                    '@' => open.push("}"),
                    '?' => open.push(",}"),
                    _ => {
                        return Err(ActionError::input(format!(
                            "the pattern '{pattern}' has a group {character}(…), which is not supported; list what shall \
                             match, or exclude with a pattern of its own that starts with '!'"
                        )));
                    }
                }
            }
            '|' if !open.is_empty() => out.push(','),
            ')' if !open.is_empty() => out.push_str(open.pop().unwrap_or_default()),
            other => out.push(other),
        }
    }
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Compiling such patterns would overflow the stack.
    #[test]
    fn hostile_patterns_are_refused() {
        for (open, close) in [("{", "}"), ("@(", ")")] {
            for depth in [100, 100_000] {
                let pattern = format!("{}a{}", open.repeat(depth), close.repeat(depth));
                let error = Globs::new(&[pattern], |_| false).unwrap_err();
                assert!(error.to_string().starts_with("InputError: the glob pattern '"), "{error}");
            }
            assert!(Globs::new(&[format!("{}a{}", open.repeat(60), close.repeat(60))], |_| false).is_ok());
        }
    }

    const TREE: [&str; 16] = [
        ".h/",
        "a/",
        "broken",
        "dir/",
        "link",
        "top.txt",
        "we[ird",
        ".h/x/",
        "a/b/",
        "a/g.md",
        "dir/.dot",
        "dir/1",
        "dir/sub/",
        ".h/x/y",
        "a/b/f.txt",
        "dir/sub/2",
    ];

    /// Recorded from npm `globby` 11 over [`TREE`].
    #[test]
    fn patterns_match_as_in_globby() {
        let cases: Vec<(Vec<String>, Vec<String>)> =
            serde_json::from_str(include_str!("../tests/data/globs.json")).unwrap();
        assert!(cases.len() > 30);
        for (patterns, mut expected) in cases {
            expected.sort_by_key(|entry| TREE.iter().position(|known| known == entry));
            let globs = Globs::new(&patterns, |path| TREE.contains(&format!("{path}/").as_str())).unwrap();
            let matching: Vec<&str> = TREE
                .into_iter()
                .filter(|entry| globs.matches(entry.trim_end_matches('/'), entry.ends_with('/')))
                .collect();
            assert_eq!(matching, expected, "{patterns:?}");
        }
    }

    #[test]
    fn groups_that_no_glob_can_tell_are_refused() {
        let error = Globs::new(&["src/!(*.txt)".to_string()], |_| false).unwrap_err();
        assert!(error.message().contains("!(…)"), "{error}");
    }
}
