#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::validate;
use crate::yaml::parse_yaml;

const GOOD: &str = "
apiVersion: scaffolder.backstage.io/v1beta3
kind: Template
metadata:
  name: good
  namespace: team-a
  title: Good
  description: ''
  tags: [java, c++]
  labels: {example.com/tier: gold}
  annotations: {example.com/note: any text at all, empty: ''}
  links: [{url: 'https://example.com', title: Docs, icon: docs}]
spec:
  type: service
  owner: group:default/x
  parameters: [{title: A, properties: {}}]
  steps:
    - {id: a, name: A, action: debug:log, input: {message: x}, if: '${{ parameters.x }}'}
    - {action: debug:log, if: false, each: '${{ [1] }}'}
  output: {links: [{title: Repo, url: x, if: '${{ x }}'}], text: [{title: T, content: c}], other: 1}
";

fn problems(text: &str) -> Vec<String> {
    validate(&parse_yaml(text).unwrap()).err().unwrap_or_default()
}

#[test]
fn good_entities() {
    for text in [
        GOOD,
        "{apiVersion: scaffolder.backstage.io/v1beta3, kind: Template, metadata: {name: a}, spec: {type: x, steps: []}}",
        "{apiVersion: backstage.io/v1alpha1, kind: Template, metadata: {name: a}, spec: {type: x, templater: cookiecutter}}",
        "{apiVersion: backstage.io/v1beta2, kind: Template, metadata: {name: a}, spec: {type: x, steps: [{action: a, if: '{{ x }}'}]}}",
        "{apiVersion: backstage.io/v1alpha1, kind: User, metadata: {name: a}, spec: {memberOf: []}}",
        "{apiVersion: backstage.io/v1alpha1, kind: User, metadata: {name: a}, spec: {}}",
        "{apiVersion: backstage.io/v1alpha1, kind: Group, metadata: {name: a}, spec: {type: team, children: []}}",
        "{apiVersion: backstage.io/v1alpha1, kind: Component, metadata: {name: a}, spec: {type: x, lifecycle: y, owner: z}}",
        "{apiVersion: backstage.io/v1alpha1, kind: Location, metadata: {name: a}, spec: {targets: [./x.yaml]}}",
        "{apiVersion: example.com/v1, kind: Whatever, metadata: {name: a}, spec: {any: [thing]}}",
        "{apiVersion: example.com/v1, kind: Whatever, metadata: {name: a}}",
    ] {
        assert_eq!(problems(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn bad_entities() {
    for (from, to, expected) in [
        ("name: good", "name: 'not good'", "metadata.name \"not good\" is not valid; expected letters and digits"),
        ("  name: good\n", "", "metadata.name is missing; expected letters and digits"),
        ("name: good", "name: 5", "metadata.name must be a text, found a number"),
        ("name: good", "name: ''", "metadata.name must not be empty"),
        ("namespace: team-a", "namespace: Team", "metadata.namespace \"Team\" is not valid; expected lower case"),
        ("kind: Template", "kind: Temp-late", "kind \"Temp-late\" is not valid"),
        ("kind: Template\n", "", "kind is missing"),
        ("kind: Template", "kind: Tempalte", "kind \"Tempalte\" is not valid; expected Template, Component"),
        ("kind: Template", "kind: Template\nextra: 1", "extra is unknown"),
        (
            "v1beta3",
            "v1beta9",
            "apiVersion \"scaffolder.backstage.io/v1beta9\" is not valid; expected scaffolder.backstage.io/v1beta3",
        ),
        ("tags: [java, c++]", "tags: [java, C]", "metadata.tags[1] \"C\" is not valid"),
        ("tags: [java, c++]", "tags: java", "metadata.tags must be a list, found a text"),
        ("tier: gold", "tier: '!'", "metadata.labels.example.com/tier \"!\" is not valid"),
        ("{example.com/tier: gold}", "{a/b/c: x}", "metadata.labels.a/b/c is not a valid key"),
        ("note: any text at all", "note: 5", "metadata.annotations.example.com/note must be a text"),
        (
            "url: 'https://example.com'",
            "url: example",
            "metadata.links[0].url \"example\" is not valid; expected a URL",
        ),
        ("url: 'https://example.com', title", "title", "metadata.links[0].url is missing"),
        ("title: Good", "title: [x]", "metadata.title must be a text, found a list"),
        ("  type: service\n", "", "spec.type is missing; expected a text"),
        ("owner: group:default/x", "owner: ''", "spec.owner must not be empty"),
        (
            "parameters: [{title: A, properties: {}}]",
            "parameters: x",
            "spec.parameters must be an object or a list of objects",
        ),
        ("parameters: [{title: A, properties: {}}]", "parameters: [x]", "spec.parameters[0] must be an object"),
        ("name: A, action: debug:log", "name: A", "spec.steps[0].action is missing"),
        ("input: {message: x}", "input: x", "spec.steps[0].input must be an object, found a text"),
        ("if: false", "if: 5", "spec.steps[1].if must be a text or a boolean, found a number"),
        ("id: a", "id: 5", "spec.steps[0].id must be a text"),
        ("steps:", "steps: {}\n  other:", "spec.steps must be a list, found an object"),
        ("steps:", "other:", "spec.steps is missing"),
        ("links: [{title: Repo", "links: [x, {title: Repo", "spec.output.links[0] must be an object"),
        ("output: {", "output: x\n  other: {", "spec.output must be an object"),
        (
            "output:",
            "EXPERIMENTAL_recovery: {EXPERIMENTAL_strategy: again}\n  output:",
            "\"again\" is not valid; expected none or startOver",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let found = problems(&GOOD.replacen(from, to, 1));
        assert!(found.len() == 1 && found[0].contains(expected), "{to}: expected {expected}, found {found:?}");
    }
    for (text, expected) in [
        (
            "{apiVersion: backstage.io/v2, kind: User, metadata: {name: a}}",
            "apiVersion \"backstage.io/v2\" is not valid; expected backstage.io/v1alpha1 for the kind User",
        ),
        ("[]", "an entity must be an object"),
        ("text", "found a text"),
        ("{apiVersion: v1, kind: X, metadata: []}", "metadata must be an object, found a list"),
        ("{apiVersion: v1, kind: X, metadata: {name: a}, spec: 1}", "spec must be an object"),
        (
            "{apiVersion: backstage.io/v1alpha1, kind: Group, metadata: {name: a}, spec: {type: x}}",
            "spec.children is missing",
        ),
        ("{apiVersion: backstage.io/v1alpha1, kind: API, metadata: {name: a}}", "spec is missing; expected an object"),
        (
            "{apiVersion: backstage.io/v1alpha1, kind: Location, metadata: {name: a}, spec: {type: s3, target: x}}",
            "spec.type \"s3\"",
        ),
        (
            "{apiVersion: backstage.io/v1alpha1, kind: Location, metadata: {name: a}, spec: {targets: [5]}}",
            "spec.targets[0] must be a text",
        ),
    ] {
        let found = problems(text).join("; ");
        assert!(found.contains(expected), "{text}: {found}");
    }
    // All problems are told at once, and a huge value is cut.
    let found = problems(&format!("{{apiVersion: 1, kind: '{}', metadata: {{name: '-'}}}}", "x".repeat(10_000)));
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|problem| problem.len() < 250));
}
