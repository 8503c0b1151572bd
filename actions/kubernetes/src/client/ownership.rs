//! Which fields of an object are whose: what the server notes in `metadata.managedFields`.

use serde_json::{Map, Value};

/// Two states of an object, cut down to the fields that `manager` has applied in one of them. What controllers and other
/// people change in the meantime is left out, so that nobody takes it for what applying has changed. Where the server notes
/// nothing of the manager, both are whole.
pub(super) fn applied_by(manager: &str, before: &Value, after: &Value) -> (Value, Value) {
    let trees: Vec<&Value> = [before, after].into_iter().flat_map(|object| trees(manager, object)).collect();
    if trees.is_empty() {
        return (before.clone(), after.clone());
    }
    (cut(before, &trees), cut(after, &trees))
}

/// The trees of fields (`FieldsV1`) that the manager has applied.
fn trees<'a>(manager: &'a str, object: &'a Value) -> impl Iterator<Item = &'a Value> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    entries
        .filter(move |entry| entry["manager"] == manager && entry["operation"] == "Apply")
        .filter_map(|entry| entry.get("fieldsV1"))
}

/// The members that one of the trees names. A leaf stands for all below it, and lists are kept whole: their items are
/// named by keys that the schema knows.
fn cut(value: &Value, trees: &[&Value]) -> Value {
    let Value::Object(members) = value else { return value.clone() };
    if trees.iter().any(|tree| tree.as_object().is_none_or(Map::is_empty)) {
        return value.clone();
    }
    let mut kept = Map::new();
    for (name, member) in members {
        let field = format!("f:{name}");
        let below: Vec<&Value> = trees.iter().filter_map(|tree| tree.get(&field)).collect();
        if !below.is_empty() {
            kept.insert(name.clone(), cut(member, &below));
        }
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(mut fields: Value, spec: &Value) -> Value {
        fields["f:metadata"] = json!({"f:labels": {"f:app": {}}});
        json!({
            "metadata": {"labels": {"app": "a", "other": "b"}, "managedFields": [
                {"manager": "argocd", "operation": "Update", "fieldsV1": {"f:operation": {}}},
                {"manager": "us", "operation": "Apply", "fieldsV1": fields},
                {"manager": "us", "operation": "Update", "fieldsV1": {"f:ignored": {}}},
            ]},
            "spec": spec, "operation": {"sync": {}}, "ignored": 1,
        })
    }

    #[test]
    fn what_others_write_is_left_out() {
        let before = object(
            json!({"f:spec": {"f:size": {}, "f:gone": {}}}),
            &json!({"size": 1, "gone": true, "replicas": 2, "list": [1]}),
        );
        let after = object(
            json!({"f:spec": {"f:size": {}, "f:map": {".": {}, "f:a": {}}, "f:list": {"v:2": {}}}}),
            &json!({"size": 3, "replicas": 9, "map": {"a": 1, "theirs": 2}, "list": [1, 2]}),
        );
        let (before, after) = applied_by("us", &before, &after);
        let labels = json!({"labels": {"app": "a"}});
        assert_eq!(before, json!({"metadata": labels, "spec": {"size": 1, "gone": true, "list": [1]}}));
        assert_eq!(after, json!({"metadata": labels, "spec": {"size": 3, "map": {"a": 1}, "list": [1, 2]}}));
    }

    #[test]
    fn without_notes_nothing_is_left_out() {
        let (before, after) = (json!({"spec": 1}), json!({"spec": 2}));
        assert_eq!(applied_by("us", &before, &after), (before, after));
    }
}
