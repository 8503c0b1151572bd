//! Sends recorded requests again, with the ids of this run in place of the recorded ones.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Outcome, Transcript,
    compare::{Normaliser, difference},
};
use crate::support::{Reply, Running};

const TASKS: &str = "/api/scaffolder/v2/tasks";

/// What is known of a set of transcripts besides the transcripts.
#[derive(Debug)]
pub(crate) struct Set {
    /// Its file's name.
    pub(crate) name: &'static str,
    /// Tasks that were created before the transcripts that speak of them, by requests that are not among the transcripts:
    /// id, template, values, secrets.
    earlier: &'static [(&'static str, &'static str, &'static str, &'static str)],
    /// Requests that were sent before a transcript and are not among the transcripts: file, path with the recorded task.
    unrecorded: &'static [(&'static str, &'static str)],
}

/// Without authentication.
pub(crate) const NOAUTH: Set = Set {
    name: "noauth",
    earlier: &[
        ("941c9abd-cb9c-4471-85c8-187b23eacfc0", "template:default/catalog-actions", "{}", "null"),
        ("312a1a6b-cab8-41f0-9608-47b78d0d4432", "template:default/secrets", "{}", r#"{"apiKey":"s3cr3t-value"}"#),
        ("f2511cc9-f76d-4a88-83d4-0eaa885657d6", "template:default/slow", r#"{"seconds":3}"#, "null"),
        ("71c97b92-1fa2-4e88-993a-08e887c782e4", "template:default/secrets", "{}", r#"{"apiKey":"abcdef"}"#),
        (
            "97511da9-68cc-4f74-9adc-df9020e317a9",
            "template:default/chatty",
            r#"{"pre":2,"list":["a","b","c"]}"#,
            "null",
        ),
    ],
    unrecorded: &[("191-eventstream-completed", "2961467d-a549-489c-a97f-9476965193a3/retry")],
};

/// With authentication and permissions; a static token for most requests, a user's for the `guest-` ones.
pub(crate) const AUTH: Set = Set {
    name: "auth",
    earlier: &[
        ("e8536337-6ab9-4f5f-9381-346ae546eaa8", "template:default/catalog-actions", "{}", "null"),
        ("759d4099-812f-4878-b068-7c43bdbc3db2", "template:default/secrets", "{}", r#"{"apiKey":"s3cr3t-value"}"#),
        ("4abd31d2-c7d4-498c-9883-10b6454b4565", "template:default/slow", r#"{"seconds":3}"#, "null"),
        ("c43a4205-6b4f-4d62-8fd8-fcd8aa208539", "template:default/secrets", "{}", r#"{"apiKey":"abcdef"}"#),
        (
            "011b4c51-bc46-4d08-9b14-a39bfde74004",
            "template:default/chatty",
            r#"{"pre":2,"list":["a","b","c"]}"#,
            "null",
        ),
        (GUESTS_TASK, "trivial", r#"{"n":1}"#, "null"),
    ],
    unrecorded: &[("191-eventstream-completed", "2b67d2d3-1aee-42d8-9fd0-392a50e72716/retry")],
};

/// The task that the user created.
const GUESTS_TASK: &str = "ad173f0f-68d3-463c-981c-db138d3e75df";

/// Transcripts before which the recorder waited until all was quiet.
const QUIET: &[&str] = &["406-list-while-processing-create", "409-queue-open-create"];

pub(crate) struct Replay<'s> {
    set: &'static Set,
    service: &'s Running,
    /// The user's token of this run.
    guest: String,
    names: Normaliser,
    /// Recorded task id → ours.
    tasks: Vec<(String, String)>,
}

impl<'s> Replay<'s> {
    pub(crate) fn new(set: &'static Set, service: &'s Running, templates: &str, guest: String) -> Self {
        let mut names = Normaliser::default();
        for (text, name) in [
            ("/peer/templates", "<templates>"),
            (templates, "<templates>"),
            ("/scratch", "<work>"),
            (service.working_directory().as_str(), "<work>"),
        ] {
            names.replace(text, name);
        }
        Self { set, service, guest, names, tasks: Vec::new() }
    }

    pub(crate) async fn run(&mut self, transcript: &Transcript) -> Outcome {
        let Some(request) = &transcript.request else { return self.too_large(transcript).await };
        self.make_earlier_task(&request.path).await;
        self.make_earlier_task(&request.body.to_string()).await;
        self.send_unrecorded(&transcript.file).await;
        let path = self.ours(&request.path).await;
        if let Err(problem) = self.prepare(transcript, &request.method, &path).await {
            return Outcome::Differs(problem);
        }
        let mut headers: Vec<(String, String)> = request
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), self.token(&transcript.file, value.as_str().unwrap_or_default())))
            .collect();
        let body = match &request.body {
            Value::Null => None,
            // A body that was sent as it stands: malformed JSON, a form, plain text.
            Value::String(text) if !text.starts_with('"') => Some(text.clone()),
            body => {
                if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                    headers.push(("Content-Type".into(), "application/json".into()));
                }
                Some(self.our_tasks(&body.to_string()))
            }
        };
        let answer = self.service.request(&request.method, &path, &headers, body.as_deref()).await;
        self.learn(transcript, &request.method, &request.path, &answer);
        match self.compare(transcript, &answer) {
            None => Outcome::Pass,
            Some(difference) => Outcome::Differs(difference),
        }
    }

    /// The one transcript without a request: an 11 MiB body.
    async fn too_large(&self, transcript: &Transcript) -> Outcome {
        let body = json!({"templateRef": "template:default/all-features",
            "values": {"name": "a", "blob": "x".repeat(11 * 1024 * 1024)}})
        .to_string();
        let body = serde_json::from_str(&body).expect("JSON");
        let answer = self.service.post(TASKS, &body).await;
        self.compare(transcript, &answer).map_or(Outcome::Pass, Outcome::Differs)
    }

    /// A header's value with this run's token in the place of the user's recorded one.
    fn token(&self, file: &str, value: &str) -> String {
        let Some(token) = value.strip_prefix("Bearer ey") else { return value.to_string() };
        let cut = &self.guest[..self.guest.len() - 4];
        let token = if token.ends_with("AAAA") || file.contains("tampered") {
            format!("{cut}AAAA")
        } else {
            self.guest.clone()
        };
        format!("Bearer {token}")
    }

    /// The text with the ids of this run's tasks.
    fn our_tasks(&self, text: &str) -> String {
        self.tasks.iter().fold(text.to_string(), |text, (recorded, ours)| text.replace(recorded, ours))
    }

    /// The path with this run's ids. An event id that no transcript has shown is the task's newest one.
    async fn ours(&self, path: &str) -> String {
        let mut path = self.our_tasks(path);
        if let Some((head, after)) = path.split_once("after=")
            && let Ok(recorded) = after.parse::<i64>()
            && recorded > 0
        {
            let ours = match self.names.events.get(&recorded) {
                Some(ours) => *ours,
                None => {
                    let id: String = path.trim_start_matches(TASKS).trim_start_matches('/').chars().take(36).collect();
                    let newest = self.service.events(&id).await;
                    newest.last().and_then(|event| event["id"].as_i64()).unwrap_or_default()
                }
            };
            path = format!("{head}after={ours}");
        }
        path
    }

    async fn send_unrecorded(&self, file: &str) {
        if QUIET.contains(&file) {
            for (_, id) in &self.tasks {
                self.service.finish(id, Duration::from_secs(60)).await;
            }
        }
        for (_, path) in self.set.unrecorded.iter().filter(|(before, _)| *before == file) {
            let path = self.ours(&format!("{TASKS}/{path}")).await;
            let answer = self.service.post(&path, &json!({})).await;
            assert_eq!(answer.status, 201, "{path}: {}", answer.text());
            let id: String = path.trim_start_matches(TASKS).trim_start_matches('/').chars().take(36).collect();
            self.service.finish(&id, Duration::from_secs(20)).await;
        }
    }

    /// Creates the task that a request speaks of in this text and that no transcript creates.
    async fn make_earlier_task(&mut self, text: &str) {
        let Some((recorded, template, values, secrets)) = self.set.earlier.iter().find(|(id, ..)| text.contains(id))
        else {
            return;
        };
        if self.tasks.iter().any(|(known, _)| known == recorded) {
            return;
        }
        let parse = |text: &str| serde_json::from_str::<Value>(text).expect("the table holds JSON");
        let mut body = json!({"templateRef": template, "values": parse(values)});
        if parse(secrets).is_object() {
            body["secrets"] = parse(secrets);
        }
        let id = if *recorded == GUESTS_TASK {
            let headers = [
                ("authorization".to_string(), format!("Bearer {}", self.guest)),
                ("content-type".to_string(), "application/json".to_string()),
            ];
            let answer = self.service.request("POST", TASKS, &headers, Some(&body.to_string())).await;
            answer.json().and_then(|body| body["id"].as_str().map(str::to_string)).expect("the user may create a task")
        } else {
            self.service.create_task(&body).await
        };
        self.add_task(recorded, &id);
    }

    fn add_task(&mut self, recorded: &str, ours: &str) {
        let name = format!("<task {}>", self.tasks.len());
        self.names.replace(recorded, &name);
        self.names.replace(ours, &name);
        self.tasks.push((recorded.to_string(), ours.to_string()));
    }

    /// Waits until the task has got where it was when the request was recorded.
    async fn prepare(&self, transcript: &Transcript, method: &str, path: &str) -> Result<(), String> {
        if path.ends_with("?status=processing")
            && let Some((_, newest)) = self.tasks.last()
        {
            let reached = self.service.reaches(newest, Duration::from_secs(20), |status| status != "open").await;
            return reached.map(drop).map_err(|status| format!("the task stays {status}"));
        }
        let Some(rest) = path.strip_prefix(&format!("{TASKS}/")) else { return Ok(()) };
        let id: String = rest.chars().take(36).collect();
        if !self.tasks.iter().any(|(_, ours)| *ours == id) {
            return Ok(());
        }
        if transcript.file.contains("longpoll") {
            return Ok(());
        }
        let limit = Duration::from_secs(20);
        let ended = |status: &str| !matches!(status, "open" | "processing");
        let reached = match (method, &rest[36.min(rest.len())..]) {
            ("GET", "") => {
                let recorded =
                    transcript.response.body_json.as_ref().and_then(|body| body["status"].as_str()).unwrap_or("");
                self.service.reaches(&id, limit, |status| status == recorded || ended(status)).await
            }
            ("GET", events) if events.starts_with("/events") && !events.starts_with("/eventstream") => {
                let complete = transcript
                    .response
                    .body_json
                    .as_ref()
                    .and_then(Value::as_array)
                    .is_some_and(|events| events.iter().any(|event| event["type"] == "completion"));
                self.service.reaches(&id, limit, |status| !complete || ended(status)).await
            }
            ("POST", "/retry") if matches!(transcript.response.status, 400 | 409) => {
                self.service.reaches(&id, limit, |status| status != "open").await
            }
            ("POST", "/retry") => self.service.reaches(&id, limit, ended).await,
            ("POST", "/cancel") if transcript.file.contains("running") => {
                let reached = self.service.reaches(&id, limit, |status| status == "processing").await;
                self.service.wait_event(&id, |event| event["body"]["status"] == "processing").await;
                reached
            }
            ("POST", "/cancel") if transcript.file.contains("completed") => {
                self.service.reaches(&id, limit, ended).await
            }
            _ => Ok(String::new()),
        };
        reached.map(drop).map_err(|status| format!("the task stays {status}"))
    }

    /// Takes the ids of this run from an answer.
    fn learn(&mut self, transcript: &Transcript, method: &str, recorded_path: &str, answer: &Reply) {
        let created = match transcript.response.status {
            201 if method == "POST" && recorded_path == TASKS => Some("/id"),
            200 if recorded_path.ends_with("scaffolder:execute-template/invoke") => Some("/output/taskId"),
            _ => None,
        };
        if let Some(place) = created {
            let id = |body: Option<&Value>| body?.pointer(place)?.as_str().map(str::to_string);
            if let (Some(recorded), Some(ours)) =
                (id(transcript.response.body_json.as_ref()), id(answer.json().as_ref()))
            {
                self.add_task(&recorded, &ours);
            }
        }
        let pairs: Vec<(i64, i64)> =
            events_of(&transcript.response.body_json, transcript.response.body_text.as_deref())
                .iter()
                .zip(events_of(&answer.json(), Some(&answer.text())).iter())
                .filter_map(|(recorded, ours)| Some((recorded["id"].as_i64()?, ours["id"].as_i64()?)))
                .collect();
        self.names.events.extend(pairs);
    }

    fn compare(&self, transcript: &Transcript, answer: &Reply) -> Option<String> {
        let recorded = &transcript.response;
        if recorded.status != answer.status {
            return Some(format!("status {} instead of {}: {}", answer.status, recorded.status, answer.text()));
        }
        for name in COMPARED_HEADERS {
            let find = |headers: &[(String, String)]| {
                headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_lowercase())
            };
            let (recorded, ours) = (find(&recorded.headers), find(&answer.headers));
            if recorded != ours {
                return Some(format!("header {name}: recorded {recorded:?}, ours {ours:?}"));
            }
        }
        if let Some(body) = &recorded.body_json {
            let Some(ours) = answer.json() else { return Some(format!("no JSON but {:?}", answer.text())) };
            return self.compare_bodies(transcript, body, &ours);
        }
        let recorded_text = recorded.body_text.as_deref().unwrap_or_default();
        if recorded_text.starts_with("event: ") {
            let (recorded, ours) = (frames(recorded_text), frames(&answer.text()));
            return self.compare_bodies(transcript, &recorded, &ours);
        }
        // A compressed body: that it could be unpacked is seen by the header and by its being JSON or frames.
        if recorded_text.starts_with("base64:") {
            let readable = answer.json().is_some() || answer.text().starts_with("event: ");
            return (!readable).then(|| format!("the body can't be unpacked: {:?}", answer.text()));
        }
        let (recorded_text, ours) = (self.names.text(recorded_text), self.names.text(&answer.text()));
        (recorded_text != ours).then(|| format!("body: recorded {recorded_text:?}, ours {ours:?}"))
    }

    fn compare_bodies(&self, transcript: &Transcript, recorded: &Value, ours: &Value) -> Option<String> {
        let (recorded, ours) = (self.names.value("", recorded), self.names.value("", ours));
        match transcript.request.as_ref().map(|request| request.path.as_str()) {
            Some(path)
                if path.starts_with(&format!("{TASKS}?")) || path == TASKS && recorded.get("tasks").is_some() =>
            {
                compare_lists(&recorded, &ours, path.contains("status="))
            }
            Some(path) if path.starts_with("/api/scaffolder/v2/actions") && recorded.is_array() => {
                compare_actions(&recorded, &ours)
            }
            Some(path)
                if path.ends_with("scaffolder:list-scaffolder-tasks/invoke") && recorded["output"].is_object() =>
            {
                compare_lists(&recorded["output"], &ours["output"], false)
            }
            Some(path)
                if path.ends_with("scaffolder:list-scaffolder-actions/invoke") && recorded["output"].is_object() =>
            {
                compare_actions(&recorded["output"]["actions"], &ours["output"]["actions"])
            }
            // Names and schemas; what actions do and rules mean is told in each project's own words.
            Some(path)
                if path.ends_with("/.backstage/actions/v1/actions")
                    || path.ends_with("/.well-known/backstage/permissions/metadata") =>
            {
                difference("body", &without_prose(&recorded), &without_prose(&ours))
            }
            Some(path) if path.ends_with("/templating-extensions") => compare_extensions(&recorded, &ours),
            _ => difference("body", &once_cancelled(&recorded), &once_cancelled(&ours)),
        }
    }
}

/// What clients and browsers act on.
const COMPARED_HEADERS: &[&str] = &[
    "content-type",
    "cache-control",
    "content-encoding",
    "referrer-policy",
    "x-content-type-options",
    "x-frame-options",
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "location",
    "vary",
    "allow",
];

fn events_of(json: &Option<Value>, text: Option<&str>) -> Vec<Value> {
    match (json, text) {
        (Some(Value::Array(events)), _) => events.clone(),
        (None, Some(text)) => frames(text)
            .as_array()
            .map(|frames| frames.iter().map(|frame| frame["data"].clone()).collect())
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// The frames of an event stream; comments (`: keep-alive`) are no frames.
fn frames(text: &str) -> Value {
    text.split("\n\n")
        .filter(|frame| !frame.trim().is_empty() && !frame.starts_with(':'))
        .map(|frame| {
            let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            json!({"event": field("event: "), "lines": frame.lines().count(),
                "data": serde_json::from_str::<Value>(field("data: ")).unwrap_or(Value::Null)})
        })
        .collect()
}

/// The recorder pressed cancel twice in a row, and one of the two requests is not among the transcripts: of equal
/// `cancelled` events in a row one counts.
fn once_cancelled(body: &Value) -> Value {
    let Value::Array(items) = body else { return body.clone() };
    let kind = |item: &Value| item.get("type").or_else(|| item.pointer("/data/type")).cloned();
    let mut kept: Vec<Value> = Vec::new();
    for item in items {
        if kind(item) == Some(json!("cancelled")) && kept.last() == Some(item) {
            continue;
        }
        kept.push(item.clone());
    }
    Value::Array(kept)
}

/// Lists depend on all that ran before, of which not everything is among the transcripts: compared are the shape of the
/// answer, the number of tasks of a limited page, that each task's members are the same, and its status where that was asked for.
fn compare_lists(recorded: &Value, ours: &Value, by_status: bool) -> Option<String> {
    let tasks = |body: &Value| body["tasks"].as_array().cloned().unwrap_or_default();
    let members = |task: &Value| -> Vec<String> {
        let mut names: Vec<String> = task.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    };
    let (theirs, mine) = (tasks(recorded), tasks(ours));
    if ours.get("tasks").is_none()
        || ours["totalTasks"].as_u64().is_none()
        || ours.as_object().map(serde_json::Map::len) != Some(2)
    {
        return difference("body", recorded, ours);
    }
    if theirs.len() <= 2 && mine.len() != theirs.len() {
        return Some(format!("{} tasks instead of {}", mine.len(), theirs.len()));
    }
    for task in &mine {
        if theirs.first().is_some_and(|recorded| members(recorded) != members(task)) {
            return Some(format!("members {:?}, recorded {:?}", members(task), members(&theirs[0])));
        }
    }
    let statuses = |tasks: &[Value]| {
        let mut all: Vec<String> = tasks.iter().map(|task| task["status"].to_string()).collect();
        all.sort();
        all.dedup();
        all
    };
    (by_status && theirs.len() <= 2 && statuses(&theirs) != statuses(&mine))
        .then(|| format!("statuses {:?}, recorded {:?}", statuses(&mine), statuses(&theirs)))
}

/// Every action both sides offer has the same schema; descriptions and examples are each project's own words.
fn compare_actions(recorded: &Value, ours: &Value) -> Option<String> {
    let find = |id: &Value| ours.as_array().into_iter().flatten().find(|action| action["id"] == *id);
    let mut found = 0;
    for action in recorded.as_array().into_iter().flatten() {
        let Some(mine) = find(&action["id"]) else { continue };
        found += 1;
        let (mut theirs, mut mine) = (without_prose(&action["schema"]), without_prose(&mine["schema"]));
        if action["id"] == "publish:github" {
            // Templates since upstream 1.x carry this input; it is accepted, and enforced.
            if let Some(properties) = mine.pointer_mut("/input/properties").and_then(Value::as_object_mut) {
                properties.shift_remove("allowedHosts");
            }
        }
        for schema in [&mut theirs, &mut mine] {
            for part in ["input", "output"] {
                if let Some(part) = schema.get_mut(part).and_then(Value::as_object_mut) {
                    part.shift_remove("$schema");
                }
            }
        }
        if let Some(found) = difference(&format!("schema of {}", action["id"]), &theirs, &mine) {
            return Some(found);
        }
    }
    (found < 13).then(|| format!("only {found} of the recorded actions are offered"))
}

fn without_prose(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .filter(|(key, value)| {
                    !matches!(key.as_str(), "description" | "title" | "default" | "examples") || value.is_object()
                })
                .map(|(key, value)| (key.clone(), without_prose(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_prose).collect()),
        other => other.clone(),
    }
}

/// The filters by name; their descriptions and examples are each project's own words.
fn compare_extensions(recorded: &Value, ours: &Value) -> Option<String> {
    let names = |body: &Value| -> Vec<String> {
        let mut names: Vec<String> =
            body["filters"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    };
    if names(recorded) != names(ours) {
        return Some(format!("filters {:?}, recorded {:?}", names(ours), names(recorded)));
    }
    difference("body.globals", &recorded["globals"], &ours["globals"])
}
