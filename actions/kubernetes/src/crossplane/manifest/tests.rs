#![allow(clippy::unwrap_used)]
use serde_json::json;

use super::*;
use crate::crossplane::{
    definition::{Definition, GROUP, KIND, Wanted, find},
    validate::check_spec,
};

fn definition(generation: Generation) -> Definition {
    let scope = match generation {
        Generation::Claim | Generation::LegacyComposite => "LegacyCluster",
        Generation::NamespacedComposite => "Namespaced",
        Generation::ClusterComposite => "Cluster",
    };
    let mut value = json!({
        "apiVersion": format!("{GROUP}/v2"), "kind": KIND, "metadata": {"name": "xthings.example.org"},
        "spec": {
            "group": "example.org", "scope": scope,
            "enforcedCompositionRef": {"name": "enforced"},
            "names": {"kind": "XThing", "plural": "xthings"},
            "versions": [{"name": "v1", "served": true, "referenceable": true, "schema": {"openAPIV3Schema": {
                "properties": {"spec": {"properties": {"size": {"type": "integer"}}}},
            }}}],
        },
    });
    if generation == Generation::Claim {
        value["spec"]["claimNames"] = json!({"kind": "Thing", "plural": "things"});
    }
    Definition::from_value(value, "test").unwrap()
}

fn made(generation: Generation, wish: Wish) -> Result<Built, ManifestError> {
    let definitions = [definition(generation)];
    let wanted = Wanted { xrd: Some("xthings.example.org"), ..Wanted::default() };
    let offer = find(&definitions, &wanted, "test").unwrap();
    let built = build(&offer, wish)?;
    // Whatever is made fits.
    check_spec(&offer, &built.object["spec"]).unwrap();
    Ok(built)
}

fn wish() -> Wish {
    let spec = json!({"size": 1});
    Wish {
        name: "photos".into(),
        namespace: Some("team-a".into()),
        spec: spec.as_object().unwrap().clone(),
        composition: Some(Named::Name("fast".into())),
        selector: Some(CompositionSelector { match_labels: [("tier".to_string(), "gold".to_string())].into() }),
        update_policy: Some(UpdatePolicy::Manual),
        secret: Some(("photos-secret".into(), None)),
        ..Wish::default()
    }
}

#[test]
fn one_wish_in_all_generations() {
    let ours = json!({
        "compositionRef": {"name": "fast"},
        "compositionSelector": {"matchLabels": {"tier": "gold"}},
        "compositionUpdatePolicy": "Manual",
    });
    let with = |name: &str, value: Value| {
        let mut spec = json!({"size": 1});
        if name == "crossplane" {
            spec["crossplane"] = value;
        } else {
            spec.as_object_mut().unwrap().extend(ours.as_object().unwrap().clone());
            spec[name] = value;
        }
        spec
    };
    let enforced = "The XRD xthings.example.org enforces the Composition enforced; compositionRef fast has no effect";
    for (generation, kind, namespace, spec, notes) in [
        (
            Generation::Claim,
            "Thing",
            Some("team-a"),
            with("writeConnectionSecretToRef", json!({"name": "photos-secret"})),
            vec![enforced],
        ),
        (
            Generation::LegacyComposite,
            "XThing",
            None,
            with("writeConnectionSecretToRef", json!({"name": "photos-secret", "namespace": "team-a"})),
            vec!["XThing is cluster-wide, so the namespace team-a is not used", enforced],
        ),
        (
            Generation::NamespacedComposite,
            "XThing",
            Some("team-a"),
            with("crossplane", ours.clone()),
            vec![
                enforced,
                "XThing is a namespaced composite resource of Crossplane 2's form, which has no writeConnectionSecretToRef: \
                 it is left out, and the Composition has to make the Secret photos-secret",
            ],
        ),
        (
            Generation::ClusterComposite,
            "XThing",
            None,
            with("crossplane", ours.clone()),
            vec![
                "XThing is cluster-wide, so the namespace team-a is not used",
                enforced,
                "XThing is a cluster-wide composite resource of Crossplane 2's form, which has no \
                 writeConnectionSecretToRef: it is left out, and the Composition has to make the Secret photos-secret",
            ],
        ),
    ] {
        let built = made(generation, wish()).unwrap();
        assert_eq!(built.object["apiVersion"], "example.org/v1");
        assert_eq!(built.object["kind"], kind);
        assert_eq!(built.object["metadata"]["namespace"].as_str(), namespace);
        assert_eq!(built.object["spec"], spec, "{generation:?}");
        assert_eq!(built.notes, notes);
        assert_eq!(built.secret.as_deref(), Some("photos-secret"));
    }
}

