//! What every store must do, whichever database it uses. A store's tests call [`contract`] with a way to make an empty
//! one.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde_json::{Map, Value, json};

use super::*;
use crate::model::{EventType, NewEvent, TaskSpec, TaskStatus};

/// Makes one test of every requirement. `$make` is an async function that gives an empty store and whatever must live
/// as long as it.
macro_rules! contract {
    ($make:path) => {
        crate::store::contract::contract!($make;
            tasks_are_stored_and_read_back, unknown_tasks, lists_filter_order_and_page, claims_oldest_first,
            claims_give_each_task_once, secrets_live_as_long_as_needed, heartbeats, completion, completion_refused,
            cancel, retry, retry_refused, release, stale_tasks, events_after, events_of_concurrent_tasks,
            events_of_started_over_tasks, state, spec_members_of_other_versions_survive, locations, pings,
            lost_claims_write_nothing, batches_are_stored_once, stale_tasks_are_closed_once, news_of_tasks,
            retries_from_the_start_forget_steps, public_keys, lists_filter_by_template_and_text, old_tasks_are_deleted,
            the_queue_is_counted,
            saved_workspaces, workspaces_of_ended_tasks
        );
    };
    ($make:path; $($name:ident),+) => {
        $(
            #[tokio::test]
            async fn $name() {
                let (store, _keep) = $make().await;
                crate::store::contract::$name(store).await;
            }
        )+
    };
}
pub(super) use contract;

pub(super) fn spec(extra: Value) -> TaskSpec {
    let mut spec = json!({
        "apiVersion": "scaffolder.backstage.io/v1beta3",
        "steps": [{"id": "a", "name": "A", "action": "debug:log", "input": {"message": "${{ parameters.x }}"}}],
        "output": {},
        "parameters": {"x": 1},
        "user": {},
    });
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

pub(super) fn task() -> NewTask {
    NewTask { spec: spec(json!({})), secrets: None, created_by: None }
}

fn starting_over() -> NewTask {
    NewTask { spec: spec(json!({"EXPERIMENTAL_recovery": {"EXPERIMENTAL_strategy": "startOver"}})), ..task() }
}

fn secrets(text: &str) -> Option<Map<String, Value>> {
    Some(Map::from_iter([("token".to_string(), json!(text))]))
}

pub(super) fn log(message: &str) -> NewEvent {
    NewEvent { kind: EventType::Log, body: json!({"message": message}) }
}

fn kinds(events: &[TaskEvent]) -> Vec<&'static str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

async fn claim<S: TaskStore>(store: &S) -> Claim {
    store.claim_task(true).await.unwrap().unwrap().claim
}

/// A running task: its claim and its id.
async fn processing<S: TaskStore>(store: &S) -> (Claim, String) {
    let id = store.create_task(task()).await.unwrap();
    let claim = claim(store).await;
    assert_eq!(claim.task_id, id);
    (claim, id)
}

fn lost<T: std::fmt::Debug>(result: Result<T, StoreError>, id: &str) {
    assert!(matches!(&result, Err(StoreError::LostClaim(found)) if found == id), "{result:?}");
}

async fn status<S: TaskStore>(store: &S, id: &str) -> TaskStatus {
    store.get_task(id).await.unwrap().status
}

pub(super) async fn tasks_are_stored_and_read_back<S: TaskStore>(store: S) {
    let before = chrono::Utc::now();
    let new = NewTask { created_by: Some("user:default/jane".into()), secrets: secrets("s3cret"), ..task() };
    let id = store.create_task(new.clone()).await.unwrap();
    assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 4);
    let task = store.get_task(&id).await.unwrap();
    assert_eq!(task.id, id);
    assert_eq!(task.spec, serde_json::to_value(&new.spec).unwrap());
    assert_eq!(task.status, TaskStatus::Open);
    assert_eq!(task.created_by.as_deref(), Some("user:default/jane"));
    assert_eq!(task.last_heartbeat_at, None);
    assert!((task.created_at - before).abs() < chrono::TimeDelta::seconds(3), "{}", task.created_at);
    assert!(!serde_json::to_string(&task).unwrap().contains("s3cret"));
}

pub(super) async fn unknown_tasks<S: TaskStore>(store: S) {
    for id in ["00000000-0000-4000-8000-000000000000", "not a uuid", ""] {
        let expected = format!("No task with id '{id}' found");
        assert_eq!(store.get_task(id).await.unwrap_err().to_string(), expected);
        let claim = Claim { task_id: id.to_string(), token: 1 };
        assert_eq!(store.append_events(&claim, 1, vec![log("x")]).await.unwrap_err().to_string(), expected);
        assert_eq!(store.cancel_task(id, json!({})).await.unwrap_err().to_string(), expected);
        assert_eq!(store.retry_task(id, None, true).await.unwrap_err().to_string(), expected);
        assert_eq!(store.release_task(&claim, None).await.unwrap_err().to_string(), expected);
        let completed = store.complete_task(&claim, TaskStatus::Completed, json!({})).await;
        assert_eq!(completed.unwrap_err().to_string(), expected);
        assert_eq!(store.load_state(id).await.unwrap_err().to_string(), expected);
        assert_eq!(store.save_state(&claim, &Map::new()).await.unwrap_err().to_string(), expected);
        assert!(store.list_events(id, None).await.unwrap().is_empty());
    }
}

