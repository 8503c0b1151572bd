//! Crossplane's CompositeResourceDefinitions (XRDs): which kinds they define, and how instances of those are written.
//!
//! The rules are those of `github.com/crossplane/crossplane` 2.x (`apis/apiextensions`) and, for what 1.x serves, of 1.20.

use serde::Deserialize;
use serde_json::Value;

use super::suggest::closest;

/// API group of XRDs and Compositions.
pub(crate) const GROUP: &str = "apiextensions.crossplane.io";
/// Kind of an XRD.
pub(crate) const KIND: &str = "CompositeResourceDefinition";

/// Why an XRD can't be found or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DefinitionError {
    /// A document that is no XRD.
    #[error("{origin} is no usable CompositeResourceDefinition: {reason}")]
    Malformed {
        /// The object's name, or the file's.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The step says neither which kind nor which XRD.
    #[error("say what to make: apiVersion and kind, or the name of the XRD as xrd")]
    NothingAsked,
    /// `apiVersion` has no group.
    #[error(
        "apiVersion '{0}' is none of a composite resource: expected <group>/<version>, e.g. platform.example.org/v1alpha1"
    )]
    NoGroup(String),
    /// There is no XRD of this name.
    #[error("{place} has no XRD named '{name}'{hint}")]
    UnknownName {
        /// Where it was looked for.
        place: String,
        /// As the step has it.
        name: String,
        /// Near names, or that there are none.
        hint: String,
    },
    /// No XRD defines this kind.
    #[error("no XRD in {place} defines the kind {kind} in the group {group}{hint}")]
    UnknownKind {
        /// Where it was looked for.
        place: String,
        /// The group.
        group: String,
        /// The kind.
        kind: String,
        /// Near kinds, or that there are none.
        hint: String,
    },
    /// The XRD named defines other kinds.
    #[error("the XRD {xrd} defines {known}, not {asked}")]
    OtherKind {
        /// The XRD.
        xrd: String,
        /// What the step asks for.
        asked: String,
        /// What there is.
        known: String,
    },
    /// The version asked for is not there.
    #[error("the XRD {xrd} has no version {version}; its served versions are {known}")]
    UnknownVersion {
        /// The XRD.
        xrd: String,
        /// What the step asks for.
        version: String,
        /// What there is.
        known: String,
    },
    /// The version asked for can't be used.
    #[error("version {version} of the XRD {xrd} is not served; its served versions are {known}")]
    NotServed {
        /// The XRD.
        xrd: String,
        /// What the step asks for.
        version: String,
        /// What is served.
        known: String,
    },
}

/// How composite resources of an XRD are scoped (`spec.scope`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Scope {
    /// Crossplane 1's: cluster-wide, and there may be claims.
    LegacyCluster,
    /// Crossplane 2's default.
    Namespaced,
    /// Crossplane 2's cluster-wide ones.
    Cluster,
}

/// What a kind is to Crossplane: it decides where an instance lives and where Crossplane's own fields are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generation {
    /// A claim: namespaced, stands for a composite resource that Crossplane makes.
    Claim,
    /// A cluster-wide composite resource with Crossplane's fields directly under `spec`.
    LegacyComposite,
    /// A namespaced composite resource with Crossplane's fields under `spec.crossplane`.
    NamespacedComposite,
    /// A cluster-wide composite resource with Crossplane's fields under `spec.crossplane`.
    ClusterComposite,
}

impl Generation {
    /// Whether instances live in a namespace.
    pub(crate) fn is_namespaced(self) -> bool {
        matches!(self, Self::Claim | Self::NamespacedComposite)
    }
    /// Whether Crossplane's own fields are under `spec.crossplane`.
    pub(crate) fn is_modern(self) -> bool {
        matches!(self, Self::NamespacedComposite | Self::ClusterComposite)
    }
    /// The output `generation`.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::LegacyComposite => "legacy-composite",
            Self::NamespacedComposite => "namespaced-composite",
            Self::ClusterComposite => "cluster-composite",
        }
    }
    /// For logs.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Claim => "a claim",
            Self::LegacyComposite => "a cluster-wide composite resource of Crossplane 1's form",
            Self::NamespacedComposite => "a namespaced composite resource of Crossplane 2's form",
            Self::ClusterComposite => "a cluster-wide composite resource of Crossplane 2's form",
        }
    }
}

/// A kind and its plural.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Names {
    pub(crate) kind: String,
    pub(crate) plural: String,
}

/// A version of an XRD.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Version {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) served: bool,
    #[serde(default)]
    pub(crate) referenceable: bool,
    schema: Option<Validation>,
}

