//! What an Application must be like before it is written.

use serde_json::{Map, Value};

use crate::{
    argocd::names::{label_value, qualified},
    client::{label, subdomain},
};

/// Everything that is wrong with an Application, each with its path. Nothing wrong: an empty list.
///
/// Argo CD's own checks (`util/argo`, 3.6) are covered as far as they need no repository and no cluster, and its habit to
/// stop at the first finding is not.
pub(crate) fn violations(object: &Value) -> Vec<String> {
    let mut found = Findings::default();
    metadata(object, &mut found);
    let spec = object.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
    found.check("spec.project", spec.get("project"), subdomain);
    sources(&spec, &mut found);
    destination(spec.get("destination"), &mut found);
    sync_policy(spec.get("syncPolicy"), &mut found);
    found.0
}

#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, path: &str, text: impl AsRef<str>) {
        self.0.push(format!("{path}: {}", text.as_ref()));
    }
    /// Applies a rule to a text; an absent one is fine.
    fn check(&mut self, path: &str, value: Option<&Value>, rule: impl Fn(&str) -> Result<(), String>) {
        if let Some(text) = value.and_then(Value::as_str)
            && let Err(reason) = rule(text)
        {
            self.add(path, reason);
        }
    }
}

fn metadata(object: &Value, found: &mut Findings) {
    let metadata = object.get("metadata");
    let member = |name: &str| metadata.and_then(|metadata| metadata.get(name));
    found.check("metadata.name", member("name"), subdomain);
    found.check("metadata.namespace", member("namespace"), label);
    for kind in ["labels", "annotations"] {
        for (key, value) in member(kind).and_then(Value::as_object).into_iter().flatten() {
            if let Err(reason) = qualified(key) {
                found.add(&format!("metadata.{kind}"), reason);
            }
            if kind == "labels" {
                found.check(&format!("metadata.labels.{key}"), Some(value), label_value);
            }
        }
    }
    for finalizer in member("finalizers").and_then(Value::as_array).into_iter().flatten() {
        found.check("metadata.finalizers", Some(finalizer), qualified);
    }
}

fn sources(spec: &Map<String, Value>, found: &mut Findings) {
    let single = spec.get("source").filter(|source| !source.is_null());
    let many = spec.get("sources").and_then(Value::as_array).filter(|sources| !sources.is_empty());
    // A source hydrator takes the place of both.
    let hydrator = spec.get("sourceHydrator").is_some_and(Value::is_object);
    match (single, many) {
        (Some(_), Some(_)) => found.add("spec", "has both source and sources; give one of them"),
        (None, None) if !hydrator => {
            found.add("spec", "has neither source nor sources; say where the manifests come from")
        }
        (Some(one), None) => source("spec.source", one, false, &[], found),
        (None, Some(many)) => {
            let mut references = Vec::new();
            let mut source_names = Vec::new();
            for (index, one) in many.iter().enumerate() {
                for (member, seen) in [("ref", &mut references), ("name", &mut source_names)] {
                    let Some(name) = text(one, member) else { continue };
                    if seen.contains(&name) {
                        found.add(&format!("spec.sources[{index}].{member}"), format!("'{name}' is there twice"));
                    }
                    seen.push(name);
                }
            }
            for (index, one) in many.iter().enumerate() {
                source(&format!("spec.sources[{index}]"), one, true, &references, found);
            }
        }
        _ => {}
    }
}