pub(super) async fn lists_filter_order_and_page<S: TaskStore>(store: S) {
    let mut ids = Vec::new();
    for creator in [Some("user:default/a"), Some("user:default/b"), None, Some("user:default/a")] {
        let new = NewTask { created_by: creator.map(String::from), ..task() };
        ids.push(store.create_task(new).await.unwrap());
    }
    // The oldest is processing, the others are open.
    assert_eq!(store.claim_task(false).await.unwrap().unwrap().claim.task_id, ids[0]);
    let listed = async |filter: TaskFilter| {
        let page = store.list_tasks(&filter).await.unwrap();
        (
            page.tasks.into_iter().map(|task| ids.iter().position(|id| *id == task.id).unwrap()).collect::<Vec<_>>(),
            page.total,
        )
    };
    assert_eq!(listed(TaskFilter::default()).await, (vec![3, 2, 1, 0], 4));
    let a = || vec!["user:default/a".to_string()];
    assert_eq!(listed(TaskFilter { created_by: a(), ..Default::default() }).await, (vec![3, 0], 2));
    let open = || vec![TaskStatus::Open];
    assert_eq!(listed(TaskFilter { status: open(), ..Default::default() }).await, (vec![3, 2, 1], 3));
    assert_eq!(listed(TaskFilter { status: open(), created_by: a(), ..Default::default() }).await, (vec![3], 1));
    let both = vec![TaskStatus::Open, TaskStatus::Processing, TaskStatus::Open];
    assert_eq!(listed(TaskFilter { status: both, ..Default::default() }).await.1, 4);
    assert_eq!(listed(TaskFilter { status: vec![TaskStatus::Failed], ..Default::default() }).await, (vec![], 0));
    assert_eq!(listed(TaskFilter { limit: Some(2), ..Default::default() }).await, (vec![3, 2], 4));
    assert_eq!(listed(TaskFilter { limit: Some(2), offset: Some(3), ..Default::default() }).await, (vec![0], 4));
    assert_eq!(listed(TaskFilter { offset: Some(1), ..Default::default() }).await, (vec![2, 1, 0], 4));
    assert_eq!(listed(TaskFilter { limit: Some(0), ..Default::default() }).await, (vec![], 4));
    assert_eq!(listed(TaskFilter { limit: Some(u64::MAX), offset: Some(u64::MAX), ..Default::default() }).await.1, 4);
    let visible = async |filter| listed(TaskFilter { visible: Some(filter), ..Default::default() }).await;
    let by =
        |names: &[&str]| CreatorFilter::Creators(names.iter().map(|name| format!("user:default/{name}")).collect());
    let not = |filter| CreatorFilter::Not(Box::new(filter));
    assert_eq!(visible(by(&["a"])).await, (vec![3, 0], 2));
    assert_eq!(visible(by(&["b", "nobody"])).await, (vec![1], 1));
    assert_eq!(visible(by(&[])).await, (vec![], 0));
    // A task without a creator is neither theirs nor not theirs.
    assert_eq!(visible(not(by(&["a"]))).await, (vec![1], 1));
    assert_eq!(visible(not(by(&[]))).await, (vec![3, 2, 1, 0], 4));
    assert_eq!(visible(CreatorFilter::Any(vec![by(&["b"]), by(&["a"])])).await, (vec![3, 1, 0], 3));
    assert_eq!(visible(CreatorFilter::All(vec![by(&["b", "a"]), not(by(&["b"]))])).await, (vec![3, 0], 2));
    assert_eq!(visible(not(CreatorFilter::Any(vec![by(&["a"]), by(&["b"])]))).await, (vec![], 0));
    let page = TaskFilter { visible: Some(by(&["a"])), status: open(), limit: Some(1), ..Default::default() };
    assert_eq!(listed(page).await, (vec![3], 1));
    let order = |order| TaskFilter { order, ..Default::default() };
    assert_eq!(listed(order(vec![(OrderField::CreatedAt, Direction::Asc)])).await.0, [0, 1, 2, 3]);
    let by_status = vec![(OrderField::Status, Direction::Desc), (OrderField::CreatedAt, Direction::Asc)];
    assert_eq!(listed(order(by_status)).await.0, [0, 1, 2, 3]);
    // Where the task without a creator comes is the database's business, as it is upstream.
    let mut by_creator = listed(order(vec![(OrderField::CreatedBy, Direction::Desc)])).await.0;
    by_creator.retain(|task| *task != 2);
    assert_eq!((by_creator[0], by_creator.len()), (1, 3));
}

pub(super) async fn claims_oldest_first<S: TaskStore>(store: S) {
    assert!(store.claim_task(true).await.unwrap().is_none());
    let mut ids = Vec::new();
    for n in 0..3 {
        let new = NewTask { created_by: Some(format!("user:default/{n}")), ..task() };
        ids.push(store.create_task(new).await.unwrap());
    }
    for (n, id) in ids.iter().enumerate() {
        let claimed = store.claim_task(true).await.unwrap().unwrap();
        assert_eq!(claimed.claim.task_id, *id);
        assert_eq!(claimed.created_by, Some(format!("user:default/{n}")));
        assert_eq!(claimed.spec.unwrap(), task().spec);
        assert!(claimed.secrets.is_empty() && claimed.state.is_empty());
        let task = store.get_task(id).await.unwrap();
        assert_eq!(task.status, TaskStatus::Processing);
        assert!(task.last_heartbeat_at.is_some());
    }
    assert!(store.claim_task(true).await.unwrap().is_none());
}

pub(super) async fn claims_give_each_task_once<S: TaskStore>(store: S) {
    let store = Arc::new(store);
    let mut expected = HashSet::new();
    for _ in 0..40 {
        expected.insert(store.create_task(task()).await.unwrap());
    }
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut mine = Vec::new();
                while let Some(claimed) = store.claim_task(false).await.unwrap() {
                    mine.push(claimed.claim.task_id);
                }
                mine
            })
        })
        .collect();
    let mut claimed = Vec::new();
    for worker in workers {
        claimed.extend(worker.await.unwrap());
    }
    assert_eq!(claimed.len(), 40);
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>(), expected);
}

pub(super) async fn secrets_live_as_long_as_needed<S: TaskStore>(store: S) {
    // Each case: what the second claim, after a release, still sees.
    for (new, keep, seen_again) in [(task(), false, false), (task(), true, true), (starting_over(), false, true)] {
        let id = store.create_task(NewTask { secrets: secrets("s"), ..new }).await.unwrap();
        let claimed = store.claim_task(keep).await.unwrap().unwrap();
        assert_eq!(claimed.secrets["token"], "s");
        store.release_task(&claimed.claim, None).await.unwrap();
        let claimed = store.claim_task(true).await.unwrap().unwrap();
        assert_eq!(claimed.secrets.contains_key("token"), seen_again);
        store.complete_task(&claimed.claim, TaskStatus::Completed, json!({})).await.unwrap();
        // Completion wipes them ...
        store.retry_task(&id, None, true).await.unwrap();
        let claimed = store.claim_task(true).await.unwrap().unwrap();
        assert!(claimed.secrets.is_empty());
        store.release_task(&claimed.claim, None).await.unwrap();
        store.complete_task(&claim(&store).await, TaskStatus::Failed, json!({})).await.unwrap();
        // ... and a retry brings new ones, which a cancellation wipes.
        store.retry_task(&id, secrets("new"), true).await.unwrap();
        let claimed = store.claim_task(true).await.unwrap().unwrap();
        assert_eq!(claimed.secrets["token"], "new");
        store.cancel_task(&id, json!({})).await.unwrap();
        store.release_task(&claimed.claim, None).await.unwrap();
        let claimed = store.claim_task(true).await.unwrap().unwrap();
        assert!(claimed.secrets.is_empty());
        store.complete_task(&claimed.claim, TaskStatus::Failed, json!({})).await.unwrap();
    }
}