impl Version {
    /// The XRD author's schema of the whole object; `None` where there is none.
    pub(crate) fn schema(&self) -> Option<&Value> {
        self.schema.as_ref().and_then(|schema| schema.open_api.as_ref())
    }
}

#[derive(Debug, Clone, Deserialize)]
struct Validation {
    #[serde(rename = "openAPIV3Schema")]
    open_api: Option<Value>,
}

#[derive(Debug, Clone, Deserialize)]
struct Named {
    name: String,
}

/// An XRD.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) group: String,
    names: Names,
    claim_names: Option<Names>,
    scope: Scope,
    versions: Vec<Version>,
    /// Every instance uses this Composition, whatever it asks for.
    pub(crate) enforced_composition: Option<String>,
    /// (type, is true, reason and message), as `status.conditions` has them.
    conditions: Vec<(String, bool, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    metadata: Named,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    group: String,
    names: Names,
    claim_names: Option<Names>,
    scope: Option<Scope>,
    versions: Vec<Version>,
    enforced_composition_ref: Option<Named>,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

/// What a step asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    pub(crate) api_version: Option<&'a str>,
    pub(crate) kind: Option<&'a str>,
    pub(crate) xrd: Option<&'a str>,
}

/// A kind in a version, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer<'d> {
    pub(crate) definition: &'d Definition,
    pub(crate) names: &'d Names,
    pub(crate) version: &'d Version,
    pub(crate) generation: Generation,
}

impl Offer<'_> {
    /// `group/version`.
    pub(crate) fn api_version(&self) -> String {
        format!("{}/{}", self.definition.group, self.version.name)
    }
    /// The XRD's condition without which the kind isn't served, and why it is false; `None` when it is true or unknown.
    pub(crate) fn not_offered(&self) -> Option<String> {
        let wanted = if self.generation == Generation::Claim { "Offered" } else { "Established" };
        let (_, _, why) = self.definition.conditions.iter().find(|(kind, is_true, _)| kind == wanted && !is_true)?;
        Some(format!("the XRD {} is not {wanted}: {why}", self.definition.name))
    }
}

impl Definition {
    /// Reads an XRD; `origin` names it in the error.
    ///
    /// # Errors
    /// [`DefinitionError::Malformed`].
    pub(crate) fn from_value(value: Value, origin: &str) -> Result<Self, DefinitionError> {
        let malformed = |reason: String| DefinitionError::Malformed { origin: origin.to_string(), reason };
        let Document { api_version, kind, metadata, spec, status } =
            serde_json::from_value(value).map_err(|error| malformed(error.to_string()))?;
        let version = api_version.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
        if version.is_empty() || kind != KIND {
            return Err(malformed(format!("it is a {kind} of '{api_version}'")));
        }
        // What the server would fill in, for files that it hasn't seen.
        let default = if version.starts_with("v1") { Scope::LegacyCluster } else { Scope::Namespaced };
        let conditions = status
            .conditions
            .into_iter()
            .map(|condition| {
                let why = match (condition.reason.as_str(), condition.message.as_str()) {
                    (reason, "") => reason.to_string(),
                    ("", message) => message.to_string(),
                    (reason, message) => format!("{reason}: {message}"),
                };
                (condition.kind, condition.status == "True", why)
            })
            .collect();
        Ok(Self {
            name: metadata.name,
            group: spec.group,
            names: spec.names,
            claim_names: spec.claim_names,
            scope: spec.scope.unwrap_or(default),
            versions: spec.versions,
            enforced_composition: spec.enforced_composition_ref.map(|reference| reference.name),
            conditions,
        })
    }

    /// The kinds it defines: claims first, they are what people are meant to write.
    fn kinds(&self) -> impl Iterator<Item = (&Names, Generation)> {
        let claim = match self.scope {
            Scope::LegacyCluster => self.claim_names.as_ref().map(|names| (names, Generation::Claim)),
            Scope::Namespaced | Scope::Cluster => None,
        };
        let composite = match self.scope {
            Scope::LegacyCluster => Generation::LegacyComposite,
            Scope::Namespaced => Generation::NamespacedComposite,
            Scope::Cluster => Generation::ClusterComposite,
        };
        claim.into_iter().chain([(&self.names, composite)])
    }

    fn served(&self) -> String {
        let served: Vec<&str> =
            self.versions.iter().filter(|version| version.served).map(|version| version.name.as_str()).collect();
        if served.is_empty() { "none".to_string() } else { served.join(", ") }
    }

