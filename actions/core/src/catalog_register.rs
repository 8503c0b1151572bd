//! `catalog:register`

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use understudy_scm::Scm;
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, EntityRef};

use crate::support::example;

/// Registers a catalog file by its URL.
#[derive(Debug)]
pub(crate) struct CatalogRegister {
    scm: Scm,
}

impl CatalogRegister {
    /// An action that resolves repository URLs with these integrations.
    pub(crate) fn new(scm: Scm) -> Self {
        Self { scm }
    }
}

/// Input of [`CatalogRegister`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(crate) enum Input {
    /// A catalog file by its own URL.
    File {
        /// The URL of the catalog file.
        catalog_info_url: String,
        /// Whether the step succeeds although the location can't be registered.
        optional: Option<bool>,
    },
    /// A catalog file in a repository.
    Repository {
        /// The URL of the root of a repository, as publish actions give it.
        repo_contents_url: String,
        /// Where the catalog file lies in it; `/catalog-info.yaml` by default.
        catalog_info_path: Option<String>,
        /// Whether the step succeeds although the location can't be registered.
        optional: Option<bool>,
    },
}

/// Output of [`CatalogRegister`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    /// The reference of the most telling entity of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_ref: Option<String>,
    /// The URL that was registered.
    catalog_info_url: String,
}

#[async_trait]
impl Action for CatalogRegister {
    type Input = Input;
    type Output = Output;

    fn id(&self) -> &'static str {
        "catalog:register"
    }
    fn description(&self) -> &'static str {
        "Registers the entities of a catalog file in the software catalog."
    }
    fn examples(&self) -> Vec<ActionExample> {
        vec![
            example(
                "Register the catalog file of a repository that was just published",
                "steps:
  - id: register
    name: Register
    action: catalog:register
    input:
      repoContentsUrl: ${{ steps.publish.output.repoContentsUrl }}
      catalogInfoPath: /catalog-info.yaml
",
            ),
            example(
                "Register a catalog file by its URL",
                "steps:
  - id: register
    name: Register
    action: catalog:register
    input:
      catalogInfoUrl: https://github.com/acme/orders/blob/main/catalog-info.yaml
      optional: true
",
            ),
        ]
    }
    async fn run(&self, ctx: &ActionContext, input: Input) -> Result<Output, ActionError> {
        let (catalog_info_url, optional) = match input {
            Input::File { catalog_info_url, optional } => (catalog_info_url, optional),
            Input::Repository { repo_contents_url: base, catalog_info_path, optional } => {
                if self.scm.integration_type(&base).is_none() {
                    return Err(ActionError::input(format!("No integration found for host {base}")));
                }
                let path = catalog_info_path.as_deref().unwrap_or("/catalog-info.yaml");
                (self.scm.resolve_url(path, &base)?, optional)
            }
        };
        let optional = optional.unwrap_or_default();
        ctx.log.info(format!("Registering {catalog_info_url} in the catalog"));
        if let Err(error) = ctx.catalog.add_location("url", &catalog_info_url, false).await
            && !optional
        {
            return Err(error);
        }
        let entity_ref = match ctx.catalog.add_location("url", &catalog_info_url, true).await {
            Ok(answer) => most_telling(&answer.entities),
            Err(_) if optional => None,
            Err(error) => return Err(error),
        };
        Ok(Output { entity_ref, catalog_info_url })
    }
}

/// The first component that isn't generated, else the first entity that isn't, else the first.
fn most_telling(entities: &[Value]) -> Option<String> {
    let references: Vec<EntityRef> = entities.iter().filter_map(EntityRef::of).collect();
    let own = |reference: &&EntityRef| !reference.name.starts_with("generated-");
    references
        .iter()
        .find(|reference| own(reference) && reference.kind == "Component")
        .or_else(|| references.iter().find(own))
        .or_else(|| references.first())
        .map(EntityRef::canonical)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::most_telling;
    use crate::testing::Bench;

    #[test]
    fn components_come_first_and_generated_names_last() {
        let entity = |kind: &str, name: &str| json!({"kind": kind, "metadata": {"name": name}});
        let cases: [(Vec<Value>, Option<&str>); 4] = [
            (vec![], None),
            (vec![entity("Location", "generated-1")], Some("location:default/generated-1")),
            (vec![entity("Location", "generated-1"), entity("API", "Orders")], Some("api:default/orders")),
            (vec![entity("API", "a"), entity("Component", "C")], Some("component:default/c")),
        ];
        for (entities, expected) in cases {
            assert_eq!(most_telling(&entities).as_deref(), expected);
        }
    }

    #[tokio::test]
    async fn registers_and_names_the_entity() {
        let bench = Bench::new();
        bench.location("https://github.com/o/r/tree/main/catalog-info.yaml", bench.entity("Component", "default", "r"));
        let input = json!({"repoContentsUrl": "https://github.com/o/r/blob/main"});
        let output = bench.run("catalog:register", input).await.unwrap();
        let url = "https://github.com/o/r/tree/main/catalog-info.yaml";
        assert_eq!(output, *json!({"entityRef": "component:default/r", "catalogInfoUrl": url}).as_object().unwrap());
        assert_eq!(bench.log(), [format!("info: Registering {url} in the catalog")]);
        assert_eq!(bench.registered(), [(url.to_string(), false), (url.to_string(), true)]);
    }

    #[tokio::test]
    async fn failures_count_unless_optional() {
        let bench = Bench::new();
        let url = "https://github.com/nope/nope/blob/main/catalog-info.yaml";
        assert!(bench.run("catalog:register", json!({"catalogInfoUrl": url})).await.is_err());
        let output = bench.run("catalog:register", json!({"catalogInfoUrl": url, "optional": true})).await.unwrap();
        assert_eq!(output, *json!({"catalogInfoUrl": url}).as_object().unwrap());
        let input = json!({"repoContentsUrl": "https://elsewhere.example/o/r"});
        let error = bench.run("catalog:register", input).await.unwrap_err();
        assert_eq!(error.to_string(), "InputError: No integration found for host https://elsewhere.example/o/r");
    }
}
