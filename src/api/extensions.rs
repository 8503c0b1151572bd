//! What the service adds to the template language.

use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::{caller::Caller, error::ApiError, reply, request};

/// Filters, functions and values that templates can use beyond the language's own.
#[utoipa::path(
    get, path = "/api/scaffolder/v2/templating-extensions", operation_id = "listTemplatingExtensions", tag = "templates",
    responses((status = 200, body = Object, description = "Filters, functions and values by name")),
)]
pub(super) async fn list(_caller: Caller, http: HttpRequest) -> Result<HttpResponse, ApiError> {
    request::no_query(&http)?;
    Ok(reply::ok(&extensions()))
}

/// Ids and schemas as `@backstage/plugin-scaffolder-backend` 4.2.0 answers them.
fn extensions() -> Value {
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
