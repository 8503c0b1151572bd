//! Clients that are slow, greedy or gone, at real sockets: the service goes on serving the others, with bounded memory.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use understudy_testbed::process::ServiceOptions;

use crate::support::{Running, TASKS, TempDir, binary, locations, template, write};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service whose patience with clients is short.
async fn impatient() -> Running {
    let config = "backend: {server: {headersTimeout: 400, requestTimeout: 600, keepAliveTimeout: 300, timeout: 500}}";
    Running::with(ServiceOptions::new(binary()).config(config)).await
}

async fn connect(running: &Running) -> TcpStream {
    TcpStream::connect(("127.0.0.1", running.service.port())).await.expect("the service accepts connections")
}

/// Sends a piece every now and then until the service closes the connection; gives what it answered.
async fn trickle(mut stream: TcpStream, piece: &'static [u8]) -> String {
    let answer = async {
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match timeout(Duration::from_millis(50), stream.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => return answer,
                Ok(Ok(read)) => answer.extend_from_slice(&buffer[..read]),
                // Nothing yet. That sending fails is seen by the next read.
                Err(_) => drop(stream.write_all(piece).await),
            }
        }
    };
    let answer = timeout(PATIENCE, answer).await.expect("the service lets a slow client keep its connection");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads an answer's head and as much of its body as its length says.
async fn read_answer(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let body = &bytes[end + 4..];
            if body.len() >= length.unwrap_or(0) {
                return (head, body.to_vec());
            }
        }
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await.expect("an answer in time").expect("an answer");
        assert_ne!(read, 0, "the connection ended after {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&buffer[..read]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_requests_are_ended_and_others_served() {
    let running = impatient().await;
    let mut slow = Vec::new();
    for number in 0..100 {
        let mut stream = connect(&running).await;
        // A head that never ends, a head that never begins, a body that never ends.
        let piece: &[u8] = match number % 3 {
            0 => {
                stream.write_all(b"GET /.backstage/health/v1/liveness HTTP/1.1\r\nhost: x\r\n").await.unwrap();
                b"x-a: b\r\n"
            }
            1 => b"",
            _ => {
                let head = format!(
                    "POST {TASKS} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n{{"
                );
                stream.write_all(head.as_bytes()).await.unwrap();
                b" "
            }
        };
        slow.push((number % 3, tokio::spawn(trickle(stream, piece))));
    }
    for _ in 0..20 {
        assert_eq!(running.get(TASKS).await.status, 200);
    }
    for (kind, client) in slow {
        let answer = client.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408"), "{kind}: {answer:?}");
        if kind == 2 {
            assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
            assert!(answer.contains("backend.server.requestTimeout"), "{answer}");
        }
    }
    running.stop().await;
}

