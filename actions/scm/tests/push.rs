//! Pushing to `git http-backend` behind a bare-bones HTTP server that can be told to misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use camino::{Utf8Path, Utf8PathBuf};
use tokio_util::sync::CancellationToken;
use understudy_scm::git::{Author, PushRequest, init_and_push};
use understudy_sdk::{ActionError, ActionLogger, LogLevel, LogSink, Secret, Workspace};

const TOKEN: &str = "s3cret-t0ken";

/// What the server does instead of its duty, once.
#[derive(Debug, Clone, PartialEq)]
enum Fault {
    /// Answers the next request with this status line, headers and body.
    Answer(&'static str),
    /// Lets git handle the next POST, but drops the connection before answering.
    LoseAnswer,
    /// Never answers the next request.
    Hang,
}

struct Server {
    port: u16,
    root: tempfile::TempDir,
    faults: Arc<Mutex<Vec<Fault>>>,
}

impl Server {
    fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        git(root.path().to_str().unwrap(), &["init", "-q", "--bare", "-b", "main", "o/r.git"]);
        git(root.path().join("o/r.git").to_str().unwrap(), &["config", "http.receivepack", "true"]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let faults = Arc::new(Mutex::new(Vec::new()));
        let (dir, shared) = (root.path().to_str().unwrap().to_string(), faults.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (dir, faults) = (dir.clone(), shared.clone());
                std::thread::spawn(move || serve(&stream.unwrap(), &dir, &faults));
            }
        });
        Self { port, root, faults }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/o/r.git", self.port)
    }

    fn repository(&self) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.root.path().join("o/r.git")).unwrap()
    }

    fn fault(&self, fault: Fault) {
        self.faults.lock().unwrap().push(fault);
    }
}

