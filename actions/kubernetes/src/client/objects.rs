//! Reading, creating, patching and deleting objects.

use std::fmt;

use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, PropagationPolicy},
};
use serde_json::Value;

use super::{
    Cluster, Kind, KubeError, Manifest,
    clusters::Connection,
    error::Request,
    names::{check_label, check_name},
};

/// One object of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    /// Its kind.
    pub(crate) kind: Kind,
    /// Its namespace; `None` for cluster-scoped kinds.
    pub(crate) namespace: Option<String>,
    /// Its name.
    pub(crate) name: String,
}

impl fmt::Display for Target {
    /// `Deployment shop/web`, `Namespace shop`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind.kind())?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

/// How an object is deleted.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeleteOptions {
    /// What happens to what it owns; the kind's default when absent.
    pub(crate) propagation: Option<PropagationPolicy>,
    /// Only ask whether it could be deleted.
    pub(crate) dry_run: bool,
}

impl Target {
    pub(super) fn api(&self, client: Client) -> Api<DynamicObject> {
        api(client, &self.kind, self.namespace.as_deref())
    }

    pub(super) fn request(&self, connection: &Connection, verb: &'static str) -> Request {
        Request {
            cluster: connection.label.to_string(),
            credentials: connection.credentials.to_string(),
            verb,
            object: self.to_string(),
            namespace: self.namespace.clone(),
            is_sensitive: self.kind.is_secret(),
        }
    }
}

fn api(client: Client, kind: &Kind, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) if kind.is_namespaced => Api::namespaced_with(client, namespace, &kind.resource),
        _ => Api::all_with(client, &kind.resource),
    }
}

impl Cluster {
    /// Names an object: the namespace defaults to the cluster's ([`Cluster::default_namespace`]) and is dropped for
    /// cluster-scoped kinds.
    ///
    /// # Errors
    /// Name or namespace can't be one ([`KubeError::Input`]); nothing is sent.
    pub(crate) async fn target(&self, kind: &Kind, namespace: Option<&str>, name: &str) -> Result<Target, KubeError> {
        check_name(kind, name)?;
        let namespace = self.namespace_for(kind, namespace).await?;
        Ok(Target { kind: kind.clone(), namespace, name: name.to_string() })
    }

    async fn namespace_for(&self, kind: &Kind, namespace: Option<&str>) -> Result<Option<String>, KubeError> {
        if !kind.is_namespaced {
            return Ok(None);
        }
        match namespace.filter(|namespace| !namespace.is_empty()) {
            Some(namespace) => {
                check_label("the namespace", namespace)?;
                Ok(Some(namespace.to_string()))
            }
            None => Ok(Some(self.default_namespace().await?)),
        }
    }

    /// The object as it is now; `None` when there is none. Needs the verb `get`.
    ///
    /// # Errors
    /// The cluster refuses or can't be reached.
    pub(crate) async fn get(&self, target: &Target) -> Result<Option<DynamicObject>, KubeError> {
        self.call(
            |connection| target.request(connection, "get"),
            |client| async move { target.api(client).get_opt(&target.name).await },
        )
        .await
    }

