//! The object a step asks for, in the form its generation has.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    definition::{Generation, Offer},
    inputs::{CompositionSelector, Named, UpdatePolicy},
};
use crate::client::{label, short_subdomain};

/// The annotation by which a resource takes over what exists.
const EXTERNAL_NAME: &str = "crossplane.io/external-name";

/// Why no object can be made of what the step asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ManifestError {
    /// Not a name.
    #[error("the name of the {kind} {reason}")]
    Name {
        /// What it was for.
        kind: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A namespace that can't be one.
    #[error("the namespace {0}")]
    Namespace(String),
    /// The connection secret of a claim is beside it.
    #[error(
        "the connection secret of a claim is written into the claim's own namespace '{namespace}', it can't go to \
         '{asked}'; leave writeConnectionSecretToRef.namespace out"
    )]
    SecretElsewhere {
        /// The claim's.
        namespace: String,
        /// The secret's.
        asked: String,
    },
    /// A cluster-wide resource has no namespace of its own for the secret.
    #[error(
        "{0} is cluster-wide: say which namespace gets the connection secret in writeConnectionSecretToRef.namespace"
    )]
    SecretNowhere(String),
    /// The same field twice, with different values.
    #[error("{0} is given both in the spec and as an input of the step, with different values; give it once")]
    Twice(String),
    /// The spec is not an object where it must be.
    #[error("{0} must be an object")]
    NoObject(&'static str),
}

/// What a step asks for, apart from its kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) spec: Map<String, Value>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) composition: Option<Named>,
    pub(crate) selector: Option<CompositionSelector>,
    pub(crate) update_policy: Option<UpdatePolicy>,
    /// Name, and for cluster-wide kinds of Crossplane 1's form the namespace.
    pub(crate) secret: Option<(String, Option<String>)>,
    pub(crate) external_name: Option<String>,
}

/// An object, and what its maker has to say about it.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    /// `apiVersion`, `kind`, `metadata` and `spec`.
    pub(crate) object: Value,
    pub(crate) namespace: Option<String>,
    /// The secret with the connection details, if the step names one.
    pub(crate) secret: Option<String>,
    /// For the log.
    pub(crate) notes: Vec<String>,
}

/// Makes the object.
///
/// # Errors
/// Names that can't be, a namespace that is missing, a field given twice.
pub(crate) fn build(offer: &Offer<'_>, wish: Wish) -> Result<Built, ManifestError> {
    let kind = &offer.names.kind;
    let mut notes = Vec::new();
    check_name(&wish.name, kind)?;
    let namespace = namespace(offer, &wish, &mut notes)?;

    let mut spec = wish.spec;
    let mut ours = Map::new();
    if let Some(composition) = &wish.composition {
        ours.insert("compositionRef".into(), json!({"name": composition.name()}));
        if let Some(enforced) = offer.definition.enforced_composition.as_deref()
            && enforced != composition.name()
        {
            notes.push(format!(
                "The XRD {} enforces the Composition {enforced}; compositionRef {} has no effect",
                offer.definition.name,
                composition.name()
            ));
        }
    }
    if let Some(selector) = &wish.selector {
        ours.insert("compositionSelector".into(), json!({"matchLabels": selector.match_labels}));
    }
    if let Some(policy) = wish.update_policy {
        ours.insert("compositionUpdatePolicy".into(), policy.as_str().into());
    }
    let mut secret = wish.secret.as_ref().map(|(name, _)| name.clone());
    if let Some((name, secret_namespace)) = wish.secret {
        match secret_reference(offer, name, secret_namespace, wish.namespace.as_deref(), namespace.as_deref())? {
            Some(reference) => {
                ours.insert("writeConnectionSecretToRef".into(), reference);
            }
            None => notes.push(format!(
                "{kind} is {}, which has no writeConnectionSecretToRef: it is left out, and the Composition has to make the \
                 Secret {}",
                offer.generation.describe(),
                secret.as_deref().unwrap_or_default()
            )),
        }
    }
    let place = if offer.generation.is_modern() { "spec.crossplane" } else { "spec" };
    if offer.generation.is_modern() {
        if !ours.is_empty() {
            let inner = spec.entry("crossplane").or_insert_with(|| json!({}));
            let Value::Object(inner) = inner else { return Err(ManifestError::NoObject("spec.crossplane")) };
            merge(inner, ours, place)?;
        }
    } else {
        merge(&mut spec, ours, place)?;
        if secret.is_none() {
            secret = spec
                .get("writeConnectionSecretToRef")
                .and_then(|reference| reference.get("name"))
                .and_then(Value::as_str)
                .map(ToString::to_string);
        }
    }

    let mut annotations = wish.annotations;
    if let Some(external) = wish.external_name {
        let other = annotations.insert(EXTERNAL_NAME.to_string(), external.clone());
        if other.is_some_and(|other| other != external) {
            return Err(ManifestError::Twice(format!("the annotation {EXTERNAL_NAME}")));
        }
    }
    let mut metadata = Map::new();
    metadata.insert("name".into(), wish.name.into());
    if let Some(namespace) = &namespace {
        metadata.insert("namespace".into(), namespace.as_str().into());
    }
    if !wish.labels.is_empty() {
        metadata.insert("labels".into(), json!(wish.labels));
    }
    if !annotations.is_empty() {
        metadata.insert("annotations".into(), json!(annotations));
    }
    let object = json!({
        "apiVersion": offer.api_version(),
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    });
    Ok(Built { object, namespace, secret, notes })
}

