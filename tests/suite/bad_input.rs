//! What goes wrong at users' hands: each case ends in one clear error where the user looks, nothing is written outside the
//! workspace, nothing panics, and other tasks go on.

use std::{os::unix::fs::symlink, time::Duration};

use serde_json::{Value, json};
use understudy_testbed::process::ServiceOptions;

use crate::{
    support::{Running, TASKS, TempDir, binary, completion, locations, messages, template, write},
    tutorial::double,
};

const LIMIT: Duration = Duration::from_secs(30);

/// A service with these templates (file stem → steps).
async fn with_templates(dir: &TempDir, templates: &[(&str, Value)]) -> Running {
    let mut targets = Vec::new();
    for (name, steps) in templates {
        let path = dir.path.join(format!("{name}.yaml"));
        write(&path, template(name, steps));
        targets.push(path);
    }
    write(
        dir.path.join("healthy.yaml"),
        template("healthy", &json!([{"action": "debug:log", "input": {"message": "fine"}}])),
    );
    targets.push(dir.path.join("healthy.yaml"));
    Running::start(&locations(&targets.iter().map(camino::Utf8PathBuf::as_path).collect::<Vec<_>>())).await
}

/// Runs a template that must fail; gives the error's name and message and the whole log.
async fn fails(running: &Running, template: &str, values: Value) -> (String, String, String) {
    let id = running.create_task(&json!({"templateRef": template, "values": values})).await;
    let (status, events) = running.finish(&id, LIMIT).await;
    let log = messages(&events);
    assert_eq!(status, "failed", "{template}:\n{log}");
    let error = completion(&events)["error"].clone();
    let text = |key: &str| error[key].as_str().unwrap_or_default().to_string();
    (text("name"), text("message"), log)
}

/// The service is still well.
async fn still_well(running: Running) {
    let id = running.create_task(&json!({"templateRef": "healthy", "values": {}})).await;
    let (status, events) = running.finish(&id, LIMIT).await;
    assert_eq!(status, "completed", "{}", messages(&events));
    assert!(!running.service.logs().contains("panicked"), "{}", running.service.logs());
    running.stop().await;
}

