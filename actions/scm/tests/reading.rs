//! Reading files and trees from a server that plays GitHub's API, its archive host and plain hosts.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use camino::Utf8Path;
use serde_json::json;
use understudy_scm::Scm;
use understudy_sdk::{Secret, Workspace};

/// Status line and headers, without the length, and the body.
struct Answer(String, Vec<u8>);

fn ok(body: impl Into<Vec<u8>>) -> Answer {
    Answer("200 OK".into(), body.into())
}

fn status(line: &str) -> Answer {
    Answer(line.into(), Vec::new())
}

fn redirect(to: &str) -> Answer {
    Answer(format!("302 Found\r\nLocation: {to}"), Vec::new())
}

type Handler = dyn Fn(&str, &str) -> Answer + Send + Sync;

struct Server {
    port: u16,
    /// `target authorization accept`, as they came.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `handler` gets its own address (`127.0.0.1:…`) and the target of the request.
    fn start(handler: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let (shared, handler): (_, Arc<Handler>) = (seen.clone(), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, handler) = (shared.clone(), handler.clone());
                std::thread::spawn(move || serve(&stream.unwrap(), port, &seen, &*handler));
            }
        });
        Self { port, seen }
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn serve(stream: &TcpStream, port: u16, seen: &Mutex<Vec<String>>, handler: &Handler) {
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
    let target = lines[0].split(' ').nth(1).unwrap().to_string();
    let header = |name: &str| {
        let found = lines[1..].iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_string())
        });
        found.unwrap_or_else(|| "-".into())
    };
    seen.lock().unwrap().push(format!("{target} {} {}", header("authorization"), header("accept")));
    let Answer(head, body) = handler(&format!("127.0.0.1:{port}"), &target);
    let _ = out.write_all(
        format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
    );
    let _ = out.write_all(&body);
}

fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, mode, content) in [
        ("o-r-0a1b/tpl/skeleton/README.md", 0o664, "${{ values.name }}"),
        ("o-r-0a1b/tpl/skeleton/run.sh", 0o775, "#!/bin/sh"),
        ("o-r-0a1b/other", 0o664, "x"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_cksum();
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    builder.append_link(&mut link, "o-r-0a1b/tpl/skeleton/out", "../../other").unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&builder.into_inner().unwrap()).unwrap();
    encoder.finish().unwrap()
}

/// GitHub with one repository; archives come from another host.
fn github() -> (Server, Server) {
    let archives = Server::start(|_, target| match target {
        "/archive?signed=1" => ok(archive()),
        _ => status("404 Not Found"),
    });
    let archive_host = archives.host();
    let api = Server::start(move |host, target| match target {
        "/api/repos/o/r" => ok(json!({"default_branch": "trunk"}).to_string()),
        "/api/repos/o/r/commits/main/status?per_page=0"
        | "/api/repos/o/r/commits/trunk/status?per_page=0"
        | "/api/repos/o/r/commits/feature/x/status?per_page=0" => ok(json!({
            "sha": "0a1b",
            "repository": {"archive_url": format!("http://{host}/api/repos/o/r/{{archive_format}}{{/ref}}")},
        })
        .to_string()),
        "/api/repos/o/r/tarball/0a1b" => redirect(&format!("http://{archive_host}/archive?signed=1")),
        "/api/repos/o/r/git/matching-refs/heads/feature/x" => {
            ok(json!([{"ref": "refs/heads/feature/x"}, {"ref": "refs/heads/feature/xy"}]).to_string())
        }
        "/api/repos/o/r/contents/a%20b/single.txt?ref=main" => ok("single"),
        "/api/repos/o/r/contents/single.txt?ref=feature%2Fx" => ok("from a branch"),
        "/api/repos/o/r/contents/limited?ref=main" => status("403 Forbidden\r\nX-RateLimit-Remaining: 0"),
        "/api/repos/o/r/contents/secret?ref=main" => status("401 Unauthorized"),
        "/api/repos/o/r/contents/huge?ref=main" => ok(vec![0; 10 * 1024 * 1024 + 1]),
        "/api/repos/o/old/contents/f?ref=main" => redirect("/api/repos/o/new/contents/f?ref=main"),
        "/api/repos/o/new/contents/f?ref=main" => ok("renamed"),
        "/api/repos/o/away/contents/f?ref=main" => redirect(&format!("http://{archive_host}/archive?signed=1")),
        _ => status("404 Not Found"),
    });
    (api, archives)
}

fn scm(api: &Server, extra: serde_json::Value) -> Scm {
    let mut config = json!({"integrations": {"github": [
        {"host": api.host(), "apiBaseUrl": format!("http://{}/api", api.host()), "token": "int-token"},
    ]}});
    config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    Scm::from_config(&config).unwrap()
}