    /// The version of this name, which must be served; without a name the referenceable one (it is the one stored, and
    /// always served), else the first served.
    fn version(&self, name: Option<&str>) -> Result<&Version, DefinitionError> {
        let Some(name) = name else {
            let mut served = self.versions.iter().filter(|version| version.served);
            let referenceable = served.clone().find(|version| version.referenceable);
            return referenceable.or_else(|| served.next()).ok_or_else(|| DefinitionError::Malformed {
                origin: format!("the XRD {}", self.name),
                reason: "none of its versions is served".to_string(),
            });
        };
        let version = self.versions.iter().find(|version| version.name == name).ok_or_else(|| {
            DefinitionError::UnknownVersion { xrd: self.name.clone(), version: name.to_string(), known: self.served() }
        })?;
        if !version.served {
            return Err(DefinitionError::NotServed {
                xrd: self.name.clone(),
                version: name.to_string(),
                known: self.served(),
            });
        }
        Ok(version)
    }

    fn offer(&self, kind: Option<&str>, version: Option<&str>) -> Result<Offer<'_>, DefinitionError> {
        let (names, generation) = self
            .kinds()
            .find(|(names, _)| kind.is_none_or(|kind| names.kind == kind))
            .ok_or_else(|| DefinitionError::OtherKind {
                xrd: self.name.clone(),
                asked: kind.unwrap_or_default().to_string(),
                known: self.kinds().map(|(names, _)| names.kind.as_str()).collect::<Vec<_>>().join(" and "),
            })?;
        Ok(Offer { definition: self, names, version: self.version(version)?, generation })
    }
}

/// Finds what a step asks for among XRDs; `place` names where they come from (`the cluster 'prod'`, a file).
///
/// # Errors
/// The step asks for nothing, or for something that is not there.
pub(crate) fn find<'d>(
    definitions: &'d [Definition],
    wanted: &Wanted<'_>,
    place: &str,
) -> Result<Offer<'d>, DefinitionError> {
    let group_version = match wanted.api_version {
        None => None,
        Some(api_version) => match api_version.split_once('/') {
            Some((group, version)) if !group.is_empty() && !version.is_empty() => Some((group, version)),
            _ => return Err(DefinitionError::NoGroup(api_version.to_string())),
        },
    };
    if let Some(name) = wanted.xrd {
        let definition = definitions.iter().find(|definition| definition.name == name).ok_or_else(|| {
            let known = definitions.iter().map(|definition| definition.name.as_str());
            DefinitionError::UnknownName {
                place: place.to_string(),
                name: name.to_string(),
                hint: hint(name, &known.collect::<Vec<_>>(), "XRDs"),
            }
        })?;
        if let Some((group, _)) = group_version
            && group != definition.group
        {
            return Err(DefinitionError::OtherKind {
                xrd: definition.name.clone(),
                asked: format!("a kind of the group {group}"),
                known: format!("kinds of the group {}", definition.group),
            });
        }
        return definition.offer(wanted.kind, group_version.map(|(_, version)| version));
    }
    let (Some((group, version)), Some(kind)) = (group_version, wanted.kind) else {
        return Err(DefinitionError::NothingAsked);
    };
    let in_group = || definitions.iter().filter(|definition| definition.group == group);
    let definition =
        in_group().find(|definition| definition.kinds().any(|(names, _)| names.kind == kind)).ok_or_else(|| {
            let known: Vec<&str> =
                in_group().flat_map(Definition::kinds).map(|(names, _)| names.kind.as_str()).collect();
            let hint = if known.is_empty() {
                let groups: Vec<&str> = definitions.iter().map(|definition| definition.group.as_str()).collect();
                hint(group, &groups, "groups with XRDs")
            } else {
                hint(kind, &known, "kinds")
            };
            DefinitionError::UnknownKind {
                place: place.to_string(),
                group: group.to_string(),
                kind: kind.to_string(),
                hint,
            }
        })?;
    definition.offer(Some(kind), Some(version))
}

/// `; did you mean "x"?`, or what there is.
fn hint(name: &str, known: &[&str], what: &str) -> String {
    if let Some(near) = closest(name, known.iter().copied()) {
        return format!("; did you mean \"{near}\"?");
    }
    let mut known = known.to_vec();
    known.sort_unstable();
    known.dedup();
    match known.len() {
        0 => "; there are no XRDs at all, so install the Configuration that brings it".to_string(),
        1..=10 => format!("; its {what} are {}", known.join(", ")),
        more => format!("; it has {more} {what}, among them {}", known[..10].join(", ")),
    }
}

#[cfg(test)]
mod tests;
