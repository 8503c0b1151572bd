#![allow(clippy::unwrap_used, clippy::expect_used)]

use camino::Utf8PathBuf;
use serde_json::json;
use understudy_testbed::object_store::ObjectStore;

use super::*;
use crate::{
    config::{DatabaseConfig, S3Config},
    model::TaskStatus,
    store::{NewTask, SqliteStore, TaskStore},
};

struct Bench {
    dir: tempfile::TempDir,
    store: Arc<SqliteStore>,
    workspaces: Workspaces,
    workspace: Workspace,
    claim: Claim,
}

impl Bench {
    async fn with(provider: WorkspaceProvider) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(&DatabaseConfig::SqliteMemory).await.unwrap());
        let spec = json!({"apiVersion": "scaffolder.backstage.io/v1beta3", "steps": [], "output": {}, "parameters": {}, "user": {}});
        let task = NewTask { spec: serde_json::from_value(spec).unwrap(), secrets: None, created_by: None };
        store.create_task(task).await.unwrap();
        let claim = store.claim_task(true).await.unwrap().unwrap().claim;
        let workspaces = Workspaces::new(&provider, store.clone(), http()).unwrap().unwrap();
        let workspace = Workspace::create(Utf8PathBuf::from_path_buf(dir.path().join("work")).unwrap()).unwrap();
        Self { dir, store, workspaces, workspace, claim }
    }
    async fn save(&self, last: Option<Snapshot>) -> Snapshot {
        self.workspaces.save(&self.claim, &self.workspace, last).await.unwrap()
    }
    async fn saved(&self) -> SavedWorkspace {
        self.store.saved_workspace(&self.claim.task_id).await.unwrap().unwrap()
    }
    async fn restore(&self, name: &str) -> Result<Option<Snapshot>, WorkspacesError> {
        let path = Utf8PathBuf::from_path_buf(self.dir.path().join(name)).unwrap();
        self.workspaces.restore(&self.claim.task_id, &path).await
    }
}

fn http() -> reqwest::Client {
    // An error means that another test was here before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn s3(server: &ObjectStore, secret: &str) -> WorkspaceProvider {
    WorkspaceProvider::S3(Box::new(S3Config {
        endpoint: server.url().parse().unwrap(),
        bucket: ObjectStore::BUCKET.to_string(),
        root: "some/where".to_string(),
        region: "us-east-1".to_string(),
        path_style: true,
        access_key_id: understudy_sdk::Secret::new(ObjectStore::ACCESS_KEY),
        secret_access_key: understudy_sdk::Secret::new(secret),
        session_token: None,
    }))
}