/// The next head on a connection that is kept open has its time, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_second_request_is_ended() {
    let running = impatient().await;
    let mut stream = connect(&running).await;
    for _ in 0..2 {
        stream.write_all(b"GET /.backstage/health/v1/liveness HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let (head, _) = read_answer(&mut stream).await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
    }
    stream.write_all(b"GET /.backstage/health/v1/liveness HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    assert_eq!(trickle(stream, b"x-a: b\r\n").await, "");
    running.stop().await;
}

/// A client that reads a large answer slowly gets all of it, though it takes longer than connections are kept open.
#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_get_everything() {
    let dir = TempDir::new();
    write(dir.path.join("form.yaml"), template("form", &json!([])));
    let running = Running::with(
        ServiceOptions::new(binary())
            .config("backend: {server: {headersTimeout: 2000, keepAliveTimeout: 300, timeout: 60s}}")
            .config(locations(&[&dir.path.join("form.yaml")])),
    )
    .await;
    let id = running.create_task(&json!({"templateRef": "form", "values": {"text": "x".repeat(6 << 20)}})).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut stream = socket.connect(([127, 0, 0, 1], running.service.port()).into()).await.unwrap();
    stream.write_all(format!("GET {TASKS}/{id} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 512 << 10];
    // 60 pauses are more than the connection's idle time and the time for a head together.
    let mut pauses = 60;
    loop {
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await.expect("more in time").expect("more");
        assert_ne!(read, 0, "the connection ended after {} bytes", bytes.len());
        bytes.extend_from_slice(&buffer[..read]);
        if let Some(end) = bytes.windows(4).take(4096).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let length = length.expect("a length");
            assert!(length > 6 << 20, "the answer holds the text: {head}");
            if bytes.len() >= end + 4 + length {
                break;
            }
        }
        if pauses > 0 {
            pauses -= 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert_eq!(pauses, 0, "the answer came too fast for this test");
    running.stop().await;
}

/// Bodies beyond 10 MiB, announced, in pieces or packed, are refused in upstream's words, and not kept.
#[tokio::test(flavor = "multi_thread")]
async fn oversized_bodies_are_refused() {
    let running = Running::start("{}").await;
    let before = running.service.memory().unwrap().peak_kib;
    for path in [TASKS, "/api/scaffolder/v2/dry-run", "/api/scaffolder/v2/autocomplete/github/x"] {
        let body = json!({"templateRef": "x", "values": {"blob": "x".repeat(11 << 20)}});
        let answer = running.post(path, &body).await;
        assert_eq!((answer.status, answer.error_message().as_str()), (400, "request entity too large"), "{path}");
        assert_eq!(answer.json().unwrap()["error"]["name"], "InputError");
    }
    // In pieces, without a length.
    let mut stream = connect(&running).await;
    let head = format!(
        "POST {TASKS} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20));
    for _ in 0..12 {
        stream.write_all(piece.as_bytes()).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let (head, body) = read_answer(&mut stream).await;
    assert!(head.starts_with("http/1.1 400"), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("request entity too large"));
    // A gigabyte, packed into a megabyte.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..1024 {
        packed.write_all(&[b' '; 1 << 20]).unwrap();
    }
    let packed = packed.finish().unwrap();
    let answer = running
        .service
        .client()
        .request(reqwest::Method::POST, TASKS)
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(packed)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 400);
    assert!(answer.text().await.unwrap().contains("request entity too large"));
    let grown = (running.service.memory().unwrap().peak_kib - before) / 1024;
    println!("oversized bodies: peak RSS grew by {grown} MiB");
    assert!(grown < 120, "peak RSS grew by {grown} MiB");
    running.stop().await;
}

/// Every documented route names the query parameter that it doesn't know.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_query_parameters_are_refused() {
    let running = Running::start("{}").await;
    let document = running.get("/api/scaffolder/openapi.json").await.json().unwrap();
    let mut checked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        // Not part of upstream's description, so it takes any query.
        let is_lenient = path.ends_with("/eventstream");
        if !path.contains("/scaffolder/v2/") || is_lenient {
            continue;
        }
        let path =
            path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/");
        for method in operations.as_object().unwrap().keys() {
            let body = (method == "post").then_some("{\"templateRef\":\"x\",\"values\":{},\"template\":{},\"directoryContents\":[],\"token\":\"x\",\"context\":{}}");
            let content = [("content-type".to_string(), "application/json".to_string())];
            let answer = running.request(&method.to_uppercase(), &format!("{path}?nonsense=1"), &content, body).await;
            assert_eq!(
                (answer.status, answer.error_message().as_str()),
                (400, "Unknown query parameter 'nonsense'"),
                "{method} {path}"
            );
            checked += 1;
        }
    }
    assert!(checked >= 10, "only {checked} operations are documented");
    running.stop().await;
}

/// A template whose only step writes `lines` lines of about 10 KB.
fn talkative(dir: &TempDir, lines: usize) -> String {
    let message = format!("${{{{ each.value }}}} {}", "x".repeat(10_000));
    let steps = json!([
        {"id": "first", "name": "First", "action": "debug:wait", "input": {"seconds": 2}},
        {"id": "log", "name": "Log", "each": (0..lines).collect::<Vec<_>>(), "action": "debug:log", "input": {"message": message}},
    ]);
    write(dir.path.join("talkative.yaml"), template("talkative", &steps));
    locations(&[&dir.path.join("talkative.yaml")])
}

/// Opens the event stream of a task at a socket that takes little.
async fn subscribe(running: &Running, id: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut stream = socket.connect(([127, 0, 0, 1], running.service.port()).into()).await.unwrap();
    stream.write_all(format!("GET {TASKS}/{id}/eventstream HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    stream
}

/// The ids of the events in what was read of a stream, and whether its completion is among them.
fn events_in(text: &str) -> (Vec<i64>, bool) {
    let frames = text.split("event: ").skip(1).filter_map(|frame| {
        let data: String = frame.split_once("data: ")?.1.lines().next()?.into();
        serde_json::from_str::<Value>(&data).ok()
    });
    let events: Vec<Value> = frames.collect();
    let ids = events.iter().filter_map(|event| event["id"].as_i64()).collect();
    (ids, events.iter().any(|event| event["type"] == "completion"))
}

/// Subscribers that stop reading cost little, hold nobody up, and get the rest when they read again.
#[tokio::test(flavor = "multi_thread")]
async fn subscribers_that_stop_reading_hold_nobody_up() {
    let dir = TempDir::new();
    let running = Running::start(&talkative(&dir, 1000)).await;
    let id = running.create_task(&json!({"templateRef": "talkative", "values": {}})).await;
    let before = running.service.memory().unwrap().current_kib;
    let mut stuck = Vec::new();
    for _ in 0..30 {
        stuck.push(subscribe(&running, &id).await);
    }
    let mut reader = running.service.client().events(&format!("{TASKS}/{id}/eventstream")).await.unwrap();
    let seen = reader.until(PATIENCE, |frame| frame.name() == "completion").await.unwrap();
    assert!(seen.len() > 1000, "{} events", seen.len());
    running.finish(&id, PATIENCE).await;
    let grown = running.service.memory().unwrap().peak_kib.saturating_sub(before) / 1024;
    println!("30 subscribers that don't read a log of 20 MB: peak RSS grew by {grown} MiB");
    assert!(grown < 200, "peak RSS grew by {grown} MiB");
    // One goes on reading, and misses nothing.
    let mut resumed = stuck.pop().unwrap();
    let mut text = Vec::new();
    timeout(PATIENCE, async {
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = resumed.read(&mut buffer).await.expect("the stream goes on");
            text.extend_from_slice(&buffer[..read]);
            if read == 0 || text.ends_with(b"0\r\n\r\n") {
                return;
            }
        }
    })
    .await
    .expect("the whole stream in time");
    let (ids, is_complete) = events_in(&unchunked(&text));
    let all: Vec<i64> = seen.iter().filter_map(|frame| frame.json().ok()?["id"].as_i64()).collect();
    assert_eq!(ids, all);
    assert!(is_complete);
    running.stop().await;
}

/// The body of an answer that came in chunks.
fn unchunked(bytes: &[u8]) -> String {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    let (mut rest, mut body) = (&bytes[end..], Vec::new());
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).expect("a chunk's length");
        let from = line + 2;
        if length == 0 || rest.len() < from + length + 2 {
            break;
        }
        body.extend_from_slice(&rest[from..from + length]);
        rest = &rest[from + length + 2..];
    }
    String::from_utf8(body).expect("UTF-8")
}