pub(super) async fn heartbeats<S: TaskStore>(store: S) {
    assert!(store.heartbeat(&[]).await.unwrap().is_empty());
    let (first, first_id) = processing(&store).await;
    let (second, _) = processing(&store).await;
    let (third, _) = processing(&store).await;
    let unknown = Claim { task_id: "00000000-0000-4000-8000-000000000000".into(), token: first.token };
    let stranger = Claim { token: second.token + 1000, ..second.clone() };
    let all = [third.clone(), first.clone(), unknown, stranger, second.clone()];
    let before = store.get_task(&first_id).await.unwrap().last_heartbeat_at.unwrap();
    assert_eq!(store.heartbeat(&all).await.unwrap(), [Beat::Alive, Beat::Alive, Beat::Lost, Beat::Lost, Beat::Alive]);
    assert!(store.get_task(&first_id).await.unwrap().last_heartbeat_at.unwrap() >= before);
    store.cancel_task(&first_id, json!({})).await.unwrap();
    store.complete_task(&second, TaskStatus::Completed, json!({})).await.unwrap();
    store.release_task(&third, None).await.unwrap();
    assert_eq!(store.heartbeat(&[first, second, third]).await.unwrap(), [Beat::Cancelled, Beat::Lost, Beat::Lost]);
}

pub(super) async fn completion<S: TaskStore>(store: S) {
    for end in [TaskStatus::Completed, TaskStatus::Failed, TaskStatus::Cancelled] {
        let (claim, id) = processing(&store).await;
        let body = json!({"message": "Run completed", "output": {"a": [1, null]}});
        let event = store.complete_task(&claim, end, body.clone()).await.unwrap().unwrap();
        assert_eq!((event.kind, &event.body, event.task_id.as_str()), (EventType::Completion, &body, id.as_str()));
        assert!(!event.is_task_recoverable);
        assert_eq!(status(&store, &id).await, end);
        assert_eq!(store.list_events(&id, None).await.unwrap(), [event]);
    }
}

pub(super) async fn completion_refused<S: TaskStore>(store: S) {
    let (claim, id) = processing(&store).await;
    let refused = |wanted: &str, current: &str| {
        format!(
            "Refusing to update status of run '{id}' to status '{wanted}' as it is currently '{current}', expected \
             'processing'"
        )
    };
    store.release_task(&claim, None).await.unwrap();
    let error = store.complete_task(&claim, TaskStatus::Failed, json!({})).await.unwrap_err();
    assert!(matches!(&error, StoreError::Conflict(text) if *text == refused("failed", "open")), "{error}");
    let claim = store.claim_task(true).await.unwrap().unwrap().claim;
    store.complete_task(&claim, TaskStatus::Failed, json!({})).await.unwrap().unwrap();
    let error = store.complete_task(&claim, TaskStatus::Completed, json!({})).await.unwrap_err();
    assert_eq!(error.to_string(), refused("completed", "failed"));
    assert_eq!(kinds(&store.list_events(&id, None).await.unwrap()), ["recovered", "completion"]);
    // Cancelled meanwhile: nothing happens, without an error.
    let (claim, id) = processing(&store).await;
    store.complete_task(&claim, TaskStatus::Cancelled, json!({})).await.unwrap().unwrap();
    assert_eq!(store.complete_task(&claim, TaskStatus::Completed, json!({})).await.unwrap(), None);
    assert_eq!(status(&store, &id).await, TaskStatus::Cancelled);
}

pub(super) async fn cancel<S: TaskStore>(store: S) {
    let (_, id) = processing(&store).await;
    let body = json!({"message": "Step a has been cancelled.", "stepId": "a", "status": "cancelled"});
    let event = store.cancel_task(&id, body.clone()).await.unwrap();
    assert_eq!((event.kind, event.body.clone()), (EventType::Cancelled, body));
    assert_eq!(status(&store, &id).await, TaskStatus::Processing);
    assert_eq!(store.list_events(&id, None).await.unwrap(), [event]);
}

pub(super) async fn retry<S: TaskStore>(store: S) {
    for end in [TaskStatus::Completed, TaskStatus::Failed, TaskStatus::Cancelled] {
        let (claim, id) = processing(&store).await;
        store.append_events(&claim, 1, vec![log("one")]).await.unwrap();
        store.cancel_task(&id, json!({})).await.unwrap();
        store.complete_task(&claim, end, json!({})).await.unwrap();
        let event = store.retry_task(&id, None, true).await.unwrap();
        assert_eq!((event.kind, event.body.clone()), (EventType::Recovered, json!({"recoverStrategy": "none"})));
        let task = store.get_task(&id).await.unwrap();
        assert_eq!(task.status, TaskStatus::Open);
        assert!(task.last_heartbeat_at.is_some());
        let events = store.list_events(&id, None).await.unwrap();
        assert_eq!(kinds(&events), ["log", "recovered"]);
        assert_eq!(events[1], event);
        assert_eq!(store.claim_task(false).await.unwrap().unwrap().claim.task_id, id);
    }
}

pub(super) async fn retry_refused<S: TaskStore>(store: S) {
    let id = store.create_task(task()).await.unwrap();
    for _ in 0..2 {
        let error = store.retry_task(&id, secrets("x"), true).await.unwrap_err();
        let refused = format!("Task with taskId {id} cannot be retried");
        assert!(matches!(&error, StoreError::Conflict(text) if *text == refused), "{error}");
        // Open the first time, processing the second.
        store.claim_task(true).await.unwrap();
    }
    assert!(store.list_events(&id, None).await.unwrap().is_empty());
}

pub(super) async fn retries_from_the_start_forget_steps<S: TaskStore>(store: S) {
    let state = json!({"steps": {"a": {"status": "completed", "output": {}}}, "checkpoints": {"k": 1}});
    for (from_start, left) in [(false, state.clone()), (true, json!({"checkpoints": {"k": 1}}))] {
        let (claim, id) = processing(&store).await;
        store.save_state(&claim, state.as_object().unwrap()).await.unwrap();
        store.complete_task(&claim, TaskStatus::Failed, json!({})).await.unwrap();
        store.retry_task(&id, None, from_start).await.unwrap();
        assert_eq!(Value::Object(store.load_state(&id).await.unwrap()), left);
        assert_eq!(Value::Object(store.claim_task(true).await.unwrap().unwrap().state), left);
    }
}

