//! JavaScript's regular expressions with bounded work.
//!
//! Patterns come from template authors and run against whatever a user types; on a backtracking engine `^(a+)+$` would
//! keep a thread busy for ever. So `regress` only judges whether a pattern is valid, as JavaScript would, and the pattern
//! is then rewritten for an automaton (`regex`, linear time), or for `fancy-regex` with a limit on backtracking where it
//! looks around or refers back. What can't be rewritten (modifiers, sets of the `v` flag, octal escapes) is refused.
//!
//! Two differences remain: a group in a repetition keeps what it captured in an earlier turn, and without regard to case
//! `ſ` and `K` (the Kelvin sign) count as `s` and `k` in classes.

mod text;
mod translate;
mod weight;

use std::{ops::Range, sync::Arc};

pub use text::Text;
use translate::Translated;

/// How deep groups may nest.
const MAX_NESTING: usize = 60;
/// How many alternatives a pattern may have; the parser recurses with these as well.
const MAX_ALTERNATIVES: usize = 1_000;
/// Pattern length in bytes.
const MAX_PATTERN: usize = 64 * 1024;
/// Compiled automata, in bytes.
const MAX_COMPILED: usize = 4 << 20;
const MAX_BACKTRACKS: usize = 100_000;
/// The same where each step may look at all of the text before it.
const MAX_FAR_BACKTRACKS: usize = 10_000;
/// How often [`Regex::find_quickly`] goes back.
const FEW_BACKTRACKS: usize = 500;
/// How many places in groups all states of a search may remember.
const MAX_PLACES: u64 = 2_000_000;
/// What one regular expression remembers of a search to be faster, in bytes.
const MAX_CACHE: usize = 128 << 10;

/// The flags that change what a pattern means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// `i`
    pub ignore_case: bool,
    /// `m`
    pub multiline: bool,
    /// `u`: characters instead of UTF-16 code units.
    pub unicode: bool,
}

/// Why a pattern can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// JavaScript wouldn't take it either.
    #[error("{0}")]
    Syntax(String),
    /// It is valid, but out of reach.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// A match was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the regular expression needs too much backtracking on this text; use fewer nested repetitions and look-arounds"
)]
pub struct TooMuchWork;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Regex {
    engine: Engine,
    names: Arc<[(String, usize)]>,
    unicode: bool,
    weight: u64,
}

#[derive(Debug, Clone)]
enum Engine {
    Linear(regex::Regex),
    Bounded { quick: fancy_regex::Regex, thorough: fancy_regex::Regex },
}

/// Where a pattern matched, in the units of its [`Text`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    groups: Vec<Option<Range<usize>>>,
    names: Arc<[(String, usize)]>,
}

impl Match {
    /// The first unit.
    pub fn start(&self) -> usize {
        self.groups[0].as_ref().map_or(0, |range| range.start)
    }
    /// Behind the last unit.
    pub fn end(&self) -> usize {
        self.groups[0].as_ref().map_or(0, |range| range.end)
    }
    /// The whole match and what each group captured.
    pub fn groups(&self) -> impl Iterator<Item = Option<Range<usize>>> + '_ {
        self.groups.iter().cloned()
    }
    /// What the groups with names captured.
    pub fn named_groups(&self) -> impl Iterator<Item = (&str, Option<Range<usize>>)> + '_ {
        self.names.iter().map(|(name, index)| (name.as_str(), self.groups.get(*index).cloned().flatten()))
    }
}

impl Regex {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// It is invalid, too large, nested too deep, or has something that is not supported.
    pub fn new(pattern: &str, flags: Flags) -> Result<Self, Invalid> {
        validate(pattern, flags)?;
        let unsupported = Invalid::Unsupported("it has something that is not supported here");
        let weight = weight(pattern, flags);
        if weight > MAX_PLACES {
            return Err(Invalid::Unsupported("it is too large"));
        }
        let Translated { pattern, names, bounded } = translate::translate(pattern, flags).ok_or(unsupported.clone())?;
        let engine = if bounded {
            let mut builder = fancy_regex::RegexBuilder::new(&pattern);
            let most = if looks_far_behind(&pattern) { MAX_FAR_BACKTRACKS } else { MAX_BACKTRACKS };
            builder.backtrack_limit(most);
            builder.delegate_size_limit(MAX_COMPILED).delegate_dfa_size_limit(MAX_CACHE);
            let thorough = builder.build().map_err(|_| unsupported.clone())?;
            let quick = builder.backtrack_limit(FEW_BACKTRACKS).build().map_err(|_| unsupported)?;
            Engine::Bounded { quick, thorough }
        } else {
            let mut builder = regex::RegexBuilder::new(&pattern);
            Engine::Linear(builder.size_limit(MAX_COMPILED).dfa_size_limit(MAX_CACHE).build().map_err(|error| {
                match error {
                    regex::Error::CompiledTooBig(_) => Invalid::Unsupported("it is too large"),
                    _ => unsupported,
                }
            })?)
        };
        Ok(Self { engine, names: names.into(), unicode: flags.unicode, weight })
    }

