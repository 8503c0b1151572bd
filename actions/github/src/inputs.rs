//! Input types that several actions share.
//!
//! Variants of plain enums have no doc comments: schemars would publish each as a schema of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

/// JSON written by JavaScript has no `2.0`, and GitHub takes none where it wants an integer.
pub(crate) fn whole(number: Number) -> Number {
    match number.as_f64() {
        #[allow(clippy::cast_possible_truncation)] // within ±2^53 by the condition
        Some(value) if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 => Number::from(value as i64),
        _ => number,
    }
}

/// Who may do something on GitHub, by login and slug.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Allowances {
    /// Slugs of GitHub Apps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) apps: Option<Vec<String>>,
    /// Logins of users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) users: Option<Vec<String>>,
    /// Slugs of teams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) teams: Option<Vec<String>>,
}

/// Who alone may push to a branch.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restrictions {
    /// Slugs of GitHub Apps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) apps: Option<Vec<String>>,
    /// Logins of users.
    pub(crate) users: Vec<String>,
    /// Slugs of teams.
    pub(crate) teams: Vec<String>,
}

/// Who sees a repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Visibility {
    // Those with access.
    #[default]
    Private,
    // Everybody.
    Public,
    // The enterprise's members.
    Internal,
}

/// Which other repositories may use a repository's actions and reusable workflows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WorkflowAccess {
    // None.
    None,
    // Those of the same organization.
    Organization,
    // Those of the same user.
    User,
}

/// What the title of a squashed commit is made of.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum SquashTitle {
    // The pull request's title.
    PrTitle,
    // The commit's title where there is one commit, else the pull request's.
    #[default]
    CommitOrPrTitle,
}

/// What the message of a squashed commit is made of.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum SquashMessage {
    // The pull request's description.
    PrBody,
    // The commits' messages.
    #[default]
    CommitMessages,
    // Nothing.
    Blank,
}

/// Somebody who gets access to a repository.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Collaborator {
    /// A user.
    User(UserCollaborator),
    /// A team of the organization.
    Team(TeamCollaborator),
}

/// A user who gets access.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserCollaborator {
    /// `pull`, `triage`, `push`, `maintain`, `admin` or a role of the organization.
    pub(crate) access: String,
    /// Login, or an entity reference whose name is the login.
    pub(crate) user: String,
}

/// A team that gets access.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TeamCollaborator {
    /// `pull`, `triage`, `push`, `maintain`, `admin` or a role of the organization.
    pub(crate) access: String,
    /// Slug, or an entity reference whose name is the slug.
    pub(crate) team: String,
}

/// What the subject claim of a workflow's OIDC token is made of.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct OidcCustomization {
    /// Use the organization's or GitHub's default; the claim keys are ignored then.
    #[schemars(extend("default" = true))]
    pub(crate) use_default: Option<bool>,
    /// Claims to include, in order.
    pub(crate) include_claim_keys: Option<Vec<String>>,
}

/// The value of a custom property.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum CustomProperty {
    /// A single value.
    One(String),
    /// Several values.
    Many(Vec<String>),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn whole_numbers_have_no_fraction() {
        for (given, sent) in [("2", "2"), ("2.0", "2"), ("0", "0"), ("1.5", "1.5")] {
            assert_eq!(whole(serde_json::from_str(given).unwrap()).to_string(), sent);
        }
    }
}
