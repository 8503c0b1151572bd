//! `catalog:write`

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, NoOutput};

use crate::{
    support::{blocking, example},
    yaml,
};

/// Writes an entity into a catalog file.
#[derive(Debug)]
pub(crate) struct CatalogWrite;

/// Input of [`CatalogWrite`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Input {
    /// The file to write, `catalog-info.yaml` by default.
    file_path: Option<String>,
    /// The entity as it would stand in a catalog file.
    entity: Map<String, Value>,
}

#[async_trait]
impl Action for CatalogWrite {
    type Input = Input;
    type Output = NoOutput;

    fn id(&self) -> &'static str {
        "catalog:write"
    }
    fn description(&self) -> &'static str {
        "Writes an entity as catalog-info.yaml, annotated with the template it comes from."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![example(
            "Describe the new component",
            "steps:
  - id: describe
    name: Write the catalog file
    action: catalog:write
    input:
      entity:
        apiVersion: backstage.io/v1alpha1
        kind: Component
        metadata:
          name: ${{ parameters.name }}
        spec:
          type: service
          lifecycle: experimental
          owner: ${{ parameters.owner }}
",
        )]
    }
    fn supports_dry_run(&self) -> bool {
        true
    }

    async fn run(&self, ctx: &ActionContext, input: Input) -> Result<NoOutput, ActionError> {
        let path = input.file_path.unwrap_or_else(|| "catalog-info.yaml".to_string());
        ctx.log.info(format!("Writing {path}"));
        let source = ctx.template.as_ref().map(|template| template.entity_ref.as_str()).filter(|name| !name.is_empty());
        let text = yaml::document(&annotated(input.entity, source)?)?;
        let workspace = ctx.workspace.clone();
        blocking(move || Ok(workspace.write(&path, text.as_bytes(), 0o666)?)).await?;
        Ok(NoOutput {})
    }
}

/// The entity with `backstage.io/source-template` among its annotations.
fn annotated(mut entity: Map<String, Value>, source: Option<&str>) -> Result<Value, ActionError> {
    let metadata = entity.entry("metadata").or_insert_with(|| json!({}));
    let Value::Object(metadata) = metadata else {
        return Err(ActionError::input("the entity's metadata must be an object with at least a name"));
    };
    if let Some(source) = source {
        match metadata.entry("annotations").or_insert_with(|| json!({})) {
            Value::Object(annotations) => {
                annotations.insert("backstage.io/source-template".into(), source.into());
            }
            // What a template gives for an empty block.
            annotations @ Value::Null => *annotations = json!({"backstage.io/source-template": source}),
            _ => return Err(ActionError::input("the entity's metadata.annotations must be an object")),
        }
    }
    Ok(Value::Object(entity))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use crate::testing::Bench;

    #[tokio::test]
    async fn writes_yaml_with_the_source_template() {
        let bench = Bench::new();
        let entity = json!({"apiVersion": "backstage.io/v1alpha1", "kind": "Component",
            "metadata": {"name": "test", "annotations": {"a/b": "true"}, "tags": []}, "spec": {"port": 8080.0}});
        bench.run("catalog:write", json!({"entity": entity})).await.unwrap();
        assert_eq!(
            bench.read("catalog-info.yaml"),
            "apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: test
  annotations:
    a/b: \"true\"
    backstage.io/source-template: template:default/bench
  tags: []
spec:
  port: 8080
"
        );
        assert_eq!(bench.log(), ["info: Writing catalog-info.yaml"]);
        bench.run("catalog:write", json!({"entity": {"kind": "X"}, "filePath": "d/e.yaml"})).await.unwrap();
        assert_eq!(
            bench.read("d/e.yaml"),
            "kind: X\nmetadata:\n  annotations:\n    backstage.io/source-template: template:default/bench\n"
        );
    }

    #[tokio::test]
    async fn refuses_what_is_no_entity_or_lies_outside() {
        let bench = Bench::new();
        for input in [
            json!({"entity": {"metadata": 1}}),
            json!({"entity": {"metadata": {"annotations": []}}}),
            json!({"entity": {}, "filePath": "../x"}),
        ] {
            assert!(bench.run("catalog:write", input).await.is_err());
        }
    }
}
