//! A thousand tasks that wait, for all that can be waited for, beside ten that may run.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use understudy_testbed::{
    kubernetes::{Cluster, crds},
    process::ServiceOptions,
};

use crate::{
    support::{Running, TASKS, TempDir, binary, completion, locations, messages, template, write},
    tutorial::{double, in_place_of_github},
};

const LIMIT: Duration = Duration::from_secs(60);
/// Of each kind.
const TASKS_EACH: usize = 250;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_waiting_tasks_leave_the_workers_free() {
    let cluster = Cluster::shared().await.unwrap();
    cluster.install_crds(&crds().join("argocd.yaml")).await.unwrap();
    let namespace = cluster.namespace("thousand").await.unwrap();
    let github = double().await;
    github.seed_repo("acme", "shop", &[("README.md", "a repository without workflows\n")]).await.unwrap();
    let name = "never-${{ parameters.number }}";
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "timeout": "1h"});
    let for_create = {
        let mut input = map.clone();
        input["for"] = "create".into();
        input
    };
    // What is waited for, and the log's line when the wait has begun.
    let waits = [
        ("kubernetes:wait", for_create, "does not exist yet"),
        ("crossplane:wait", map, "there is no such object yet"),
        ("argocd:wait-app", json!({"name": name, "timeout": "1h"}), "there is no such application yet"),
        (
            "wait-workflow",
            json!({"repoUrl": "github.com?owner=acme&repo=shop", "requireRun": "1h", "timeout": "1h"}),
            "Workflows not started yet...",
        ),
    ];
    let dir = TempDir::new();
    let mut paths = Vec::new();
    let mut add = |name: &str, action: &str, input: &Value| {
        let path = dir.path.join(format!("{name}.yaml"));
        write(&path, template(name, &json!([{"id": "it", "name": "It", "action": action, "input": input}])));
        paths.push(path);
    };
    for (number, (action, input, _)) in waits.iter().enumerate() {
        add(&format!("wait-{number}"), action, input);
    }
    add("hello", "debug:log", &json!({"message": "hello"}));
    let kubeconfig = dir.path.join("kubeconfig");
    write(&kubeconfig, cluster.kubeconfig(cluster.admin_token(), &namespace));
    let limits = json!({"scaffolder": {"concurrentTasksLimit": 10}, "argocd": {"namespace": namespace}});
    let running = Running::with(
        ServiceOptions::new(binary())
            .config(in_place_of_github(&github))
            .config(locations(&paths.iter().map(AsRef::as_ref).collect::<Vec<_>>()))
            .config(limits.to_string())
            .env("KUBECONFIG", kubeconfig.as_str())
            .extra_ca(github.ca_file()),
    )
    .await;
    let hello = async || {
        let began = Instant::now();
        let id = running.create_task(&json!({"templateRef": "hello", "values": {}})).await;
        let (status, events) = running.finish(&id, LIMIT).await;
        assert_eq!(status, "completed", "{}", messages(&events));
        began.elapsed()
    };

    let alone = hello().await;
    let memory = || running.service.memory().unwrap().current_kib;
    let (mut waiting, before) = (Vec::new(), memory());
    for (number, (action, _, begun)) in waits.iter().enumerate() {
        let at_first = memory();
        let mut ids = Vec::new();
        for number_of_task in 0..TASKS_EACH {
            let values = json!({"number": number_of_task});
            ids.push(running.create_task(&json!({"templateRef": format!("wait-{number}"), "values": values})).await);
        }
        for id in &ids {
            let said = |event: &Value| event["body"]["message"].as_str().is_some_and(|text| text.contains(begun));
            running.wait_event(id, said).await;
        }
        let each = memory().saturating_sub(at_first) / TASKS_EACH as u64;
        eprintln!("{action}: {each} KiB for each of {TASKS_EACH} waiting tasks");
        waiting.push(ids);
    }
    let tasks = (waits.len() * TASKS_EACH) as u64;
    let each = memory().saturating_sub(before) / tasks;
    eprintln!("{tasks} waiting tasks: {before} KiB before, {} KiB with them, {each} KiB each", memory());
    eprintln!("another task took {} ms beside them, {} ms before", hello().await.as_millis(), alone.as_millis());
    assert!(each < 512, "a waiting task takes {each} KiB");
    for id in waiting.iter().flatten() {
        assert_eq!(running.task(id).await["status"], "processing");
    }

    // They are awake: one ends when its object comes, one when it is cancelled.
    let maps = format!("/api/v1/namespaces/{namespace}/configmaps");
    cluster.create(&maps, &json!({"metadata": {"name": "never-100"}})).await.unwrap();
    let (status, events) = running.finish(&waiting[0][100], LIMIT).await;
    assert_eq!(status, "completed", "{}", messages(&events));
    for ids in &waiting {
        let answer = running.post(&format!("{TASKS}/{}/cancel", ids[7]), &json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let (_, events) = running.finish(&ids[7], LIMIT).await;
        assert!(messages(&events).contains("Step it has been cancelled."), "{}", completion(&events));
    }
    assert_eq!(github.violations(), Vec::<String>::new());
}