fn source(path: &str, source: &Value, one_of_many: bool, references: &[&str], found: &mut Findings) {
    if text(source, "repoURL").is_none() {
        found.add(&format!("{path}.repoURL"), "missing");
    }
    let reference = text(source, "ref");
    match (text(source, "path"), text(source, "chart")) {
        (Some(_), Some(_)) => found.add(path, "has both path and chart; give the one that repoURL has"),
        (None, None) if one_of_many && reference.is_some() => {}
        (None, None) => {
            let or = if one_of_many { ", or a ref where other sources only use its files" } else { "" };
            found.add(
                path,
                format!(
                    "has neither path nor chart; give a path of a Git repository or a chart of a Helm repository{or}"
                ),
            );
        }
        (None, Some(_)) if text(source, "targetRevision").is_none() => {
            found.add(&format!("{path}.targetRevision"), "missing; a chart needs a version, or a range such as 1.x");
        }
        (None, Some(_)) if reference.is_some() => {
            found.add(&format!("{path}.ref"), "a chart's files can't be referred to; only those of a Git repository");
        }
        (Some(folder), None) if folder.starts_with('/') => {
            found.add(&format!("{path}.path"), format!("'{folder}' must be relative to the repository's root"));
        }
        _ => {}
    }
    if !one_of_many {
        for member in ["ref", "name"] {
            if text(source, member).is_some() {
                found.add(&format!("{path}.{member}"), "is of use with several sources only; put it into sources");
            }
        }
    }
    let tools: Vec<_> = ["helm", "kustomize", "directory", "plugin"]
        .into_iter()
        .filter(|tool| source.get(tool).is_some_and(|value| !value.is_null()))
        .collect();
    if tools.len() > 1 {
        found.add(path, format!("has {}; a source is rendered in one way", tools.join(" and ")));
    }
    if text(source, "chart").is_some() && tools.iter().any(|tool| matches!(*tool, "kustomize" | "directory")) {
        found.add(path, format!("has a chart and {}; charts are rendered with Helm", tools.join(" and ")));
    }
    let Some(helm) = source.get("helm") else { return };
    let has = |name: &str| helm.get(name).is_some_and(|value| !value.is_null() && value.as_str() != Some(""));
    if has("values") && has("valuesObject") {
        found.add(
            &format!("{path}.helm"),
            "has both values and valuesObject, of which Argo CD takes the latter; give one of them",
        );
    }
    for (index, file) in helm.get("valueFiles").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let Some(name) = file.as_str().and_then(|file| file.strip_prefix('$')) else { continue };
        let name = name.split('/').next().unwrap_or_default();
        // Argo CD replaces variables such as $ARGOCD_APP_NAME too.
        if !references.contains(&name) && !name.starts_with("ARGOCD_") {
            found.add(&format!("{path}.helm.valueFiles[{index}]"), format!("no source has the ref '{name}'"));
        }
    }
}

fn destination(destination: Option<&Value>, found: &mut Findings) {
    let Some(destination) = destination else {
        found.add("spec.destination", "missing; say which cluster and namespace the application goes to");
        return;
    };
    match (text(destination, "server"), text(destination, "name")) {
        (Some(_), Some(_)) => found.add("spec.destination", "has both server and name; name the cluster one way"),
        (None, None) => found.add("spec.destination", "has neither server nor name; name the cluster one way"),
        (Some(server), None) if !server.starts_with("https://") && !server.starts_with("http://") => found.add(
            "spec.destination.server",
            format!("'{server}' is no URL of a cluster; a cluster's name in Argo CD goes into spec.destination.name"),
        ),
        _ => {}
    }
    found.check(
        "spec.destination.namespace",
        destination.get("namespace").filter(|text| text.as_str() != Some("")),
        label,
    );
}

fn sync_policy(policy: Option<&Value>, found: &mut Findings) {
    let Some(policy) = policy else { return };
    for (index, option) in policy.get("syncOptions").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let is_pair =
            |option: &str| option.split_once('=').is_some_and(|(name, value)| !name.is_empty() && !value.is_empty());
        if !option.as_str().is_some_and(is_pair) {
            found.add(
                &format!("spec.syncPolicy.syncOptions[{index}]"),
                format!("{option} is no Name=value, such as CreateNamespace=true"),
            );
        }
    }
    for name in ["duration", "maxDuration"] {
        let value = policy.pointer("/retry/backoff").and_then(|backoff| backoff.get(name));
        found.check(&format!("spec.syncPolicy.retry.backoff.{name}"), value, |text| {
            if is_duration(text) { Ok(()) } else { Err(format!("'{text}' is no duration such as 5s or 3m")) }
        });
    }
}

/// Whether it is a duration: numbers with units (`1h30m`), or a number of seconds.
fn is_duration(text: &str) -> bool {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return true;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        if number.len() == rest.len() {
            return false;
        }
        let Some(unit) = ["ns", "us", "ms", "s", "m", "h"].into_iter().find(|unit| {
            number.strip_prefix(unit).is_some_and(|after| !after.starts_with(|c: char| c.is_ascii_alphabetic()))
        }) else {
            return false;
        };
        rest = &number[unit.len()..];
    }
    !text.is_empty()
}

fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name)?.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn app(spec: Value) -> Value {
        json!({"metadata": {"name": "shop"}, "spec": spec})
    }

    #[test]
    fn good_applications_pass() {
        let destination = json!({"server": "https://kubernetes.default.svc", "namespace": "shop"});
        for spec in [
            json!({"source": {"repoURL": "https://git/x", "path": "."}, "destination": destination}),
            json!({"source": {"repoURL": "ghcr.io/acme", "chart": "shop", "targetRevision": "1.0.0"},
                "destination": {"name": "prod"},
                "syncPolicy": {"syncOptions": ["CreateNamespace=true"], "retry": {"backoff": {"duration": "1m30s", "maxDuration": "5"}}}}),
            json!({"sources": [
                {"repoURL": "https://charts", "chart": "shop", "targetRevision": "1.x", "helm": {"valueFiles": ["$values/prod.yaml", "$ARGOCD_APP_NAME.yaml", "own.yaml"]}},
                {"repoURL": "https://git/x", "ref": "values"}], "destination": destination}),
        ] {
            assert_eq!(violations(&app(spec.clone())), Vec::<String>::new(), "{spec}");
        }
    }

    #[test]
    fn every_violation_is_listed() {
        let object = json!({
            "metadata": {"name": "Shop", "namespace": "a.b", "labels": {"a b": "x", "team": "not a value"}, "finalizers": ["-"]},
            "spec": {
                "project": "My Project",
                "sources": [
                    {"repoURL": "", "path": "/abs", "helm": {"values": "a: 1", "valuesObject": {"a": 1}, "valueFiles": ["$cfg/x"]}},
                    {"repoURL": "r", "chart": "c", "kustomize": {}, "ref": "one"},
                    {"repoURL": "r", "path": "p", "chart": "c", "ref": "one"},
                    {"repoURL": "r", "helm": {}, "directory": {}},
                ],
                "destination": {"server": "prod", "namespace": "A"},
                "syncPolicy": {"syncOptions": ["CreateNamespace"], "retry": {"backoff": {"duration": "soon"}}},
            },
        });
        let found = violations(&object);
        let expected = [
            "metadata.name: 'Shop' is no DNS name",
            "metadata.namespace: 'a.b' is no DNS label",
            "metadata.labels: 'a b' is no key",
            "metadata.labels.team: 'not a value' is no label value",
            "metadata.finalizers: '-' is no key",
            "spec.project: 'My Project' is no DNS name",
            "spec.sources[2].ref: 'one' is there twice",
            "spec.sources[0].repoURL: missing",
            "spec.sources[0].path: '/abs' must be relative",
            "spec.sources[0].helm: has both values and valuesObject",
            "spec.sources[0].helm.valueFiles[0]: no source has the ref 'cfg'",
            "spec.sources[1].targetRevision: missing",
            "spec.sources[1]: has a chart and kustomize",
            "spec.sources[2]: has both path and chart",
            "spec.sources[3]: has neither path nor chart",
            "spec.sources[3]: has helm and directory",
            "spec.destination.server: 'prod' is no URL",
            "spec.destination.namespace: 'A' is no DNS label",
            "spec.syncPolicy.syncOptions[0]: \"CreateNamespace\" is no Name=value",
            "spec.syncPolicy.retry.backoff.duration: 'soon' is no duration",
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}\n{expected}");
        }
        assert_eq!(found.len(), expected.len(), "{found:#?}");
    }

    #[test]
    fn source_and_destination_are_needed_once() {
        let cases = [
            (json!({"destination": {"name": "a"}}), "spec: has neither source nor sources"),
            (
                json!({"source": {"repoURL": "r", "path": "p"}, "sources": [{}], "destination": {"name": "a"}}),
                "spec: has both source and sources",
            ),
            (json!({"source": {"repoURL": "r", "path": "p"}}), "spec.destination: missing"),
            (json!({"source": {"repoURL": "r", "path": "p"}, "destination": {}}), "spec.destination: has neither"),
            (
                json!({"source": {"repoURL": "r", "path": "p"}, "destination": {"name": "a", "server": "https://b"}}),
                "spec.destination: has both server and name",
            ),
            (
                json!({"source": {"repoURL": "r", "path": "p", "ref": "x"}, "destination": {"name": "a"}}),
                "spec.source.ref: is of use with several sources only",
            ),
        ];
        for (spec, expected) in cases {
            let found = violations(&app(spec));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(expected), "{found:?}");
        }
    }

    #[test]
    fn durations() {
        for (text, fine) in [
            ("5s", true),
            ("1h30m", true),
            ("250ms", true),
            ("1.5h", true),
            ("10", true),
            ("", false),
            ("s", false),
            ("5 s", false),
            ("5x", false),
        ] {
            assert_eq!(is_duration(text), fine, "{text}");
        }
    }
}
