#![allow(clippy::unwrap_used)]

use serde_json::json;
use understudy_actions_core::CoreDeps;

use super::*;
use crate::cli::source::Origin;

const HEAD: &str =
    "apiVersion: scaffolder.backstage.io/v1beta3\nkind: Template\nmetadata:\n  name: t\nspec:\n  type: service\n";

/// Each as `line:column: severity: message; hint [code]`.
fn findings(text: &str) -> Vec<String> {
    let source = Source { shown: "t.yaml".into(), text: text.into(), origin: Origin::File("/t.yaml".into()) };
    let scm = Scm::from_config(&json!({})).unwrap();
    let mut registry = Registry::new();
    let deps = CoreDeps::new(scm.clone());
    let templating = deps.templating.clone();
    understudy_actions_core::register(&mut registry, deps);
    let (mut findings, _) = Validator::new(registry, &templating, &scm).check_documents(&source);
    findings.sort();
    let text = Format::Text.write(&findings, false);
    text.lines().map(|line| line.strip_prefix("t.yaml:").unwrap_or(line).trim_start().to_string()).collect()
}

/// What is found in a template with this form, and these steps in flow style, each on a line of its own from the ninth on.
fn in_template(form: &str, steps: &[&str]) -> Vec<String> {
    let steps: String = steps.iter().map(|step| format!("    - {{{step}}}\n")).collect();
    findings(&format!("{HEAD}  parameters: {{{form}}}\n  steps:\n{steps}"))
}

#[test]
fn good_templates_have_no_findings() {
    let text = format!(
        "{HEAD}  parameters: {{properties: {{n: {{type: integer}}, owner: {{}}}}}}\n  steps:\n    - id: a\n      if: ${{{{ failure() or parameters.n }}}}\n      action: debug:wait\n      input: {{seconds: '${{{{ parameters.n }}}}'}}\n  output:\n    other: ${{{{ parameters.owner | parseEntityRef | pick('name') }}}}\n"
    );
    assert_eq!(findings(&text), Vec::<String>::new());
}