pub(super) async fn lists_filter_by_template_and_text<S: TaskStore>(store: S) {
    let info = |name: &str| json!({"entityRef": format!("template:default/{name}"), "baseUrl": "https://h/t.yaml"});
    let mut ids = Vec::new();
    for (template, parameters) in [
        (json!(info("one")), json!({"name": "Über-Shop", "rate": "100%_"})),
        // Parameters are anything, and no proof of a template.
        (json!(info("two")), json!({"templateInfo": info("one")})),
        (json!(null), json!({"name": "shop"})),
    ] {
        let spec = spec(json!({"templateInfo": template, "parameters": parameters}));
        let new = NewTask { spec, created_by: Some("user:default/Jane".into()), ..task() };
        ids.push(store.create_task(new).await.unwrap());
    }
    // What looks like a reference and fits into no index is stored all the same.
    let long: String = (0..2000).map(|number| format!("{:x}", number * 7919)).collect();
    let hidden = json!({"entity": {"metadata": {"templateInfo": {"entityRef": long}}}});
    let spec_of_long = spec(json!({"templateInfo": {"entityRef": "template:default/long", "entity": hidden}}));
    ids.push(store.create_task(NewTask { spec: spec_of_long, ..task() }).await.unwrap());
    let listed = async |filter: TaskFilter| {
        let page = store.list_tasks(&filter).await.unwrap();
        let mut found: Vec<_> =
            page.tasks.iter().map(|task| ids.iter().position(|id| *id == task.id).unwrap()).collect();
        found.sort_unstable();
        assert_eq!(page.total, found.len() as u64);
        found
    };
    let template = |names: &[&str]| TaskFilter {
        template_ref: names.iter().map(|name| format!("template:default/{name}")).collect(),
        ..TaskFilter::default()
    };
    assert_eq!(listed(template(&["one"])).await, [0]);
    assert_eq!(listed(template(&["two"])).await, [1]);
    assert_eq!(listed(template(&["one", "two", "three"])).await, [0, 1]);
    assert_eq!(listed(template(&["three"])).await, [0; 0]);
    let text = |text: &str| TaskFilter { text: Some(text.to_string()), ..TaskFilter::default() };
    assert_eq!(listed(text("SHOP")).await, [0, 2]);
    assert_eq!(listed(text("default/jane")).await, [0, 1, 2]);
    assert_eq!(listed(text("DEFAULT/one")).await, [0, 1]);
    assert_eq!(listed(text(&ids[1].to_uppercase())).await, [1]);
    // Nothing in it has a meaning of its own.
    assert_eq!(listed(text("0%_")).await, [0]);
    assert_eq!(listed(text("s%p")).await, [0; 0]);
    assert_eq!(listed(text("' OR 1=1 --")).await, [0; 0]);
    let both = TaskFilter { text: Some("shop".into()), ..template(&["one", "two"]) };
    assert_eq!(listed(both).await, [0]);
}

pub(super) async fn old_tasks_are_deleted<S: TaskStore>(store: S) {
    let mut ids = Vec::new();
    for end in [TaskStatus::Failed, TaskStatus::Completed, TaskStatus::Cancelled, TaskStatus::Completed] {
        let (claim, id) = processing(&store).await;
        store.append_events(&claim, 1, vec![log("one")]).await.unwrap();
        store.complete_task(&claim, end, json!({})).await.unwrap();
        ids.push(id);
    }
    let (_, running) = processing(&store).await;
    let waiting = store.create_task(task()).await.unwrap();
    let day = Duration::from_secs(86_400);
    assert!(store.delete_ended(Some(day), None, 100).await.unwrap().is_empty());
    assert!(store.delete_ended(None, Some(4), 100).await.unwrap().is_empty());
    assert!(store.delete_ended(None, None, 100).await.unwrap().is_empty());
    // The oldest of them, and one at a time when asked so.
    let mut deleted = store.delete_ended(None, Some(2), 1).await.unwrap();
    assert_eq!(deleted.len(), 1);
    deleted.extend(store.delete_ended(None, Some(2), 1).await.unwrap());
    deleted.sort();
    assert_eq!(deleted.len(), 2);
    assert!(store.delete_ended(None, Some(2), 1).await.unwrap().is_empty());
    for id in &deleted {
        assert!(matches!(store.get_task(id).await, Err(StoreError::NoTask(_))));
        assert!(store.events_after(id, 0, 10).await.unwrap().is_empty());
    }
    // Whatever is running or waiting stays, however old it is.
    assert_eq!(store.delete_ended(Some(Duration::ZERO), Some(0), 100).await.unwrap().len(), 2);
    assert_eq!(store.list_tasks(&TaskFilter::default()).await.unwrap().total, 2);
    assert_eq!(status(&store, &running).await, TaskStatus::Processing);
    assert_eq!(status(&store, &waiting).await, TaskStatus::Open);
}

pub(super) async fn the_queue_is_counted<S: TaskStore>(store: S) {
    assert_eq!(store.queue_depth().await.unwrap(), QueueDepth::default());
    for _ in 0..3 {
        store.create_task(task()).await.unwrap();
    }
    let depth = store.queue_depth().await.unwrap();
    assert_eq!(depth.tasks, 3);
    assert!((0.0..60.0).contains(&depth.oldest_seconds), "{depth:?}");
    let claimed = store.claim_task(true).await.unwrap().unwrap();
    assert!(claimed.queued < Duration::from_secs(60), "{:?}", claimed.queued);
    assert_eq!(store.queue_depth().await.unwrap().tasks, 2);
}

pub(super) async fn release<S: TaskStore>(store: S) {
    let (claim, id) = processing(&store).await;
    let event = store.release_task(&claim, None).await.unwrap();
    assert_eq!((event.kind, event.body), (EventType::Recovered, json!({"recoverStrategy": "none"})));
    assert_eq!(status(&store, &id).await, TaskStatus::Open);
    lost(store.release_task(&claim, None).await, &id);
    assert_eq!(store.claim_task(true).await.unwrap().unwrap().claim.task_id, id);
}

