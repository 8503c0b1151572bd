//! `github:deployKey:create`.

use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use understudy_sdk::{Action, ActionContext, ActionError, ActionExample, Secret, schema};

use crate::{
    GithubDeps,
    differences::Differences,
    seal::put_secrets,
    session::{Session, examples},
};

/// The input of `github:deployKey:create`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DeployKeyInput {
    /// The repository, as the repository picker gives it: `github.com?owner=acme&repo=shop`.
    repo_url: String,
    /// The public half, as in `id_ed25519.pub`. It may read and write the repository.
    public_key: String,
    /// The private half, which workflows get as a secret.
    private_key: Secret,
    /// What the key is called.
    deploy_key_name: String,
    /// The secret's name; when left out, the key's name in upper case with `_PRIVATE_KEY` after it.
    private_key_secret_name: Option<String>,
    /// A token to use instead of the integration's.
    token: Option<Secret>,
}

impl DeployKeyInput {
    fn secret_name(&self) -> String {
        self.private_key_secret_name
            .clone()
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| format!("{}_PRIVATE_KEY", self.deploy_key_name.replace(' ', "_").to_uppercase()))
    }
}

/// The output of `github:deployKey:create`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DeployKeyOutput {
    /// The name of the secret that holds the private half.
    private_key_secret_name: String,
}

/// A key as GitHub tells of it.
#[derive(Deserialize)]
struct Known {
    key: String,
    title: String,
    read_only: bool,
}

/// Adds a deploy key.
#[derive(Debug)]
pub(crate) struct DeployKeyCreate {
    deps: Arc<GithubDeps>,
}

impl DeployKeyCreate {
    pub(crate) fn new(deps: Arc<GithubDeps>) -> Self {
        Self { deps }
    }
}

#[async_trait]
impl Action for DeployKeyCreate {
    type Input = DeployKeyInput;
    type Output = DeployKeyOutput;

    fn id(&self) -> &'static str {
        "github:deployKey:create"
    }
    fn description(&self) -> &'static str {
        "Adds a deploy key to a GitHub repository and stores its private half as a secret for workflows. A key that is there \
         under the same name is left as it is; the secret is set again, since GitHub never tells a secret's value. Least \
         permissions of the token: `Administration: write` and `Secrets: write` (fine-grained, GitHub App) or the scope \
         `repo` (classic)."
    }
    fn examples(&self) -> Vec<ActionExample> {
        examples(&[(
            "A key that an earlier step made",
            "steps:\n  - id: key\n    name: Add a deploy key\n    action: github:deployKey:create\n    input:\n      repoUrl: github.com?owner=acme&repo=shop\n      publicKey: ${{ parameters.publicKey }}\n      privateKey: ${{ secrets.privateKey }}\n      deployKeyName: Argo CD\n      privateKeySecretName: ARGOCD_KEY\n",
        )])
    }
    fn output_schema(&self) -> Option<Value> {
        Some(schema::of::<DeployKeyOutput>())
    }

    async fn run(&self, ctx: &ActionContext, input: Self::Input) -> Result<Self::Output, ActionError> {
        let session = Session::open(ctx, &self.deps, &input.repo_url, input.token.as_ref(), None).await?;
        let target = &session.target;
        let route = target.route(&["keys"])?;
        let body = json!({ "title": input.deploy_key_name, "key": input.public_key });
        match session.client.send(&Method::POST, &route, Some(&body)).await {
            Ok(_) => ctx.log.info(format!("Added the deploy key '{}' to {target}", input.deploy_key_name)),
            Err(error) if error.says_exists() => {
                let known: Vec<Known> = session.client.list(&route).await?;
                let same = |known: &Known| material(&known.key) == material(&input.public_key);
                // The key may be in use elsewhere; GitHub's words say as much.
                let Some(known) = known.into_iter().find(same) else { return Err(error.into()) };
                let mut differences = Differences::default();
                differences.compare("deployKeyName", &known.title, &input.deploy_key_name);
                differences.compare("whether it may only read", &known.read_only, &false);
                let what = format!("The deploy key '{}' of {target}", known.title);
                differences.refuse(&what)?;
                ctx.log.info(format!("{what} exists already and is the same; nothing is changed"));
            }
            Err(error) => return Err(error.into()),
        }
        let name = input.secret_name();
        let secrets = IndexMap::from([(name.clone(), input.private_key)]);
        put_secrets(ctx, &session.client, &target.route(&["actions", "secrets"])?, &secrets).await?;
        Ok(DeployKeyOutput { private_key_secret_name: name })
    }
}

/// A key without its comment, which GitHub does not keep.
fn material(key: &str) -> Vec<&str> {
    key.split_whitespace().take(2).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_secrets_name() {
        for (given, expected) in
            [(None, "MY_DEPLOY_KEY_PRIVATE_KEY"), (Some(""), "MY_DEPLOY_KEY_PRIVATE_KEY"), (Some("K"), "K")]
        {
            let input: DeployKeyInput = serde_json::from_value(json!({
                "repoUrl": "", "publicKey": "", "privateKey": "", "deployKeyName": "my deploy key",
                "privateKeySecretName": given,
            }))
            .unwrap();
            assert_eq!(input.secret_name(), expected);
        }
    }

    #[test]
    fn comments_are_not_compared() {
        assert_eq!(material("ssh-ed25519 AAAA jane@laptop\n"), material("ssh-ed25519 AAAA"));
        assert_ne!(material("ssh-ed25519 AAAA"), material("ssh-ed25519 BBBB"));
    }
}
