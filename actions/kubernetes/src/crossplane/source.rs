//! Where XRDs come from: the cluster, or a file of the workspace.

use std::sync::Arc;

use understudy_sdk::{ActionContext, ActionError, ErrorName, Workspace};

use super::{
    definition::{Definition, DefinitionError, GROUP, KIND, Wanted, find},
    manifest::ManifestError,
    validate::SpecError,
};
use crate::client::{Cluster, Kind, KubeError, Target, check_label, parse_manifests};

/// The largest file that is read; a cluster keeps no larger object, and schemas take time to compile.
const LARGEST: u64 = 2 << 20;

impl From<DefinitionError> for ActionError {
    fn from(error: DefinitionError) -> Self {
        let name = match &error {
            DefinitionError::UnknownName { .. } | DefinitionError::UnknownKind { .. } => ErrorName::NotFoundError,
            DefinitionError::Malformed { .. } => ErrorName::Error,
            _ => ErrorName::InputError,
        };
        Self::new(name, error.to_string())
    }
}

impl From<SpecError> for ActionError {
    fn from(error: SpecError) -> Self {
        match &error {
            SpecError::Violations { .. } => Self::input(error.to_string()),
            SpecError::Schema { .. } => Self::failed(error.to_string()),
        }
    }
}

impl From<ManifestError> for ActionError {
    fn from(error: ManifestError) -> Self {
        Self::input(error.to_string())
    }
}

/// The XRDs of a cluster. Those that can't be read are left out: they aren't what the step asks for.
///
/// # Errors
/// Crossplane isn't installed, or the cluster refuses (needs `list` of `compositeresourcedefinitions`).
pub(super) async fn of_cluster(ctx: &ActionContext, cluster: &Cluster) -> Result<Vec<Definition>, ActionError> {
    // The older version first: read through the newer one, an XRD from before there were scopes could seem to have one.
    let mut kind = cluster.kind(&format!("{GROUP}/v1"), KIND).await;
    if let Err(KubeError::UnknownKind { .. }) = kind {
        kind = cluster.kind(&format!("{GROUP}/v2"), KIND).await;
    }
    let kind = match kind {
        Err(KubeError::UnknownKind { cluster, .. }) => {
            return Err(ActionError::not_found(format!(
                "Crossplane is not installed in {cluster}: it knows no {KIND} of {GROUP}. Install Crossplane there, or name \
                 the cluster that has it in clusterName"
            )));
        }
        kind => kind?,
    };
    let mut definitions = Vec::new();
    for object in cluster.list(&kind, None, None).await? {
        let name = object.metadata.name.clone().unwrap_or_default();
        let mut value = serde_json::to_value(&object).unwrap_or_default();
        // Items of a list don't repeat what the list says.
        value["apiVersion"] = kind.api_version().into();
        value["kind"] = KIND.into();
        match Definition::from_value(value, &format!("the XRD {name}")) {
            Ok(definition) => definitions.push(definition),
            Err(error) => ctx.log.debug(error.to_string()),
        }
    }
    Ok(definitions)
}

/// The XRDs in a file of the workspace, among whatever else it holds.
///
/// # Errors
/// There is no such file, it is no YAML, or holds no XRD.
pub(super) fn of_file(workspace: &Workspace, path: &str) -> Result<Vec<Definition>, ActionError> {
    if workspace.open_file(path)?.size() > LARGEST {
        return Err(ActionError::input(format!("{path} is larger than any XRD (2 MiB)")));
    }
    let text = String::from_utf8(workspace.read(path)?)
        .map_err(|_| ActionError::input(format!("{path} is no text in UTF-8, so it is no XRD")))?;
    let mut definitions = Vec::new();
    for manifest in parse_manifests(path, &text)? {
        if manifest.kind() == KIND && manifest.api_version().starts_with(GROUP) {
            let origin = manifest.origin().to_string();
            definitions.push(Definition::from_value(manifest.into_value(), &origin)?);
        }
    }
    if definitions.is_empty() {
        return Err(ActionError::input(format!("{path} holds no {KIND}")));
    }
    Ok(definitions)
}

/// The kind that a step means by `apiVersion` and `kind`, or by `xrd`. Only the latter needs the XRDs.
///
/// # Errors
/// There is no such kind, or the cluster refuses.
pub(super) async fn kind_of(
    ctx: &ActionContext,
    cluster: &Arc<Cluster>,
    wanted: &Wanted<'_>,
) -> Result<Kind, ActionError> {
    if let (None, Some(api_version), Some(kind)) = (wanted.xrd, wanted.api_version, wanted.kind) {
        return Ok(cluster.kind(api_version, kind).await?);
    }
    let definitions = of_cluster(ctx, cluster).await?;
    let offer = find(&definitions, wanted, &cluster.label().await?)?;
    Ok(cluster.kind(&offer.api_version(), &offer.names.kind).await?)
}

/// The object that a step means. A namespace is left out for kinds that are cluster-wide, so that one template serves both
/// generations.
///
/// # Errors
/// As [`kind_of`].
pub(super) async fn target_of(
    ctx: &ActionContext,
    cluster: &Arc<Cluster>,
    wanted: &Wanted<'_>,
    name: &str,
    namespace: Option<&str>,
) -> Result<Target, ActionError> {
    let kind = kind_of(ctx, cluster, wanted).await?;
    super::manifest::check_name(name, kind.kind())?;
    let asked = namespace.filter(|namespace| !namespace.is_empty());
    let namespace = match (kind.is_namespaced, asked) {
        (true, Some(asked)) => {
            check_label("the namespace", asked)?;
            Some(asked.to_string())
        }
        (true, None) => Some(cluster.default_namespace().await?),
        (false, _) => None,
    };
    Ok(Target { kind, namespace, name: name.to_string() })
}