/// A worker that was away writes nothing, whatever has become of its task meanwhile.
pub(super) async fn lost_claims_write_nothing<S: TaskStore>(store: S) {
    let refused = async |claim: &Claim| {
        let id = &claim.task_id;
        let before = (store.get_task(id).await.unwrap(), store.list_events(id, None).await.unwrap());
        lost(store.append_events(claim, 9, vec![log("late")]).await, id);
        lost(store.save_state(claim, &Map::from_iter([("late".into(), json!(1))])).await, id);
        lost(store.release_task(claim, secrets("late")).await, id);
        assert_eq!(store.heartbeat(std::slice::from_ref(claim)).await.unwrap(), [Beat::Lost]);
        assert!(store.complete_task(claim, TaskStatus::Completed, json!({})).await.is_err());
        let after = (store.get_task(id).await.unwrap(), store.list_events(id, None).await.unwrap());
        assert_eq!(before, after);
        assert!(store.load_state(id).await.unwrap().is_empty());
    };
    // Recovered, and back in the queue.
    let (first, id) = processing(&store).await;
    store.append_events(&first, 1, vec![log("in time")]).await.unwrap();
    store.recover_stale(Duration::ZERO).await.unwrap();
    refused(&first).await;
    // Taken by somebody else.
    let second = claim(&store).await;
    assert_eq!(second.task_id, id);
    assert!(second.token > first.token);
    refused(&first).await;
    lost(store.complete_task(&first, TaskStatus::Failed, json!({})).await, &id);
    // The new owner is not disturbed, and counts its batches anew.
    assert_eq!(store.append_events(&second, 1, vec![log("mine")]).await.unwrap().len(), 1);
    // Ended, then retried and taken again.
    store.complete_task(&second, TaskStatus::Failed, json!({})).await.unwrap().unwrap();
    refused(&second).await;
    store.retry_task(&id, None, true).await.unwrap();
    refused(&second).await;
    let third = claim(&store).await;
    assert!(third.token > second.token);
    refused(&second).await;
    // Handed over.
    store.release_task(&third, None).await.unwrap();
    refused(&third).await;
}

pub(super) async fn batches_are_stored_once<S: TaskStore>(store: S) {
    let (claim, id) = processing(&store).await;
    let first = store.append_events(&claim, 1, vec![log("a"), log("b")]).await.unwrap();
    assert_eq!(first.len(), 2);
    // The answer was lost, so the worker tries again.
    assert!(store.append_events(&claim, 1, vec![log("a"), log("b")]).await.unwrap().is_empty());
    let second = store.append_events(&claim, 2, vec![log("c")]).await.unwrap();
    assert!(store.append_events(&claim, 2, vec![log("c")]).await.unwrap().is_empty());
    assert_eq!(store.list_events(&id, None).await.unwrap(), [first, second].concat());
}

