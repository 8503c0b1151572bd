//! What the service adds to the template language.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::{Map, Value, json};
use understudy_actions_core::templating::Language;
use understudy_templating::DefinitionKind;

use super::{ApiState, caller::Caller, error::ApiError, reply, request};

/// Filters, functions and values that templates can use beyond the language's own.
#[utoipa::path(
    get, path = "/api/scaffolder/v2/templating-extensions", operation_id = "listTemplatingExtensions", tag = "templates",
    responses((status = 200, body = Object, description = "Filters, functions and values by name")),
)]
pub(super) async fn list(state: Data<ApiState>, _caller: Caller, http: HttpRequest) -> Result<HttpResponse, ApiError> {
    request::no_query(&http)?;
    Ok(reply::ok(&state.extensions))
}

/// The scaffolder's own and those of the configuration, which take the place of the former.
pub(super) fn of(language: &Language) -> Value {
    let mut extensions = built_in();
    for function in &language.functions {
        let place = match function.kind {
            DefinitionKind::Filter => &mut extensions["filters"],
            DefinitionKind::Function => &mut extensions["globals"]["functions"],
        };
        place[&function.name] = Value::Object(function.about.clone());
    }
    for global in &language.values {
        let mut about = Map::from_iter([("value".to_string(), global.value.clone())]);
        if let Some(description) = &global.description {
            about.insert("description".into(), description.as_str().into());
        }
        extensions["globals"]["values"][&global.name] = Value::Object(about);
    }
    extensions
}

/// Ids and schemas as `@backstage/plugin-scaffolder-backend` 4.2.0 answers them.
fn built_in() -> Value {
    const DRAFT: &str = "http://json-schema.org/draft-07/schema#";
    let text = json!({"type": "string"});
    json!({
        "filters": {
            "parseRepoUrl": {
                "description": "Takes a repository URL as the repository picker gives it apart: host, owner, repo and, where the host has them, organization, workspace and project",
                "schema": {
                    "input": {"type": "string", "$schema": DRAFT},
                    "output": {
                        "type": "object",
                        "properties": {
                            "repo": text, "host": text, "owner": text, "organization": text, "workspace": text, "project": text,
                        },
                        "required": ["repo", "host"],
                        "additionalProperties": false,
                        "$schema": DRAFT,
                    },
                },
                "examples": [{
                    "description": "The owner of the repository that the form asked for",
                    "example": "- id: log\n  name: Owner\n  action: debug:log\n  input:\n    message: ${{ (parameters.repoUrl | parseRepoUrl).owner }}\n",
                }],
            },
            "parseEntityRef": {
                "description": "Takes an entity reference apart: kind, namespace and name",
                "schema": {
                    "input": {
                        "anyOf": [
                            text,
                            {
                                "type": "object",
                                "properties": {"kind": text, "namespace": text, "name": text},
                                "required": ["name"],
                                "additionalProperties": false,
                            },
                        ],
                        "$schema": DRAFT,
                    },
                    "arguments": [{
                        "anyOf": [
                            {"not": {}},
                            {
                                "type": "object",
                                "properties": {"defaultKind": text, "defaultNamespace": text},
                                "additionalProperties": false,
                            },
                        ],
                        "$schema": DRAFT,
                    }],
                    "output": {
                        "type": "object",
                        "properties": {"kind": text, "namespace": text, "name": text},
                        "required": ["kind", "namespace", "name"],
                        "additionalProperties": false,
                        "$schema": DRAFT,
                    },
                },
                "examples": [{
                    "description": "The name of the owning group, which the form may give without its kind",
                    "example": "- id: log\n  name: Owner\n  action: debug:log\n  input:\n    message: ${{ (parameters.owner | parseEntityRef({ defaultKind: 'group' })).name }}\n",
                }],
            },
            "pick": {
                "description": "One member of an object",
                "schema": {
                    "input": {"$schema": DRAFT},
                    "arguments": [{"type": "string", "$schema": DRAFT}],
                    "output": {"$schema": DRAFT},
                },
                "examples": [{
                    "description": "The kind of an entity reference",
                    "example": "- id: log\n  name: Kind\n  action: debug:log\n  input:\n    message: ${{ parameters.owner | parseEntityRef | pick('kind') }}\n",
                }],
            },
            "projectSlug": {
                "description": "The `owner/repo` of a repository URL as the repository picker gives it",
                "schema": {
                    "input": {"type": "string", "$schema": DRAFT},
                    "output": {"type": "string", "$schema": DRAFT},
                },
                "examples": [{
                    "description": "The annotation that links a component with its repository",
                    "example": "- id: log\n  name: Slug\n  action: debug:log\n  input:\n    message: ${{ parameters.repoUrl | projectSlug }}\n",
                }],
            },
        },
        "globals": {"functions": {}, "values": {}},
    })
}

#[cfg(test)]
mod tests {
    use understudy_actions_core::templating::{Function, GlobalValue};

    use super::*;

    #[test]
    fn what_is_configured_is_listed_and_wins() {
        let function = |kind, name: &str, about: Value| Function {
            kind,
            name: name.into(),
            expression: "1".into(),
            about: about.as_object().cloned().unwrap_or_default(),
        };
        let language = Language {
            functions: vec![
                function(DefinitionKind::Filter, "slug", json!({"description": "d"})),
                function(DefinitionKind::Filter, "pick", json!({})),
                function(DefinitionKind::Function, "repo", json!({"examples": [{"example": "x"}]})),
            ],
            values: vec![
                GlobalValue { name: "answer".into(), value: json!(42), description: None },
                GlobalValue { name: "org".into(), value: json!("acme"), description: Some("us".into()) },
            ],
            ..Language::default()
        };
        let listed = of(&language);
        let names: Vec<_> = listed["filters"].as_object().into_iter().flat_map(Map::keys).collect();
        assert_eq!(names, ["parseRepoUrl", "parseEntityRef", "pick", "projectSlug", "slug"]);
        assert_eq!(
            (&listed["filters"]["slug"], &listed["filters"]["pick"]),
            (&json!({"description": "d"}), &json!({}))
        );
        assert_eq!(
            listed["globals"],
            json!({
                "functions": {"repo": {"examples": [{"example": "x"}]}},
                "values": {"answer": {"value": 42}, "org": {"value": "acme", "description": "us"}},
            })
        );
        assert_eq!(of(&Language::default()), built_in());
    }
}
