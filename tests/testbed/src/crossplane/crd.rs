//! The CRDs that Crossplane derives from an XRD, and those of the kinds that a Composition is made of.

use serde_json::{Map, Value, json};

/// An XRD, as far as its controllers care.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) composite: Names,
    pub(super) claim: Option<Names>,
    pub(super) is_legacy: bool,
    pub(super) is_namespaced: bool,
    pub(super) secret_keys: Vec<String>,
    spec: Value,
}

#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) kind: String,
    pub(super) plural: String,
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string()
}

impl Definition {
    /// Reads an XRD as the server gives it, defaults filled in.
    pub(super) fn read(xrd: &Value) -> Self {
        let names = |place: &str| Names {
            kind: text(xrd, &format!("/spec/{place}/kind")),
            plural: text(xrd, &format!("/spec/{place}/plural")),
        };
        let scope = text(xrd, "/spec/scope");
        let is_legacy = scope.is_empty() || scope == "LegacyCluster";
        let versions = xrd.pointer("/spec/versions").and_then(Value::as_array).cloned().unwrap_or_default();
        let referenceable = versions.iter().find(|version| version["referenceable"] == Value::Bool(true));
        let keys = xrd.pointer("/spec/connectionSecretKeys").and_then(Value::as_array).cloned().unwrap_or_default();
        Self {
            group: text(xrd, "/spec/group"),
            version: referenceable.map(|version| text(version, "/name")).unwrap_or_default(),
            composite: names("names"),
            claim: xrd.pointer("/spec/claimNames").filter(|_| is_legacy).map(|_| names("claimNames")),
            is_legacy,
            is_namespaced: scope == "Namespaced",
            secret_keys: keys.iter().filter_map(Value::as_str).map(ToString::to_string).collect(),
            spec: xrd["spec"].clone(),
        }
    }

    /// `example.org/v1`
    pub(super) fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }

    /// The CRDs: composite resource, and claim if there is one.
    pub(super) fn crds(&self) -> Vec<Value> {
        let mut crds = vec![self.crd("names", "composite", self.is_namespaced, &self.composite_fields())];
        if self.claim.is_some() {
            crds.push(self.crd("claimNames", "claim", true, &claim_fields(&self.spec)));
        }
        crds
    }

    fn crd(&self, place: &str, category: &str, is_namespaced: bool, fields: &Value) -> Value {
        let mut names = self.spec[place].clone();
        let categories = names.as_object_mut().map(|names| names.entry("categories").or_insert_with(|| json!([])));
        if let Some(categories) = categories.and_then(Value::as_array_mut) {
            categories.push(category.into());
        }
        let versions: Vec<Value> = self.spec["versions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|version| {
                json!({
                    "name": version["name"], "served": version["served"], "storage": version["referenceable"],
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": self.schema(&version["schema"]["openAPIV3Schema"], fields, place)},
                })
            })
            .collect();
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{}.{}", text(&names, "/plural"), self.group)},
            "spec": {
                "group": self.group, "names": names, "versions": versions,
                "scope": if is_namespaced { "Namespaced" } else { "Cluster" },
            },
        })
    }

    /// The author's fields with Crossplane's, which win.
    fn schema(&self, theirs: &Value, fields: &Value, place: &str) -> Value {
        let mut spec = json!({"type": "object", "properties": theirs["properties"]["spec"]["properties"]});
        for keyword in ["required", "oneOf", "description", "x-kubernetes-preserve-unknown-fields"] {
            if let Some(value) = theirs["properties"]["spec"].get(keyword) {
                spec[keyword] = value.clone();
            }
        }
        add(&mut spec, fields);
        let mut status = json!({"type": "object", "properties": theirs["properties"]["status"]["properties"]});
        let mut ours = json!({"conditions": {
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
            "items": {"type": "object", "required": ["lastTransitionTime", "reason", "status", "type"], "properties": {
                "type": {"type": "string"}, "status": {"type": "string"}, "reason": {"type": "string"},
                "message": {"type": "string"}, "lastTransitionTime": {"type": "string", "format": "date-time"},
                "observedGeneration": {"type": "integer", "format": "int64"},
            }},
        }});
        if self.is_legacy || place == "claimNames" {
            ours["connectionDetails"] = json!({"type": "object", "properties": {
                "lastPublishedTime": {"type": "string", "format": "date-time"}}});
        }
        add(&mut status, &ours);
        json!({
            "type": "object", "required": ["spec"],
            "properties": {
                "apiVersion": {"type": "string"}, "kind": {"type": "string"},
                "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 63}}},
                "spec": spec, "status": status,
            },
        })
    }

    fn composite_fields(&self) -> Value {
        let mut policy = json!({"type": "string", "enum": ["Automatic", "Manual"]});
        if let Some(default) = self.spec.get("defaultCompositionUpdatePolicy") {
            policy["default"] = default.clone();
        }
        let mut reference = strings(&["apiVersion", "kind", "name"], &["apiVersion", "kind"]);
        if !self.is_namespaced {
            reference["properties"]["namespace"] = json!({"type": "string"});
        }
        let mut fields = selection();
        fields["compositionUpdatePolicy"] = policy;
        fields["resourceRefs"] = json!({"type": "array", "x-kubernetes-list-type": "atomic", "items": reference});
        if !self.is_legacy {
            return json!({"crossplane": {"type": "object", "properties": fields}});
        }
        let claim = ["apiVersion", "kind", "namespace", "name"];
        fields["claimRef"] = strings(&claim, &claim);
        fields["writeConnectionSecretToRef"] = strings(&["name", "namespace"], &["name", "namespace"]);
        fields
    }
}

