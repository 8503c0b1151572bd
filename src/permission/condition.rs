//! Conditional decisions: a tree of rules, applied to a resource.

use serde_json::{Map, Value};

use super::{
    known::ResourceType,
    rules::{Resource, Rule, RuleError},
};
use crate::store::CreatorFilter;

/// Deeper or larger trees than any policy makes are refused instead of recursed into.
const MAX_DEPTH: usize = 100;
const MAX_NODES: usize = 10_000;

/// A tree of rules.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// `allOf`: each must hold.
    All(Vec<Condition>),
    /// `anyOf`: one must hold.
    Any(Vec<Condition>),
    /// `not`.
    Not(Box<Condition>),
    /// A rule, by name, with what it is asked.
    Rule {
        /// E.g. `IS_TASK_OWNER`.
        name: String,
        /// `None` where the decision has none.
        params: Option<Map<String, Value>>,
    },
}

/// Why a value is no tree of rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at} {reason}")]
pub struct NoCondition {
    at: String,
    reason: String,
}

impl Condition {
    /// Reads `{anyOf}`, `{allOf}` (lists of one or more), `{not}` or `{rule, resourceType, params?}`; members beside these
    /// are passed over.
    ///
    /// # Errors
    /// It is none of them, or several at once, or too deep or large.
    pub fn parse(value: &Value) -> Result<Self, NoCondition> {
        read(value, "conditions", 0, &mut 0)
    }

    /// Whether it holds for the resource. Rules are looked at from left to right until the outcome is certain.
    ///
    /// # Errors
    /// A rule is not known for this kind of resource, or its parameters are not what it takes. Nothing is decided then.
    pub fn holds(&self, resource: &Resource<'_>) -> Result<bool, RuleError> {
        match self {
            Self::All(children) => {
                for child in children {
                    if !child.holds(resource)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Any(children) => {
                for child in children {
                    if child.holds(resource)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(child) => Ok(!child.holds(resource)?),
            Self::Rule { name, params } => {
                Rule::find(resource.kind(), name)?.with_params(params.as_ref())?.holds(resource)
            }
        }
    }

    /// The tree as a filter of tasks by their creators.
    ///
    /// # Errors
    /// As [`Condition::holds`], for all of the tree.
    pub fn creators(&self) -> Result<CreatorFilter, RuleError> {
        let each = |children: &[Self]| children.iter().map(Self::creators).collect::<Result<Vec<_>, _>>();
        Ok(match self {
            Self::All(children) => CreatorFilter::All(each(children)?),
            Self::Any(children) => CreatorFilter::Any(each(children)?),
            Self::Not(child) => CreatorFilter::Not(Box::new(child.creators()?)),
            Self::Rule { name, params } => {
                CreatorFilter::Creators(Rule::find(ResourceType::Task, name)?.with_params(params.as_ref())?.creators())
            }
        })
    }

    /// All rules of the tree.
    pub(super) fn rules(&self) -> Vec<(&str, Option<&Map<String, Value>>)> {
        match self {
            Self::All(children) | Self::Any(children) => children.iter().flat_map(Self::rules).collect(),
            Self::Not(child) => child.rules(),
            Self::Rule { name, params } => vec![(name, params.as_ref())],
        }
    }
}

fn read(value: &Value, at: &str, depth: usize, nodes: &mut usize) -> Result<Condition, NoCondition> {
    let refuse = |reason: &str| Err(NoCondition { at: at.to_string(), reason: reason.to_string() });
    *nodes += 1;
    if depth > MAX_DEPTH || *nodes > MAX_NODES {
        return refuse("is too deep or too large a tree of conditions");
    }
    let Value::Object(members) = value else { return refuse("is no object") };
    let given: Vec<&str> =
        ["anyOf", "allOf", "not", "rule"].into_iter().filter(|name| members.contains_key(*name)).collect();
    match given[..] {
        [name @ ("anyOf" | "allOf")] => {
            let Some(children) = members[name].as_array().filter(|children| !children.is_empty()) else {
                return refuse(&format!("has an {name} that is no list of conditions"));
            };
            let children = children.iter().enumerate();
            let children = children
                .map(|(index, child)| read(child, &format!("{at}.{name}[{index}]"), depth + 1, nodes))
                .collect::<Result<_, _>>()?;
            Ok(if name == "anyOf" { Condition::Any(children) } else { Condition::All(children) })
        }
        ["not"] => Ok(Condition::Not(Box::new(read(&members["not"], &format!("{at}.not"), depth + 1, nodes)?))),
        ["rule"] => {
            let params = match members.get("params") {
                None => None,
                Some(Value::Object(params)) => Some(params.clone()),
                Some(_) => return refuse("has params that are no object"),
            };
            match (&members["rule"], members.get("resourceType")) {
                (Value::String(name), Some(Value::String(_))) => Ok(Condition::Rule { name: name.clone(), params }),
                _ => refuse("needs a rule and a resourceType, both texts"),
            }
        }
        _ => refuse("must have one of anyOf, allOf, not and rule"),
    }
}
