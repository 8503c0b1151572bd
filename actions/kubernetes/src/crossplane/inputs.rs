//! Input types that the actions share.
//!
//! Variants of plain enums have no doc comments: schemars would publish each as a schema of its own.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// Something by its name: the name alone, or an object as manifests have it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Named {
    /// The name.
    Name(String),
    /// The name, as manifests have it.
    Reference(NameReference),
}

/// A reference by name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NameReference {
    /// The name.
    pub(crate) name: String,
}

impl Named {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Name(name) | Self::Reference(NameReference { name }) => name,
        }
    }
}

/// Chooses a Composition by its labels.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CompositionSelector {
    /// Labels the Composition must have.
    pub(crate) match_labels: BTreeMap<String, String>,
}

/// Whether new revisions of the Composition take effect by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub(crate) enum UpdatePolicy {
    // They do.
    Automatic,
    // Somebody chooses the revision.
    Manual,
}

impl UpdatePolicy {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Automatic => "Automatic",
            Self::Manual => "Manual",
        }
    }
}

/// The Secret that gets the connection details.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretReference {
    /// The Secret's name.
    pub(crate) name: String,
    /// Its namespace, for cluster-wide composite resources of Crossplane 1's form; the step's namespace when left out. The
    /// Secret of a claim is always beside the claim.
    pub(crate) namespace: Option<String>,
}
