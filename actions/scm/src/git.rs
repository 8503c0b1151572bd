//! Git without a git: one commit of a directory, pushed over smart HTTP.

use std::{
    error::Error,
    hash::{BuildHasher, RandomState},
    time::{Duration, SystemTime},
};

use camino::Utf8PathBuf;
use tokio_util::sync::CancellationToken;
use understudy_sdk::{ActionError, ActionLogger, Secret, Workspace};

use crate::http;

mod error;
mod object;
mod pack;
mod pkt_line;
mod remote;
mod scan;
#[cfg(test)]
mod tests;

use error::PushError;
use pack::{CommitInfo, Pack};
use remote::Remote;

/// Tries after the first one.
const RETRIES: u32 = 5;
/// Tries after the first one where the repository isn't there: hosts may need some seconds after creating one, but more
/// likely the name is wrong.
const RETRIES_MISSING: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(2);

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
    /// The commit's time. Where it is the same as in an earlier run, so is the commit, and a branch that an earlier run
    /// pushed is no conflict.
    pub time: SystemTime,
    /// For the whole exchange.
    pub timeout: Duration,
}

/// What is on the branch after [`init_and_push`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The commit's hash, 40 hex digits.
    pub commit: String,
    /// The branch had this very commit before.
    pub already_there: bool,
}

/// Makes a root commit of the directory and pushes it as a new branch. Transient
/// failures are tried again up to five times, after 2 s × 2ⁿ and up to 10 % more.
///
/// `may_push` is asked before each request that changes the repository, after all the work that comes before it: the caller's
/// right to push may have ended meanwhile. Its error is the result then.
///
/// The credentials go to the host of `remote_url` and nowhere else (no redirect is followed); that it is the right host is
/// for the caller to see to.
///
/// # Errors
/// What the server refused, in words that tell what to do; `ConflictError` when the branch exists with other content;
/// never the token.
pub async fn init_and_push<F, Fut>(
    request: PushRequest,
    log: &ActionLogger,
    cancel: &CancellationToken,
    may_push: F,
) -> Result<Pushed, ActionError>
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<(), ActionError>> + Send,
{
    // Stops the blocking part however this future ends.
    let stop = cancel.child_token();
    let _stop_at_end = stop.clone().drop_guard();
    let limit = request.timeout;
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(ActionError::cancelled()),
        result = tokio::time::timeout(limit, commit_and_push(&request, log, &stop, may_push)) => match result {
            Ok(result) => result.map_err(ActionError::from),
            Err(_) => Err(ActionError::failed(format!(
                "pushing {} did not finish within {} seconds; check the connection to the server or allow more time",
                request.dir.root(),
                limit.as_secs()
            ))),
        },
    }
}

/// A file that [`init_and_push`] commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackedFile {
    /// Relative to the directory.
    pub path: Utf8PathBuf,
    /// Bytes; of a link, of its target's text.
    pub size: u64,
    /// Whether it may be executed.
    pub executable: bool,
    /// Whether it is a link.
    pub symlink: bool,
}

/// The files that [`init_and_push`] commits, sorted; what is left out although no rule says so goes to the log.
///
/// # Errors
/// The directory can't be read or is nested too deep; the task was cancelled.
pub async fn tracked_files(
    dir: &Workspace,
    log: &ActionLogger,
    cancel: &CancellationToken,
) -> Result<Vec<TrackedFile>, ActionError> {
    let stop = cancel.child_token();
    let _stop_at_end = stop.clone().drop_guard();
    let dir = dir.clone();
    let scan = tokio::task::spawn_blocking(move || scan::scan(&dir, &stop))
        .await
        .map_err(|_| ActionError::failed("listing the files to commit ended unexpectedly"))??;
    scan.warnings.iter().for_each(|warning| log.warn(warning));
    let tracked = |found: scan::Found| TrackedFile {
        path: found.path,
        size: found.size,
        executable: found.mode == scan::Mode::Executable,
        symlink: found.mode == scan::Mode::Symlink,
    };
    Ok(scan.files.into_iter().map(tracked).collect())
}

/// The hash of the tree that [`init_and_push`] would commit: two directories have the same one when they have the same files.
///
/// # Errors
/// The directory can't be read; the task was cancelled.
pub async fn tree_id(dir: &Workspace, log: &ActionLogger, cancel: &CancellationToken) -> Result<String, ActionError> {
    let stop = cancel.child_token();
    let _stop_at_end = stop.clone().drop_guard();
    let (dir, log) = (dir.clone(), log.clone());
    let work = tokio::task::spawn_blocking(move || {
        let scan = scan::scan(&dir, &stop)?;
        let nobody = Author { name: String::new(), email: String::new() };
        let info = CommitInfo { author: &nobody, seconds: 0, message: "" };
        Ok::<_, PushError>(pack::build(&dir, &scan, &info, &log, &stop)?.tree.to_string())
    });
    Ok(work.await.map_err(|_| ActionError::failed("hashing the files to commit ended unexpectedly"))??)
}

