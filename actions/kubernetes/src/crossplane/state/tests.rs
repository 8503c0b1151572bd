use serde_json::json;

use super::*;

fn object(generation: i64, conditions: &Value) -> Value {
    json!({"metadata": {"name": "x", "generation": generation}, "status": {"conditions": conditions}})
}

#[test]
fn states() {
    let condition = |kind: &str, status: &str, reason: &str| json!({"type": kind, "status": status, "reason": reason});
    let seen = |mut condition: Value, generation: i64| {
        condition["observedGeneration"] = generation.into();
        condition
    };
    let synced = condition("Synced", "True", "ReconcileSuccess");
    let failed =
        json!({"type": "Synced", "status": "False", "reason": "ReconcileError", "message": "cannot compose: no"});
    let paused = condition("Synced", "False", "ReconcilePaused");
    let ready = condition("Ready", "True", "Available");
    let creating =
        json!({"type": "Ready", "status": "False", "reason": "Creating", "message": "Unready resources: user"});
    for (conditions, expected) in [
        (json!([]), None),
        (json!([condition("Available", "True", "x")]), None),
        (json!([synced]), Some(State::Unseen)),
        (json!([synced, ready]), Some(State::Ready)),
        (json!([ready, synced]), Some(State::Ready)),
        // Other makers' kinds.
        (json!([ready]), Some(State::Ready)),
        (json!([synced, creating]), Some(State::Waiting("Creating: Unready resources: user".into()))),
        (json!([synced, condition("Ready", "Unknown", "")]), Some(State::Waiting("Ready is Unknown".into()))),
        (json!([failed, ready]), Some(State::NotSynced("ReconcileError: cannot compose: no".into()))),
        (json!([failed, creating]), Some(State::NotSynced("ReconcileError: cannot compose: no".into()))),
        (json!([paused, ready]), Some(State::Paused)),
        // What was said about an earlier generation doesn't count.
        (json!([seen(synced.clone(), 1), seen(ready.clone(), 1)]), Some(State::Unseen)),
        (json!([seen(synced.clone(), 2), seen(ready.clone(), 1)]), Some(State::Unseen)),
        (json!([seen(failed, 1), synced, ready]), Some(State::Ready)),
        (json!([seen(synced.clone(), 2), seen(ready.clone(), 2)]), Some(State::Ready)),
        (json!([seen(synced, 0), seen(ready, 0)]), Some(State::Ready)),
        // Not conditions.
        (json!("x"), None),
        (json!([1, {"type": 1}, {}]), None),
    ] {
        assert_eq!(state(&object(2, &conditions)), expected, "{conditions}");
    }
    let mut deleting = object(1, &json!([]));
    deleting["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    assert_eq!(state(&deleting), Some(State::Deleting));
    assert_eq!(state(&json!(null)), None);
}

#[test]
fn what_things_are_made_of() {
    let reference = |name: &str| json!({"apiVersion": "s3.aws.upbound.io/v1beta1", "kind": "Bucket", "name": name});
    for (spec, expected) in [
        (json!({}), vec![]),
        (json!({"resourceRef": reference("claimed")}), vec!["Bucket.s3.aws.upbound.io claimed"]),
        (
            json!({"resourceRefs": [reference("a"), {"apiVersion": "v1", "kind": "ConfigMap", "name": "b"}]}),
            vec!["Bucket.s3.aws.upbound.io a", "ConfigMap b"],
        ),
        (json!({"crossplane": {"resourceRefs": [reference("a")]}}), vec!["Bucket.s3.aws.upbound.io a"]),
        // No name yet, or not a reference.
        (json!({"resourceRefs": [{"apiVersion": "v1", "kind": "ConfigMap"}, reference(""), 1]}), vec![]),
        (json!({"resourceRefs": "x", "resourceRef": []}), vec![]),
    ] {
        let found: Vec<String> = references(&json!({"spec": spec})).iter().map(Reference::describe).collect();
        assert_eq!(found, expected, "{spec}");
    }
}

#[test]
fn conditions_as_outputs_have_them() {
    let all = conditions(&object(
        1,
        &json!([{"type": "Ready", "status": "True", "reason": "Available", "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1}]),
    ));
    assert_eq!(
        serde_json::to_value(all).unwrap_or_default(),
        json!([{"type": "Ready", "status": "True", "reason": "Available", "lastTransitionTime": "2026-01-01T00:00:00Z"}])
    );
}