/// A subscriber that takes nothing for longer than `backend.server.timeout` loses its connection.
#[tokio::test(flavor = "multi_thread")]
async fn subscribers_that_never_read_again_are_dropped() {
    let dir = TempDir::new();
    let running = Running::with(
        ServiceOptions::new(binary()).config("backend: {server: {timeout: 500}}").config(talkative(&dir, 1000)),
    )
    .await;
    let id = running.create_task(&json!({"templateRef": "talkative", "values": {}})).await;
    let stuck = subscribe(&running, &id).await;
    running.finish(&id, PATIENCE).await;
    let local = stuck.local_addr().unwrap().port();
    timeout(PATIENCE, async {
        while established(running.service.port(), local) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the connection of a subscriber that does not read is dropped");
    running.stop().await;
}

/// Whether the service still holds its end of a connection (`/proc/net/tcp`).
fn established(service: u16, client: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let (ours, theirs) = (format!(":{service:04X}"), format!(":{client:04X}"));
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // 01 is ESTABLISHED.
        fields.len() > 3 && fields[1].ends_with(&ours) && fields[2].ends_with(&theirs) && fields[3] == "01"
    })
}

/// Compressed streams are flushed with each event: a browser sees the first line while the task still runs.
#[tokio::test(flavor = "multi_thread")]
async fn compressed_streams_are_flushed() {
    let dir = TempDir::new();
    let steps = json!([
        {"id": "log", "name": "Log", "action": "debug:log", "input": {"message": "early"}},
        {"id": "wait", "name": "Wait", "action": "debug:wait", "input": {"minutes": 5}},
    ]);
    write(dir.path.join("waiting.yaml"), template("waiting", &steps));
    let running = Running::start(&locations(&[&dir.path.join("waiting.yaml")])).await;
    let id = running.create_task(&json!({"templateRef": "waiting", "values": {}})).await;
    let mut answer = running
        .service
        .client()
        .request(reqwest::Method::GET, &format!("{TASKS}/{id}/eventstream"))
        .header("accept-encoding", "gzip, deflate, br")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let mut packed = Vec::new();
    let seen = async {
        loop {
            packed.extend_from_slice(&answer.chunk().await.unwrap().expect("the stream goes on"));
            let mut text = String::new();
            // An error says that more is to come.
            let _ = flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text);
            if text.contains("early") {
                return;
            }
        }
    };
    timeout(PATIENCE, seen).await.expect("the first line comes before the task is over");
    assert_eq!(running.task(&id).await["status"], "processing");
    running.post(&format!("{TASKS}/{id}/cancel"), &json!({})).await;
    running.finish(&id, PATIENCE).await;
    running.stop().await;
}
