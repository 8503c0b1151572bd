#![allow(clippy::unwrap_used)]
use serde_json::json;

use super::*;

const PLACE: &str = "the cluster 'test'";

/// An XRD as the golden path's and the tutorial's are.
pub(crate) fn xrd(api: &str, scope: Option<&str>, group: &str, kind: &str, claim: Option<&str>) -> Definition {
    let names = |kind: &str| json!({"kind": kind, "plural": format!("{}s", kind.to_lowercase())});
    let mut spec = json!({
        "group": group,
        "names": names(kind),
        "versions": [
            {"name": "v1alpha1", "served": true, "referenceable": false},
            {"name": "v1beta1", "served": true, "referenceable": true},
            {"name": "v0", "served": false, "referenceable": false},
        ],
    });
    if let Some(claim) = claim {
        spec["claimNames"] = names(claim);
    }
    if let Some(scope) = scope {
        spec["scope"] = scope.into();
    }
    let name = format!("{}s.{group}", kind.to_lowercase());
    let value = json!({
        "apiVersion": format!("{GROUP}/{api}"), "kind": KIND, "metadata": {"name": name}, "spec": spec,
        "status": {"conditions": [
            {"type": "Established", "status": "False", "reason": "TerminatingCompositeResource", "message": "bye"},
            {"type": "Offered", "status": "True", "reason": "WatchingCompositeResourceClaim"},
        ]},
    });
    Definition::from_value(value, "a file").unwrap()
}

#[test]
fn what_a_kind_is_follows_from_the_xrd() {
    use Generation::{Claim, ClusterComposite, LegacyComposite, NamespacedComposite};
    for (api, scope, claim, kind, expected) in [
        // Crossplane 1 knows no scope.
        ("v1", None, Some("Bucket"), "Bucket", Some(Claim)),
        ("v1", None, Some("Bucket"), "XBucket", Some(LegacyComposite)),
        ("v1", None, None, "XBucket", Some(LegacyComposite)),
        ("v1", None, None, "Bucket", None),
        // Crossplane 2 serves both versions, and each object has its scope.
        ("v1", Some("LegacyCluster"), Some("Bucket"), "Bucket", Some(Claim)),
        ("v2", Some("LegacyCluster"), Some("Bucket"), "Bucket", Some(Claim)),
        ("v2", Some("LegacyCluster"), Some("Bucket"), "XBucket", Some(LegacyComposite)),
        ("v1", Some("Namespaced"), None, "XBucket", Some(NamespacedComposite)),
        ("v2", Some("Namespaced"), None, "XBucket", Some(NamespacedComposite)),
        ("v2", Some("Cluster"), None, "XBucket", Some(ClusterComposite)),
        // A file that no server has filled in.
        ("v2", None, None, "XBucket", Some(NamespacedComposite)),
        // Only legacy ones have claims.
        ("v2", Some("Namespaced"), Some("Bucket"), "Bucket", None),
    ] {
        let definitions = [xrd(api, scope, "example.org", "XBucket", claim)];
        let wanted = Wanted { api_version: Some("example.org/v1alpha1"), kind: Some(kind), xrd: None };
        let found = find(&definitions, &wanted, PLACE).ok();
        assert_eq!(found.map(|offer| offer.generation), expected, "{api} {scope:?} {claim:?} {kind}");
    }
}

