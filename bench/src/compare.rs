//! That both sides do the same: events and files, after what must differ has been made equal.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use crate::error::{Error, Result};

/// What a task left.
#[derive(Debug, Default, Clone)]
pub(crate) struct Outcome {
    /// Events without ids and times, with names for ids in texts.
    pub(crate) events: Vec<Value>,
    /// Path → what is in the file, as a checksum, and whether it can be executed.
    pub(crate) files: BTreeMap<String, String>,
}

/// Events without what differs from run to run.
pub(crate) fn events(events: &[Value]) -> Vec<Value> {
    events.iter().map(|event| json!({"type": event["type"], "body": made_equal(&event["body"])})).collect()
}

fn made_equal(value: &Value) -> Value {
    match value {
        Value::String(text) => without_ids(text).into(),
        Value::Array(items) => items.iter().map(made_equal).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), made_equal(value))).collect())
        }
        other => other.clone(),
    }
}

/// Replaces UUIDs.
fn without_ids(text: &str) -> String {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let is_id = |text: &str| {
        text.split('-').map(str::len).eq(GROUPS) && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if rest.get(..36).is_some_and(is_id) {
            out.push_str("<id>");
            rest = &rest[36..];
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    out
}

/// The same in any order, where upstream's own is not the same each time: on PostgreSQL it writes the lines of a step through
/// several connections at once, and it walks the folders of a skeleton as they happen to be read.
pub(crate) fn events_in_any_order(found: &[Value]) -> Vec<Value> {
    let mut events = events(found);
    events.sort_by_cached_key(Value::to_string);
    events
}

/// All files below a directory.
pub(crate) fn files(directory: &Path) -> Result<BTreeMap<String, String>> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut found = BTreeMap::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::at(&folder))? {
            let path = entry.map_err(Error::at(&folder))?.path();
            let meta = path.symlink_metadata().map_err(Error::at(&path))?;
            if meta.is_dir() {
                folders.push(path);
                continue;
            }
            let content = fs::read(&path).map_err(Error::at(&path))?;
            let sum: String = Sha1::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
            let mode = if meta.permissions().mode() & 0o111 == 0 { "" } else { " executable" };
            let name = path.strip_prefix(directory).unwrap_or(&path).display().to_string();
            found.insert(name, format!("{sum}{mode}"));
        }
    }
    Ok(found)
}

/// Fails when two outcomes differ.
pub(crate) fn same(what: &str, ours: &Outcome, upstream: &Outcome) -> Result<()> {
    let differ = |detail: String| Err(Error::Differ { what: what.to_owned(), detail });
    for (number, (a, b)) in ours.events.iter().zip(&upstream.events).enumerate() {
        if a != b {
            return differ(format!("event {number}: ours {a}, upstream's {b}"));
        }
    }
    if ours.events.len() != upstream.events.len() {
        return differ(format!("{} events, upstream has {}", ours.events.len(), upstream.events.len()));
    }
    for (name, sum) in &ours.files {
        if upstream.files.get(name) != Some(sum) {
            return differ(format!("the file {name}: ours {sum}, upstream's {:?}", upstream.files.get(name)));
        }
    }
    if let Some(name) = upstream.files.keys().find(|name| !ours.files.contains_key(*name)) {
        return differ(format!("the file {name}, which only upstream has"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_are_made_equal_and_nothing_else() {
        let text =
            "task 33ef11a2-903d-4bde-a03a-c76ab5f0ee59 ü 33ef11a2-903d in /w/33ef11a2-903d-4bde-a03a-c76ab5f0ee59/x";
        assert_eq!(without_ids(text), "task <id> ü 33ef11a2-903d in /w/<id>/x");
    }

    #[test]
    fn lines_may_overtake_each_other_where_that_is_said() {
        let event = |message: &str| json!({"type": "log", "body": {"message": message}});
        let (a, b) = ([event("a"), event("b")], [event("b"), event("a")]);
        assert!(events(&a) != events(&b) && events_in_any_order(&a) == events_in_any_order(&b));
    }

    #[test]
    fn what_differs_is_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/a"), "x").unwrap();
        let event = |id: u32, message: &str| json!({"id": id, "createdAt": id.to_string(), "type": "log", "body": {"message": message}});
        let one = Outcome { events: events(&[event(1, "a")]), files: files(dir.path()).unwrap() };
        let same_again = Outcome { events: events(&[event(2, "a")]), ..one.clone() };
        assert!(same("x", &one, &same_again).is_ok());

        std::fs::write(dir.path().join("d/a"), "y").unwrap();
        let other_file = Outcome { files: files(dir.path()).unwrap(), ..one.clone() };
        let other_event = Outcome { events: events(&[event(1, "b")]), ..one.clone() };
        let more_events = Outcome { events: events(&[event(1, "a"), event(2, "b")]), ..one.clone() };
        let more_files = Outcome {
            files: [one.files.clone(), [("z".into(), String::new())].into()].into_iter().flatten().collect(),
            ..one.clone()
        };
        for (other, wanted) in
            [(other_file, "d/a"), (other_event, "event 0"), (more_events, "1 events"), (more_files, "file z")]
        {
            let error = same("x", &one, &other).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
