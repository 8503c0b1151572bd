//! `catalog:fetch`

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, EntityRef, schema};

use crate::support::example;

/// Reads entities from the catalog.
#[derive(Debug)]
pub(crate) struct CatalogFetch;

/// Input of [`CatalogFetch`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Input {
    /// The reference of one entity, given as output `entity`.
    entity_ref: Option<String>,
    /// References of several entities, given as output `entities`.
    entity_refs: Option<Vec<String>>,
    /// Whether an entity may be missing; it is `null` then. By default the step fails.
    optional: Option<bool>,
    /// The kind of references that name none.
    default_kind: Option<String>,
    /// The namespace of references that name none.
    default_namespace: Option<String>,
}

#[derive(JsonSchema)]
#[allow(dead_code, reason = "an entity that is null differs from one that was not asked for")]
struct Output {
    /// The entity that `entityRef` asked for.
    entity: Option<Value>,
    /// The entities that `entityRefs` asked for, in that order.
    entities: Option<Vec<Value>>,
}

impl Input {
    fn parse(&self, reference: &str) -> Result<EntityRef, ActionError> {
        let parsed = EntityRef::parse(reference, self.default_kind.as_deref(), self.default_namespace.as_deref())?;
        // Catalogs know references in lower case.
        EntityRef::parse(&parsed.canonical(), None, None)
    }
}

#[async_trait]
impl Action for CatalogFetch {
    type Input = Input;
    type Output = Map<String, Value>;

    fn id(&self) -> &'static str {
        "catalog:fetch"
    }
    fn description(&self) -> &'static str {
        "Reads one or more entities from the catalog by their references."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![
            example(
                "Read the system a component will belong to",
                "steps:
  - id: system
    name: Look up the system
    action: catalog:fetch
    input:
      entityRef: system:default/${{ parameters.system }}
",
            ),
            example(
                "Read several entities, some of which may be missing",
                "steps:
  - id: owners
    name: Look up the owners
    action: catalog:fetch
    input:
      entityRefs:
        - group:default/platform
        - group:default/payments
      optional: true
",
            ),
        ]
    }
    fn supports_dry_run(&self) -> bool {
        true
    }
    fn output_schema(&self) -> Option<Value> {
        Some(schema::of::<Output>())
    }

    async fn run(&self, ctx: &ActionContext, input: Input) -> Result<Self::Output, ActionError> {
        let optional = input.optional.unwrap_or_default();
        let one = input.entity_ref.as_deref().filter(|reference| !reference.is_empty());
        let mut output = Map::new();
        if one.is_none() && input.entity_refs.is_none() {
            if optional {
                return Ok(output);
            }
            return Err(ActionError::failed("Missing entity reference or references"));
        }
        let found = |reference: &str, entity: Option<Value>| match entity {
            None if !optional => Err(ActionError::failed(format!("Entity {reference} not found"))),
            entity => Ok(entity.unwrap_or_default()),
        };
        if let Some(reference) = one {
            let entity = ctx.catalog.entity_by_ref(&input.parse(reference)?).await?;
            output.insert("entity".into(), found(reference, entity)?);
        }
        if let Some(references) = &input.entity_refs {
            let canonical: Vec<String> = references
                .iter()
                .map(|reference| input.parse(reference).map(|parsed| parsed.canonical()))
                .collect::<Result<_, _>>()?;
            let mut entities = ctx.catalog.entities_by_refs(&canonical).await?;
            entities.resize(references.len(), None);
            let entities: Vec<Value> = references
                .iter()
                .zip(entities)
                .map(|(reference, entity)| found(reference, entity))
                .collect::<Result<_, _>>()?;
            output.insert("entities".into(), entities.into());
        }
        Ok(output)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use crate::testing::Bench;

    #[tokio::test]
    async fn reads_by_reference() {
        let bench = Bench::new();
        let api = bench.entity("API", "shop", "Orders");
        let output = bench.run("catalog:fetch", json!({"entityRef": "api:shop/orders"})).await.unwrap();
        assert_eq!(output, *json!({"entity": api}).as_object().unwrap());
        let input = json!({"entityRefs": ["Orders", "nope"], "optional": true, "defaultKind": "API", "defaultNamespace": "SHOP"});
        let output = bench.run("catalog:fetch", input).await.unwrap();
        assert_eq!(output, *json!({"entities": [api, null]}).as_object().unwrap());
        let output = bench.run("catalog:fetch", json!({"entityRef": "api:a/b", "optional": true})).await.unwrap();
        assert_eq!(output, *json!({"entity": null}).as_object().unwrap());
        assert!(bench.run("catalog:fetch", json!({"optional": true})).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn says_what_is_missing() {
        let bench = Bench::new();
        let cases = [
            (json!({}), "Error: Missing entity reference or references"),
            (json!({"entityRef": "api:a/B"}), "Error: Entity api:a/B not found"),
            (json!({"entityRefs": ["api:a/B"]}), "Error: Entity api:a/B not found"),
            (
                json!({"entityRef": "x"}),
                "Error: Entity reference \"x\" had missing or empty kind (e.g. did not start with \"component:\" or similar)",
            ),
        ];
        for (input, expected) in cases {
            assert_eq!(bench.run("catalog:fetch", input).await.unwrap_err().to_string(), expected);
        }
    }
}