/// Bytes that don't compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_changed_is_not_saved_again() {
    let bench = Bench::with(WorkspaceProvider::Database).await;
    // An empty workspace is one as well: that nothing is saved means that it is lost.
    let mut last = bench.save(None).await;
    let empty = bench.saved().await;
    bench.workspace.write("a/file", b"one", 0o644).unwrap();
    last = bench.save(Some(last)).await;
    let one = bench.saved().await;
    assert_ne!(one.version, empty.version);
    for _ in 0..3 {
        last = bench.save(Some(last)).await;
        assert_eq!(bench.saved().await, one, "saved again without need");
    }
    // The same length, within the clock's resolution; in place.
    std::fs::write(bench.workspace.root().join("a/file"), "two").unwrap();
    last = bench.save(Some(last)).await;
    let two = bench.saved().await;
    assert_ne!(two.version, one.version);
    // The same content in another file is no change.
    bench.workspace.write("a/file", b"two", 0o644).unwrap();
    last = bench.save(Some(last)).await;
    assert_eq!(bench.saved().await, two);
    for change in [
        |workspace: &Workspace| workspace.set_mode("a/file", 0o600),
        |workspace: &Workspace| workspace.create_dir_all("empty"),
        |workspace: &Workspace| workspace.symlink("file", "a/link"),
        |workspace: &Workspace| workspace.rename("a/file", "b"),
    ] {
        let before = bench.saved().await.version;
        change(&bench.workspace).unwrap();
        last = bench.save(Some(last)).await;
        assert_ne!(bench.saved().await.version, before);
    }
    // Whoever brings it back knows how it looked.
    let again = bench.restore("again").await.unwrap().unwrap();
    assert_eq!(again.fingerprint, last.fingerprint);
    // Nothing is left of what was replaced.
    bench.store.complete_task(&bench.claim, TaskStatus::Failed, json!({})).await.unwrap();
    assert_eq!(bench.store.retire_workspaces(&bench.claim.task_id).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn workspaces_beyond_fifty_megabytes_go_through_in_chunks() {
    let bench = Bench::with(WorkspaceProvider::Database).await;
    let content = noise(64 << 20);
    bench.workspace.write("large", &content, 0o644).unwrap();
    bench.save(None).await;
    let saved = bench.saved().await;
    assert!(saved.content.bytes > 60 << 20 && saved.chunks > 60, "{saved:?}");
    bench.restore("again").await.unwrap().unwrap();
    assert!(std::fs::read(bench.dir.path().join("again/large")).unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_is_not_taken_for_a_workspace() {
    let bench = Bench::with(WorkspaceProvider::Database).await;
    bench.workspace.write("file", &noise(3 << 20), 0o644).unwrap();
    bench.save(None).await;
    let saved = bench.saved().await;
    let chunks =
        [bench.store.chunk(&saved, 0).await.unwrap().unwrap(), bench.store.chunk(&saved, 1).await.unwrap().unwrap()];
    let put = async |numbers: &[u32]| {
        let version = Uuid::new_v4();
        bench.store.begin_workspace(&bench.claim, version, DATABASE).await.unwrap();
        for number in numbers {
            let chunk = chunks[usize::try_from(*number % 2).unwrap()].clone();
            bench.store.put_chunk(&bench.claim, version, *number, Some(chunk)).await.unwrap();
        }
        bench.store.commit_workspace(&bench.claim, version, &saved.content).await.unwrap();
    };
    put(&[0, 1]).await;
    let error = bench.restore("cut").await.unwrap_err();
    assert!(matches!(error, WorkspacesError::Damaged(_)), "{error}");
    put(&[1, 2, 3]).await;
    let error = bench.restore("missing").await.unwrap_err();
    assert_eq!(error.to_string(), "the saved workspace is damaged: chunk 0 is missing");
    bench.store.disown_workspace(&bench.claim).await.unwrap();
    assert!(bench.restore("none").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_keeps_them_too() {
    let server = ObjectStore::start().await.unwrap();
    let bench = Bench::with(s3(&server, server.secret())).await;
    bench.workspaces.probe().await.unwrap();
    assert_eq!(server.objects().unwrap(), []);
    let content = noise(20 << 20);
    bench.workspace.write("large", &content, 0o755).unwrap();
    let last = bench.save(None).await;
    let saved = bench.saved().await;
    let names: Vec<_> = server.objects().unwrap().into_iter().map(|(name, _)| name).collect();
    let expected: Vec<_> = (0..3).map(|n| format!("some/where/{}/{}/{n}", saved.task_id, saved.version)).collect();
    assert_eq!(names, expected);
    bench.restore("again").await.unwrap().unwrap();
    assert!(std::fs::read(bench.dir.path().join("again/large")).unwrap() == content);

    // What was replaced goes; so does, in the end, all of it.
    bench.workspace.write("small", b"x", 0o644).unwrap();
    bench.save(Some(last)).await;
    let version = bench.saved().await.version.to_string();
    let objects = server.objects().unwrap();
    assert!(objects.len() == 3 && objects.iter().all(|(name, _)| name.contains(&version)), "{objects:?}");

    // An outage is passing, and says so without the signed URL.
    server.stop().await.unwrap();
    let error = bench.restore("away").await.unwrap_err();
    assert!(error.is_passing() && !error.to_string().contains("X-Amz"), "{error}");
    server.start_again().await.unwrap();
    bench.store.complete_task(&bench.claim, TaskStatus::Completed, json!({})).await.unwrap();
    bench.workspaces.remove_leftovers(Duration::ZERO).await;
    assert_eq!(server.objects().unwrap(), []);
    assert_eq!(bench.store.retire_workspaces(&bench.claim.task_id).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_that_refuses_is_named() {
    let server = ObjectStore::start().await.unwrap();
    let bench = Bench::with(s3(&server, "wrong")).await;
    let error = bench.workspaces.probe().await.unwrap_err();
    let text = error.to_string();
    assert!(!error.is_passing() && text.contains("403") && text.contains("SignatureDoesNotMatch"), "{text}");
    assert!(text.contains("the bucket workspaces at 127.0.0.1:"), "{text}");
    let WorkspaceProvider::S3(mut config) = s3(&server, server.secret()) else { unreachable!() };
    config.access_key_id = understudy_sdk::Secret::new("somebody");
    let bench = Bench::with(WorkspaceProvider::S3(config)).await;
    let error = bench.workspaces.probe().await.unwrap_err();
    assert!(!error.is_passing() && error.to_string().contains("refused to store an object: 403"), "{error}");
}