pub(super) async fn stale_tasks<S: TaskStore>(store: S) {
    let (_, first) = processing(&store).await;
    let (_, second) = processing(&store).await;
    let open = store.create_task(starting_over()).await.unwrap();
    let (now, hour) = (Duration::ZERO, Duration::from_secs(3600));
    for never in [hour, Duration::MAX] {
        assert!(store.list_stale(never).await.unwrap().is_empty());
        assert!(store.recover_stale(never).await.unwrap().is_empty());
    }
    assert_eq!(store.list_stale(now).await.unwrap(), [first.clone(), second.clone()]);
    let mut recovered = store.recover_stale(now).await.unwrap();
    recovered.sort_by_key(|event| event.task_id != first);
    assert_eq!(
        recovered.iter().map(|event| event.task_id.clone()).collect::<Vec<_>>(),
        [first.clone(), second.clone()]
    );
    assert!(recovered.iter().all(|event| event.body == json!({"recoverStrategy": "none"})));
    assert!(store.recover_stale(now).await.unwrap().is_empty());
    for id in [&first, &second, &open] {
        assert_eq!(status(&store, id).await, TaskStatus::Open);
    }
    for _ in 0..3 {
        store.claim_task(false).await.unwrap().unwrap();
    }
    let strategies: HashSet<_> =
        store.recover_stale(now).await.unwrap().iter().map(|event| event.body.to_string()).collect();
    assert!(strategies.contains(r#"{"recoverStrategy":"startOver"}"#), "{strategies:?}");
}

pub(super) async fn stale_tasks_are_closed_once<S: TaskStore>(store: S) {
    let (claim, id) = processing(&store).await;
    let (now, hour) = (Duration::ZERO, Duration::from_secs(3600));
    let body = json!({"message": "stale"});
    assert!(store.close_stale(&id, hour, vec![log("x")], body.clone()).await.unwrap().is_empty());
    let events = store.close_stale(&id, now, vec![log("x")], body.clone()).await.unwrap();
    assert_eq!(kinds(&events), ["log", "completion"]);
    assert_eq!(events[1].body, body);
    assert_eq!(status(&store, &id).await, TaskStatus::Failed);
    assert!(store.close_stale(&id, now, vec![log("x")], body).await.unwrap().is_empty());
    assert_eq!(store.list_events(&id, None).await.unwrap(), events);
    lost(store.append_events(&claim, 1, vec![log("late")]).await, &id);
}

pub(super) async fn news_of_tasks<S: TaskStore>(store: S) {
    let (first, id) = processing(&store).await;
    let (_, silent) = processing(&store).await;
    let events = store.append_events(&first, 1, vec![log("a"), log("b")]).await.unwrap();
    let other = processing(&store).await.0;
    let elsewhere = store.append_events(&other, 1, vec![log("c")]).await.unwrap();
    let mut newest = store.newest_events(&[id.clone(), silent, other.task_id.clone()]).await.unwrap();
    newest.sort_by_key(|(_, event)| *event);
    assert_eq!(newest, [(id.clone(), events[1].id), (other.task_id, elsewhere[0].id)]);
    assert_eq!(store.events_after(&id, 0, 100).await.unwrap(), events);
    assert_eq!(store.events_after(&id, events[0].id, usize::MAX).await.unwrap(), events[1..]);
    assert_eq!(store.events_after(&id, 0, 1).await.unwrap(), events[..1]);
    assert!(store.events_after(&id, events[1].id, 100).await.unwrap().is_empty());
}

pub(super) async fn events_after<S: TaskStore>(store: S) {
    let (claim, id) = processing(&store).await;
    let (other, _) = processing(&store).await;
    let mut events = store.append_events(&claim, 1, vec![log("one"), log("two \u{1f600} \"\n\0")]).await.unwrap();
    store.append_events(&other, 1, vec![log("not this one")]).await.unwrap();
    events.extend(store.append_events(&claim, 2, vec![log("three")]).await.unwrap());
    assert!(store.append_events(&claim, 3, vec![]).await.unwrap().is_empty());
    events.extend(store.complete_task(&claim, TaskStatus::Completed, json!({"message": "done"})).await.unwrap());
    events.push(store.cancel_task(&id, json!({"message": "late"})).await.unwrap());
    assert!(events.is_sorted_by_key(|event| event.id));
    assert_eq!(store.list_events(&id, None).await.unwrap(), events);
    assert_eq!(store.list_events(&id, Some(0)).await.unwrap(), events);
    assert_eq!(store.list_events(&id, Some(-1)).await.unwrap(), events);
    assert_eq!(store.list_events(&id, Some(events[0].id)).await.unwrap(), events[1..]);
    // A completion comes back however far the reader is.
    assert_eq!(store.list_events(&id, Some(events[3].id)).await.unwrap(), events[3..]);
    assert_eq!(store.list_events(&id, Some(events[4].id)).await.unwrap(), events[3..4]);
    assert_eq!(store.list_events(&id, Some(i64::MAX)).await.unwrap(), events[3..4]);
}

pub(super) async fn events_of_concurrent_tasks<S: TaskStore>(store: S) {
    let store = Arc::new(store);
    let mut writers = Vec::new();
    for _ in 0..16 {
        let (claim, id) = processing(&*store).await;
        let store = Arc::clone(&store);
        writers.push(tokio::spawn(async move {
            for n in 0..25 {
                let events = vec![log(&format!("{n}a")), log(&format!("{n}b"))];
                store.append_events(&claim, n + 1, events).await.unwrap();
            }
            // A refused write in the midst of the others takes nothing along.
            let stranger = Claim { token: claim.token + 1_000_000, ..claim };
            assert!(store.append_events(&stranger, 1, vec![log("x")]).await.is_err());
            assert!(store.retry_task(&id, None, true).await.is_err());
            id
        }));
    }
    let expected: Vec<String> = (0..25).flat_map(|n| [format!("{n}a"), format!("{n}b")]).collect();
    for writer in writers {
        let id = writer.await.unwrap();
        let events = store.list_events(&id, None).await.unwrap();
        assert_eq!(events.iter().map(|event| event.body["message"].as_str().unwrap()).collect::<Vec<_>>(), expected);
    }
}

pub(super) async fn events_of_started_over_tasks<S: TaskStore>(store: S) {
    let id = store.create_task(starting_over()).await.unwrap();
    let first = claim(&store).await;
    store.append_events(&first, 1, vec![log("first run")]).await.unwrap();
    let event = store.release_task(&first, None).await.unwrap();
    assert!(event.is_task_recoverable);
    assert_eq!(event.body, json!({"recoverStrategy": "startOver"}));
    assert!(store.list_events(&id, None).await.unwrap().is_empty());
    let second = claim(&store).await;
    store.append_events(&second, 1, vec![log("second run")]).await.unwrap();
    let events = store.list_events(&id, None).await.unwrap();
    assert_eq!(kinds(&events), ["recovered", "log"]);
    assert_eq!(events[1].body["message"], "second run");
    assert!(events.iter().all(|event| event.is_task_recoverable));
    assert_eq!(kinds(&store.list_events(&id, Some(event.id)).await.unwrap()), ["log"]);
    assert_eq!(kinds(&store.events_after(&id, 0, 100).await.unwrap()), ["log", "recovered", "log"]);
}

pub(super) async fn state<S: TaskStore>(store: S) {
    let (claim, id) = processing(&store).await;
    assert!(store.load_state(&id).await.unwrap().is_empty());
    let state = json!({"checkpoints": {"v1.task.checkpoint.a.b": {"status": "success", "value": 1}}, "steps": {}});
    let state = state.as_object().unwrap();
    store.save_state(&claim, state).await.unwrap();
    assert_eq!(store.load_state(&id).await.unwrap(), *state);
    store.release_task(&claim, None).await.unwrap();
    let claimed = store.claim_task(true).await.unwrap().unwrap();
    assert_eq!(claimed.state, *state);
    store.save_state(&claimed.claim, &Map::new()).await.unwrap();
    assert!(store.load_state(&id).await.unwrap().is_empty());
}

pub(super) async fn spec_members_of_other_versions_survive<S: TaskStore>(store: S) {
    // What the type can't express but older versions may have stored goes through `rest`.
    let new = NewTask { spec: spec(json!({"baseUrl": "https://x", "values": {"a": 1}})), ..task() };
    let id = store.create_task(new.clone()).await.unwrap();
    let claimed = store.claim_task(true).await.unwrap().unwrap();
    assert_eq!((claimed.claim.task_id, claimed.spec.unwrap()), (id, new.spec));
}

pub(super) async fn locations<S: CatalogStore>(store: S) {
    let location = |n: &str| StoredLocation {
        id: format!("id-{n}"),
        kind: "url".into(),
        target: format!("https://example.com/{n}.yaml"),
    };
    let entity = |name: &str, origin: &str| StoredEntity {
        entity_ref: format!("template:default/{name}"),
        location: format!("{origin}#file"),
        origin: origin.into(),
        entity: json!({"metadata": {"name": name}}),
    };
    let refs = async |store: &S| {
        let entities = store.entities().await.unwrap();
        entities.into_iter().map(|entity| format!("{} {}", entity.entity_ref, entity.origin)).collect::<Vec<_>>()
    };
    let (a, b) = (location("a"), location("b"));
    let (origin_a, origin_b) = ("url:https://example.com/a.yaml", "url:https://example.com/b.yaml");
    store.put_location(&b, &[entity("three", origin_b)]).await.unwrap();
    store.put_location(&a, &[entity("one", origin_a), entity("two", origin_a)]).await.unwrap();
    assert_eq!(store.locations().await.unwrap(), [b.clone(), a.clone()]);
    let error = store.put_location(&StoredLocation { id: "id-c".into(), ..a.clone() }, &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "Location url:https://example.com/a.yaml already exists");
    assert!(matches!(error, StoreError::Conflict(_)));
    let all = [
        "template:default/three url:https://example.com/b.yaml",
        "template:default/one url:https://example.com/a.yaml",
        "template:default/two url:https://example.com/a.yaml",
    ];
    assert_eq!(refs(&store).await, all);
    // Twice the same reference in one origin: all or nothing.
    assert!(store.replace_origin(origin_a, &[entity("x", origin_a), entity("x", origin_a)]).await.is_err());
    let bad = location("c");
    let origin_c = "url:https://example.com/c.yaml";
    assert!(store.put_location(&bad, &[entity("y", origin_c), entity("y", origin_c)]).await.is_err());
    assert_eq!(refs(&store).await, all);
    assert_eq!(store.locations().await.unwrap().len(), 2);
    store.replace_origin(origin_a, &[entity("four", origin_a)]).await.unwrap();
    store.replace_origin("file:/x.yaml", &[entity("five", "file:/x.yaml")]).await.unwrap();
    assert_eq!(refs(&store).await.len(), 3);
    assert!(store.remove_location("id-a").await.unwrap());
    assert!(!store.remove_location("id-a").await.unwrap());
    assert_eq!(refs(&store).await, [all[0], "template:default/five file:/x.yaml"]);
    assert_eq!(store.locations().await.unwrap(), [b]);
    let stored = &store.entities().await.unwrap()[0];
    assert_eq!((&stored.location, &stored.entity["metadata"]["name"]), (&format!("{origin_b}#file"), &json!("three")));
}

pub(super) async fn public_keys<S: KeyStore>(store: S) {
    let key = |id: &str, seconds: i64| StoredKey {
        id: id.to_string(),
        key: json!({"kid": id, "kty": "EC"}),
        expires_at: chrono::DateTime::from_timestamp(1_800_000_000 + seconds, 123_000_000).unwrap(),
    };
    assert!(store.keys().await.unwrap().is_empty());
    for key in [key("a", 0), key("b", 60)] {
        store.add_key(&key).await.unwrap();
    }
    assert!(store.add_key(&key("a", 90)).await.is_err());
    assert_eq!(store.keys().await.unwrap(), [key("a", 0), key("b", 60)]);
    store.remove_keys(&["a".into(), "nobody's".into()]).await.unwrap();
    assert_eq!(store.keys().await.unwrap(), [key("b", 60)]);
}

pub(super) async fn pings<S: TaskStore>(store: S) {
    store.ping().await.unwrap();
}

fn content(text: &str) -> SavedContent {
    SavedContent { bytes: 2, sha256: text.to_string(), unpacked: 1 << 40, fingerprint: format!("print of {text}") }
}

pub(super) async fn saved_workspaces<S: TaskStore + WorkspaceStore>(store: S) {
    let (claim, id) = processing(&store).await;
    let [first, second, third] = [(); 3].map(|()| uuid::Uuid::new_v4());
    assert_eq!(store.saved_workspace(&id).await.unwrap(), None);
    store.begin_workspace(&claim, first, "database").await.unwrap();
    for (number, text) in ["one", "two"].into_iter().enumerate() {
        let number = u32::try_from(number).unwrap();
        for _ in 0..2 {
            // The answer to the first attempt was lost.
            store.put_chunk(&claim, first, number, Some(text.as_bytes().into())).await.unwrap();
        }
    }
    assert_eq!(store.saved_workspace(&id).await.unwrap(), None, "it is not complete");
    assert_eq!(store.commit_workspace(&claim, first, &content("first")).await.unwrap(), []);
    let saved = store.saved_workspace(&id).await.unwrap().unwrap();
    let expected = SavedWorkspace {
        task_id: id.clone(),
        version: first,
        provider: "database".to_string(),
        chunks: 2,
        content: content("first"),
    };
    assert_eq!(saved, expected);
    assert_eq!(store.chunk(&saved, 1).await.unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(store.chunk(&saved, 2).await.unwrap(), None);

    // One that is never completed, and one that takes the place of both.
    store.begin_workspace(&claim, second, "s3").await.unwrap();
    store.put_chunk(&claim, second, 0, None).await.unwrap();
    assert_eq!(store.saved_workspace(&id).await.unwrap().unwrap(), saved);
    store.begin_workspace(&claim, third, "s3").await.unwrap();
    let mut replaced = store.commit_workspace(&claim, third, &content("third")).await.unwrap();
    replaced.sort_by_key(|old| old.version != first);
    let shape = |old: &SavedWorkspace| (old.version, old.provider.clone(), old.chunks);
    assert_eq!(
        replaced.iter().map(shape).collect::<Vec<_>>(),
        [(first, "database".to_string(), 2), (second, "s3".to_string(), 1)]
    );
    for old in replaced {
        store.forget_workspace(&old).await.unwrap();
    }
    assert_eq!(store.chunk(&saved, 1).await.unwrap(), None);
    assert_eq!(store.saved_workspace(&id).await.unwrap().unwrap().version, third);

    // Whoever lost the task changes nothing, at whatever point.
    store.release_task(&claim, None).await.unwrap();
    let newer = self::claim(&store).await;
    let fourth = uuid::Uuid::new_v4();
    lost(store.begin_workspace(&claim, fourth, "s3").await, &id);
    lost(store.put_chunk(&claim, third, 7, Some(b"late".to_vec().into())).await, &id);
    lost(store.commit_workspace(&claim, third, &content("late")).await, &id);
    lost(store.disown_workspace(&claim).await, &id);
    let saved = store.saved_workspace(&id).await.unwrap().unwrap();
    assert_eq!((saved.version, saved.chunks, saved.content), (third, 0, content("third")));
    store.disown_workspace(&newer).await.unwrap();
    assert_eq!(store.saved_workspace(&id).await.unwrap(), None);
}

pub(super) async fn workspaces_of_ended_tasks<S: TaskStore + WorkspaceStore>(store: S) {
    let day = Duration::from_secs(86_400);
    let save = async |claim: &Claim| {
        let version = uuid::Uuid::new_v4();
        store.begin_workspace(claim, version, "database").await.unwrap();
        store.put_chunk(claim, version, 0, Some(b"x".to_vec().into())).await.unwrap();
        store.commit_workspace(claim, version, &content("x")).await.unwrap();
    };
    let leftover = async |kept_for| store.leftover_workspaces(kept_for, 10).await.unwrap();
    let (claim, id) = processing(&store).await;
    save(&claim).await;
    assert!(leftover(Duration::ZERO).await.is_empty());
    assert!(store.retire_workspaces(&id).await.unwrap().is_empty(), "the task runs");
    assert!(store.saved_workspace(&id).await.unwrap().is_some());

    // One that failed is kept for another try, for a while.
    store.complete_task(&claim, TaskStatus::Failed, json!({})).await.unwrap();
    assert!(leftover(day).await.is_empty());
    assert_eq!(leftover(Duration::ZERO).await, std::slice::from_ref(&id));
    store.retry_task(&id, None, false).await.unwrap();
    assert!(leftover(Duration::ZERO).await.is_empty());
    assert!(store.retire_workspaces(&id).await.unwrap().is_empty(), "the task waits");
    let claim = self::claim(&store).await;
    assert!(store.saved_workspace(&id).await.unwrap().is_some());

    store.complete_task(&claim, TaskStatus::Completed, json!({})).await.unwrap();
    assert_eq!(leftover(day).await, std::slice::from_ref(&id));
    let retired = store.retire_workspaces(&id).await.unwrap();
    assert_eq!(retired.len(), 1);
    assert_eq!(store.saved_workspace(&id).await.unwrap(), None);
    assert_eq!(leftover(day).await, std::slice::from_ref(&id), "until its content is gone");
    store.forget_workspace(&retired[0]).await.unwrap();
    assert!(leftover(day).await.is_empty());
    assert_eq!(store.chunk(&retired[0], 0).await.unwrap(), None);

    // And what is left of a task that was deleted.
    let (claim, gone) = processing(&store).await;
    save(&claim).await;
    store.complete_task(&claim, TaskStatus::Failed, json!({})).await.unwrap();
    assert!(store.delete_ended(Some(Duration::ZERO), None, 10).await.unwrap().contains(&gone));
    assert_eq!(leftover(day).await, std::slice::from_ref(&gone));
    assert_eq!(store.retire_workspaces(&gone).await.unwrap().len(), 1);
}

/// A vault with keys of these ids; the first encrypts.
pub(super) fn vault(ids: &[&str], encrypt: bool, lost: &[&str]) -> Vault {
    use crate::config::{EncryptionKey, KeySource};
    let key = |id: &&str| EncryptionKey {
        id: (*id).split('/').next().unwrap().to_string(),
        source: KeySource::Text(understudy_sdk::Secret::new(id.repeat(32))),
    };
    let lost_keys = lost.iter().map(|id| (*id).to_string()).collect();
    let config = SecretsConfig { encrypt, keys: ids.iter().map(key).collect(), lost_keys, shared: Vec::new() };
    Vault::of(&config, &DatabaseConfig::SqliteMemory).unwrap()
}

/// Secrets at rest. `open` opens the same database each time; `sql` runs a statement, and gives its only value.
pub(super) async fn secrets_at_rest<S: TaskStore + std::fmt::Debug>(
    open: impl AsyncFn(Vault) -> Result<S, StoreError>,
    sql: impl AsyncFn(String) -> String,
) {
    let create = async |store: &S, secret: &str| {
        store.create_task(NewTask { secrets: secrets(secret), ..task() }).await.unwrap()
    };
    let stored = async |id: &str| sql(format!("SELECT secrets FROM tasks WHERE id = '{id}'")).await;
    let next = async |store: &S, id: &str| {
        let claimed = store.claim_task(true).await.unwrap().unwrap();
        assert_eq!(claimed.claim.task_id, id);
        claimed
    };

    // What Backstage, or a version without encryption, left.
    let store = open(Vault::default()).await.unwrap();
    let plain = create(&store, "hush-0").await;
    assert_eq!(stored(&plain).await, r#"{"token":"hush-0"}"#);
    store.close().await;

    let store = open(vault(&["k1"], true, &[])).await.unwrap();
    let old = create(&store, "hush-1").await;
    let text = stored(&old).await;
    assert!(!text.contains("hush") && text.contains(r#""key":"k1""#), "{text}");
    let claimed = next(&store, &plain).await;
    assert_eq!(claimed.secrets["token"], "hush-0");
    // A hand-over keeps what is stored, or encrypts what it is given.
    store.release_task(&claimed.claim, claimed.secrets.into()).await.unwrap();
    assert!(stored(&plain).await.contains(r#""key":"k1""#));
    store.close().await;

    // A new key encrypts, the old one still decrypts.
    let store = open(vault(&["k2", "k1"], true, &[])).await.unwrap();
    let new = create(&store, "hush-2").await;
    assert!(stored(&new).await.contains(r#""key":"k2""#));
    let mut claims = Vec::new();
    for (id, secret) in [(&plain, "hush-0"), (&old, "hush-1"), (&new, "hush-2")] {
        let claimed = next(&store, id).await;
        assert_eq!((claimed.spec.is_ok(), &claimed.secrets["token"]), (true, &json!(secret)));
        claims.push(claimed.claim);
    }
    for claim in claims {
        store.release_task(&claim, None).await.unwrap();
    }
    store.close().await;

    // Without the old key, or with another one under its name, nothing starts, and nothing is touched.
    for (keys, reason) in [(&["k2"][..], "is not among"), (&["k2", "k1/another"], "is another one")] {
        let error = open(vault(keys, true, &[])).await.unwrap_err().to_string();
        assert!(error.contains("the key 'k1'") && error.contains(reason), "{error}");
    }
    assert!(stored(&old).await.contains(r#""key":"k1""#));

    // Given up, it fails its tasks and no others. One row's secrets are of no use in another.
    let store = open(vault(&["k2"], true, &["k1"])).await.unwrap();
    let moved = create(&store, "hush-3").await;
    sql(format!("UPDATE tasks SET secrets = (SELECT secrets FROM tasks WHERE id = '{new}') WHERE id = '{moved}'"))
        .await;
    let reasons =
        [(&plain, "'k1', which is lost"), (&old, "'k1', which is lost"), (&new, ""), (&moved, "can't be decrypted")];
    for (id, reason) in reasons {
        let claimed = next(&store, id).await;
        match claimed.spec {
            Ok(_) => assert_eq!((reason, &claimed.secrets["token"]), ("", &json!("hush-2"))),
            Err(error) => {
                assert!(!reason.is_empty() && error.contains(reason), "{error}");
                assert!(error.contains("retry the task with its secrets") && claimed.secrets.is_empty(), "{error}");
            }
        }
        store.complete_task(&claimed.claim, TaskStatus::Failed, json!({})).await.unwrap();
        assert_eq!(sql(format!("SELECT COUNT(*) FROM tasks WHERE id = '{id}' AND secrets IS NOT NULL")).await, "0");
    }
    store.retry_task(&old, secrets("hush-4"), true).await.unwrap();
    assert!(stored(&old).await.contains(r#""key":"k2""#));
    let retried = next(&store, &old).await;
    assert_eq!(retried.secrets["token"], "hush-4");
    store.cancel_task(&old, json!({})).await.unwrap();
    assert_eq!(sql("SELECT COUNT(*) FROM tasks WHERE secrets IS NOT NULL".to_string()).await, "0");
    store.close().await;

    // Turned off for the way back.
    let store = open(vault(&["k2"], false, &[])).await.unwrap();
    let back = create(&store, "hush-5").await;
    assert_eq!(stored(&back).await, r#"{"token":"hush-5"}"#);
    store.close().await;
}