/// The namespace the object lives in.
fn namespace(offer: &Offer<'_>, wish: &Wish, notes: &mut Vec<String>) -> Result<Option<String>, ManifestError> {
    let kind = &offer.names.kind;
    let asked = wish.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    if !offer.generation.is_namespaced() {
        if let Some(asked) = asked {
            notes.push(format!("{kind} is cluster-wide, so the namespace {asked} is not used"));
        }
        return Ok(None);
    }
    match asked {
        Some(asked) => {
            label(asked).map_err(ManifestError::Namespace)?;
            Ok(Some(asked.to_string()))
        }
        // Whoever applies the manifest says which.
        None => Ok(None),
    }
}

/// `writeConnectionSecretToRef` as the generation has it; `None` where it has none.
fn secret_reference(
    offer: &Offer<'_>,
    name: String,
    asked: Option<String>,
    step_namespace: Option<&str>,
    namespace: Option<&str>,
) -> Result<Option<Value>, ManifestError> {
    match offer.generation {
        Generation::NamespacedComposite | Generation::ClusterComposite => Ok(None),
        Generation::Claim => match (asked, namespace) {
            (Some(asked), Some(namespace)) if asked != namespace => {
                Err(ManifestError::SecretElsewhere { namespace: namespace.to_string(), asked })
            }
            _ => Ok(Some(json!({"name": name}))),
        },
        Generation::LegacyComposite => {
            let namespace = asked
                .as_deref()
                .or(step_namespace)
                .ok_or_else(|| ManifestError::SecretNowhere(offer.names.kind.clone()))?;
            Ok(Some(json!({"name": name, "namespace": namespace})))
        }
    }
}

/// Adds fields that are not there yet; the same value twice is fine.
fn merge(into: &mut Map<String, Value>, fields: Map<String, Value>, place: &str) -> Result<(), ManifestError> {
    for (name, value) in fields {
        match into.get(&name) {
            Some(there) if *there != value => return Err(ManifestError::Twice(format!("{place}.{name}"))),
            Some(_) => {}
            None => {
                into.insert(name, value);
            }
        }
    }
    Ok(())
}

/// # Errors
/// [`ManifestError::Name`].
pub(crate) fn check_name(name: &str, kind: &str) -> Result<(), ManifestError> {
    // Crossplane puts names of composite resources into labels, so they are no longer than those.
    short_subdomain(name).map_err(|reason| ManifestError::Name { kind: kind.to_string(), reason })
}

#[cfg(test)]
mod tests;