fn git(dir: impl AsRef<str>, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir.as_ref())
        .args(args)
        .env("HOME", dir.as_ref())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .expect("these tests need git");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn serve(stream: &TcpStream, root: &str, faults: &Mutex<Vec<Fault>>) {
    let mut reader = BufReader::new(stream);
    let mut out = stream;
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_string()),
        }
    }
    let header = |name: &str| {
        lines[1..].iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_string())
        })
    };
    let mut request = lines[0].split(' ');
    let (method, target) = (request.next().unwrap(), request.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let length: u64 = header("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body).unwrap();

    let fault = {
        let mut faults = faults.lock().unwrap();
        let applies = match faults.first() {
            Some(Fault::LoseAnswer) => method == "POST",
            Some(_) => true,
            None => false,
        };
        applies.then(|| faults.remove(0))
    };
    match fault {
        Some(Fault::Answer(answer)) => {
            let _ = out.write_all(answer.as_bytes());
            return;
        }
        Some(Fault::Hang) => {
            std::thread::sleep(Duration::from_secs(30));
            return;
        }
        _ => {}
    }
    let expected = format!("Basic {}", base64(&format!("x-access-token:{TOKEN}")));
    if header("authorization") != Some(expected) {
        let _ = out.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 17\r\n\r\nbad credentials.\n");
        return;
    }
    let mut backend = Command::new("git")
        .args(["-c", "core.compression=0", "http-backend"])
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", root)
        .env("REMOTE_USER", "x-access-token")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", length.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = backend.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&body));
    let answer = backend.wait_with_output().unwrap().stdout;
    let _ = writer.join().unwrap();
    if fault == Some(Fault::LoseAnswer) {
        let _ = stream.shutdown(Shutdown::Both);
        return;
    }
    let text = String::from_utf8_lossy(&answer);
    let status = text.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    let _ = out.write_all(format!("HTTP/1.1 {status}\r\nConnection: close\r\n").as_bytes());
    let _ = out.write_all(&answer);
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl LogSink for Lines {
    fn log(&self, level: LogLevel, message: &str) {
        self.0.lock().unwrap().push(format!("{level:?} {message}"));
    }
}

struct Case {
    server: Server,
    dir: tempfile::TempDir,
    lines: Arc<Lines>,
    request: PushRequest,
}

impl Case {
    fn new() -> Self {
        let server = Server::start();
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(Utf8Path::from_path(dir.path()).unwrap()).unwrap();
        workspace.write("README.md", b"# hello\n", 0o644).unwrap();
        workspace.write("bin/run", b"#!/bin/sh\n", 0o755).unwrap();
        workspace.symlink("README.md", "link").unwrap();
        workspace.write(".gitignore", b"*.log\n", 0o644).unwrap();
        workspace.write("x.log", b"", 0o644).unwrap();
        let request = PushRequest {
            dir: workspace,
            remote_url: server.url(),
            username: "x-access-token".into(),
            password: Secret::new(TOKEN),
            branch: "main".into(),
            message: "initial commit".into(),
            author: Author { name: "Scaffolder".into(), email: "scaffolder@backstage.io".into() },
            time: SystemTime::now(),
            timeout: Duration::from_secs(60),
        };
        Self { server, dir, lines: Arc::default(), request }
    }

    async fn push(&self) -> Result<String, String> {
        let log = ActionLogger::new(self.lines.clone());
        let result = init_and_push(self.request.clone(), &log, &CancellationToken::new(), async || Ok(()))
            .await
            .map(|pushed| pushed.commit);
        let texts = format!("{result:?} {:?}", self.log());
        for secret in [TOKEN, &base64(&format!("x-access-token:{TOKEN}"))] {
            assert!(!texts.contains(secret), "{texts}");
        }
        result.map_err(|error| error.to_string())
    }

    fn log(&self) -> Vec<String> {
        self.lines.0.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_directory_becomes_a_branch() {
    let case = Case::new();
    let commit = case.push().await.unwrap();
    let repository = case.server.repository();
    assert_eq!(git(&repository, &["rev-parse", "main"]).trim(), commit);
    git(&repository, &["fsck", "--strict"]);
    assert_eq!(
        git(&repository, &["ls-tree", "-r", "--format=%(objectmode) %(path)", "main"]).lines().collect::<Vec<_>>(),
        ["100644 .gitignore", "100644 README.md", "100755 bin/run", "120000 link"]
    );
    assert_eq!(git(&repository, &["show", "main:README.md"]), "# hello\n");
    let root = case.request.dir.root();
    let log = case.log();
    let infos: Vec<_> = log.iter().filter(|line| line.starts_with("Info") && !line.contains("remote:")).collect();
    assert_eq!(
        infos,
        [
            &format!("Info Init git repository {{dir={root}}}"),
            &format!("Info Adding file {{dir={root},filepath=.}}"),
            &format!("Info Committing file to repo {{dir={root},message=initial commit}}"),
            &format!("Info Pushing directory to remote {{dir={root},remote=origin}}"),
        ]
    );
    // Nothing is left beside the files.
    assert_eq!(std::fs::read_dir(case.dir.path()).unwrap().count(), 5);
}

#[tokio::test]
async fn an_existing_branch_is_not_overwritten() {
    let mut case = Case::new();
    let commit = case.push().await.unwrap();
    // The same commit is not another one.
    assert_eq!(case.push().await.unwrap(), commit);
    case.request.message = "another".into();
    let error = case.push().await.unwrap_err();
    assert_eq!(
        error,
        format!(
            "ConflictError: the branch 'main' of {} exists already (at {commit}) and is not overwritten; choose another \
             branch or repository, or delete the branch",
            case.server.url()
        )
    );
    case.request.branch = "other".into();
    case.push().await.unwrap();
}

#[tokio::test]
async fn refusals_tell_what_to_do_and_are_not_retried() {
    let mut case = Case::new();
    for (answer, text) in [
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 33\r\n\r\nPermission to o/r.git denied to x",
            "403 Forbidden (Permission to o/r.git denied to x); the token may not push to this repository",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: https://u:p@evil.example.com/x\r\nContent-Length: 0\r\n\r\n",
            "it redirects to https://evil.example.com/x, which is not followed with credentials",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
            "is not a git repository that can be pushed to: it answered with content of type 'text/html'",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-receive-pack-advertisement\r\nContent-Length: 6\r\n\r\n<html>",
            "does not speak git's smart HTTP protocol",
        ),
    ] {
        case.server.fault(Fault::Answer(answer));
        let error = case.push().await.unwrap_err();
        assert!(error.contains(text), "{error}");
        assert!(!case.log().iter().any(|line| line.contains("trying again")), "{:?}", case.log());
    }
    case.request.password = Secret::new("wrong");
    let error = case.push().await.unwrap_err();
    assert!(error.contains("401 Unauthorized (bad credentials.); the token was not accepted"), "{error}");
    case.request.branch = "a..b".into();
    assert_eq!(case.push().await.unwrap_err(), "Error: 'a..b' is not a name git allows for a branch");
    case.request.remote_url = "file:///etc".into();
    case.request.branch = "main".into();
    assert_eq!(case.push().await.unwrap_err(), "Error: the remote URL is not an http or https URL");
}

#[tokio::test]
async fn a_hook_can_refuse() {
    use std::os::unix::fs::PermissionsExt as _;
    let case = Case::new();
    let hook = case.server.repository().join("hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\necho policy: no pushes on Sundays >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = case.push().await.unwrap_err();
    assert!(error.contains("refused the branch 'main': pre-receive hook declined"), "{error}");
    assert!(case.log().contains(&"Info remote: policy: no pushes on Sundays".to_string()), "{:?}", case.log());
}

#[tokio::test]
async fn a_bad_moment_is_waited_out() {
    let case = Case::new();
    case.server.fault(Fault::Answer("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"));
    let commit = case.push().await.unwrap();
    assert_eq!(git(case.server.repository(), &["rev-parse", "main"]).trim(), commit);
    let warnings: Vec<_> = case.log().into_iter().filter(|line| line.starts_with("Warn")).collect();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("503 Service Unavailable; trying again in 2."), "{warnings:?}");
}

#[tokio::test]
async fn a_lost_answer_is_found_again() {
    let case = Case::new();
    case.server.fault(Fault::LoseAnswer);
    let commit = case.push().await.unwrap();
    assert_eq!(git(case.server.repository(), &["rev-parse", "main"]).trim(), commit);
}

#[tokio::test]
async fn a_silent_server_is_given_up_on() {
    let mut case = Case::new();
    case.server.fault(Fault::Hang);
    case.request.timeout = Duration::from_millis(500);
    let error = case.push().await.unwrap_err();
    assert!(error.contains("did not finish within"), "{error}");
}

#[tokio::test]
async fn a_right_that_ends_while_the_commit_is_made_ends_the_push() {
    let case = Case::new();
    let log = ActionLogger::new(case.lines.clone());
    let lost = async || Err(ActionError::cancelled());
    let error = init_and_push(case.request.clone(), &log, &CancellationToken::new(), lost).await.unwrap_err();
    assert_eq!(error.message(), "the task was cancelled");
    // The branch is free.
    case.push().await.unwrap();
}

#[tokio::test]
async fn cancelling_ends_a_push() {
    let case = Case::new();
    case.server.fault(Fault::Hang);
    let cancel = CancellationToken::new();
    let log = ActionLogger::new(case.lines.clone());
    let push = init_and_push(case.request.clone(), &log, &cancel, async || Ok(()));
    let (result, ()) = tokio::join!(push, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancel.cancel();
    });
    assert_eq!(result.unwrap_err().message(), "the task was cancelled");
}
