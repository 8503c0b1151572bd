//! The `repoUrl` of publishing actions: `github.com?owner=o&repo=r`.

use understudy_sdk::ActionError;
use url::Url;

use crate::{RepoUrl, integrations::Integrations};

/// `parseRepoUrl` of `@backstage/plugin-scaffolder-node` 0.13.7, its error texts included.
pub(crate) fn parse(text: &str, integrations: &Integrations) -> Result<RepoUrl, ActionError> {
    let url = Url::parse(&format!("https://{text}")).map_err(|error| {
        ActionError::input(format!("Invalid repo URL passed to publisher, got {text}, TypeError: Invalid URL"))
            .with_source(error)
    })?;
    let host = crate::host_of(&url);
    let Some(integration) = integrations.by_host(&host) else {
        return Err(ActionError::input(format!(
            "No matching integration configuration for host {host}, please check your integrations config"
        )));
    };
    let param = |name: &str| {
        let (_, value) = url.query_pairs().find(|(key, _)| key == name)?;
        Some(value.trim_matches('/').to_string())
    };
    let parsed = RepoUrl {
        owner: param("owner"),
        repo: param("repo"),
        organization: param("organization"),
        workspace: param("workspace"),
        project: param("project"),
        host,
    };
    let required: &[(&str, &Option<String>)] = match integration.kind() {
        "bitbucketCloud" => &[("workspace", &parsed.workspace), ("project", &parsed.project), ("repo", &parsed.repo)],
        "bitbucketServer" | "azure" => &[("project", &parsed.project), ("repo", &parsed.repo)],
        "gitlab" if parsed.project.as_deref().is_some_and(|project| !project.is_empty()) => &[],
        "gitlab" => &[("owner", &parsed.owner), ("repo", &parsed.repo)],
        "gitea" | "gerrit" => &[("repo", &parsed.repo)],
        _ => &[("repo", &parsed.repo), ("owner", &parsed.owner)],
    };
    match required.iter().find(|(_, value)| value.as_deref().is_none_or(str::is_empty)) {
        Some((name, _)) => {
            Err(ActionError::input(format!("Invalid repo URL passed to publisher: {url}, missing {name}")))
        }
        None => Ok(parsed),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::integrations::config::Node;

    fn integrations() -> Integrations {
        let value = json!({"integrations": {
            "github": [{"host": "127.0.0.1:7208"}],
            "gitea": [{"host": "gitea.example.com"}],
            "bitbucketServer": [{"host": "bb.example.com"}],
        }});
        Integrations::read(&Node::root(&value)).unwrap()
    }

    #[test]
    fn accepted() {
        for (text, expected) in [
            ("github.com?owner=o&repo=r", json!({"host": "github.com", "owner": "o", "repo": "r"})),
            ("github.com/?repo=/r/&owner=o", json!({"host": "github.com", "owner": "o", "repo": "r"})),
            ("127.0.0.1:7208?owner=o&repo=r", json!({"host": "127.0.0.1:7208", "owner": "o", "repo": "r"})),
            ("gitlab.com?project=7", json!({"host": "gitlab.com", "project": "7"})),
            ("gitlab.com?owner=g%2Fsub&repo=r", json!({"host": "gitlab.com", "owner": "g/sub", "repo": "r"})),
            (
                "dev.azure.com?organization=o&project=p&repo=r",
                json!({"host": "dev.azure.com", "repo": "r", "organization": "o", "project": "p"}),
            ),
            ("gitea.example.com?repo=r", json!({"host": "gitea.example.com", "repo": "r"})),
            (
                "bitbucket.org?workspace=w&project=p&repo=r",
                json!({"host": "bitbucket.org", "repo": "r", "workspace": "w", "project": "p"}),
            ),
        ] {
            let parsed = parse(text, &integrations()).unwrap();
            assert_eq!(serde_json::to_value(&parsed).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn refused() {
        for (text, message) in [
            ("", "InputError: Invalid repo URL passed to publisher, got , TypeError: Invalid URL"),
            (
                "a b?owner=o",
                "InputError: Invalid repo URL passed to publisher, got a b?owner=o, TypeError: Invalid URL",
            ),
            (
                "github.com?owner=o",
                "InputError: Invalid repo URL passed to publisher: https://github.com/?owner=o, missing repo",
            ),
            ("github.com", "InputError: Invalid repo URL passed to publisher: https://github.com/, missing repo"),
            (
                "github.com?repo=r&owner=",
                "InputError: Invalid repo URL passed to publisher: https://github.com/?repo=r&owner=, missing owner",
            ),
            (
                "gitlab.com?project=&repo=r",
                "InputError: Invalid repo URL passed to publisher: https://gitlab.com/?project=&repo=r, missing owner",
            ),
            (
                "bitbucket.org?repo=r",
                "InputError: Invalid repo URL passed to publisher: https://bitbucket.org/?repo=r, missing workspace",
            ),
            (
                "bb.example.com?repo=r",
                "InputError: Invalid repo URL passed to publisher: https://bb.example.com/?repo=r, missing project",
            ),
            (
                "evil.example.com?owner=o&repo=r",
                "InputError: No matching integration configuration for host evil.example.com, please check your integrations config",
            ),
            (
                "https://github.com?owner=o&repo=r",
                "InputError: No matching integration configuration for host https, please check your integrations config",
            ),
        ] {
            assert_eq!(parse(text, &integrations()).unwrap_err().to_string(), message, "{text}");
        }
    }
}