#[test]
fn metadata() {
    let mut wish = wish();
    wish.labels = [("team".to_string(), "a".to_string())].into();
    wish.annotations = [("note".to_string(), "x".to_string())].into();
    wish.external_name = Some("acme-photos".into());
    let built = made(Generation::Claim, wish.clone()).unwrap();
    assert_eq!(
        built.object["metadata"],
        json!({
            "name": "photos", "namespace": "team-a", "labels": {"team": "a"},
            "annotations": {"note": "x", "crossplane.io/external-name": "acme-photos"},
        })
    );
    wish.annotations.insert("crossplane.io/external-name".into(), "other".into());
    assert!(matches!(made(Generation::Claim, wish), Err(ManifestError::Twice(_))));
}

#[test]
fn fields_given_twice() {
    for (generation, spec, is_fine) in [
        (Generation::Claim, json!({"compositionRef": {"name": "fast"}}), true),
        (Generation::Claim, json!({"compositionRef": {"name": "slow"}}), false),
        (Generation::NamespacedComposite, json!({"crossplane": {"compositionRef": {"name": "fast"}}}), true),
        (Generation::NamespacedComposite, json!({"crossplane": {"compositionRef": {"name": "slow"}}}), false),
        (Generation::NamespacedComposite, json!({"crossplane": "fast"}), false),
    ] {
        let wish = Wish { spec: spec.as_object().unwrap().clone(), ..wish() };
        assert_eq!(made(generation, wish).is_ok(), is_fine, "{spec}");
    }
}

#[test]
fn a_claims_own_secret_is_the_output_too() {
    let spec = json!({"writeConnectionSecretToRef": {"name": "bucket-creds"}});
    let wish = Wish { name: "photos".into(), spec: spec.as_object().unwrap().clone(), ..Wish::default() };
    let built = made(Generation::Claim, wish).unwrap();
    assert_eq!(built.secret.as_deref(), Some("bucket-creds"));
    assert_eq!((built.namespace, built.object["metadata"].get("namespace")), (None, None));
}

#[test]
fn names_that_cannot_be() {
    for name in ["", "Photos", "my photos", "-a", "a.", "a_b", "ä", "../x", &"a".repeat(64)] {
        let wish = Wish { name: name.into(), ..wish() };
        assert!(matches!(made(Generation::Claim, wish), Err(ManifestError::Name { .. })), "{name}");
    }
    for namespace in ["Team", "a.b", "-", &"a".repeat(64)] {
        let wish = Wish { namespace: Some(namespace.into()), ..wish() };
        assert!(matches!(made(Generation::Claim, wish), Err(ManifestError::Namespace(_))), "{namespace}");
    }
    let wish = Wish { secret: Some(("s".into(), Some("elsewhere".into()))), ..wish() };
    assert_eq!(
        made(Generation::Claim, wish).unwrap_err().to_string(),
        "the connection secret of a claim is written into the claim's own namespace 'team-a', it can't go to 'elsewhere'; \
         leave writeConnectionSecretToRef.namespace out"
    );
    let wish = Wish { namespace: None, ..self::wish() };
    assert!(matches!(made(Generation::LegacyComposite, wish), Err(ManifestError::SecretNowhere(_))));
}