    /// Roughly how many states the compiled pattern has: what compiling it, and at worst one step of a search, costs.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// Whether a search may have to go back; it costs much more than one that doesn't.
    pub fn backtracks(&self) -> bool {
        matches!(self.engine, Engine::Bounded { .. })
    }

    /// Whether the pattern matches anywhere in the text.
    ///
    /// # Errors
    /// It would take too long to say.
    pub fn is_match(&self, text: &str) -> Result<bool, TooMuchWork> {
        if self.unicode || text.chars().all(|c| c.len_utf16() == 1) {
            return match &self.engine {
                Engine::Linear(regex) => Ok(regex.is_match(text)),
                Engine::Bounded { thorough, .. } => thorough.is_match(text).map_err(|_| TooMuchWork),
            };
        }
        let units: Vec<u16> = text.encode_utf16().collect();
        self.find_at(&Text::new(&units), 0).map(|found| found.is_some())
    }

    /// The first match at or after a unit of the text; for patterns without the `u` flag.
    ///
    /// # Errors
    /// It would take too long to find.
    pub fn find_at(&self, text: &Text, start: usize) -> Result<Option<Match>, TooMuchWork> {
        self.find(text, start, false)
    }

    /// As [`find_at`](Self::find_at), but gives up after a few hundred steps back.
    ///
    /// # Errors
    /// It would take longer to find.
    pub fn find_quickly(&self, text: &Text, start: usize) -> Result<Option<Match>, TooMuchWork> {
        self.find(text, start, true)
    }

    fn find(&self, text: &Text, start: usize, quickly: bool) -> Result<Option<Match>, TooMuchWork> {
        let Some(from) = text.byte(start) else { return Ok(None) };
        let unit = |range: Range<usize>| text.unit(range.start)..text.unit(range.end);
        let groups = match &self.engine {
            Engine::Linear(regex) => {
                let Some(found) = regex.captures_at(text.as_str(), from) else { return Ok(None) };
                found.iter().map(|group| group.map(|group| unit(group.range()))).collect()
            }
            Engine::Bounded { quick, thorough } => {
                let regex = if quickly { quick } else { thorough };
                let found = regex.captures_from_pos(text.as_str(), from).map_err(|_| TooMuchWork)?;
                let Some(found) = found else { return Ok(None) };
                found.iter().map(|group| group.map(|group| unit(group.start()..group.end()))).collect()
            }
        };
        Ok(Some(Match { groups, names: self.names.clone() }))
    }
}

/// Judges a pattern without compiling it, which is much cheaper.
///
/// # Errors
/// It is invalid, too long, or nested too deep.
pub fn validate(pattern: &str, flags: Flags) -> Result<(), Invalid> {
    if pattern.len() > MAX_PATTERN {
        return Err(Invalid::Unsupported("it is longer than 64 KiB"));
    }
    if nesting(pattern) > MAX_NESTING {
        return Err(Invalid::Unsupported("it has groups nested more than 60 levels deep"));
    }
    if pattern.bytes().filter(|byte| *byte == b'|').count() > MAX_ALTERNATIVES {
        return Err(Invalid::Unsupported("it has more than 1000 alternatives"));
    }
    let given: String = [(flags.ignore_case, 'i'), (flags.multiline, 'm'), (flags.unicode, 'u')]
        .iter()
        .filter_map(|(set, flag)| set.then_some(*flag))
        .collect();
    regress::Regex::with_flags(pattern, given.as_str()).map_err(|error| Invalid::Syntax(error.to_string()))?;
    Ok(())
}

/// An estimate of how many states a pattern has once it is compiled, times the groups that each of them may remember;
/// see [`Regex::weight`].
pub fn weight(pattern: &str, flags: Flags) -> u64 {
    let groups = pattern.bytes().filter(|byte| *byte == b'(').count() as u64;
    weight::weight(pattern, flags).saturating_mul(groups + 1)
}

/// Whether a look behind has no fixed length.
fn looks_far_behind(pattern: &str) -> bool {
    // For each open group, whether it is in a look behind.
    let mut groups = Vec::new();
    let mut class = false;
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let behind = groups.last() == Some(&true);
        match character {
            '\\' => drop(characters.next()),
            '[' => class = true,
            ']' => class = false,
            '(' if !class => {
                groups.push(behind || ["?<=", "?<!"].iter().any(|kind| characters.as_str().starts_with(kind)))
            }
            ')' if !class => drop(groups.pop()),
            '*' | '+' | '{' if behind && !class => return true,
            _ => {}
        }
    }
    false
}

/// How deep groups nest, by their brackets alone; the parser recurses as deep.
fn nesting(pattern: &str) -> usize {
    let (mut depth, mut deepest, mut class) = (0_usize, 0, false);
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '[' => class = true,
            ']' => class = false,
            '(' if !class => depth += 1,
            ')' if !class => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests;
