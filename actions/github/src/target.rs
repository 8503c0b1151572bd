//! Which repository a step is about.

use std::fmt;

use understudy_scm::{RepoUrl, Scm};
use understudy_sdk::ActionError;

/// Owner and name of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Host, port included unless it is 443.
    pub(crate) host: String,
    /// User or organization.
    pub(crate) owner: String,
    /// Repository name.
    pub(crate) repo: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.repo)
    }
}

impl Target {
    /// From a parsed `repoUrl`.
    ///
    /// # Errors
    /// `InputError` when the owner or name is missing.
    pub(crate) fn of(url: &RepoUrl) -> Result<Self, ActionError> {
        let owner = url.owner.clone().filter(|owner| !owner.is_empty());
        let repo = url.repo.clone().filter(|repo| !repo.is_empty());
        Ok(Self {
            host: url.host.clone(),
            owner: owner.ok_or_else(|| ActionError::input("Invalid repository owner provided in repoUrl"))?,
            repo: repo.ok_or_else(|| ActionError::input("Invalid repository name provided in repoUrl"))?,
        })
    }
}

/// Parses a step's `repoUrl` and checks its host against the step's `allowedHosts`.
///
/// # Errors
/// `InputError`: not a repository URL of a known integration, or a host that isn't allowed.
pub(crate) fn repo_url(scm: &Scm, text: &str, allowed_hosts: Option<&[String]>) -> Result<RepoUrl, ActionError> {
    let url = scm.parse_repo_url(text)?;
    check_host(&url.host, allowed_hosts)?;
    Ok(url)
}

fn check_host(host: &str, allowed_hosts: Option<&[String]>) -> Result<(), ActionError> {
    match allowed_hosts {
        Some(allowed) if !allowed.iter().any(|entry| entry.eq_ignore_ascii_case(host)) => {
            Err(ActionError::input(format!(
                "repoUrl is on the host '{host}', but this step's allowedHosts are [{}]; choose a repository on one of \
                 them, or have the host added to the template",
                allowed.join(", ")
            )))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn allowed_hosts_are_enforced() {
        let hosts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let cases: &[(Option<&[&str]>, bool)] = &[
            (None, true),
            (Some(&["github.com"]), true),
            (Some(&["ghe.example.org", "GitHub.com"]), true),
            (Some(&["ghe.example.org"]), false),
            (Some(&["hub.com"]), false),
            (Some(&[]), false),
        ];
        for (allowed, fine) in cases {
            let allowed = allowed.map(hosts);
            let result = check_host("github.com", allowed.as_deref());
            assert_eq!(result.is_ok(), *fine, "{allowed:?}");
            if let Err(error) = result {
                assert!(error.to_string().starts_with("InputError: repoUrl is on the host 'github.com'"), "{error}");
            }
        }
    }

    #[test]
    fn owner_and_name_are_needed() {
        let url = RepoUrl { host: "github.com".into(), repo: Some("r".into()), ..RepoUrl::default() };
        assert_eq!(Target::of(&url).unwrap_err().message(), "Invalid repository owner provided in repoUrl");
        let url = RepoUrl { owner: Some("o".into()), ..url };
        assert_eq!(
            Target::of(&url).unwrap(),
            Target { host: "github.com".into(), owner: "o".into(), repo: "r".into() }
        );
    }
}
