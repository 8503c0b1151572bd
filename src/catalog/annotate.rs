//! What the catalog adds to an entity: namespace, annotations, uid and etag.

use serde_json::{Map, Value};
use sha1::{Digest, Sha1};
use understudy_scm::Scm;

use super::location::{Location, LocationKind};

/// The entity as it is stored. Members stand in the order Backstage gives them; what the file says of annotations wins
/// over all but the two that tell where it came from.
pub(super) fn annotate(scm: &Scm, entity: &Value, location: &Location, origin: &Location, uid: &str) -> Value {
    let Value::Object(source) = entity else { return entity.clone() };
    let given = source.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();

    let mut annotations = Map::new();
    let mut add = |name: &str, value: String| annotations.insert(format!("backstage.io/{name}"), Value::String(value));
    add("managed-by-location", location.to_string());
    add("managed-by-origin-location", origin.to_string());
    if location.kind == LocationKind::Url {
        add("view-url", location.target.clone());
        if let Some(edit) = edit_url(scm, &location.target) {
            add("edit-url", edit);
        }
        if let Some(directory) = directory_url(scm, &location.target) {
            add("source-location", format!("url:{directory}"));
        }
    }
    let from_file = given.get("annotations").and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, value) in from_file {
        if !matches!(name.as_str(), "backstage.io/managed-by-location" | "backstage.io/managed-by-origin-location") {
            annotations.insert(name, value);
        }
    }

    let mut metadata = Map::new();
    metadata.insert("namespace".to_string(), given.get("namespace").cloned().unwrap_or_else(|| "default".into()));
    metadata.insert("annotations".to_string(), Value::Object(annotations));
    for (name, value) in given {
        if !matches!(name.as_str(), "namespace" | "annotations" | "uid" | "etag") {
            metadata.insert(name, value);
        }
    }
    let mut stored = Map::new();
    stored.insert("metadata".to_string(), Value::Object(metadata));
    for (name, value) in source {
        if !matches!(name.as_str(), "metadata" | "relations" | "status") {
            stored.insert(name.clone(), value.clone());
        }
    }
    let etag: String = Sha1::digest(Value::Object(stored.clone()).to_string().as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if let Some(Value::Object(metadata)) = stored.get_mut("metadata") {
        metadata.insert("uid".to_string(), uid.into());
        metadata.insert("etag".to_string(), etag.into());
    }
    Value::Object(stored)
}

/// The page on which a file can be changed, for hosts we know (`resolveEditUrl` of `@backstage/integration` 2.1.2).
fn edit_url(scm: &Scm, url: &str) -> Option<String> {
    let replaced = |from: &[&str], to: &str| {
        let mut parsed = url::Url::parse(url).ok()?;
        let mut segments: Vec<&str> = parsed.path().split('/').collect();
        let at = segments.iter().position(|segment| from.contains(segment))?;
        segments[at] = to;
        let path = segments.join("/");
        parsed.set_path(&path);
        Some(String::from(parsed))
    };
    let edit = match scm.integration_type(url)? {
        "github" | "gitlab" => replaced(&["blob", "tree", "edit"], "edit"),
        "gitea" => replaced(&["src"], "_edit"),
        _ => None,
    };
    Some(edit.unwrap_or_else(|| url.to_string()))
}

/// The directory a file lies in.
fn directory_url(scm: &Scm, url: &str) -> Option<String> {
    match scm.integration_type(url) {
        Some(_) => scm.resolve_url("./", url).ok(),
        None => url::Url::parse(url).ok()?.join("./").ok().map(String::from),
    }
}