fn fetch(url: &str) -> Value {
    json!([{"id": "fetch", "action": "fetch:template", "input": {"url": url, "values": {"up": "../../outside", "dots": ".."}}}])
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_that_cannot_run() {
    let dir = TempDir::new();
    let running = with_templates(
        &dir,
        &[
            ("unknown-action", json!([{"id": "x", "action": "does:not-exist", "input": {}}])),
            ("wrong-types", json!([{"id": "x", "action": "fetch:template", "input": {"url": "./a", "targetPath": 3, "nonsense": 1}}])),
            ("missing", json!([{"id": "x", "action": "fetch:template:file", "input": {"url": "./a"}}])),
            ("no-integration", json!([{"id": "x", "action": "fetch:plain", "input": {"url": "https://unknown.example/o/r/tree/main"}}])),
            ("plain-http", json!([{"id": "x", "action": "fetch:plain:file", "input": {"url": "http://169.254.169.254/latest/meta-data", "targetPath": "a"}}])),
            ("missing-skeleton", fetch("./nowhere")),
            ("above", fetch("../../../../../../etc")),
        ],
    )
    .await;
    for (template, name, texts) in [
        ("unknown-action", "NotFoundError", &["Template action with ID 'does:not-exist' is not registered"][..]),
        (
            "wrong-types",
            "InputError",
            &["fetch:template", "instance.targetPath is not of a type(s) string", "additional property \"nonsense\""],
        ),
        ("missing", "InputError", &["fetch:template:file", "requires property \"targetPath\""]),
        ("no-integration", "NotAllowedError", &["unknown.example", "backend.reading.allow"]),
        ("plain-http", "NotAllowedError", &["169.254.169.254", "backend.reading.allow"]),
        ("missing-skeleton", "Error", &["ENOENT", "nowhere"]),
        ("above", "NotAllowedError", &["not allowed to refer to a directory outside its parent"]),
    ] {
        let (found, message, log) = fails(&running, template, json!({})).await;
        assert_eq!(found, name, "{template}: {message}");
        for text in texts {
            assert!(message.contains(text), "{template}: {text:?} is not in {message:?}");
        }
        assert!(log.contains(&message), "{template}: the log does not show the error:\n{log}");
    }
    still_well(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn skeletons_that_try_to_leave() {
    let dir = TempDir::new();
    let secret = dir.path.join("outside-secret.txt");
    write(&secret, "do not read");
    for (name, link) in [("absolute", "/etc/passwd"), ("relative", "../outside-secret.txt"), ("chain", "hop")] {
        let folder = dir.path.join(name);
        write(folder.join("a.txt"), "hello");
        symlink(link, folder.join("link")).unwrap();
        if name == "chain" {
            symlink("../outside-secret.txt", folder.join("hop")).unwrap();
        }
    }
    write(dir.path.join("dangling/a.txt"), "hello");
    symlink("not-there", dir.path.join("dangling/link")).unwrap();
    write(dir.path.join("names/${{ values.up }}.txt"), "escaped");
    write(dir.path.join("dots/${{ values.dots }}/x.txt"), "escaped");
    let names = ["absolute", "relative", "chain", "dangling", "names", "dots"];
    let templates: Vec<(&str, Value)> = names.iter().map(|name| (*name, fetch(&format!("./{name}")))).collect();
    let running = with_templates(&dir, &templates).await;
    for (template, text) in [
        ("absolute", "/etc/passwd"),
        ("relative", "outside-secret.txt"),
        ("chain", "outside-secret.txt"),
        ("names", "not allowed to refer to a directory outside its parent"),
        ("dots", "not allowed to refer to a directory outside its parent"),
    ] {
        let (_, message, log) = fails(&running, template, json!({})).await;
        assert!(message.contains(text), "{template}: {text:?} is not in {message:?}");
        assert!(!log.contains("do not read") && !log.contains("root:x:"), "{template}: {log}");
    }
    // A dangling link that stays inside is kept as it is.
    let id = running.create_task(&json!({"templateRef": "dangling", "values": {}})).await;
    let (status, events) = running.finish(&id, LIMIT).await;
    assert_eq!(status, "completed", "{}", messages(&events));
    for name in ["outside.txt", "escaped.txt", "x.txt"] {
        let found: Vec<_> =
            walk(&running.working_directory()).into_iter().filter(|path| path.ends_with(name)).collect();
        assert!(found.is_empty(), "written outside the workspace: {found:?}");
    }
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "do not read");
    still_well(running).await;
}

fn walk(folder: &camino::Utf8Path) -> Vec<camino::Utf8PathBuf> {
    let mut all = Vec::new();
    for entry in folder.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        if path.is_dir() && !path.is_symlink() {
            all.extend(walk(&path));
        }
        all.push(path);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_wrong() {
    let dir = TempDir::new();
    write(
        dir.path.join("form.yaml"),
        json!({"apiVersion": "scaffolder.backstage.io/v1beta3", "kind": "Template", "metadata": {"name": "form"},
            "spec": {"type": "service", "parameters": {"required": ["name"], "properties": {
                "name": {"type": "string"}, "port": {"type": "integer"}}},
                "steps": [{"action": "debug:log", "input": {"message": "hi"}}]}})
        .to_string(),
    );
    write(dir.path.join("healthy.yaml"), template("healthy", &json!([{"action": "debug:log"}])));
    let running = Running::start(&locations(&[&dir.path.join("form.yaml"), &dir.path.join("healthy.yaml")])).await;
    let content = ("content-type".to_string(), "application/json".to_string());
    for (body, status, text) in [
        ("{\"templateRef\": ", 400, "JSON"),
        ("[]", 400, "object"),
        ("{\"templateRef\":\"form\"}", 400, "values"),
        ("{\"templateRef\":\"form\",\"values\":{}}", 400, "requires property \\\"name\\\""),
        ("{\"templateRef\":\"form\",\"values\":{\"name\":3}}", 400, "is not of a type(s) string"),
        ("{\"templateRef\":\"form\",\"values\":{\"name\":\"a\",\"port\":\"x\"}}", 400, "is not of a type(s) integer"),
        ("{\"templateRef\":\"nothing\",\"values\":{}}", 404, "Template template:default/nothing not found"),
    ] {
        let answer = running.request("POST", TASKS, std::slice::from_ref(&content), Some(body)).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        assert!(answer.text().contains(text), "{body}: {text:?} is not in {}", answer.text());
    }
    // JSON that is 100,000 deep, and values that are 5,000 deep.
    let deep = format!("{{\"templateRef\":\"form\",\"values\":{}1{}}}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let answer = running.request("POST", TASKS, std::slice::from_ref(&content), Some(&deep)).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    // Uploaded files that contradict each other.
    for paths in [["a", "a/b"], ["a/b", "a"]] {
        let files: Vec<Value> = paths.iter().map(|path| json!({"path": path, "base64Content": "eA=="})).collect();
        let steps = json!([{"action": "debug:log"}]);
        let document: Value = serde_json::from_str(&template("dry", &steps)).unwrap();
        let body = json!({"template": document, "values": {}, "directoryContents": files});
        let answer = running.post("/api/scaffolder/v2/dry-run", &body).await;
        assert_eq!(answer.status, 400, "{paths:?}: {}", answer.text());
        assert!(answer.error_message().contains("directoryContents"), "{paths:?}: {}", answer.text());
    }
    still_well(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_cannot_be_templates() {
    let github = double().await;
    let source = TempDir::new();
    let good = template("good", &json!([{"action": "debug:log"}]));
    let mut bomb = String::from(
        "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: bomb\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n",
    );
    for level in 1..9 {
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", ")));
    }
    for (name, text) in [
        ("malformed.yaml", "apiVersion: x\nkind: [unclosed\nmetadata: {name: a}\n".to_string()),
        ("second.yaml", format!("{good}\n---\napiVersion: scaffolder.backstage.io/v1beta3\nkind: Template\nmetadata:\n  name: 'not valid!'\nspec: {{type: service, steps: []}}\n")),
        ("no-steps.yaml", "apiVersion: scaffolder.backstage.io/v1beta3\nkind: Template\nmetadata: {name: no-steps}\nspec: {type: service}\n".into()),
        ("no-action.yaml", template("no-action", &json!([{"id": "x"}]))),
        ("huge.yaml", format!("{}\n# {}\n", template("huge", &json!([{"action": "debug:log"}])), "x".repeat(50 << 20))),
        ("deep.yaml", format!("apiVersion: v1\nkind: Component\nmetadata: {{name: deep}}\nspec: {}{}\n", "[".repeat(10_000), "]".repeat(10_000))),
        ("bomb.yaml", bomb),
        ("empty.yaml", String::new()),
        ("scalar.yaml", "just words\n".into()),
    ] {
        write(source.path.join(name), text);
    }
    github.seed_repo("octo", "bad", source.path.as_std_path()).await.unwrap();
    let running =
        Running::with(ServiceOptions::new(binary()).config(github.app_config()).extra_ca(github.ca_file())).await;
    for (file, texts) in [
        ("malformed.yaml", &["malformed.yaml:3:"][..]),
        ("second.yaml", &["second.yaml", "document 2", "metadata.name"]),
        ("no-steps.yaml", &["no-steps.yaml", "steps"]),
        ("no-action.yaml", &["no-action.yaml", "action"]),
        ("huge.yaml", &["huge.yaml", "larger than"]),
        ("deep.yaml", &["deep.yaml", "deep"]),
        ("bomb.yaml", &["bomb.yaml"]),
        ("empty.yaml", &["empty.yaml"]),
        ("scalar.yaml", &["scalar.yaml"]),
        ("not-there.yaml", &["not-there.yaml", "404"]),
    ] {
        let target = format!("https://{}/octo/bad/blob/main/{file}", github.host());
        for path in ["/api/catalog/locations", "/api/catalog/locations?dryRun=true"] {
            let answer = running.post(path, &json!({"type": "url", "target": target})).await;
            assert!((400..500).contains(&answer.status), "{file}: {} {}", answer.status, answer.text());
            let message = answer.error_message();
            for text in texts {
                assert!(message.contains(text), "{file}: {text:?} is not in {message:.2000?}");
            }
            assert!(message.len() < 4000, "{file}: the message has {} bytes", message.len());
        }
    }
    // Nothing was registered by halves.
    let entities = running.get("/api/catalog/entities").await.json().unwrap();
    assert!(!entities.to_string().contains("octo/bad"), "{entities}");
    assert_eq!(running.get("/api/catalog/locations").await.json().unwrap(), json!([]));
    for (target, text) in [
        ("https://unknown.example/template.yaml", "backend.reading.allow"),
        ("file:///etc/passwd", "file"),
        ("not a url", "not a url"),
    ] {
        let answer = running.post("/api/catalog/locations", &json!({"type": "url", "target": target})).await;
        assert!((400..500).contains(&answer.status), "{target}: {}", answer.text());
        assert!(answer.error_message().contains(text), "{target}: {}", answer.text());
    }
    assert!(!running.service.logs().contains("panicked"), "{}", running.service.logs());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_and_a_skeleton_that_is_not_there() {
    let github = double().await;
    let dir = TempDir::new();
    write(
        dir.path.join("publish.yaml"),
        template(
            "publish",
            &json!([
                {"id": "write", "action": "catalog:write", "input": {"entity": {"kind": "Component", "metadata": {"name": "x"}}}},
                {"id": "publish", "action": "publish:github", "input": {"repoUrl": format!("{}?owner=octo&repo=r", github.host()), "token": "${{ secrets.token }}"}},
            ]),
        ),
    );
    write(
        dir.path.join("absent.yaml"),
        template("absent", &fetch(&format!("https://{}/octo/nothing/tree/main/skeleton", github.host()))),
    );
    write(
        dir.path.join("hosts.yaml"),
        template(
            "hosts",
            &json!([{"id": "p", "action": "publish:github", "input": {
            "repoUrl": format!("{}?owner=octo&repo=r", github.host()), "allowedHosts": ["github.com"]}}]),
        ),
    );
    let targets = [dir.path.join("publish.yaml"), dir.path.join("absent.yaml"), dir.path.join("hosts.yaml")];
    let running = Running::with(
        ServiceOptions::new(binary())
            .config(github.app_config())
            .config(locations(&targets.iter().map(camino::Utf8PathBuf::as_path).collect::<Vec<_>>()))
            .extra_ca(github.ca_file()),
    )
    .await;
    let wrong = "ghp_wrong-token-0123456789";
    let id = running.create_task(&json!({"templateRef": "publish", "values": {}, "secrets": {"token": wrong}})).await;
    let (status, events) = running.finish(&id, LIMIT).await;
    let log = messages(&events);
    assert_eq!(status, "failed", "{log}");
    let message = completion(&events)["error"]["message"].as_str().unwrap_or_default().to_string();
    assert!(message.contains("Bad credentials"), "{message}");
    assert!(!log.contains(wrong) && !running.service.logs().contains(wrong), "the token is in a log");
    let (name, message, _) = fails(&running, "absent", json!({})).await;
    assert!(name == "NotFoundError" && message.contains("404"), "{name}: {message}");
    let (name, message, _) = fails(&running, "hosts", json!({})).await;
    assert!(name == "InputError" && message.contains("allowedHosts"), "{name}: {message}");
    assert_eq!(github.violations(), Vec::<String>::new());
    running.stop().await;
}

/// The service in a mount namespace of its own, its working directory on a file system of 4 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new();
    write(dir.path.join("skeleton/big.txt"), "0123456789abcdef".repeat(512 << 10));
    write(dir.path.join("full.yaml"), template("full", &fetch("./skeleton")));
    write(
        dir.path.join("healthy.yaml"),
        template("healthy", &json!([{"action": "debug:log", "input": {"message": "fine"}}])),
    );
    let small = dir.path.join("small");
    std::fs::create_dir(&small).unwrap();
    let wrapper = dir.path.join("understudy-on-a-small-disk");
    let root = if user_id() == 0 { "unshare -m" } else { "unshare -rm" };
    write(
        &wrapper,
        format!(
            "#!/bin/sh\nexec {root} sh -c 'mount -t tmpfs -o size=4m none {small} && exec {} \"$@\"' understudy \"$@\"\n",
            binary()
        ),
    );
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = json!({"backend": {"workingDirectory": small.as_str()}});
    let running = Running::with(
        ServiceOptions::new(wrapper.as_std_path())
            .config(locations(&[&dir.path.join("full.yaml"), &dir.path.join("healthy.yaml")]))
            .config(config.to_string()),
    )
    .await;
    let (_, message, log) = fails(&running, "full", json!({})).await;
    assert!(message.contains("ENOSPC: no space left on device"), "{message}\n{log}");
    still_well(running).await;
}

fn user_id() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid()
}
