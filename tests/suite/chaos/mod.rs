//! Nothing is lost, whatever dies: many tasks, processes that are killed and frozen, a database that is restarted.

mod power_cut;
mod recorder;
mod replica;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use understudy_testbed::{
    http::Client,
    postgres::{Database, Postgres},
    process::{Service, ServiceOptions},
};

use self::recorder::Recorder;
use crate::support::{TASKS, TempDir, locations, messages, template, write};

/// splitmix64: enough to choose whom to kill, and the same again for the same seed.
#[derive(Clone)]
struct Random(u64);

impl Random {
    /// A seed of the environment's (`UNDERSTUDY_CHAOS_SEED`), or a new one; it is printed.
    fn seeded(what: &str) -> Self {
        let given = std::env::var("UNDERSTUDY_CHAOS_SEED").ok().map(|text| text.parse().expect("a number"));
        let seed = given.unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
        println!("{what}: UNDERSTUDY_CHAOS_SEED={seed}");
        Self(seed)
    }
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
    fn choose<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
    /// Another one, for somebody who draws at their own pace.
    fn split(&mut self) -> Self {
        Self(self.next())
    }
}

const FOR_TASKS: Duration = Duration::from_secs(300);
const TASK_COUNT: usize = 300;
const SUBSCRIBERS: usize = 50;
/// The shortest that is allowed.
const STALE: Duration = Duration::from_secs(3);

/// The templates: name, how its tasks end, its steps with an effect.
const KINDS: [(&str, &str, &[&str]); 4] = [
    ("short", "completed", &["one", "two"]),
    ("medium", "completed", &["one", "two"]),
    ("long", "completed", &["one", "two", "three"]),
    ("failing", "failed", &["one"]),
];

fn templates(dir: &TempDir, recorder: &Recorder) -> String {
    let effect = |id: &str| json!({"id": id, "name": id, "action": "chaos:effect", "input": {"url": recorder.url}});
    let wait =
        |id: &str, seconds: f64| json!({"id": id, "name": id, "action": "debug:wait", "input": {"seconds": seconds}});
    let log = |id: &str| json!({"id": id, "name": id, "action": "debug:log", "input": {"message": "number ${{ parameters.number }}"}});
    let steps = [
        json!([effect("one"), log("log"), effect("two")]),
        json!([effect("one"), wait("wait", 1.0), log("log"), effect("two")]),
        json!([effect("one"), wait("wait", 4.0), effect("two"), wait("again", 2.0), log("log"), effect("three")]),
        json!([effect("one"), {"id": "fail", "name": "fail", "action": "no:such-action"}, effect("never")]),
    ];
    let mut paths = Vec::new();
    for ((name, ..), steps) in KINDS.iter().zip(steps) {
        let path = dir.path.join(format!("{name}.yaml"));
        write(&path, template(name, &steps));
        paths.push(path);
    }
    locations(&paths.iter().map(|path| path.as_path()).collect::<Vec<_>>())
}

/// The processes, and what was asked of them.
struct Fleet {
    services: Vec<Service>,
    clients: Vec<Client>,
    random: Random,
}

impl Fleet {
    async fn start(
        count: usize,
        dir: &TempDir,
        recorder: &Recorder,
        database: Option<&Database>,
        random: Random,
    ) -> Self {
        let program = replica::program(dir);
        // Each replica has a working directory of its own.
        let provider = if database.is_some() { "database" } else { "local" };
        let recovery = json!({"staleTimeout": {"seconds": STALE.as_secs()}, "workspaceProvider": provider});
        let more = json!({"scaffolder": {"taskRecovery": recovery}});
        let mut services = Vec::new();
        for _ in 0..count {
            let mut options = ServiceOptions::new(&program)
                .config(templates(dir, recorder))
                .config(more.to_string())
                .ready_within(Duration::from_secs(60));
            if let Some(database) = database {
                options = options.config(database.app_config());
            } else {
                options = options.data_dir(dir.path.join("data"));
            }
            services.push(Service::start(options).await.unwrap());
        }
        let clients = services.iter().map(|service| service.client().clone()).collect();
        Self { services, clients, random }
    }

    /// `kill -9`, and a new start.
    async fn kill(&mut self, victim: usize) {
        self.services[victim].kill().await.unwrap();
        self.services[victim].restart().await.unwrap();
    }

