//! Git over HTTPS: `git http-backend`, run as CGI.

use std::{io, process::Stdio};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue},
    },
    rt, web,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::{Error, Result};

/// No header block of a CGI program is longer.
const LONGEST_HEADER: usize = 64 << 10;
const CHUNK: usize = 64 << 10;

/// Runs `command` for a request and streams its answer. `path` is `PATH_INFO`; `done` is called when it has ended.
pub(super) async fn run(
    mut command: Command,
    request: &HttpRequest,
    payload: web::Payload,
    path: &str,
    user: Option<&str>,
    done: impl AsyncFnOnce() + 'static,
) -> Result<HttpResponse> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    command.env("GATEWAY_INTERFACE", "CGI/1.1").env("SERVER_PROTOCOL", "HTTP/1.1");
    command.env("REQUEST_METHOD", request.method().as_str()).env("PATH_INFO", path);
    command.env("QUERY_STRING", request.query_string()).env("REMOTE_ADDR", "127.0.0.1");
    // Without a length the program reads to the end, which is what a chunked body needs.
    for (variable, name) in [
        ("CONTENT_TYPE", "content-type"),
        ("CONTENT_LENGTH", "content-length"),
        ("HTTP_CONTENT_ENCODING", "content-encoding"),
        ("GIT_PROTOCOL", "git-protocol"),
    ] {
        if let Some(value) = header(name) {
            command.env(variable, value);
        }
    }
    if let Some(user) = user {
        command.env("REMOTE_USER", user);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(Error::io("starting git http-backend"))?;
    if let Some(stdin) = child.stdin.take() {
        rt::spawn(feed(payload, stdin));
    }
    let stdout = child.stdout.take().ok_or_else(|| Error::unexpected("git http-backend", "it has no output"))?;
    let mut stdout = BufReader::with_capacity(CHUNK, stdout);
    let mut response = head(&mut stdout).await?;
    let body = futures_util::stream::unfold(Some((stdout, child, done)), |running| async {
        let (mut stdout, child, done) = running?;
        let mut chunk = BytesMut::with_capacity(CHUNK);
        match stdout.read_buf(&mut chunk).await {
            Ok(0) => {
                let ended = finish(child).await;
                done().await;
                ended.err().map(|error| (Err(error), None))
            }
            Ok(_) => Some((Ok(chunk.freeze()), Some((stdout, child, done)))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(response.streaming::<_, io::Error>(body))
}

async fn finish(mut child: Child) -> io::Result<Bytes> {
    let status = child.wait().await?;
    if status.success() {
        Ok(Bytes::new())
    } else {
        Err(io::Error::other(format!("git http-backend ended with {status}")))
    }
}

/// Copies the request's body; a program that stops reading has answered already.
async fn feed(mut payload: web::Payload, mut stdin: ChildStdin) {
    while let Some(Ok(chunk)) = payload.next().await {
        if stdin.write_all(&chunk).await.is_err() {
            break;
        }
    }
    // What is left has to be taken, else the client never reads the answer.
    drop(stdin);
    while let Some(Ok(_)) = payload.next().await {}
}

/// Reads the CGI header block.
async fn head(stdout: &mut (impl AsyncBufReadExt + Unpin)) -> Result<actix_web::HttpResponseBuilder> {
    let bad = |detail: String| Error::unexpected("the answer of git http-backend", detail);
    let mut response = HttpResponse::Ok();
    let mut read = 0;
    loop {
        let mut line = Vec::new();
        let count = stdout.read_until(b'\n', &mut line).await.map_err(Error::io("reading from git http-backend"))?;
        read += count;
        if count == 0 || read > LONGEST_HEADER {
            return Err(bad("its headers have no end".to_owned()));
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches(['\r', '\n']);
        if line.is_empty() {
            return Ok(response);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad(format!("no header: {line}")))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().and_then(|code| code.parse().ok());
            let status = code.and_then(|code| StatusCode::from_u16(code).ok());
            response.status(status.ok_or_else(|| bad(format!("no status: {value}")))?);
        } else if !name.eq_ignore_ascii_case("content-length") {
            let name = HeaderName::try_from(name).map_err(|error| bad(error.to_string()))?;
            let value = HeaderValue::from_str(value).map_err(|error| bad(error.to_string()))?;
            response.insert_header((name, value));
        }
    }
}