#[tokio::test]
async fn github_files() {
    let (api, _archives) = github();
    let scm = scm(&api, json!({}));
    let host = api.host();
    let content = scm.read_file(&format!("http://{host}/o/r/blob/main/a%20b/single.txt"), None).await.unwrap();
    assert_eq!(content, b"single");
    assert_eq!(
        api.seen(),
        ["/api/repos/o/r/contents/a%20b/single.txt?ref=main Bearer int-token application/vnd.github.v3.raw"]
    );
    let own = Secret::new("own-token");
    let content = scm.read_file(&format!("https://{host}/o/r/tree/feature/x/single.txt"), Some(&own)).await.unwrap();
    assert_eq!(content, b"from a branch");
    assert!(api.seen().iter().all(|line| line.contains(" Bearer own-token ")));
    let content = scm.read_file(&format!("https://{host}/o/old/blob/main/f"), None).await.unwrap();
    assert_eq!(content, b"renamed");

    for (path, message) in [
        (
            "o/r/blob/main/none",
            format!(
                "NotFoundError: Request failed for http://{host}/api/repos/o/r/contents/none?ref=main, 404 Not Found"
            ),
        ),
        (
            "o/r/blob/main/limited",
            format!(
                "Error: Request failed for http://{host}/api/repos/o/r/contents/limited?ref=main, 403 Forbidden (rate limit \
                 exceeded)"
            ),
        ),
        (
            "o/r/blob/main/secret",
            format!(
                "Error: Request failed for http://{host}/api/repos/o/r/contents/secret?ref=main, 401 Unauthorized (the \
                 token was not accepted)"
            ),
        ),
        (
            "o/r/blob/main/huge",
            format!(
                "Error: Unable to read http://{host}/api/repos/o/r/contents/huge?ref=main, it is larger than 10485760 \
                 bytes, which is the limit"
            ),
        ),
        ("o/r", format!("Error: Incorrect URL: https://{host}/o/r, Error: Invalid GitHub URL or file path")),
        (
            "o/r/blob/main",
            format!("Error: Incorrect URL: https://{host}/o/r/blob/main, Error: Invalid GitHub URL or file path"),
        ),
    ] {
        let error = scm.read_file(&format!("https://{host}/{path}"), None).await.unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let error = scm.read_file(&format!("https://{host}/o/away/blob/main/f"), None).await.unwrap_err();
    assert!(error.to_string().starts_with("NotAllowedError: The host redirects to http://127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn github_trees() {
    let (api, archives) = github();
    let scm = scm(&api, json!({}));
    let dir = tempfile::tempdir().unwrap();
    let workspace = Workspace::open(Utf8Path::from_path(dir.path()).unwrap()).unwrap();
    for (index, part) in ["/tree/main/tpl/skeleton", "/tree/feature/x/tpl/skeleton/"].iter().enumerate() {
        let target = format!("out/{index}");
        let url = format!("https://{}/o/r{part}", api.host());
        let summary = scm.read_tree(&url, None, &workspace, &target).await.unwrap();
        assert_eq!(summary.files, 2);
        assert_eq!(summary.warnings, ["The link out was left out: it leads outside, to ../../other"]);
        let files: Vec<_> = workspace
            .walk(&target)
            .unwrap()
            .into_iter()
            .map(|entry| format!("{} {}", entry.path, entry.mode & 0o100 != 0))
            .collect();
        assert_eq!(files, [format!("{target}/README.md false"), format!("{target}/run.sh true")]);
        let seen = api.seen();
        assert!(seen.last().unwrap().starts_with("/api/repos/o/r/tarball/0a1b Bearer int-token"), "{seen:?}");
        // The token stays with the API.
        assert_eq!(archives.seen(), ["/archive?signed=1 - */*"]);
    }
    let summary = scm.read_tree(&format!("https://{}/o/r", api.host()), None, &workspace, "all").await.unwrap();
    assert_eq!((summary.files, summary.warnings.len()), (3, 0));
    assert!(workspace.exists("all/tpl/skeleton/out").unwrap());

    let url = format!("https://{}/o/r/tree/main/nowhere", api.host());
    let error = scm.read_tree(&url, None, &workspace, "none").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("NotFoundError: There is no directory 'nowhere' in o/r at main, as {url} asks for")
    );
    let url = format!("https://{}/o/r/tree/gone/x", api.host());
    let error = scm.read_tree(&url, None, &workspace, "none").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "NotFoundError: Request failed for http://{}/api/repos/o/r/commits/gone/status?per_page=0, 404 Not Found",
            api.host()
        )
    );
    let error = scm.read_tree(&format!("https://{}/o/r", api.host()), None, &workspace, "../up").await.unwrap_err();
    assert!(error.to_string().starts_with("NotAllowedError: Relative path is not allowed"), "{error}");
}