fn claim_fields(spec: &Value) -> Value {
    let mut fields = selection();
    let mut policy = json!({"type": "string", "enum": ["Background", "Foreground"]});
    if let Some(default) = spec.get("defaultCompositeDeletePolicy") {
        policy["default"] = default.clone();
    }
    fields["compositeDeletePolicy"] = policy;
    fields["resourceRef"] = strings(&["apiVersion", "kind", "name"], &["apiVersion", "kind", "name"]);
    fields["writeConnectionSecretToRef"] = strings(&["name"], &["name"]);
    fields
}

/// What chooses a Composition.
fn selection() -> Value {
    let name = strings(&["name"], &["name"]);
    let selector = json!({"type": "object", "required": ["matchLabels"], "properties": {
        "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}}});
    json!({
        "compositionRef": name, "compositionSelector": selector,
        "compositionRevisionRef": name, "compositionRevisionSelector": selector,
        "compositionUpdatePolicy": {"type": "string", "enum": ["Automatic", "Manual"]},
    })
}

fn strings(fields: &[&str], required: &[&str]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|field| ((*field).to_string(), json!({"type": "string"}))).collect();
    json!({"type": "object", "required": required, "properties": properties})
}

fn add(schema: &mut Value, fields: &Value) {
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    if let (Some(properties), Some(fields)) = (schema["properties"].as_object_mut(), fields.as_object()) {
        properties.extend(fields.clone());
    }
}

/// The CRD of a managed resource: a provider's schema is of no interest here, its status is.
pub(super) fn managed(api_version: &str, kind: &str, is_namespaced: bool) -> Option<Value> {
    let (group, version) = api_version.split_once('/')?;
    let plural = plural(kind);
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    Some(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": if is_namespaced { "Namespaced" } else { "Cluster" },
            "names": {"kind": kind, "plural": plural, "categories": ["managed"]},
            "versions": [{
                "name": version, "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}},
            }],
        },
    }))
}

/// `policies` for `Policy`.
pub(super) fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if kind.ends_with('s') => format!("{kind}es"),
        _ => format!("{kind}s"),
    }
}
