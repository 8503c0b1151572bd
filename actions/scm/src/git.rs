//! Git without a git: one commit of a directory, pushed over smart HTTP.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use understudy_sdk::{ActionError, ActionLogger, Secret, Workspace};

/// A commit's author and committer.
#[derive(Debug, Clone)]
pub struct Author {
    /// Name.
    pub name: String,
    /// E-mail.
    pub email: String,
}

/// What to push where.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// The directory whose files become the commit (`.gitignore` honoured, `.git` left out).
    pub dir: Workspace,
    /// `https://host/owner/repo.git`.
    pub remote_url: String,
    /// Basic auth user, e.g. `x-access-token`.
    pub username: String,
    /// Basic auth password.
    pub password: Secret,
    /// Branch name without `refs/heads/`.
    pub branch: String,
    /// Commit message.
    pub message: String,
    /// Author and committer.
    pub author: Author,
    /// For the whole exchange.
    pub timeout: Duration,
}

/// Makes a root commit of the directory and pushes it; gives the commit's hash (40 hex digits). Transient failures are
/// tried again with back-off (spec/05 §0 `initRepoAndPush`).
///
/// # Errors
/// What the server refused, in words that tell what to do; never the token.
#[allow(clippy::unimplemented, unused_variables)]
pub async fn init_and_push(
    request: PushRequest,
    log: &ActionLogger,
    cancel: &CancellationToken,
) -> Result<String, ActionError> {
    unimplemented!()
}