#[tokio::test]
async fn plain_hosts() {
    let other = Server::start(|_, target| match target {
        "/ok" => ok("other"),
        _ => status("404 Not Found"),
    });
    let forbidden = Server::start(|_, _| ok("never to be read"));
    let (other_host, forbidden_host) = (other.host(), forbidden.host());
    let plain = Server::start(move |_, target| match target {
        "/a/file?q=1" => ok("plain"),
        "/a/here" => redirect("/a/file?q=1"),
        "/a/there" => redirect(&format!("http://{other_host}/ok")),
        "/a/loop" => redirect("/a/loop"),
        "/a/internal" => redirect(&format!("http://{forbidden_host}/latest/meta-data")),
        "/a/up" => redirect("/b"),
        _ => status("404 Not Found"),
    });
    let (api, _archives) = github();
    let allow = json!([{"host": plain.host(), "paths": ["/a"]}, {"host": other.host()}]);
    let scm = scm(&api, json!({"backend": {"reading": {"allow": allow}}}));
    let host = plain.host();
    let token = Secret::new("own-token");
    let read = async |path: &str| scm.read_file(&format!("http://{host}{path}"), Some(&token)).await;
    assert_eq!(read("/a/file?q=1").await.unwrap(), b"plain");
    assert_eq!(read("/a/here").await.unwrap(), b"plain");
    assert_eq!(read("/a/there").await.unwrap(), b"other");
    assert_eq!(other.seen(), ["/ok - */*"]);
    assert!(plain.seen().iter().all(|line| line.contains(" Bearer own-token ")));
    for (path, message) in [
        ("/a/none", format!("NotFoundError: could not read http://{host}/a/none, 404 Not Found")),
        ("/a/loop", format!("Error: Too many redirects (max 5) when reading http://{host}/a/loop")),
        ("/b", not_allowed(&format!("http://{host}/b"))),
        ("/a/up", redirect_not_allowed(&format!("http://{host}/b"))),
        ("/a/internal", redirect_not_allowed(&format!("http://{}/latest/meta-data", forbidden.host()))),
    ] {
        assert_eq!(read(path).await.unwrap_err().to_string(), message);
    }
    assert!(forbidden.seen().is_empty());
    for url in ["https://example.com/x", "ftp://github.com/o/r", "file:///etc/passwd"] {
        assert_eq!(scm.read_file(url, None).await.unwrap_err().to_string(), not_allowed(url));
    }
    let dir = tempfile::tempdir().unwrap();
    let workspace = Workspace::open(Utf8Path::from_path(dir.path()).unwrap()).unwrap();
    let error = scm.read_tree(&format!("http://{host}/a/x"), None, &workspace, "x").await.unwrap_err();
    assert!(error.message().starts_with("FetchUrlReader does not implement readTree"), "{error}");
    assert!(!workspace.exists("x").unwrap());
}

fn not_allowed(url: &str) -> String {
    format!(
        "NotAllowedError: Reading from '{url}' is not allowed. You may need to configure an integration for the target \
         host, or add it to the configured list of allowed hosts at 'backend.reading.allow'"
    )
}

fn redirect_not_allowed(url: &str) -> String {
    format!("Error: URL not allowed by backend.reading.allow configuration: {url}")
}

#[tokio::test]
async fn user_credentials_can_be_required() {
    let (api, _archives) = github();
    let scm = scm(&api, json!({"scaffolder": {"requireScmUserCredentials": true}}));
    let url = format!("https://{}/o/r/blob/main/a%20b/single.txt", api.host());
    assert_eq!(
        scm.read_file(&url, None).await.unwrap_err().to_string(),
        format!(
            "InputError: No user credentials provided for host {}, but scaffolder.requireScmUserCredentials is enabled",
            api.host()
        )
    );
    assert!(api.seen().is_empty());
    assert!(scm.read_file(&url, Some(&Secret::new("own"))).await.is_ok());
    assert!(scm.as_service().read_file(&url, None).await.is_ok());
}

#[tokio::test]
async fn an_integration_with_apps_only_is_not_read_anonymously() {
    let (api, _archives) = github();
    let config = json!({"integrations": {"github": [{
        "host": api.host(), "apiBaseUrl": format!("http://{}/api", api.host()), "apps": [{"appId": 1, "privateKey": "pem"}],
    }]}});
    let scm = Scm::from_config(&config).unwrap();
    let error = scm.read_file(&format!("https://{}/o/r/blob/main/single.txt", api.host()), None).await.unwrap_err();
    assert!(error.message().contains("its privateKey can't be used: it is not a private key in PEM"), "{error}");
    assert!(api.seen().is_empty());
}
