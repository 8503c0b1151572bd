//! Relative URLs, resolved as the integration of their base does (`resolveUrl` of `@backstage/integration` 2.1.2).

use understudy_sdk::ActionError;
use url::Url;

use crate::integrations::{Integration, Integrations};

/// Resolves `url` against `base`. An absolute URL is given back as it is, except that GitHub's `blob` and `edit` become
/// `tree`; `/x` starts at the repository's root; the base's query is kept.
pub(crate) fn resolve(url: &str, base: &str, integrations: &Integrations) -> Result<String, ActionError> {
    if Url::parse(url).is_ok() {
        let is_github = matches!(integrations.by_url(url), Some(Integration::Github(_)));
        return Ok(if is_github { as_tree(url) } else { url.to_string() });
    }
    let Some(integration) = integrations.by_url(base) else {
        return Err(ActionError::input(format!("No integration found for location {base}")));
    };
    let invalid =
        |error| ActionError::input(format!("The URL '{url}' can't be resolved against {base}")).with_source(error);
    let base = Url::parse(base).map_err(invalid)?;
    if let Integration::Azure(_) = integration {
        return azure(url, base).map_err(invalid);
    }
    let mut resolved = if url.starts_with('/') {
        let mut resolved = base.clone();
        let root = root_path(integration, &base).trim_end_matches('/').to_string();
        resolved.set_path(&format!("{root}{url}"));
        resolved.set_fragment(None);
        resolved
    } else {
        base.join(url).map_err(invalid)?
    };
    resolved.set_query(base.query());
    let resolved = String::from(resolved);
    Ok(if matches!(integration, Integration::Github(_)) { as_tree(&resolved) } else { resolved })
}

/// The part of the base's path that stands for the root of the repository at its revision.
fn root_path<'u>(integration: &Integration, base: &'u Url) -> &'u str {
    let path = base.path();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let position = |names: &[&str]| segments.iter().position(|segment| names.contains(segment));
    // How many segments come before the file's path.
    let count = match integration {
        Integration::Github(_) => match segments.get(2) {
            Some(&("blob" | "tree" | "raw" | "edit" | "blame")) => 4,
            _ => segments.len(),
        },
        Integration::Gitlab(_) => match position(&["blob", "tree", "raw", "edit"]) {
            Some(at) if at >= 2 => at + 2,
            _ => segments.len(),
        },
        Integration::Gitea(_) => match segments.get(2) {
            Some(&("src" | "raw")) => 5,
            _ => segments.len(),
        },
        Integration::BitbucketCloud(_) => match segments.get(2) {
            Some(&("src" | "raw")) => 4,
            _ => segments.len(),
        },
        Integration::BitbucketServer(_) => match position(&["browse", "raw"]) {
            Some(at) => at + 1,
            None => segments.len(),
        },
        _ => segments.len(),
    };
    let mut end = 0;
    for segment in segments.iter().take(count) {
        end += 1 + segment.len();
    }
    &path[..end]
}

/// Azure DevOps keeps the file's path in a query parameter.
fn azure(url: &str, mut base: Url) -> Result<String, url::ParseError> {
    let path = base.query_pairs().find(|(key, _)| key == "path").map_or(String::new(), |(_, value)| value.into_owned());
    let mut file = Url::parse("https://a.invalid/")?;
    file.set_path(&path);
    let resolved = file.join(url)?.path().to_string();
    let others: Vec<(String, String)> =
        base.query_pairs().filter(|(key, _)| key != "path").map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
    base.query_pairs_mut().clear().extend_pairs(others).append_pair("path", &resolved);
    Ok(base.into())
}

