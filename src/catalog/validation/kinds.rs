//! What the kinds demand of `spec`.

use serde_json::Value;

use super::{Fields, Problems, format};

const CORE: [&str; 2] = ["backstage.io/v1alpha1", "backstage.io/v1beta1"];
const CORE_KINDS: [&str; 8] = ["Component", "API", "Resource", "System", "Domain", "Group", "User", "Location"];
const TEMPLATE: &str = "scaffolder.backstage.io/v1beta3";
/// The version before, which Backstage has dropped and which runs here.
const BETA2_TEMPLATE: &str = "backstage.io/v1beta2";
/// Templates that Backstage has dropped; they are kept as they are.
const OLD_TEMPLATES: [&str; 2] = ["backstage.io/v1alpha1", "backstage.io/v1beta1"];

pub(super) fn validate(problems: &mut Problems, root: &Fields<'_>) {
    let (Some(api_version), Some(kind)) = (text(root, "apiVersion"), text(root, "kind")) else { return };
    if !(format::API_VERSION.accepts)(api_version) || !(format::KIND.accepts)(kind) {
        return;
    }
    match kind {
        "Template" if [TEMPLATE, BETA2_TEMPLATE].contains(&api_version) => template(problems, root),
        "Template" if OLD_TEMPLATES.contains(&api_version) => {
            root.required_object(problems, "spec");
        }
        "Template" => problems.invalid(&root.path("apiVersion"), api_version, &format!("{TEMPLATE} for a template")),
        _ if CORE_KINDS.contains(&kind) && CORE.contains(&api_version) => core(problems, root, kind),
        _ if CORE_KINDS.contains(&kind) && is_backstages(api_version) => {
            problems.invalid(&root.path("apiVersion"), api_version, &format!("{} for the kind {kind}", CORE[0]));
        }
        // A slip of the pen; kinds of other plugins have groups of their own.
        _ if is_backstages(api_version) => {
            problems.invalid(&root.path("kind"), kind, &format!("Template, {}", CORE_KINDS.join(", ")));
        }
        _ => {}
    }
}

fn is_backstages(api_version: &str) -> bool {
    api_version.starts_with("backstage.io/") || api_version.starts_with("scaffolder.backstage.io/")
}

fn text<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str)
}

fn core(problems: &mut Problems, root: &Fields<'_>, kind: &str) {
    // Texts that must be there, texts that may be, lists of texts that may be.
    let (required, optional, lists): (&[&str], &[&str], &[&str]) = match kind {
        "Component" => (
            &["type", "lifecycle", "owner"],
            &["system", "subcomponentOf"],
            &["providesApis", "consumesApis", "dependsOn", "dependencyOf"],
        ),
        "API" => (&["type", "lifecycle", "owner", "definition"], &["system"], &[]),
        "Resource" => (&["type", "owner"], &["system"], &["dependsOn", "dependencyOf"]),
        "System" => (&["owner"], &["domain", "type"], &[]),
        "Domain" => (&["owner"], &["subdomainOf", "type"], &[]),
        "Group" => (&["type"], &["parent"], &["children", "members"]),
        "User" => (&[], &[], &["memberOf"]),
        "Location" => (&[], &["target"], &["targets"]),
        _ => return,
    };
    let Some(spec) = root.required_object(problems, "spec") else { return };
    for name in required {
        spec.required_text(problems, name, None);
    }
    for name in optional {
        spec.text(problems, name, None);
    }
    for name in lists {
        spec.texts(problems, name);
    }
    match kind {
        "Group" if spec.get("children").is_none() => {
            problems.add(&spec.path("children"), "is missing; expected a list, which may be empty");
        }
        "Location" => location(problems, &spec),
        _ => {}
    }
}

fn location(problems: &mut Problems, spec: &Fields<'_>) {
    if let Some(kind) = spec.text(problems, "type", None)
        && !["url", "file"].contains(&kind)
    {
        problems.invalid(&spec.path("type"), kind, "url or file; other types are not read by this version");
    }
    if let Some(presence) = spec.text(problems, "presence", None)
        && !["required", "optional"].contains(&presence)
    {
        problems.invalid(&spec.path("presence"), presence, "required or optional");
    }
}

fn template(problems: &mut Problems, root: &Fields<'_>) {
    let Some(spec) = root.required_object(problems, "spec") else { return };
    spec.required_text(problems, "type", None);
    spec.text(problems, "owner", None);
    match spec.get("parameters") {
        None | Some(Value::Object(_)) => {}
        Some(Value::Array(_)) => {
            for page in spec.items(problems, "parameters") {
                page.as_object(problems);
            }
        }
        Some(other) => problems.wrong_type(&spec.path("parameters"), "an object or a list of objects", other),
    }
    spec.object(problems, "presentation");
    if let Some(recovery) = spec.object(problems, "EXPERIMENTAL_recovery")
        && let Some(strategy) = recovery.text(problems, "EXPERIMENTAL_strategy", None)
        && !["none", "startOver"].contains(&strategy)
    {
        problems.invalid(&recovery.path("EXPERIMENTAL_strategy"), strategy, "none or startOver");
    }
    match spec.get("steps") {
        None => problems.add(&spec.path("steps"), "is missing; expected a list of steps, each with an action"),
        Some(_) => steps(problems, &spec),
    }
    if let Some(output) = spec.object(problems, "output") {
        for name in ["links", "text"] {
            for item in output.items(problems, name) {
                let Some(item) = item.as_object(problems) else { continue };
                for name in ["url", "entityRef", "title", "icon", "content"] {
                    item.any_text(problems, name);
                }
            }
        }
    }
}

fn steps(problems: &mut Problems, spec: &Fields<'_>) {
    // Two steps with the same id are no error: upstream runs them, and the later one's output wins.
    for step in spec.items(problems, "steps") {
        let Some(step) = step.as_object(problems) else { continue };
        step.required_text(problems, "action", None);
        step.any_text(problems, "name");
        step.any_text(problems, "id");
        step.object(problems, "input");
        if let Some(other) = step.get("if").filter(|value| !value.is_string() && !value.is_boolean()) {
            problems.wrong_type(&step.path("if"), "a text or a boolean", other);
        }
    }
}
