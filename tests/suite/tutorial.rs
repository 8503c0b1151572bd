//! The public tutorial's templates, unmodified: registered by URL, submitted, pushed, registered in the catalog.

use std::{collections::BTreeMap, process::Command, time::Duration};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use understudy_testbed::{
    github::{GithubDouble, GithubOptions, Token},
    process::ServiceOptions,
};

use crate::support::{Running, TASKS, TempDir, binary, completion, manifest_dir, messages};

/// The token of `octo`.
pub(crate) const TOKEN: &str = "ghp_0123456789abcdef0123456789abcdef0123";

/// A GitHub double with a user `octo` whose token the configuration holds.
pub(crate) async fn double() -> GithubDouble {
    let options = GithubOptions::default().user("octo").token(Token::new(TOKEN, "octo"));
    GithubDouble::start(options).await.expect("the GitHub double starts")
}

/// A configuration in which the double stands in for github.com, for templates that allow no other host; what the double
/// calls itself in its answers is known as well.
pub(crate) fn in_place_of_github(double: &GithubDouble) -> String {
    let integration = |host: &str| json!({"host": host, "apiBaseUrl": double.api_url(), "token": TOKEN});
    json!({"integrations": {"github": [integration("github.com"), integration(&double.host())]}}).to_string()
}

/// Runs git in a folder; gives its output.
pub(crate) fn git(folder: &Utf8Path, args: &[&str]) -> String {
    let output = Command::new("git").arg("-C").arg(folder).args(args).output().expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The folder of the tutorial's templates.
pub(crate) fn tutorial() -> Utf8PathBuf {
    let folder = std::env::var("UNDERSTUDY_TUTORIAL")
        .map_or_else(|_| manifest_dir().join("../shared/tutorial"), Utf8PathBuf::from);
    assert!(
        folder.join("01-hello-world/template.yaml").exists(),
        "{folder} does not hold the tutorial's templates; CONTRIBUTING.md says where they come from"
    );
    folder
}

/// Every file below a folder with its content and executable bit.
pub(crate) fn files(folder: &Utf8Path) -> BTreeMap<String, (Vec<u8>, bool)> {
    use std::os::unix::fs::PermissionsExt;
    let mut all = BTreeMap::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(current) = pending.pop() {
        for entry in current.read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            let metadata = std::fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                if path.file_name() != Some(".git") {
                    pending.push(path);
                }
            } else {
                let name = path.strip_prefix(folder).unwrap().to_string();
                all.insert(name, (std::fs::read(&path).unwrap(), metadata.permissions().mode() & 0o111 != 0));
            }
        }
    }
    all
}

/// What the tutorial's skeleton becomes: its expressions are few, so they are replaced by hand here.
pub(crate) fn expected(skeleton: &Utf8Path) -> BTreeMap<String, (Vec<u8>, bool)> {
    files(skeleton)
        .into_iter()
        .map(|(name, (content, executable))| {
            let text = String::from_utf8(content).unwrap();
            let text = text
                .replace("${{values.serviceName | dump}}", "\"my-service\"")
                .replace("${{values.owner | dump}}", "\"team-a\"")
                .replace("${{ values.serviceName }}", "my-service")
                .replace("${{ values.owner }}", "team-a")
                .replace("${{ values.githubRepositoryOrg }}", "octo")
                .replace("${{ values.githubRepositoryName }}", "my-service")
                .replace("{% raw %}", "")
                .replace("{% endraw %}", "");
            (name, (text.into_bytes(), executable))
        })
        .collect()
}

/// The tutorial's template `folder`, from `POST /api/catalog/locations` to the clone.
async fn run(folder: &str, template: &str) {
    let source = tutorial().join(folder);
    let github = double().await;
    github.seed_repo("octo", "templates", source.as_std_path()).await.unwrap();
    let running =
        Running::with(ServiceOptions::new(binary()).config(in_place_of_github(&github)).extra_ca(github.ca_file()))
            .await;

    let target = "https://github.com/octo/templates/blob/main/template.yaml";
    let answer = running.post("/api/catalog/locations", &json!({"type": "url", "target": target})).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let schema =
        running.get(&format!("/api/scaffolder/v2/templates/default/template/{template}/parameter-schema")).await;
    assert_eq!(schema.json().unwrap()["steps"].as_array().unwrap().len(), 2, "{}", schema.text());

    let id = running
        .create_task(&json!({"templateRef": format!("template:default/{template}"), "values": {
            "serviceName": "my-service", "owner": "team-a",
            "repoUrl": "github.com?owner=octo&repo=my-service",
        }}))
        .await;
    let mut stream = running.service.client().events(&format!("{TASKS}/{id}/eventstream")).await.unwrap();
    let frames = stream.until(Duration::from_secs(60), |frame| frame.name() == "completion").await.unwrap();
    let events: Vec<Value> =
        frames.iter().filter(|frame| !frame.is_comment()).map(|frame| frame.json().unwrap()).collect();
    let log = messages(&events);
    let end = completion(&events);
    assert_eq!(end["message"], "Run completed with status: completed", "{log}\n{end}");
    assert!(end["output"].is_object(), "{end}");
    for step in ["fetch-base", "publish", "register"] {
        let statuses: Vec<&str> = events
            .iter()
            .filter(|event| event["body"]["stepId"] == step)
            .filter_map(|event| event["body"]["status"].as_str())
            .collect();
        assert_eq!(statuses, ["processing", "completed"], "step {step}:\n{log}");
    }
    assert!(!log.contains(TOKEN), "the token is in the log");

    let dir = TempDir::new();
    let clone = dir.path.join("clone");
    github.clone_to(clone.as_std_path(), "octo", "my-service", "main").await.unwrap();
    let (wanted, found) = (expected(&source.join("skeleton")), files(&clone));
    assert_eq!(
        wanted.keys().collect::<Vec<_>>(),
        found.keys().collect::<Vec<_>>(),
        "the pushed tree has other files than the skeleton"
    );
    for (name, (content, executable)) in &wanted {
        let (pushed, pushed_executable) = &found[name];
        assert_eq!(String::from_utf8_lossy(pushed), String::from_utf8_lossy(content), "{name}");
        assert_eq!(pushed_executable, executable, "the mode of {name}");
    }
    if folder.starts_with("02") {
        let chart = String::from_utf8_lossy(&found["chart/templates/service.yaml"].0).into_owned();
        assert!(chart.contains("ghcr.io/octo/my-service:{{ .Values.image.tag }}"), "{chart}");
        let workflow = String::from_utf8_lossy(&found[".github/workflows/ci.yaml"].0).into_owned();
        assert!(workflow.contains("${{ github.sha }}"), "{workflow}");
    }

    let entity = running.get("/api/catalog/entities/by-name/component/default/my-service").await;
    assert_eq!(entity.status, 200, "{}", entity.text());
    assert_eq!(entity.json().unwrap()["spec"]["owner"], "team-a");
    assert_eq!(github.violations(), Vec::<String>::new());
    assert!(!running.service.logs().contains(TOKEN), "the token is in the service's log");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_world() {
    run("01-hello-world", "hello-world").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn image_and_chart() {
    run("02-image-and-chart", "hello-world-on-kubernetes").await;
}