#[test]
fn findings_have_places() {
    let mut wrong = Vec::new();
    for (rest, expected) in [
        ("  steps:\n    - action: no:such\n", "8:15: error: Template action with ID 'no:such'"),
        (
            "  steps:\n    - action: debug:wait\n      input: {seconds: many}\n",
            "9:24: error: debug:wait: input.seconds is not of a type(s) number",
        ),
        (
            "  steps:\n    - action: debug:wait\n      input:\n        years: 1\n",
            "10:9: error: debug:wait: input is not allowed to have the additional property \"years\"",
        ),
        (
            "  steps:\n    - action: debug:log\n      input:\n        message: ${{ a | }}\n",
            "10:26: error: Expected name",
        ),
        (
            "  steps:\n    - action: debug:log\n      input:\n        message: |\n          one\n          ${{ 1 | nosuch }}\n",
            "12:19: error: Unknown template filter",
        ),
        (
            "  steps:\n    - {id: a, action: debug:wait}\n    - {id: a, action: debug:wait}\n",
            "9:12: warning: the id \"a\" belongs to step 1 already",
        ),
        (
            "  parameters: {properties: {a: {pattern: '('}}}\n  steps: []\n",
            "7:42: error: not a valid JSON Schema: the JSON schema is invalid",
        ),
        (
            "  parameters:\n    - title: One\n      properties:\n        a:\n          type: strin\n  steps: []\n",
            "11:17: warning: not a valid JSON Schema: \"strin\" is not one of array, boolean",
        ),
        (
            "  parameters: {properties: {a: {required: true}}}\n  steps: []\n",
            "7:43: warning: not a valid JSON Schema: true is not of type \"array\"",
        ),
        (
            "  secrets:\n    schema:\n      required: token\n  steps: []\n",
            "9:17: warning: not a valid JSON Schema: \"token\" is not of type \"array\"",
        ),
        ("  steps: 5\n", "7:10: error: spec.steps must be a list"),
        ("  steps:\n    - id: a\n", "8:7: error: spec.steps[0].action is missing"),
        ("  steps: []\nextra: 1\n", "8:1: error: extra is unknown"),
        ("  owner: [\n", "7:10: error: unclosed bracket"),
    ] {
        let found = findings(&format!("{HEAD}{rest}"));
        if found.len() != 1 || !found[0].starts_with(expected) {
            wrong.push(format!("{rest}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(findings(""), ["error: the file is empty [yaml]"]);
}

#[test]
fn fields_of_entities_have_places() {
    let text = "apiVersion: scaffolder.backstage.io/v1beta3\nkind: Template\nmetadata:\n  name: a b\n  annotations:\n    example.com/a: 1\n    a//b: x\n  tags:\n    - fine\n    - Not Fine\nspec:\n  type: ''\n  steps: []\n";
    let places: Vec<_> = findings(text).iter().map(|found| found.split(": ").next().unwrap().to_string()).collect();
    assert_eq!(places, ["4:9", "6:20", "7:5", "10:7", "12:9"]);
}

#[test]
fn duplicate_keys_do_not_hide_the_rest() {
    let found = findings(&format!("{HEAD}  type: other\n  steps:\n    - {{action: no:such, action: no:other}}\n"));
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[0], "7:3: error: the key \"type\" is there already, in line 6 [yaml]");
    assert_eq!(found[1], "9:25: error: the key \"action\" is there already, in line 9 [yaml]");
    assert!(found[2].starts_with("9:33: error: Template action with ID 'no:other'"), "{}", found[2]);
}

#[test]
fn names_are_checked() {
    let form = "properties: {name: {}, repoUrl: {}}";
    let mut wrong = Vec::new();
    let first = "id: first-step, action: fs:readdir, input: {paths: ['.']}";
    for (step, expected) in [
        (
            "${{ parameters.nmae }}",
            Some("error: the form declares no parameter \"nmae\"; did you mean \"name\"? [parameter-undeclared]"),
        ),
        (
            "${{ parameters['repo_url'] }}",
            Some(
                "error: the form declares no parameter \"repo_url\"; did you mean \"repoUrl\"? [parameter-undeclared]",
            ),
        ),
        ("${{ parameters.other }}", Some("error: the form declares no parameter \"other\" [parameter-undeclared]")),
        ("${{ parameters.other | default(1) }}", None),
        (
            "${{ parameters.nmae | default(1) }}",
            Some("warning: the form declares no parameter \"nmae\"; did you mean \"name\"? [parameter-undeclared]"),
        ),
        (
            "${{ parameters.other and 1 }}",
            Some("warning: the form declares no parameter \"other\" [parameter-undeclared]"),
        ),
        ("${{ parameters[user.ref] }}${{ parameters }}", None),
        (
            "${{ paramters.name }}",
            Some("error: \"paramters\" is not defined; did you mean \"parameters\"? [name-unknown]"),
        ),
        ("${{ name }}", Some("error: \"name\" is not defined; did you mean \"parameters.name\"? [name-unknown]")),
        (
            "${{ values.name }}",
            Some(
                "error: \"values\" is not defined; only the files of a skeleton have that; did you mean \"parameters\"? [name-unknown]",
            ),
        ),
        ("${{ github.ref }}", Some("warning: \"github\" is not defined [name-unknown]")),
        ("${{ True }}", Some("error: \"True\" is not defined; write \"true\" [name-unknown]")),
        ("${{ parameters.name == undefined }}", None),
        ("${{ steps['first-step'].output.files }}${{ steps['first-step'].output.files[0].name }}", None),
        (
            "${{ steps.firststep.output.files }}",
            Some("error: there is no step \"firststep\"; did you mean \"first-step\"? [step-unknown]"),
        ),
        (
            "${{ steps[\"first-step\"].outputs.files }}",
            Some("error: a step has no \"outputs\", only \"output\"; did you mean \"output\"? [step-member]"),
        ),
        (
            "${{ steps['first-step'].output.file }}",
            Some(
                "warning: the action of step \"first-step\" has no output \"file\"; did you mean \"files\"? [output-unknown]",
            ),
        ),
        ("${{ steps['here'].output.x }}", Some("error: the step \"here\" has no output before it has run [step-self]")),
        ("${{ steps['later'].output.x }}", Some("error: the step \"later\" comes later: it is step 3 [step-later]")),
        ("${{ steps['step-4'].output.x }}", Some("error: the step \"step-4\" comes later: it is step 4 [step-later]")),
        ("${{ each.value }}", Some("error: \"each\" is there only in a step that has an \"each\" [each-outside]")),
        ("${{ user.entity.metadata.name }}${{ user.ref }}${{ context.task.id }}${{ environment.parameters.x }}", None),
        (
            "${{ environment.x }}",
            Some("error: \"environment\" has no \"x\"; it has \"parameters\" and \"secrets\" [name-unknown]"),
        ),
        ("${{ secrets.anything }}", None),
        ("${{ ragne(3) }}", Some("error: there is no function \"ragne\"; did you mean \"range\"? [function-unknown]")),
        (
            "${{ parameters.name.toUppercase() }}",
            Some("error: no value has a method \"toUppercase\"; did you mean \"toUpperCase\"? [method-unknown]"),
        ),
        ("${{ parameters.name.split('/')[1] }}${{ parameters.name | lower | replace('a', 'b') }}", None),
        ("{% set c = cycler(1, 2) %}${{ c.next() }}{% for x in [1] %}${{ x }}${{ loop.index }}{% endfor %}", None),
        ("{% macro m(a) %}${{ a }}{% endmacro %}${{ m(1) }}", None),
        ("${{ parameters.name | parseRepo }}", Some("error: Unknown template filter \"parseRepo\" [filter-unknown]")),
        (
            "${{ parameters.name is strin }}",
            Some("error: Unknown template test \"strin\"; did you mean \"string\"? [test-unknown]"),
        ),
        ("{% fro a in b %}", Some("error: Unknown template tag \"fro\"; did you mean \"for\"? [tag-unknown]")),
        (
            "${{ parameters.name || 1 }}",
            Some("error: Expected name, received \"|\"; write \"or\" instead of \"||\" [syntax]"),
        ),
        ("#} is no comment", None),
    ] {
        let quoted = step.replace('\'', "''");
        let here = format!("id: here, action: debug:log, input: {{message: '{quoted}'}}");
        let found = in_template(form, &[first, &here, "id: later, action: debug:wait", "action: debug:wait"]);
        let shown: Vec<_> = found.iter().map(|found| found.split_once(": ").unwrap().1).collect();
        let message = expected.map(|expected| expected.replace("function \"ragne\"", "function \"ragne\" to call"));
        if shown != message.as_deref().into_iter().collect::<Vec<_>>() {
            wrong.push(format!("{step}: {shown:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_part_of_a_template_is_checked() {
    let form = "properties: {name: {}}";
    let mut wrong = Vec::new();
    for (steps, expected) in [
        (&["id: a, action: debug:wait, if: '${{ parameters.x }}'"][..], "9:55: error: the form declares no parameter"),
        (
            &["id: a, action: debug:wait, if: '${{ secrets.x }}'"],
            "9:44: warning: the condition of a step without \"each\" can't see secrets",
        ),
        (&["id: a, action: debug:wait, each: '${{ each.value }}'"], "9:46: error: \"each\" is not there yet"),
        (
            &["id: a, action: debug:log, each: [1], if: '${{ secrets.x }}', input: {message: '${{ each.val }}'}"],
            "9:96: error: \"each\" has no \"val\"",
        ),
        (
            &["id: a, action: debug:log, inputs: {}"],
            "9:34: warning: a step has no \"inputs\"; it is ignored; did you mean \"input\"?",
        ),
        (
            &["id: a, action: debug:log, input: {mesage: x}"],
            "9:42: error: debug:log: input is not allowed to have the additional property \"mesage\"; did you mean \"message\"?",
        ),
        (&["id: a, action: debug:lgo"], "9:23: error: Template action with ID 'debug:lgo'"),
        (&["id: a, action: fs:delete"], "9:23: error: fs:delete: input requires property \"files\""),
        (&["id: a, action: fs:delete, input: {}"], "9:34: error: fs:delete: input requires property \"files\""),
        (
            &["id: a, action: fs:rename, input: {files: [{from: '${{ parameters.name }}'}]}"],
            "9:50: error: fs:rename: input.files[0] requires property \"to\"",
        ),
        (
            &["id: a, action: fetch:template, input: {url: ./x, copyWithoutRender: []}"],
            "9:57: warning: \"copyWithoutRender\" has no effect",
        ),
    ] {
        let found = in_template(form, steps);
        if found.len() != 1 || !found[0].starts_with(expected) {
            wrong.push(format!("{steps:?}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let output = findings(&format!(
        "{HEAD}  steps: [{{id: a, action: fs:delete, input: {{files: []}}}}]\n  output:\n    links:\n      - title: ${{{{ steps.b.output.x }}}}\n        if: ${{{{ each.value }}}}\n        url: ${{{{ secrets.x }}}}\n      - url: ${{{{ parameters.x }}}}\n"
    ));
    assert_eq!(
        output,
        [
            "10:26: error: there is no step \"b\" [step-unknown]",
            "11:17: error: \"each\" is there only in steps [each-outside]",
            "12:18: warning: the output can't see secrets: they are empty there [secret-invisible]",
            "13:29: warning: the template has no form, so nobody is asked for the parameter \"x\" [parameter-undeclared]",
        ]
    );
}

#[test]
fn nothing_is_said_where_others_decide() {
    let step = "id: a, action: debug:log, input: {message: '${{ parameters.other }}'}";
    for form in ["additionalProperties: true", "$yaml: ./form.yaml", "properties: {a: {}}, patternProperties: {x: {}}"]
    {
        assert_eq!(in_template(form, &[step]), Vec::<String>::new(), "{form}");
    }
    let conditional = ["id: a, action: debug:wait, if: '${{ 1 }}'", "id: a, action: debug:wait, if: '${{ not 1 }}'"];
    assert_eq!(in_template("", &conditional), Vec::<String>::new());
    // Never run.
    assert_eq!(in_template("", &["id: a, action: fs:delete, if: false"]), Vec::<String>::new());
    // An action nobody knows has outputs nobody knows.
    let unknown = in_template(
        "",
        &["id: a, action: x:y", "id: b, action: debug:log, input: {message: '${{ steps.a.output.z }}'}"],
    );
    assert_eq!(unknown.len(), 1, "{unknown:?}");
}

#[test]
fn older_templates_are_checked_in_their_language() {
    let text = "apiVersion: backstage.io/v1beta2\nkind: Template\nmetadata:\n  name: t\nspec:\n  type: service\n  steps:\n    - id: a\n      action: debug:log\n      input:\n        message: |\n          {{ parameters.anything }}\n            {{ nosuch 1 }}\n";
    let found = findings(text);
    assert!(found.len() == 1 && found[0].starts_with("13:"), "{found:?}");
    assert!(found[0].contains("nosuch"), "{found:?}");
}

#[test]
fn declared_secrets() {
    let text = format!(
        "{HEAD}  parameters: {{}}\n  secrets: {{schema: {{properties: {{token: {{type: string}}}}}}}}\n  steps:\n    - action: debug:log\n      input: {{message: '${{{{ secrets.token }}}}${{{{ secrets.tokn }}}}${{{{ secrets.backstageToken }}}}'}}\n"
    );
    assert_eq!(
        findings(&text),
        ["11:57: error: spec.secrets.schema declares no secret \"tokn\"; did you mean \"token\"? [secret-undeclared]"]
    );
}

#[test]
fn texts_that_are_read_in_an_unusual_way_are_checked_too() {
    let wrong = format!("{HEAD}  steps: 5\n");
    assert_eq!(findings(&format!("\u{feff}{wrong}")), findings(&wrong));
    let deep = format!("{wrong}  deep: {}1{}\n", "[".repeat(95), "]".repeat(95));
    let found = std::thread::spawn(move || findings(&deep)).join().unwrap();
    assert_eq!(found, findings(&wrong));
}