    async fn stop(mut self) {
        for service in &mut self.services {
            let status = service.terminate(Duration::from_secs(30)).await.unwrap();
            assert!(status.success(), "{status}:\n{}", service.logs());
        }
    }
}

/// Creates the tasks, evenly over `time`, at whatever replica answers; gives each with its kind once it was acknowledged.
async fn create(
    clients: Vec<Client>,
    mut random: Random,
    time: Duration,
    told: tokio::sync::mpsc::Sender<(String, usize)>,
) {
    for number in 0..TASK_COUNT {
        let kind = number % KINDS.len();
        let body = json!({"templateRef": format!("template:default/{}", KINDS[kind].0), "values": {"number": number}});
        loop {
            let answer = timeout(Duration::from_secs(4), random.choose(&clients).post(TASKS, &body)).await;
            if let Ok(Ok(answer)) = answer
                && answer.status == 201
            {
                told.send((answer.json().unwrap()["id"].as_str().unwrap().to_string(), kind)).await.unwrap();
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        sleep(time / u32::try_from(TASK_COUNT).unwrap()).await;
    }
}

/// Collects the tasks and has some of them followed by subscribers.
async fn gather(
    clients: Vec<Client>,
    mut random: Random,
    mut told: tokio::sync::mpsc::Receiver<(String, usize)>,
) -> (BTreeMap<String, usize>, BTreeMap<String, (Vec<Value>, u32)>) {
    let mut tasks = BTreeMap::new();
    let mut subscribers = Vec::new();
    while let Some((id, kind)) = told.recv().await {
        if tasks.len() % (TASK_COUNT / SUBSCRIBERS) == 0 && subscribers.len() < SUBSCRIBERS {
            let follow = watch::follow(clients.clone(), id.clone(), random.split(), FOR_TASKS);
            subscribers.push((id.clone(), tokio::spawn(follow)));
        }
        tasks.insert(id, kind);
    }
    let mut seen = BTreeMap::new();
    for (id, subscriber) in subscribers {
        seen.insert(id, subscriber.await.unwrap());
    }
    (tasks, seen)
}

/// Waits until all tasks have ended, and judges what became of them.
async fn judge(
    fleet: &Fleet,
    recorder: &Recorder,
    tasks: &BTreeMap<String, usize>,
    seen: &BTreeMap<String, (Vec<Value>, u32)>,
) {
    assert_eq!((tasks.len(), seen.len()), (TASK_COUNT, SUBSCRIBERS));
    let client = &fleet.clients[0];
    let deadline = Instant::now() + FOR_TASKS;
    let (mut recovered, mut expected) = (0, BTreeSet::new());
    for (id, kind) in tasks {
        let (name, end, effects) = KINDS[*kind];
        let status = loop {
            let task = client.get(&format!("{TASKS}/{id}")).await.unwrap().expect_json(200).unwrap();
            let status = task["status"].as_str().unwrap().to_string();
            if !matches!(&*status, "open" | "processing") {
                break status;
            }
            assert!(Instant::now() < deadline, "{name} task {id} is still {status}");
            sleep(Duration::from_millis(100)).await;
        };
        let events = client.get(&format!("{TASKS}/{id}/events")).await.unwrap().expect_json(200).unwrap();
        let events = events.as_array().unwrap();
        let log = messages(events);
        assert_eq!(status, end, "{name} task {id}:\n{log}");
        let completions = events.iter().filter(|event| event["type"] == "completion").count();
        assert_eq!((completions, &events.last().unwrap()["type"]), (1, &json!("completion")), "{id}:\n{log}");
        let ids: Vec<_> = events.iter().map(|event| event["id"].as_i64().unwrap()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{id}: {ids:?}");
        recovered += events.iter().filter(|event| event["type"] == "recovered").count();
        // No step that was reported as completed begins again.
        let mut completed = BTreeSet::new();
        for event in events {
            let Some(step) = event["body"]["stepId"].as_str() else { continue };
            match event["body"]["status"].as_str() {
                Some("completed") => {
                    completed.insert(step);
                }
                Some("processing") => assert!(!completed.contains(step), "{step} of {id} ran again:\n{log}"),
                _ => {}
            }
        }
        expected.extend(effects.iter().map(|step| format!("{id}/{step}")));
        if let Some((live, _)) = seen.get(id) {
            assert_eq!(live, events, "what a subscriber of {id} saw (left) is not what was stored");
        }
    }
    let deliveries = recorder.deliveries();
    // Tasks whose acknowledgement was lost have effects as well; they are nobody's business here.
    let acknowledged = |key: &str| tasks.contains_key(key.split('/').next().unwrap());
    let found: BTreeSet<String> = deliveries.keys().filter(|key| acknowledged(key)).cloned().collect();
    assert_eq!(found, expected, "effects of steps, once each");
    assert!(!deliveries.contains_key("without a key"));
    let repeated = deliveries.values().filter(|count| **count > 1).count();
    let connections: u32 = seen.values().map(|(_, connections)| connections).sum();
    println!(
        "{} tasks, {recovered} put back into the queue; {} effects, {repeated} of them sent again with the same key; \
         {SUBSCRIBERS} subscribers connected {connections} times",
        tasks.len(),
        expected.len(),
    );
    assert!(recovered > 0, "nobody was hit; kill more");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_on_postgresql() {
    let mut random = Random::seeded("replicas_on_postgresql");
    let dir = TempDir::new();
    let server = Postgres::start().await.unwrap();
    let database = server.database().await.unwrap();
    let recorder = Recorder::start().await;
    let mut fleet = Fleet::start(3, &dir, &recorder, Some(&database), random.split()).await;
    let (tell, told) = tokio::sync::mpsc::channel(TASK_COUNT);
    let creating = tokio::spawn(create(fleet.clients.clone(), random.split(), Duration::from_secs(45), tell));
    let gathering = tokio::spawn(gather(fleet.clients.clone(), random.split(), told));
    // The round in which something else than a kill happens: the first restart of the database, the frost, the second.
    let (stop, freeze, crash) = (3, 5, 9);
    let mut round = 0;
    while !creating.is_finished() || round <= crash {
        sleep(Duration::from_millis(1500 + fleet.random.next() % 2000)).await;
        let victim = fleet.random.below(3);
        round += 1;
        if round == stop || round == crash {
            if round == stop {
                server.stop().await.unwrap()
            } else {
                server.crash().await.unwrap()
            }
            sleep(Duration::from_secs(1)).await;
            server.start_again().await.unwrap();
        } else if round == freeze {
            // Its tasks go to others; when it is back it must not write into them.
            fleet.services[victim].signal(Signal::STOP).unwrap();
            sleep(STALE * 3).await;
            fleet.services[victim].signal(Signal::CONT).unwrap();
        } else {
            fleet.kill(victim).await;
        }
    }
    creating.await.unwrap();
    let (tasks, seen) = timeout(FOR_TASKS, gathering).await.expect("subscribers see the ends").unwrap();
    judge(&fleet, &recorder, &tasks, &seen).await;
    assert_eq!(database.sql("SELECT count(*) FROM understudy_claims").await.unwrap(), "0");
    // Those of failed tasks are kept for another try.
    let saved = "SELECT DISTINCT t.status, w.is_current FROM understudy_workspaces w JOIN tasks t ON t.id = w.task_id";
    assert_eq!(database.sql(saved).await.unwrap(), "failed|t");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_on_sqlite() {
    let mut random = Random::seeded("one_process_on_sqlite");
    let dir = TempDir::new();
    let recorder = Recorder::start().await;
    let mut fleet = Fleet::start(1, &dir, &recorder, None, random.split()).await;
    let (tell, told) = tokio::sync::mpsc::channel(TASK_COUNT);
    let creating = tokio::spawn(create(fleet.clients.clone(), random.split(), Duration::from_secs(25), tell));
    let gathering = tokio::spawn(gather(fleet.clients.clone(), random.split(), told));
    while !creating.is_finished() {
        sleep(Duration::from_millis(1500 + fleet.random.next() % 2000)).await;
        fleet.kill(0).await;
    }
    creating.await.unwrap();
    let (tasks, seen) = timeout(FOR_TASKS, gathering).await.expect("subscribers see the ends").unwrap();
    judge(&fleet, &recorder, &tasks, &seen).await;
    fleet.stop().await;
}