#[test]
fn by_the_xrds_name_the_claim_comes_first() {
    let definitions = [
        xrd("v1", None, "example.org", "XBucket", Some("Bucket")),
        xrd("v2", Some("Namespaced"), "example.org", "Queue", None),
    ];
    for (name, kind, api_version, expected) in [
        ("xbuckets.example.org", None, None, ("Bucket", "example.org/v1beta1")),
        ("xbuckets.example.org", Some("XBucket"), None, ("XBucket", "example.org/v1beta1")),
        ("xbuckets.example.org", None, Some("example.org/v1alpha1"), ("Bucket", "example.org/v1alpha1")),
        ("queues.example.org", None, None, ("Queue", "example.org/v1beta1")),
    ] {
        let wanted = Wanted { api_version, kind, xrd: Some(name) };
        let offer = find(&definitions, &wanted, PLACE).unwrap();
        assert_eq!((offer.names.kind.as_str(), offer.api_version().as_str()), expected);
    }
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let definitions = [
        xrd("v1", None, "example.org", "XBucket", Some("Bucket")),
        xrd("v2", Some("Namespaced"), "example.org", "Queue", None),
    ];
    for (api_version, kind, name, message) in [
        (None, None, None, "say what to make: apiVersion and kind, or the name of the XRD as xrd"),
        (
            Some("example.org/v1alpha1"),
            None,
            None,
            "say what to make: apiVersion and kind, or the name of the XRD as xrd",
        ),
        (
            Some("v1"),
            Some("Bucket"),
            None,
            "apiVersion 'v1' is none of a composite resource: expected <group>/<version>, e.g. \
             platform.example.org/v1alpha1",
        ),
        (
            Some("example.org/v1alpha1"),
            Some("Buckte"),
            None,
            "no XRD in the cluster 'test' defines the kind Buckte in the group example.org; did you mean \"Bucket\"?",
        ),
        (
            Some("example.org/v1alpha1"),
            Some("Database"),
            None,
            "no XRD in the cluster 'test' defines the kind Database in the group example.org; its kinds are Bucket, Queue, \
             XBucket",
        ),
        (
            Some("exmaple.org/v1alpha1"),
            Some("Bucket"),
            None,
            "no XRD in the cluster 'test' defines the kind Bucket in the group exmaple.org; did you mean \"example.org\"?",
        ),
        (
            None,
            None,
            Some("xbucket.example.org"),
            "the cluster 'test' has no XRD named 'xbucket.example.org'; did you mean \"xbuckets.example.org\"?",
        ),
        (
            None,
            Some("Queue"),
            Some("xbuckets.example.org"),
            "the XRD xbuckets.example.org defines Bucket and XBucket, not Queue",
        ),
        (
            Some("other.org/v1"),
            None,
            Some("xbuckets.example.org"),
            "the XRD xbuckets.example.org defines kinds of the group example.org, not a kind of the group other.org",
        ),
        (
            Some("example.org/v2"),
            Some("Bucket"),
            None,
            "the XRD xbuckets.example.org has no version v2; its served versions are v1alpha1, v1beta1",
        ),
        (
            Some("example.org/v0"),
            Some("Bucket"),
            None,
            "version v0 of the XRD xbuckets.example.org is not served; its served versions are v1alpha1, v1beta1",
        ),
    ] {
        let wanted = Wanted { api_version, kind, xrd: name };
        let error = find(&definitions, &wanted, PLACE).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let wanted = Wanted { api_version: Some("a.org/v1"), kind: Some("B"), xrd: None };
    assert_eq!(
        find(&[], &wanted, PLACE).unwrap_err().to_string(),
        "no XRD in the cluster 'test' defines the kind B in the group a.org; there are no XRDs at all, so install the \
         Configuration that brings it"
    );
}

#[test]
fn an_xrd_says_why_a_kind_is_not_served() {
    let definitions = [xrd("v1", None, "example.org", "XBucket", Some("Bucket"))];
    let reason = |kind| {
        let wanted = Wanted { api_version: Some("example.org/v1alpha1"), kind: Some(kind), xrd: None };
        find(&definitions, &wanted, PLACE).unwrap().not_offered()
    };
    assert_eq!(
        reason("XBucket").unwrap(),
        "the XRD xbuckets.example.org is not Established: TerminatingCompositeResource: bye"
    );
    assert_eq!(reason("Bucket"), None);
}

#[test]
fn documents_that_are_no_xrd() {
    for (value, part) in [
        (json!({}), "missing field `metadata`"),
        (json!({"metadata": {"name": "x"}, "spec": {}}), "missing field `group`"),
        (
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": {
                "group": "g", "names": {"kind": "K", "plural": "ks"}, "versions": []}}),
            "it is a Deployment of 'apps/v1'",
        ),
        (
            json!({"apiVersion": "apiextensions.crossplane.io/v2", "kind": KIND, "metadata": {"name": "x"}, "spec": {
                "group": "g", "names": {"kind": "K", "plural": "ks"}, "scope": "Galaxy", "versions": []}}),
            "unknown variant `Galaxy`",
        ),
    ] {
        let error = Definition::from_value(value, "xrd.yaml").unwrap_err().to_string();
        assert!(
            error.starts_with("xrd.yaml is no usable CompositeResourceDefinition") && error.contains(part),
            "{error}"
        );
    }
}
