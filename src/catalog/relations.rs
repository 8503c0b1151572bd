//! Relations between entities, as the processors of Backstage's catalog make them from `spec`.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};
use understudy_sdk::EntityRef;

/// Relations by entity: type and target, in order.
pub(super) type Relations = HashMap<String, BTreeSet<(String, String)>>;

/// A member of `spec`: its name, the kind its references have when they name none, and the relation there and back.
struct Rule {
    kinds: &'static [&'static str],
    member: &'static str,
    target_kind: &'static str,
    relation: &'static str,
    inverse: &'static str,
}

const RULES: [Rule; 12] = [
    Rule { kinds: &[], member: "owner", target_kind: "group", relation: "ownedBy", inverse: "ownerOf" },
    Rule {
        kinds: &["component", "api", "resource"],
        member: "system",
        target_kind: "system",
        relation: "partOf",
        inverse: "hasPart",
    },
    Rule {
        kinds: &["component"],
        member: "subcomponentOf",
        target_kind: "component",
        relation: "partOf",
        inverse: "hasPart",
    },
    Rule { kinds: &["system"], member: "domain", target_kind: "domain", relation: "partOf", inverse: "hasPart" },
    Rule {
        kinds: &["component"],
        member: "providesApis",
        target_kind: "api",
        relation: "providesApi",
        inverse: "apiProvidedBy",
    },
    Rule {
        kinds: &["component"],
        member: "consumesApis",
        target_kind: "api",
        relation: "consumesApi",
        inverse: "apiConsumedBy",
    },
    Rule {
        kinds: &["component", "resource"],
        member: "dependsOn",
        target_kind: "component",
        relation: "dependsOn",
        inverse: "dependencyOf",
    },
    Rule {
        kinds: &["component", "resource"],
        member: "dependencyOf",
        target_kind: "component",
        relation: "dependencyOf",
        inverse: "dependsOn",
    },
    Rule { kinds: &["user"], member: "memberOf", target_kind: "group", relation: "memberOf", inverse: "hasMember" },
    Rule { kinds: &["group"], member: "members", target_kind: "user", relation: "hasMember", inverse: "memberOf" },
    Rule { kinds: &["group"], member: "parent", target_kind: "group", relation: "childOf", inverse: "parentOf" },
    Rule { kinds: &["group"], member: "children", target_kind: "group", relation: "parentOf", inverse: "childOf" },
];

/// Adds the relations an entity speaks of, in both directions.
pub(super) fn collect(relations: &mut Relations, entity_ref: &str, entity: &Value) {
    let kind = entity.get("kind").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let namespace = entity.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("default");
    let Some(spec) = entity.get("spec") else { return };
    for rule in RULES.iter().filter(|rule| rule.kinds.is_empty() || rule.kinds.contains(&kind.as_str())) {
        let targets: Vec<&str> = match spec.get(rule.member) {
            Some(Value::String(target)) => vec![target],
            Some(Value::Array(targets)) => targets.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        for target in targets {
            // A reference that can't be read relates to nothing.
            let Ok(target) = EntityRef::parse(target, Some(rule.target_kind), Some(namespace)) else { continue };
            let target = target.canonical();
            let mut add = |from: &str, relation: &str, to: &str| {
                relations.entry(from.to_string()).or_default().insert((relation.to_string(), to.to_string()));
            };
            add(entity_ref, rule.relation, &target);
            add(&target, rule.inverse, entity_ref);
        }
    }
}

/// `relations` of an entity.
pub(super) fn of(relations: &Relations, entity_ref: &str) -> Value {
    relations
        .get(entity_ref)
        .into_iter()
        .flatten()
        .map(|(kind, target)| json!({ "type": kind, "targetRef": target }))
        .collect()
}