/// `https://host/owner/repo/blob/…` → `…/tree/…`, the first match only.
fn as_tree(url: &str) -> String {
    let Some(start) = url.find("//").map(|at| at + 2) else { return url.to_string() };
    let mut slashes = url[start..].match_indices('/').map(|(at, _)| start + at);
    let (Some(_), Some(_), Some(third), Some(fourth)) =
        (slashes.next(), slashes.next(), slashes.next(), slashes.next())
    else {
        return url.to_string();
    };
    match &url[third + 1..fourth] {
        "blob" | "edit" => format!("{}tree{}", &url[..=third], &url[fourth..]),
        _ => url.to_string(),
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
            "gitea": [{"host": "gitea.example.com"}],
            "bitbucketServer": [{"host": "bb.example.com"}],
        }});
        Integrations::read(&Node::root(&value)).unwrap()
    }

    #[test]
    fn resolved() {
        let template = "https://github.com/o/r/blob/main/tpl/template.yaml";
        for (url, base, expected) in [
            ("./skeleton", template, "https://github.com/o/r/tree/main/tpl/skeleton"),
            ("skeleton/", template, "https://github.com/o/r/tree/main/tpl/skeleton/"),
            ("../other", template, "https://github.com/o/r/tree/main/other"),
            ("/x/y", template, "https://github.com/o/r/tree/main/x/y"),
            (".", template, "https://github.com/o/r/tree/main/tpl/"),
            ("./s", "https://github.com/o/r/blob/main/t.yaml?token=q#L3", "https://github.com/o/r/tree/main/s?token=q"),
            ("/s", "https://github.com/o/r/edit/main/a/t.yaml?x=1", "https://github.com/o/r/tree/main/s?x=1"),
            (
                "/catalog-info.yaml",
                "https://github.com/o/r/blob/main",
                "https://github.com/o/r/tree/main/catalog-info.yaml",
            ),
            (
                "/catalog-info.yaml",
                "https://github.com/o/r/tree/main/",
                "https://github.com/o/r/tree/main/catalog-info.yaml",
            ),
            ("/a", "https://github.com/o/r", "https://github.com/o/r/a"),
            ("https://other.example.com/blob/x", template, "https://other.example.com/blob/x"),
            ("https://github.com/a/b/blob/m/f", template, "https://github.com/a/b/tree/m/f"),
            ("https://github.com/a/b/blob", template, "https://github.com/a/b/blob"),
            ("//evil.example.com/x", template, "https://github.com/o/r/tree/main//evil.example.com/x"),
            ("./s", "https://gitlab.com/g/sub/p/-/blob/main/a/t.yaml", "https://gitlab.com/g/sub/p/-/blob/main/a/s"),
            ("/s", "https://gitlab.com/g/sub/p/-/blob/main/a/t.yaml", "https://gitlab.com/g/sub/p/-/blob/main/s"),
            (
                "/s",
                "https://gitea.example.com/o/r/src/branch/main/a/t.yaml",
                "https://gitea.example.com/o/r/src/branch/main/s",
            ),
            ("/s", "https://bitbucket.org/w/r/src/main/a/t.yaml", "https://bitbucket.org/w/r/src/main/s"),
            (
                "/s",
                "https://bb.example.com/projects/P/repos/r/browse/a/t.yaml?at=main",
                "https://bb.example.com/projects/P/repos/r/browse/s?at=main",
            ),
            (
                "./s",
                "https://dev.azure.com/o/p/_git/r?path=%2Fa%2Ft.yaml&version=GBmain",
                "https://dev.azure.com/o/p/_git/r?version=GBmain&path=%2Fa%2Fs",
            ),
        ] {
            assert_eq!(resolve(url, base, &integrations()).unwrap(), expected, "{url} against {base}");
        }
    }

    #[test]
    fn refused() {
        let error = resolve("./s", "https://x.example.com/a", &integrations()).unwrap_err();
        assert_eq!(error.to_string(), "InputError: No integration found for location https://x.example.com/a");
        let error = resolve("./s", "not a url", &integrations()).unwrap_err();
        assert_eq!(error.to_string(), "InputError: No integration found for location not a url");
    }
}
