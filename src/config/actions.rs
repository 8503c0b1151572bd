//! `backend.actions.*`: what other plugins offer here, and what this one offers to agents and other plugins.
//!
//! As `@backstage/backend-defaults` 0.18.0 reads it (`actionFilters`, `DefaultActionsService`).

use globset::{GlobBuilder, GlobMatcher};
use serde::Serialize;

use super::{ConfigError, reader::Reader};

/// What an action does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionAttributes {
    /// It may change or delete what is there.
    pub destructive: bool,
    /// Once more makes no difference.
    pub idempotent: bool,
    /// It changes nothing.
    pub read_only: bool,
}

/// `backend.actions`
#[derive(Debug, Clone, Default)]
pub struct ActionsConfig {
    /// `pluginSources`: the plugins whose actions are offered; `None`: not set.
    pub plugin_sources: Option<Vec<String>>,
    include: Vec<Rule>,
    exclude: Vec<Rule>,
}

/// An entry of `filter.include` or `filter.exclude`: everything that it names must be so.
#[derive(Debug, Clone, Default)]
struct Rule {
    id: Option<Pattern>,
    destructive: Option<bool>,
    idempotent: Option<bool>,
    read_only: Option<bool>,
}

/// A pattern as npm `minimatch` has it; a `!` before it turns it round.
#[derive(Debug, Clone)]
struct Pattern {
    matcher: GlobMatcher,
    negated: bool,
}

impl ActionsConfig {
    /// Whether this plugin's action may be offered to agents and other plugins. Without `pluginSources` each plugin
    /// offers its own.
    pub fn offers(&self, plugin: &str, id: &str, attributes: ActionAttributes) -> bool {
        self.plugin_sources.as_ref().is_none_or(|sources| sources.iter().any(|source| source == plugin))
            && self.passes(id, attributes)
    }
    /// Whether an action passes `filter`.
    pub fn passes(&self, id: &str, attributes: ActionAttributes) -> bool {
        let matches = |rules: &[Rule]| rules.iter().any(|rule| rule.matches(id, attributes));
        !matches(&self.exclude) && (self.include.is_empty() || matches(&self.include))
    }
}

impl Rule {
    fn matches(&self, id: &str, attributes: ActionAttributes) -> bool {
        let equals = |wanted: Option<bool>, is: bool| wanted.is_none_or(|wanted| wanted == is);
        self.id.as_ref().is_none_or(|pattern| pattern.matcher.is_match(id) != pattern.negated)
            && equals(self.destructive, attributes.destructive)
            && equals(self.idempotent, attributes.idempotent)
            && equals(self.read_only, attributes.read_only)
    }
}

pub(super) fn read(actions: &Reader<'_>) -> Result<ActionsConfig, ConfigError> {
    Ok(ActionsConfig {
        plugin_sources: actions.at("pluginSources")?.strings()?,
        include: rules(&actions.at("filter.include")?)?,
        exclude: rules(&actions.at("filter.exclude")?)?,
    })
}

fn rules(list: &Reader<'_>) -> Result<Vec<Rule>, ConfigError> {
    list.items()?
        .iter()
        .map(|item| {
            let id = item.at("id")?;
            let attributes = item.at("attributes")?;
            Ok(Rule {
                id: id.string()?.map(|text| pattern(text, &id)).transpose()?,
                destructive: attributes.at("destructive")?.boolean()?,
                idempotent: attributes.at("idempotent")?.boolean()?,
                read_only: attributes.at("readOnly")?.boolean()?,
            })
        })
        .collect()
}

fn pattern(text: &str, place: &Reader<'_>) -> Result<Pattern, ConfigError> {
    let bare = text.trim_start_matches('!');
    let negated = (text.len() - bare.len()) % 2 == 1;
    let glob = GlobBuilder::new(bare).literal_separator(true).build();
    let glob = glob.map_err(|error| place.wrong(&format!("no pattern: {error}")))?;
    Ok(Pattern { matcher: glob.compile_matcher(), negated })
}
