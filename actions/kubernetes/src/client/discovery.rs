//! Which kinds a cluster serves, and under which plurals.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroupList, APIResourceList};
use kube::{Client, core::GroupVersionKind, discovery::ApiResource};

use super::{Cluster, KubeError, clusters::Connection, error::Request};

/// A kind as the cluster serves it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kind {
    /// Group, version, kind and plural.
    pub(crate) resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub(crate) is_namespaced: bool,
}

impl Kind {
    /// `Deployment`
    pub(crate) fn kind(&self) -> &str {
        &self.resource.kind
    }
    /// `apps`; empty for the core.
    pub(crate) fn group(&self) -> &str {
        &self.resource.group
    }
    /// `apps/v1`
    pub(crate) fn api_version(&self) -> &str {
        &self.resource.api_version
    }
    /// `Namespace`, which every cluster has.
    pub(crate) fn namespace() -> Self {
        let gvk = GroupVersionKind::gvk("", "v1", "Namespace");
        Self { resource: ApiResource::from_gvk_with_plural(&gvk, "namespaces"), is_namespaced: false }
    }
    /// Whether its objects hold credentials.
    pub(crate) fn is_secret(&self) -> bool {
        self.group().is_empty() && self.kind() == "Secret"
    }
}

/// What discovery has found so far, by `group/version`.
#[derive(Debug, Default)]
pub(crate) struct Kinds(Mutex<BTreeMap<String, Arc<Vec<Kind>>>>);

impl Kinds {
    fn find(&self, api_version: &str, kind: &str) -> Option<Kind> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(api_version)?.iter().find(|candidate| candidate.kind() == kind).cloned()
    }
}

impl Cluster {
    /// Finds a kind. What was found before is remembered; what is missing is looked for again, so that a CRD that was
    /// installed meanwhile is found.
    ///
    /// # Errors
    /// [`KubeError::UnknownKind`] with near kinds, or the cluster can't be asked.
    pub(crate) async fn kind(&self, api_version: &str, kind: &str) -> Result<Kind, KubeError> {
        if let Some(known) = self.kinds.find(api_version, kind) {
            return Ok(known);
        }
        let (group, version) = split(api_version);
        if version.is_empty() || kind.is_empty() || !is_plain(group) || !is_plain(version) {
            return Err(KubeError::Input(format!(
                "apiVersion '{api_version}' with kind '{kind}' names no kind; an apiVersion is v1 or group/version"
            )));
        }
        let request = |connection: &Connection| Request::about(format!("the kinds of {api_version}"), connection);
        let found = self.call(request, |client| list(client, api_version)).await?;
        if let Some(resources) = found {
            let kinds = Arc::new(kinds(&resources, group, version));
            let found = kinds.iter().find(|candidate| candidate.kind() == kind).cloned();
            self.kinds.0.lock().unwrap_or_else(PoisonError::into_inner).insert(api_version.to_string(), kinds);
            if let Some(found) = found {
                return Ok(found);
            }
        }
        let label = self.label().await?;
        let hint = match self.call(request, near_kinds).await {
            Ok(all) => hint(&all, api_version, kind),
            Err(_) => "is its CRD installed?".to_string(),
        };
        Err(KubeError::UnknownKind {
            cluster: label,
            api_version: api_version.to_string(),
            kind: kind.to_string(),
            hint,
        })
    }
}

/// The resources of a group version; `None` where the cluster has no such version.
async fn list(client: Client, api_version: &str) -> kube::Result<Option<APIResourceList>> {
    let answer = if api_version.contains('/') {
        client.list_api_group_resources(api_version).await
    } else {
        client.list_core_api_resources(api_version).await
    };
    match answer {
        Ok(resources) => Ok(Some(resources)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

async fn near_kinds(client: Client) -> kube::Result<Vec<Kind>> {
    let groups: APIGroupList = client.list_api_groups().await?;
    let mut versions = vec!["v1".to_string()];
    versions.extend(groups.groups.into_iter().filter_map(|group| {
        group.preferred_version.or_else(|| group.versions.into_iter().next()).map(|version| version.group_version)
    }));
    let lists = futures_util::future::join_all(versions.iter().map(|version| list(client.clone(), version))).await;
    let mut all = Vec::new();
    for (version, answer) in versions.iter().zip(lists) {
        // An aggregated API whose server is away says nothing about the others.
        if let Ok(Some(resources)) = answer {
            let (group, version) = split(version);
            all.extend(kinds(&resources, group, version));
        }
    }
    Ok(all)
}

fn split(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// Whether a text can stand in the path of a URL as it is.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.')) && text != ".." && text != "."
}

fn kinds(list: &APIResourceList, group: &str, version: &str) -> Vec<Kind> {
    list.resources
        .iter()
        // `deployments/status` and the like.
        .filter(|resource| !resource.name.contains('/'))
        .map(|resource| {
            let gvk = GroupVersionKind::gvk(group, version, &resource.kind);
            Kind {
                resource: ApiResource::from_gvk_with_plural(&gvk, &resource.name),
                is_namespaced: resource.namespaced,
            }
        })
        .collect()
}

/// What the author may have meant, or has to install.
fn hint(all: &[Kind], api_version: &str, kind: &str) -> String {
    let (group, _) = split(api_version);
    let mut near: Vec<(usize, String)> = all
        .iter()
        .filter_map(|candidate| {
            let distance = distance(&candidate.kind().to_lowercase(), &kind.to_lowercase());
            let limit = 1 + kind.chars().count() / 5;
            let text = format!("{} in {}", candidate.kind(), candidate.api_version());
            (distance <= limit).then_some((distance * 2 + usize::from(candidate.group() != group), text))
        })
        .collect();
    near.sort();
    near.dedup();
    let near: Vec<_> = near.into_iter().take(3).map(|(_, text)| text).collect();
    if !near.is_empty() {
        return format!("it knows {}", near.join(", "));
    }
    let mut same_group: Vec<_> =
        all.iter().filter(|candidate| candidate.group() == group).map(Kind::kind).take(8).collect();
    same_group.sort_unstable();
    if group.is_empty() || same_group.is_empty() {
        format!(
            "nothing in the group '{group}' is installed there; install the CRD first (for Argo CD or Crossplane: the product)"
        )
    } else {
        format!("in the group {group} it knows {}", same_group.join(", "))
    }
}

/// How many letters differ (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(api_version: &str, kind: &str) -> Kind {
        let (group, version) = split(api_version);
        let gvk = GroupVersionKind::gvk(group, version, kind);
        Kind { resource: ApiResource::from_gvk(&gvk), is_namespaced: true }
    }

    #[test]
    fn hints() {
        let all = [
            kind("v1", "ConfigMap"),
            kind("apps/v1", "Deployment"),
            kind("networking.k8s.io/v1", "Ingress"),
            kind("argoproj.io/v1alpha1", "AppProject"),
        ];
        for (api_version, name, expected) in [
            ("apps/v1", "Deploymnet", "it knows Deployment in apps/v1"),
            ("v1", "Deployment", "it knows Deployment in apps/v1"),
            ("extensions/v1beta1", "Ingress", "it knows Ingress in networking.k8s.io/v1"),
            ("argoproj.io/v1alpha1", "Application", "in the group argoproj.io it knows AppProject"),
        ] {
            assert_eq!(hint(&all, api_version, name), expected);
        }
        assert!(hint(&all, "kubecon.org/v1", "Bucket").contains("nothing in the group 'kubecon.org' is installed"));
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
