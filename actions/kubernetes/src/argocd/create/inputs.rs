//! What an Application is described with in a step: the parts of its `spec` (`argoproj.io/v1alpha1`, Argo CD 3.6).
//!
//! Variants of plain enums have no doc comments: schemars would publish each as a schema of its own.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Texts by name.
pub(crate) type Texts = BTreeMap<String, String>;

/// Where manifests come from.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Source {
    /// The Git repository, the Helm repository, or the registry of an OCI chart (without `oci://`).
    #[serde(rename = "repoURL")]
    pub(crate) repo_url: String,
    /// The folder of the Git repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// The Helm chart of the Helm repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chart: Option<String>,
    /// A branch, tag, commit or chart version; `HEAD` of a Git repository when left out, required for a chart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target_revision: Option<String>,
    /// With several sources: the name under which value files of the others refer to this one, as `$ref/path`.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<String>,
    /// With several sources: a name for this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// How to render it as a Helm chart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) helm: Option<Helm>,
    /// How to render it with Kustomize.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kustomize: Option<Kustomize>,
    /// How to read it as a folder of plain manifests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) directory: Option<Directory>,
    /// How to render it with a config management plugin, as the Application's `plugin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plugin: Option<Map<String, Value>>,
}

/// How to render a Helm chart.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Helm {
    /// The release's name; the application's name when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) release_name: Option<String>,
    /// Values as YAML text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) values: Option<String>,
    /// Values as an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) values_object: Option<Map<String, Value>>,
    /// Files with values: of the chart, or of another source as `$ref/path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value_files: Option<Vec<String>>,
    /// Whether value files that don't exist are passed over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ignore_missing_value_files: Option<bool>,
    /// Single values, which win over all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parameters: Option<Vec<HelmParameter>>,
    /// Single values that are contents of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file_parameters: Option<Vec<HelmFileParameter>>,
    /// The Helm version, `v3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// Whether credentials go to all domains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pass_credentials: Option<bool>,
    /// Whether the chart's `crds` folder is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) skip_crds: Option<bool>,
    /// Whether the values are not held against the chart's schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) skip_schema_validation: Option<bool>,
    /// Whether the chart's tests are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) skip_tests: Option<bool>,
    /// The Kubernetes version the chart is rendered for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kube_version: Option<String>,
    /// The API versions the chart is rendered for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_versions: Option<Vec<String>>,
    /// The namespace the chart is rendered for; the destination's when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
}

/// A single value of a Helm chart.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HelmParameter {
    /// Its path, e.g. `image.tag`.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: String,
    /// Whether it stays a text where it looks like a number or a boolean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) force_string: Option<bool>,
}

/// A value of a Helm chart that is the content of a file.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HelmFileParameter {
    /// Its path.
    pub(crate) name: String,
    /// The file.
    pub(crate) path: String,
}

/// How to render with Kustomize.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Kustomize {
    /// Put before each name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name_prefix: Option<String>,
    /// Put after each name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name_suffix: Option<String>,
    /// Images to use instead, e.g. `app=registry.example.org/app:1.2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) images: Option<Vec<String>>,
    /// How many replicas, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replicas: Option<Vec<Map<String, Value>>>,
    /// Labels for everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) common_labels: Option<Texts>,
    /// Whether they win over labels that are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) force_common_labels: Option<bool>,
    /// Whether they stay out of selectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) label_without_selector: Option<bool>,
    /// Whether they go into templates of pods too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) label_include_templates: Option<bool>,
    /// Annotations for everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) common_annotations: Option<Texts>,
    /// Whether they win over annotations that are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) force_common_annotations: Option<bool>,
    /// Whether `$ARGOCD_…` variables in them are replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) common_annotations_envsubst: Option<bool>,
    /// The namespace for everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    /// Components to add.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) components: Option<Vec<String>>,
    /// Whether components that don't exist are passed over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ignore_missing_components: Option<bool>,
    /// Patches, as in a kustomization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) patches: Option<Vec<Map<String, Value>>>,
    /// The Kustomize version, of those Argo CD has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// The Kubernetes version charts are rendered for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kube_version: Option<String>,
    /// The API versions charts are rendered for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_versions: Option<Vec<String>>,
}

/// How to read a folder of manifests.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Directory {
    /// Whether folders in it are read too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recurse: Option<bool>,
    /// Only files that fit this pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) include: Option<String>,
    /// No files that fit this pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exclude: Option<String>,
    /// Settings of Jsonnet: `extVars`, `tlas`, `libs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jsonnet: Option<Map<String, Value>>,
    /// Whether files are read whatever their names end in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disable_extension_filter: Option<bool>,
}

/// Where the application goes.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Destination {
    /// The cluster's URL; `https://kubernetes.default.svc`, Argo CD's own cluster, when neither it nor a name is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    /// The cluster's name in Argo CD, instead of its URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// The namespace of resources that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
}

/// How changes of the sources get into the cluster.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SyncPolicy {
    /// By themselves; left out, somebody must start each sync.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) automated: Option<Automated>,
    /// Options of syncs, e.g. `CreateNamespace=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sync_options: Option<Vec<String>>,
    /// How failed syncs are repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry: Option<Retry>,
    /// Labels and annotations of a namespace that Argo CD creates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) managed_namespace_metadata: Option<ManagedNamespace>,
}

/// Syncs without anybody's doing.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Automated {
    /// Whether resources that the sources no longer have are deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prune: Option<bool>,
    /// Whether changes made in the cluster are undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) self_heal: Option<bool>,
    /// Whether the sources may come to hold nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allow_empty: Option<bool>,
    /// Whether it is on; true when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) enabled: Option<bool>,
}

/// How failed syncs are repeated.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Retry {
    /// How often; without end if negative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<i64>,
    /// How long it takes in between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) backoff: Option<Backoff>,
    /// Whether new commits are taken in at a repetition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refresh: Option<bool>,
}

/// How long it takes between repetitions.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Backoff {
    /// At first, e.g. `5s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration: Option<String>,
    /// How many times longer each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) factor: Option<i64>,
    /// At most, e.g. `3m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_duration: Option<String>,
}

/// Labels and annotations of a namespace.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ManagedNamespace {
    /// Labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<Texts>,
    /// Annotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<Texts>,
}

/// What isn't compared.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct IgnoreDifference {
    /// The API group of the resources; empty for the core group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    /// Their kind.
    pub(crate) kind: String,
    /// Only the one with this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Only those of this namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    /// Fields as JSON pointers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) json_pointers: Option<Vec<String>>,
    /// Fields as jq path expressions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jq_path_expressions: Option<Vec<String>>,
    /// All fields of these field managers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) managed_fields_managers: Option<Vec<String>>,
}

/// A line for people, shown with the application.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Info {
    /// What it is about.
    pub(crate) name: String,
    /// Text or URL.
    pub(crate) value: String,
}