    /// The objects of a kind in a namespace, or in all with `None`. Needs the verb `list`.
    ///
    /// # Errors
    /// The cluster refuses or can't be reached.
    pub(crate) async fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        label_selector: Option<&str>,
    ) -> Result<Vec<DynamicObject>, KubeError> {
        if let Some(namespace) = namespace {
            check_label("the namespace", namespace)?;
        }
        let mut params = ListParams::default();
        if let Some(selector) = label_selector {
            params = params.labels(selector);
        }
        let named = Target { kind: kind.clone(), namespace: namespace.map(str::to_string), name: "(all)".to_string() };
        let params = &params;
        let list = self
            .call(
                |connection| named.request(connection, "list"),
                |client| {
                    let api = api(client, kind, namespace);
                    async move { api.list(params).await }
                },
            )
            .await?;
        Ok(list.items)
    }

    /// Creates an object, also one whose name the server makes up (`generateName`). Needs the verb `create`.
    ///
    /// # Errors
    /// It exists, is not valid, or the cluster refuses or can't be reached.
    pub(crate) async fn create(
        &self,
        manifest: &Manifest,
        namespace: Option<&str>,
        field_manager: &str,
        dry_run: bool,
    ) -> Result<(Target, DynamicObject), KubeError> {
        let (target, value) = self.prepare(manifest, namespace).await?;
        let created = self.post(&target, value, manifest, field_manager, dry_run).await?;
        let name = created.metadata.name.clone().unwrap_or_else(|| target.name.clone());
        Ok((Target { name, ..target }, created))
    }

    /// As [`Cluster::create`], for an object whose place is known already.
    ///
    /// # Errors
    /// As [`Cluster::create`].
    pub(crate) async fn create_at(
        &self,
        target: &Target,
        manifest: &Manifest,
        field_manager: &str,
        dry_run: bool,
    ) -> Result<DynamicObject, KubeError> {
        self.post(target, manifest.placed(target.namespace.as_deref()), manifest, field_manager, dry_run).await
    }

    async fn post(
        &self,
        target: &Target,
        value: Value,
        manifest: &Manifest,
        field_manager: &str,
        dry_run: bool,
    ) -> Result<DynamicObject, KubeError> {
        let object: DynamicObject = serde_json::from_value(value)
            .map_err(|error| KubeError::Input(format!("{}: {error}", manifest.origin())))?;
        let params = PostParams { dry_run, field_manager: Some(field_manager.to_string()) };
        let (object, params) = (&object, &params);
        self.call(
            |connection| target.request(connection, "create"),
            |client| async move { target.api(client).create(params, object).await },
        )
        .await
    }

    /// Where a manifest goes, and what is sent: with its namespace, without what only a server writes.
    ///
    /// # Errors
    /// Its kind is unknown, or name or namespace can't be one; nothing is sent.
    pub(crate) async fn prepare(
        &self,
        manifest: &Manifest,
        namespace: Option<&str>,
    ) -> Result<(Target, Value), KubeError> {
        let named = |error: KubeError| match error {
            KubeError::Input(text) => KubeError::Input(format!("{}: {text}", manifest.origin())),
            other => other,
        };
        let kind = self.kind(manifest.api_version(), manifest.kind()).await.map_err(named)?;
        let namespace = self.namespace_for(&kind, manifest.namespace().or(namespace)).await.map_err(named)?;
        let name = match (manifest.name(), manifest.generate_name()) {
            (Some(name), _) => {
                check_name(&kind, name).map_err(named)?;
                name.to_string()
            }
            (None, Some(prefix)) => {
                // The server appends five letters or digits.
                check_name(&kind, &format!("{prefix}00000")).map_err(named)?;
                format!("{prefix}…")
            }
            (None, None) => return Err(KubeError::Input(format!("{}: metadata.name is missing", manifest.origin()))),
        };
        let value = manifest.placed(namespace.as_deref());
        Ok((Target { kind, namespace, name }, value))
    }

    /// Changes some fields of an object (JSON merge patch). Needs the verb `patch`.
    ///
    /// # Errors
    /// There is none, the result is not valid, or the cluster refuses or can't be reached.
    pub(crate) async fn merge(
        &self,
        target: &Target,
        patch: &Value,
        field_manager: &str,
        dry_run: bool,
    ) -> Result<DynamicObject, KubeError> {
        let params = PatchParams { dry_run, field_manager: Some(field_manager.to_string()), ..PatchParams::default() };
        let (patch, params) = (&Patch::Merge(patch), &params);
        self.call(
            |connection| target.request(connection, "patch"),
            |client| async move { target.api(client).patch(&target.name, params, patch).await },
        )
        .await
    }

    /// Starts to delete an object; says whether there was one. Needs the verb `delete`.
    ///
    /// # Errors
    /// The cluster refuses or can't be reached.
    pub(crate) async fn delete(&self, target: &Target, options: &DeleteOptions) -> Result<bool, KubeError> {
        let params = DeleteParams {
            dry_run: options.dry_run,
            propagation_policy: options.propagation.clone(),
            ..DeleteParams::default()
        };
        let params = &params;
        let answer = self
            .call(
                |connection| target.request(connection, "delete"),
                |client| async move {
                    match target.api(client).delete(&target.name, params).await {
                        Ok(_) => Ok(true),
                        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
                        Err(error) => Err(error),
                    }
                },
            )
            .await?;
        Ok(answer)
    }
}