/// Whether [`init_and_push`] failed because the server refuses or resets connections, as firewalls do that let only the
/// host's API through.
pub fn is_connection_failure(error: &ActionError) -> bool {
    let cause = error.source().and_then(|source| source.downcast_ref::<PushError>());
    matches!(cause, Some(PushError::Unreachable(_)))
}

async fn commit_and_push<F, Fut>(
    request: &PushRequest,
    log: &ActionLogger,
    stop: &CancellationToken,
    may_push: F,
) -> Result<Pushed, PushError>
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<(), ActionError>> + Send,
{
    check_branch(&request.branch)?;
    let client = http::client().map_err(PushError::Refused)?;
    let remote = Remote::new(client, &request.remote_url, &request.username, &request.password)?;
    let pack = commit(request, log, stop).await?;
    log.info(format!("Pushing directory to remote {{dir={},remote=origin}}", request.dir.root()));
    let mut tried = 0;
    loop {
        may_push().await.map_err(PushError::NotAllowed)?;
        let error = match push(&remote, &request.branch, &pack, log).await {
            // An earlier try that succeeded, only its answer was lost, is ours.
            Ok(already_there) => {
                return Ok(Pushed { commit: pack.commit.to_string(), already_there: already_there && tried == 0 });
            }
            Err(error) => error,
        };
        let retries = match error {
            PushError::Transient(_) | PushError::Unreachable(_) => RETRIES,
            PushError::Missing(_) => RETRIES_MISSING,
            _ => 0,
        };
        if tried >= retries {
            return Err(match error {
                PushError::Transient(text) => PushError::Transient(format!("{text} (tried {} times)", tried + 1)),
                PushError::Unreachable(text) => PushError::Unreachable(format!("{text} (tried {} times)", tried + 1)),
                other => other,
            });
        }
        let pause = pause(tried);
        log.warn(format!("{error}; trying again in {:.1} s", pause.as_secs_f32()));
        tokio::time::sleep(pause).await;
        tried += 1;
    }
}

/// Makes the commit, off the async threads.
async fn commit(request: &PushRequest, log: &ActionLogger, stop: &CancellationToken) -> Result<Pack, PushError> {
    let dir = request.dir.clone();
    let (author, message, time) = (request.author.clone(), request.message.clone(), request.time);
    let (log, stop) = (log.clone(), stop.clone());
    let work = tokio::task::spawn_blocking(move || {
        let root = dir.root().to_owned();
        log.info(format!("Init git repository {{dir={root}}}"));
        log.info(format!("Adding file {{dir={root},filepath=.}}"));
        let scan = scan::scan(&dir, &stop)?;
        scan.warnings.iter().for_each(|warning| log.warn(warning));
        log.info(format!("Committing file to repo {{dir={root},message={message}}}"));
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let info = CommitInfo { author: &author, seconds, message: &message };
        let pack = pack::build(&dir, &scan, &info, &log, &stop)?;
        log.debug(format!(
            "Commit {} holds {} files in {} objects, {}",
            pack.commit,
            scan.files.len(),
            pack.objects,
            remote::megabytes(pack.len())
        ));
        Ok(pack)
    });
    work.await.map_err(|_| PushError::Refused("making the commit ended unexpectedly".into()))?
}

/// One try; says whether the branch had the commit before.
async fn push(remote: &Remote<'_>, branch: &str, pack: &Pack, log: &ActionLogger) -> Result<bool, PushError> {
    let advertisement = remote.advertisement().await?;
    match advertisement.branch(branch) {
        None => remote.push(branch, pack, &advertisement, log).await.map(|()| false),
        Some(commit) if commit == pack.commit => Ok(true),
        Some(commit) => Err(PushError::Conflict(format!(
            "the branch '{branch}' of {} exists already (at {commit}) and is not overwritten; choose another branch or \
             repository, or delete the branch",
            remote.url()
        ))),
    }
}

/// How long to wait before the next try.
fn pause(tried: u32) -> Duration {
    let pause = FIRST_PAUSE * 2_u32.pow(tried);
    // Seeded anew for every hasher, which is random enough to keep clients apart.
    let random = RandomState::new().hash_one(tried) % 1000;
    pause + pause.mul_f64(f64::from(u32::try_from(random).unwrap_or_default()) / 10_000.0)
}

/// The rules of `git check-ref-format` for a branch.
fn check_branch(branch: &str) -> Result<(), PushError> {
    let bad_char = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    let bad = branch.contains(bad_char)
        || branch.split('/').any(bad_part)
        || branch.contains("..")
        || branch.contains("@{")
        || branch.ends_with('.')
        || branch.starts_with('-')
        || matches!(branch, "@" | "HEAD")
        || branch.len() > 244;
    if bad { Err(PushError::Refused(format!("'{branch}' is not a name git allows for a branch"))) } else { Ok(()) }
}
