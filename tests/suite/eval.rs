//! `understudy eval` as a filter in a pipe: a hundred thousand lines through one process.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{TempDir, binary};

const LINES: usize = 100_000;
/// The most memory that the process may have had, in KiB. What it reads and writes is many times as much.
const MAX_MEMORY: u64 = 160 * 1024;

fn start(dir: &TempDir) -> Child {
    Command::new(binary())
        .arg("eval")
        .current_dir(&dir.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs")
}

/// The line of a number: every fifth is a mistake of some kind.
fn line(index: usize) -> Vec<u8> {
    let request =
        |template: &str| json!({"template": template, "context": {"i": index, "text": "y".repeat(index % 500)}});
    let request = match index % 25 {
        0 => return b"no request".to_vec(),
        5 => return b"\xff\xfe{\"template\":\"x\"}".to_vec(),
        10 => request("${{ i | }}"),
        15 => request("${{ i | nothing }}"),
        20 if index % 10_000 == 20 => {
            request("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}")
        }
        20 => request("{% macro m() %}${{ m() }}{% endmacro %}${{ m() }}"),
        1..5 => request("${{ i + 1 }}"),
        _ => request("${{ text }}${{ i }}"),
    };
    request.to_string().into_bytes()
}

fn check(index: usize, answer: &Value) {
    let error = &answer["error"];
    match index % 25 {
        0 | 5 => assert!(error["message"].is_string() && error["line"].is_null(), "{index}: {answer}"),
        10 | 15 => assert!(error["line"] == 1 && error["column"].is_u64(), "{index}: {answer}"),
        20 => assert!(error["message"].as_str().is_some_and(|text| text.contains("exceeded the")), "{index}: {answer}"),
        1..5 => assert_eq!(answer["value"], index + 1),
        _ => assert_eq!(answer["value"], format!("{}{index}", "y".repeat(index % 500))),
    }
}

/// The most memory a process had so far, in KiB.
fn peak_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[test]
fn a_hundred_thousand_lines_are_answered_in_order_by_one_process() {
    let dir = TempDir::new();
    let mut child = start(&dir);
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let mut lines = Vec::new();
        for index in 0..LINES {
            lines.extend(line(index));
            lines.push(b'\n');
            if lines.len() > 1 << 16 {
                input.write_all(&lines).unwrap();
                lines.clear();
            }
        }
        input.write_all(&lines).unwrap();
        input
    });
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for index in 0..LINES {
        if index == LINES / 2 {
            // Someone who reads slowly makes it wait, not collect.
            std::thread::sleep(Duration::from_millis(500));
        }
        let answer = answers.next().unwrap_or_else(|| panic!("no answer to line {index}")).unwrap();
        check(index, &serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{index}: {error}: {answer}")));
    }
    // The input is still open, so the process is still there.
    let input = writer.join().unwrap();
    if let Some(memory) = peak_memory(child.id()) {
        assert!(memory < MAX_MEMORY, "{memory} KiB");
    }
    drop(input);
    assert!(answers.next().is_none(), "there is one answer a line");
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_answer_comes_before_the_next_line_is_there() {
    let dir = TempDir::new();
    let mut child = start(&dir);
    let mut input = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for index in 0..30 {
        input.write_all(&line(index)).unwrap();
        input.write_all(b"\n").unwrap();
        check(index, &serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap());
    }
    // The last line needs no end.
    input.write_all(&line(31)).unwrap();
    drop(input);
    check(31, &serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap());
    assert!(child.wait().unwrap().success());
}

/// Who has read enough goes, as `head` does: then the process ends, and not with an error.
#[test]
fn it_ends_when_nobody_reads_any_more() {
    let dir = TempDir::new();
    let mut child = start(&dir);
    let mut input = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    input.write_all(b"{\"template\":\"x\"}\n").unwrap();
    assert_eq!(answers.next().unwrap().unwrap(), r#"{"value":"x"}"#);
    drop(answers);
    let writer = std::thread::spawn(move || {
        // Far more than a pipe holds; once the process has gone, writing fails.
        (0..LINES).take_while(|index| input.write_all(&[line(*index), b"\n".to_vec()].concat()).is_ok()).count()
    });
    let status = child.wait().unwrap();
    assert!(writer.join().unwrap() < LINES, "nobody has read it all");
    assert_eq!(status.code(), Some(0), "{status}");
}
