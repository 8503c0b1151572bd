#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use camino::Utf8PathBuf;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use understudy_scm::Scm;
use understudy_sdk::{Catalog, EntityRef};

use super::{
    query::{Cursor, EntityFilter, EntityQuery, Fields, FullText, OrderField},
    *,
};
use crate::{
    config::{DatabaseConfig, LocationConfig},
    store::{CatalogStore, SqliteStore, StoreError, StoredEntity, StoredLocation},
};

/// A web server of a few texts that can be exchanged.
#[derive(Clone)]
struct Site {
    base: String,
    host: String,
    texts: Arc<std::sync::Mutex<HashMap<String, String>>>,
    /// How many requests have come, and what answers wait for.
    asked: Arc<std::sync::atomic::AtomicUsize>,
    gate: Arc<tokio::sync::Mutex<()>>,
}

impl Site {
    async fn start(texts: &[(&str, &str)]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let site = Self {
            base: format!("http://{host}"),
            host,
            texts: Arc::default(),
            asked: Arc::default(),
            gate: Arc::default(),
        };
        for (path, text) in texts {
            site.put(path, text);
        }
        let served = site.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let Self { texts, asked, gate, .. } = served.clone();
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    let mut buffer = [0; 1024];
                    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                        match socket.read(&mut buffer).await {
                            Ok(0) | Err(_) => return,
                            Ok(read) => request.extend_from_slice(&buffer[..read]),
                        }
                    }
                    asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    drop(gate.lock().await);
                    let request = String::from_utf8_lossy(&request).into_owned();
                    let path = request.split(' ').nth(1).unwrap_or("/").to_string();
                    let text = texts.lock().unwrap().get(&path).cloned();
                    let (status, body) = match text {
                        Some(text) => ("200 OK", text),
                        None => ("404 Not Found", "nothing here".to_string()),
                    };
                    let answer = format!(
                        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = socket.write_all(answer.as_bytes()).await;
                });
            }
        });
        site
    }
    fn put(&self, path: &str, text: &str) {
        self.texts.lock().unwrap().insert(path.to_string(), text.to_string());
    }
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
    fn scm(&self) -> Scm {
        Scm::from_config(&json!({"backend": {"reading": {"allow": [{"host": self.host}]}}})).unwrap()
    }
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            dir.write(name, text);
        }
        dir
    }
    fn path(&self, name: &str) -> String {
        Utf8PathBuf::from_path_buf(self.0.path().join(name)).unwrap().into_string()
    }
    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(Utf8PathBuf::from(&path).parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn template(name: &str) -> String {
    format!(
        "apiVersion: scaffolder.backstage.io/v1beta3\nkind: Template\nmetadata:\n  name: {name}\n  title: The {name}\n\
         spec:\n  type: service\n  owner: team-a\n  steps: []\n"
    )
}

fn listing(targets: &[&str]) -> String {
    json!({
        "apiVersion": "backstage.io/v1alpha1", "kind": "Location", "metadata": {"name": "all"},
        "spec": {"targets": targets},
    })
    .to_string()
}

async fn store() -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(&DatabaseConfig::SqliteMemory).await.unwrap())
}

/// A store that counts how often entities are written.
struct Counting {
    store: Arc<SqliteStore>,
    writes: AtomicUsize,
}

#[async_trait::async_trait]
impl CatalogStore for Counting {
    async fn locations(&self) -> Result<Vec<StoredLocation>, StoreError> {
        self.store.locations().await
    }
    async fn put_location(&self, location: &StoredLocation, entities: &[StoredEntity]) -> Result<(), StoreError> {
        self.store.put_location(location, entities).await
    }
    async fn remove_location(&self, id: &str) -> Result<bool, StoreError> {
        self.store.remove_location(id).await
    }
    async fn replace_origin(&self, origin: &str, entities: &[StoredEntity]) -> Result<(), StoreError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.store.replace_origin(origin, entities).await
    }
    async fn entities(&self) -> Result<Vec<StoredEntity>, StoreError> {
        self.store.entities().await
    }
}

#[tokio::test]
async fn what_has_not_changed_is_not_written_again() {
    let dir = Dir::new(&[("a.yaml", &template("a")), ("b.yaml", &template("b"))]);
    let configured = [file(dir.path("a.yaml")), file(dir.path("b.yaml"))];
    let store = Arc::new(Counting { store: store().await, writes: AtomicUsize::new(0) });
    let writes = || store.writes.swap(0, Ordering::SeqCst);
    let catalog = EmbeddedCatalog::open(store.clone(), no_hosts(), &configured).await.unwrap();
    catalog.refresh_configured().await.unwrap();
    assert_eq!(writes(), 2);

    // Neither while the service runs nor after it was started again.
    catalog.refresh_configured().await.unwrap();
    let again = EmbeddedCatalog::open(store.clone(), no_hosts(), &configured).await.unwrap();
    again.refresh_configured().await.unwrap();
    assert_eq!((writes(), refs(&again)), (0, vec!["template:default/a".to_string(), "template:default/b".to_string()]));

    dir.write("b.yaml", &template("b").replace("The b", "Renewed"));
    again.refresh_configured().await.unwrap();
    assert_eq!(writes(), 1);
    assert_eq!(again.entity_by_name("template", "default", "b").unwrap()["metadata"]["title"], "Renewed");
    dir.write("b.yaml", &template("c"));
    again.refresh_configured().await.unwrap();
    assert_eq!((writes(), refs(&again)), (1, vec!["template:default/a".to_string(), "template:default/c".to_string()]));
}

fn file(target: impl Into<String>) -> LocationConfig {
    LocationConfig { kind: "file".into(), target: target.into() }
}

async fn catalog(scm: Scm, configured: &[LocationConfig]) -> EmbeddedCatalog {
    let catalog = EmbeddedCatalog::open(store().await, scm, configured).await.unwrap();
    catalog.refresh_configured().await.unwrap();
    catalog
}

fn no_hosts() -> Scm {
    Scm::from_config(&json!({})).unwrap()
}

fn refs(catalog: &EmbeddedCatalog) -> Vec<String> {
    catalog.entities(&EntityQuery::default(), &Fields::default(), 0, None).iter().map(reference).collect()
}

fn reference(entity: &Value) -> String {
    EntityRef::of(entity).unwrap().canonical()
}

#[tokio::test]
async fn a_url_is_registered_whole() {
    let two = format!("{}---\n{}", template("one"), template("two"));
    let site = Site::start(&[("/t/all.yaml", &two)]).await;
    let catalog = catalog(site.scm(), &[]).await;
    let target = site.url("/t/all.yaml");
    let added = catalog.register("url", &target, false).await.unwrap();
    let location = &added.location;
    assert_eq!((location.kind.as_str(), location.target.as_str()), ("url", target.as_str()));
    assert_eq!(location.entity_ref, Location::url(&target).entity_ref());
    assert_eq!(added.exists, None);
    assert_eq!(refs(&catalog), ["template:default/one", "template:default/two"]);
    let entity = catalog.entity_by_name("Template", "default", "ONE").unwrap();
    let metadata = entity["metadata"].as_object().unwrap();
    assert_eq!(metadata.keys().collect::<Vec<_>>(), ["namespace", "annotations", "name", "title", "uid", "etag"]);
    assert_eq!(
        metadata["annotations"],
        json!({
            "backstage.io/managed-by-location": format!("url:{target}"),
            "backstage.io/managed-by-origin-location": format!("url:{target}"),
            "backstage.io/view-url": target,
            "backstage.io/source-location": format!("url:{}", site.url("/t/")),
        })
    );
    assert_eq!(metadata["etag"].as_str().unwrap().len(), 40);
    assert_eq!(entity["relations"], json!([{"type": "ownedBy", "targetRef": "group:default/team-a"}]));
    let error = catalog.register("url", &target, false).await.unwrap_err();
    assert_eq!(error.to_string(), format!("ConflictError: Location url:{target} already exists"));
    assert_eq!(catalog.locations().await.unwrap(), std::slice::from_ref(&added.location));
    assert_eq!(catalog.location(&location.id).await.unwrap(), added.location);
    let of_entity = catalog.location_of_entity(&EntityRef::of(&entity).unwrap()).await.unwrap();
    assert_eq!(of_entity, added.location);
    catalog.remove_location(&location.id).await.unwrap();
    assert!(refs(&catalog).is_empty() && catalog.locations().await.unwrap().is_empty());
    let error = catalog.remove_location(&location.id).await.unwrap_err().to_string();
    assert_eq!(error, format!("NotFoundError: Found no location with ID {}", location.id));
}

#[tokio::test]
async fn annotations_on_github_name_its_pages() {
    let entity = crate::yaml::parse_yaml(&template("x")).unwrap();
    let location = Location::url("https://github.com/o/r/blob/main/t/template.yaml");
    let stored = super::annotate::annotate(&no_hosts(), &entity, &location, &Location::url("https://x/y"), "u");
    let annotations = &stored["metadata"]["annotations"];
    assert_eq!(annotations["backstage.io/managed-by-origin-location"], "url:https://x/y");
    assert_eq!(annotations["backstage.io/edit-url"], "https://github.com/o/r/edit/main/t/template.yaml");
    assert_eq!(annotations["backstage.io/source-location"], "url:https://github.com/o/r/tree/main/t/");
    // What the file says of its source wins; where it came from it can't choose.
    let mut entity = entity;
    entity["metadata"]["annotations"] =
        json!({"backstage.io/source-location": "url:https://z/", "backstage.io/managed-by-location": "file:/etc"});
    let stored = super::annotate::annotate(&no_hosts(), &entity, &location, &location, "u");
    let annotations = &stored["metadata"]["annotations"];
    assert_eq!(annotations["backstage.io/source-location"], "url:https://z/");
    assert_eq!(annotations["backstage.io/managed-by-location"], format!("{location}"));
}

#[tokio::test]
async fn a_dry_run_keeps_nothing() {
    let site = Site::start(&[
        ("/all.yaml", &listing(&["./a.yaml", "b/c.yaml"])),
        ("/a.yaml", &template("a")),
        ("/b/c.yaml", &template("c")),
    ])
    .await;
    let catalog = catalog(site.scm(), &[]).await;
    let target = site.url("/all.yaml");
    let tried = catalog.register("url", &target, true).await.unwrap();
    assert_eq!((tried.exists, tried.location.id.as_str()), (Some(false), format!("url:{target}").as_str()));
    let names: Vec<String> = tried.entities.iter().map(reference).collect();
    let generated = |path: &str| Location::url(site.url(path)).entity_ref();
    assert_eq!(
        names,
        [
            generated("/all.yaml"),
            "location:default/all".to_string(),
            generated("/b/c.yaml"),
            "template:default/c".to_string(),
            generated("/a.yaml"),
            "template:default/a".to_string(),
        ]
    );
    assert!(tried.entities.iter().all(|entity| entity["metadata"].get("uid").is_none()));
    assert!(refs(&catalog).is_empty());
    // The actions' view gives the same.
    let answer = catalog.add_location("url", &target, false).await.unwrap();
    assert_eq!((answer.entities.len(), answer.exists), (3, None));
    assert_eq!(catalog.add_location("url", &target, true).await.unwrap().exists, Some(true));
    assert_eq!(catalog.add_location("url", &target, false).await.unwrap_err().name().to_string(), "ConflictError");
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let bad = format!("{}---\n{}", template("good"), template("not good"));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_string()
        + &(1..9)
            .map(|n| {
                format!(
                    "b{n}: &b{n} [{}]\n",
                    vec![if n == 1 { "*a".to_string() } else { format!("*b{}", n - 1) }; 10].join(",")
                )
            })
            .collect::<String>();
    let deep = format!("x: {}", "[".repeat(10_000));
    let site = Site::start(&[
        ("/bad.yaml", &bad),
        ("/syntax.yaml", "kind: Template\nmetadata: [\n"),
        ("/bomb.yaml", &bomb),
        ("/deep.yaml", &deep),
        ("/empty.yaml", "# nothing\n"),
        ("/text.yaml", "just a text"),
        ("/twice.yaml", &format!("{}---\n{}", template("x"), template("X"))),
        ("/part.yaml", &listing(&["./good.yaml", "./bad.yaml"])),
        ("/dangling.yaml", &listing(&["./good.yaml", "./none.yaml"])),
        ("/good.yaml", &template("fine")),
        ("/circle.yaml", &listing(&["./circle2.yaml"])),
        ("/circle2.yaml", &listing(&["./circle.yaml"]).replace("\"all\"", "\"all2\"")),
        ("/files.yaml", &listing(&["./x"]).replace("\"targets\"", "\"type\":\"file\",\"targets\"")),
    ])
    .await;
    let catalog = catalog(site.scm(), &[]).await;
    let target = |path: &str| site.url(path);
    for (path, expected) in [
        (
            "/bad.yaml",
            format!(
                "{} document 2 (line 11): metadata.name \"not good\" is not valid; expected letters",
                target("/bad.yaml")
            ),
        ),
        ("/syntax.yaml", format!("YAML error at {}:2:11: unclosed bracket '['", target("/syntax.yaml"))),
        ("/bomb.yaml", "more than 250000 values".to_string()),
        ("/deep.yaml", "nested more than 100 levels deep".to_string()),
        ("/empty.yaml", format!("{}: holds no entity", target("/empty.yaml"))),
        ("/text.yaml", format!("{} (line 1): an entity must be an object", target("/text.yaml"))),
        ("/twice.yaml", "template:default/x is defined in".to_string()),
        ("/part.yaml", format!("{} document 2 (line 11)", target("/bad.yaml"))),
        ("/dangling.yaml", format!("{}: Unable to read url, NotFoundError", target("/none.yaml"))),
        ("/none.yaml", format!("{}: Unable to read url, NotFoundError", target("/none.yaml"))),
        ("/circle.yaml", format!("in a circle: {0} → {1} → {0}", target("/circle.yaml"), target("/circle2.yaml"))),
        ("/files.yaml", "a location read from a URL can't lead to files of this machine".to_string()),
        ("/*.yaml", "patterns are not read in URLs".to_string()),
    ] {
        for dry_run in [true, false] {
            let error = catalog.register("url", &target(path), dry_run).await.unwrap_err();
            assert_eq!(error.name().to_string(), "InputError", "{path}: {error}");
            assert!(
                error.message().contains(&expected),
                "{path}\n  expected {expected}\n  found    {}",
                error.message()
            );
        }
    }
    for (kind, target, expected) in [
        ("file", "/etc/passwd", "Registered locations must be of an allowed type [\"url\"]"),
        ("url", "file:///etc/passwd", "is no http or https URL"),
        ("url", "nonsense", "is no http or https URL"),
        ("url", "https://elsewhere.example/x.yaml", "NotAllowedError"),
    ] {
        let error = catalog.register(kind, target, false).await.unwrap_err().to_string();
        assert!(error.starts_with("InputError: ") && error.contains(expected), "{error}");
    }
    assert!(refs(&catalog).is_empty() && catalog.locations().await.unwrap().is_empty());
}

#[tokio::test]
async fn locations_of_the_configuration() {
    let dir = Dir::new(&[
        ("all.yaml", &listing(&["./deep/one.yaml", "./missing.yaml", "./broken.yaml", "deep/../two.yaml"])),
        ("deep/one.yaml", &template("one")),
        ("two.yaml", &template("two")),
        ("broken.yaml", "kind: [\n"),
        ("many/a/template.yaml", &template("a")),
        ("many/b/template.yaml", &template("b")),
        ("many/b/other.yaml", "not: an entity"),
        ("many/.hidden/template.yaml", &template("hidden")),
        (
            "optional.yaml",
            &listing(&["./nowhere.yaml"])
                .replace("\"all\"", "\"opt\"")
                .replace("\"targets\"", "\"presence\":\"optional\",\"targets\""),
        ),
    ]);
    let configured = [
        file(dir.path("./all.yaml")),
        file(dir.path("many/*/template.yaml")),
        file(dir.path("none/**/x.yaml")),
        file(dir.path("optional.yaml")),
        LocationConfig { kind: "url".into(), target: "https://elsewhere.example/x.yaml".into() },
    ];
    let store = store().await;
    let catalog = EmbeddedCatalog::open(store.clone(), no_hosts(), &configured).await.unwrap();
    assert!(refs(&catalog).is_empty());
    catalog.refresh_configured().await.unwrap();
    let all = [
        "location:default/all",
        "location:default/opt",
        "template:default/a",
        "template:default/b",
        "template:default/one",
        "template:default/two",
    ];
    assert_eq!(refs(&catalog), all);
    let one = catalog.entity_by_name("template", "default", "one").unwrap();
    assert_eq!(
        one["metadata"]["annotations"]["backstage.io/managed-by-location"],
        format!("file:{}", dir.path("deep/one.yaml"))
    );
    assert_eq!(
        one["metadata"]["annotations"]["backstage.io/managed-by-origin-location"],
        format!("file:{}", dir.path("all.yaml"))
    );
    let problems: Vec<String> =
        catalog.problems().into_iter().flat_map(|(_, problems)| problems).map(|problem| problem.message).collect();
    let told = problems.join("\n");
    for expected in [
        "missing.yaml: Unable to read file",
        "broken.yaml:1:7: unclosed",
        "none/**/x.yaml: no file matches",
        "NotAllowedError",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert_eq!(problems.len(), 4, "{told}");
    // A location of the configuration is no registered one, but it is there.
    assert!(catalog.locations().await.unwrap().is_empty());
    let error = catalog.register("url", "https://elsewhere.example/x.yaml", false).await.unwrap_err();
    assert_eq!(error.name().to_string(), "ConflictError");

    // A file that breaks keeps what it brought; one that is mended or emptied takes effect.
    let uid = one["metadata"]["uid"].clone();
    dir.write("deep/one.yaml", "kind: [");
    dir.write("two.yaml", &template("zwei"));
    let error = catalog.refresh("template:default/one").await.unwrap_err().to_string();
    assert!(error.contains("one.yaml:1:7: unclosed"), "{error}");
    let after = refs(&catalog);
    assert!(
        after.contains(&"template:default/one".to_string()) && after.contains(&"template:default/zwei".to_string())
    );
    assert!(!after.contains(&"template:default/two".to_string()));
    dir.write("deep/one.yaml", &template("one").replace("The one", "Renewed"));
    dir.write("all.yaml", &listing(&["./deep/one.yaml"]));
    catalog.refresh("location:default/all").await.unwrap();
    let one = catalog.entity_by_name("template", "default", "one").unwrap();
    assert_eq!((one["metadata"]["title"].as_str(), &one["metadata"]["uid"]), (Some("Renewed"), &uid));
    assert!(!refs(&catalog).contains(&"template:default/zwei".to_string()));

    // The next start finds everything without reading, and drops what is no longer configured.
    let again = EmbeddedCatalog::open(store.clone(), no_hosts(), &configured[..1]).await.unwrap();
    assert_eq!(refs(&again), ["location:default/all", "template:default/one"]);
    assert!(store.entities().await.unwrap().iter().all(|entity| entity.origin.ends_with("all.yaml")));
}

#[tokio::test]
async fn a_template_belongs_to_one_location() {
    let component = "{apiVersion: backstage.io/v1alpha1, kind: Component, metadata: {name: c}, spec: {type: x, lifecycle: y, owner: z}}";
    let site = Site::start(&[
        ("/one.yaml", &template("same")),
        ("/two.yaml", &template("Same")),
        ("/c1.yaml", component),
        ("/c2.yaml", component),
    ])
    .await;
    let catalog = catalog(site.scm(), &[]).await;
    catalog.register("url", &site.url("/one.yaml"), false).await.unwrap();
    let error = catalog.register("url", &site.url("/two.yaml"), false).await.unwrap_err().to_string();
    let expected = format!(
        "ConflictError: {}: template:default/same is provided by url:{} already",
        site.url("/two.yaml"),
        site.url("/one.yaml")
    );
    assert!(error.starts_with(&expected), "{error}");
    // Other kinds don't stop a registration, as in Backstage; the problem is told.
    catalog.register("url", &site.url("/c1.yaml"), false).await.unwrap();
    let second = catalog.register("url", &site.url("/c2.yaml"), false).await.unwrap();
    assert!(second.entities.is_empty());
    assert!(second.location.problems[0].contains("component:default/c is provided by"), "{:?}", second.location);
    let entity = catalog.entity_by_name("component", "default", "c").unwrap();
    assert!(
        entity["metadata"]["annotations"]["backstage.io/managed-by-location"].as_str().unwrap().ends_with("c1.yaml")
    );
    assert_eq!(catalog.locations().await.unwrap().len(), 3);
}

#[tokio::test]
async fn refreshing_a_url() {
    let site = Site::start(&[("/t.yaml", &template("old"))]).await;
    let catalog = catalog(site.scm(), &[]).await;
    catalog.register("url", &site.url("/t.yaml"), false).await.unwrap();
    site.put("/t.yaml", &template("new"));
    catalog.refresh("template:default/old").await.unwrap();
    assert_eq!(refs(&catalog), ["template:default/new"]);
    site.put("/t.yaml", "broken: [");
    assert_eq!(catalog.refresh("template:default/new").await.unwrap_err().name().to_string(), "InputError");
    assert_eq!(refs(&catalog), ["template:default/new"]);
    assert_eq!(catalog.locations().await.unwrap()[0].problems.len(), 1);
    site.put("/t.yaml", &template("newer"));
    catalog.refresh_all().await.unwrap();
    assert_eq!(refs(&catalog), ["template:default/newer"]);
    assert!(catalog.locations().await.unwrap()[0].problems.is_empty());
    let error = catalog.refresh("template:default/none").await.unwrap_err().to_string();
    assert_eq!(error, "NotFoundError: Entity template:default/none not found");
}

#[tokio::test]
async fn a_location_removed_while_it_is_read_again_stays_removed() {
    let site = Site::start(&[("/t.yaml", &template("t"))]).await;
    let catalog = catalog(site.scm(), &[]).await;
    let added = catalog.register("url", &site.url("/t.yaml"), false).await.unwrap();
    let id = added.location.id;
    let gate = site.gate.clone().lock_owned().await;
    let refreshing = tokio::spawn({
        let catalog = catalog.clone();
        async move { catalog.refresh("template:default/t").await }
    });
    while site.asked.load(std::sync::atomic::Ordering::SeqCst) < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    catalog.remove_location(&id).await.unwrap();
    drop(gate);
    refreshing.await.unwrap().unwrap();
    assert!(refs(&catalog).is_empty());
}

#[tokio::test]
async fn forms_that_are_no_schema_are_taken_with_a_warning() {
    struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
    let writer = Arc::clone(&lines);
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || Lines(Arc::clone(&writer))).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let wrong = format!("{}  parameters: {{properties: {{a: {{required: true}}}}}}\n", template("wrong"));
    let dir = Dir::new(&[("wrong.yaml", &wrong), ("good.yaml", &template("good"))]);
    let catalog = catalog(no_hosts(), &[file(dir.path("wrong.yaml")), file(dir.path("good.yaml"))]).await;
    assert_eq!(refs(&catalog), ["template:default/good", "template:default/wrong"]);
    let text = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("WARN") && text.contains("template:default/wrong"), "{text}");
    assert!(text.contains("/spec/parameters/properties/a/required: true is not of type"), "{text}");
}

async fn organisation() -> EmbeddedCatalog {
    let dir = Dir::new(&[(
        "org.yaml",
        "apiVersion: backstage.io/v1alpha1\nkind: Group\nmetadata: {name: guests, description: All guests}\nspec: {type: team, children: []}\n\
         ---\napiVersion: backstage.io/v1alpha1\nkind: User\nmetadata: {name: jane, tags: [b, a]}\nspec: {memberOf: [guests], profile: {displayName: Jane Doe}}\n\
         ---\napiVersion: scaffolder.backstage.io/v1beta3\nkind: Template\nmetadata: {name: t1, title: Zebra, tags: [Java], annotations: {example.com/n: '1'}}\nspec: {type: Service, owner: guests, steps: []}\n"
            .replace("[Java]", "[java]")
            .as_str(),
    ), ("more.yaml", &format!("{}---\n{}", template("t2"), template("t3").replace("  namespace: x\n", "")))]);
    let catalog = catalog(no_hosts(), &[file(dir.path("org.yaml")), file(dir.path("more.yaml"))]).await;
    assert_eq!(catalog.problems().len(), 0, "{:?}", catalog.problems());
    catalog
}

#[tokio::test]
async fn filters() {
    let catalog = organisation().await;
    let names = |filter: &[&str]| {
        let query = EntityQuery { filter: EntityFilter::parse(filter).unwrap(), ..EntityQuery::default() };
        catalog
            .entities(&query, &Fields::default(), 0, None)
            .iter()
            .map(|entity| entity["metadata"]["name"].as_str().unwrap().to_string())
            .collect::<Vec<_>>()
    };
    for (filter, expected) in [
        (&[][..], &["guests", "t1", "t2", "t3", "jane"][..]),
        (&["kind=template"], &["t1", "t2", "t3"]),
        (&["kind=Template,spec.type=service"], &["t1", "t2", "t3"]),
        (&["kind=template,metadata.name=t1,metadata.name=t3"], &["t1", "t3"]),
        (&["kind=user", "kind=group"], &["guests", "jane"]),
        (&["metadata.tags=a"], &["jane"]),
        (&["metadata.tags.a"], &["jane"]),
        (&["metadata.tags.a=true"], &["jane"]),
        (&["metadata.tags"], &["t1", "jane"]),
        (&["spec.profile.displayName=jane doe"], &["jane"]),
        (&["metadata.annotations.example.com/n=1"], &["t1"]),
        (&["kind=template,relations.ownedBy=user:development/guest,relations.ownedBy=group:default/guests"], &["t1"]),
        (&["relations.hasMember"], &["guests"]),
        (&["relations.hasMember=user:default/jane"], &["guests"]),
        (&["metadata.namespace=default,kind=group"], &["guests"]),
        (&["kind=nothing"], &[]),
        (&["kind=template,nothing"], &[]),
        (&[" , "], &["guests", "t1", "t2", "t3", "jane"]),
    ] {
        assert_eq!(names(filter), expected, "{filter:?}");
    }
    assert!(EntityFilter::parse(&["=x"]).unwrap_err().to_string().starts_with("InputError: Invalid filter, '=x'"));
}

#[tokio::test]
async fn pages_order_and_fields() {
    let catalog = organisation().await;
    let query = EntityQuery {
        filter: EntityFilter::parse(&["kind=template"]).unwrap(),
        order: vec![OrderField::parse("metadata.title,asc").unwrap()],
        full_text: None,
    };
    let fields = Fields::parse(&["metadata.name,kind", "metadata.annotations.example.com/n", "spec.none"]);
    let first = catalog.page(&Cursor { query: query.clone(), offset: 0 }, &fields, 2);
    assert_eq!(first.total_items, 3);
    assert_eq!(
        json!(first.items),
        json!([{"metadata": {"name": "t2"}, "kind": "Template"}, {"metadata": {"name": "t3"}, "kind": "Template"}])
    );
    assert_eq!(first.page_info.prev_cursor, None);
    let cursor = Cursor::decode(first.page_info.next_cursor.as_deref().unwrap()).unwrap();
    let second = catalog.page(&cursor, &fields, 2);
    assert_eq!(
        json!(second.items),
        json!([{"metadata": {"name": "t1", "annotations": {"example.com/n": "1"}}, "kind": "Template"}])
    );
    assert_eq!(second.page_info.next_cursor, None);
    let back = Cursor::decode(second.page_info.prev_cursor.as_deref().unwrap()).unwrap();
    assert_eq!(catalog.page(&back, &fields, 2), first);
    let none = catalog.page(&Cursor { query: query.clone(), offset: 0 }, &fields, 0);
    assert_eq!(serde_json::to_value(&none).unwrap(), json!({"items": [], "totalItems": 3, "pageInfo": {}}));
    let beyond = catalog.page(&Cursor { query, offset: usize::MAX }, &fields, usize::MAX);
    assert_eq!((beyond.items.len(), beyond.total_items), (0, 3));

    let ordered = |order: &str| {
        let query = EntityQuery { order: vec![OrderField::parse_prefixed(order).unwrap()], ..EntityQuery::default() };
        catalog
            .entities(&query, &Fields::parse(&["metadata.name"]), 1, Some(3))
            .iter()
            .map(|entity| entity["metadata"]["name"].as_str().unwrap().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(ordered("desc:metadata.name"), ["t2", "t1", "jane"]);
    // Entities without a title come last.
    assert_eq!(ordered("desc:metadata.title"), ["t3", "t2", "guests"]);
    for text in ["metadata.name", "up:metadata.name", "asc:"] {
        assert!(OrderField::parse_prefixed(text).is_err(), "{text}");
    }
    assert!(OrderField::parse("a,up").is_err());
    assert!(Cursor::decode("rubbish").unwrap_err().to_string().contains("Malformed cursor"));

    let found = |term: &str, fields: &[&str]| {
        let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
        let query = EntityQuery { full_text: Some(FullText::new(term, &fields)), ..EntityQuery::default() };
        catalog.page(&Cursor { query, offset: 0 }, &Fields::default(), 20).total_items
    };
    assert_eq!(found("ZEBRA", &["metadata.title"]), 1);
    assert_eq!(found("zebra", &["metadata.name,spec.type"]), 0);
    assert_eq!(found("jane d", &[]), 1);
    assert_eq!(found("", &[]), 5);
}

#[tokio::test]
async fn references_and_facets() {
    let catalog = organisation().await;
    let refs: Vec<String> =
        ["User:default/JANE", "template:default/none", "nonsense:", "jane", "template:t1"].map(String::from).to_vec();
    let found = catalog.entities_by_refs(&refs, &EntityFilter::default(), &Fields::parse(&["kind"]));
    assert_eq!(json!(found), json!([{"kind": "User"}, null, null, null, {"kind": "Template"}]));
    let only = EntityFilter::parse(&["kind=user"]).unwrap();
    assert!(catalog.entities_by_refs(&refs, &only, &Fields::default())[4].is_none());
    let error = catalog.entity_by_name("template", "default", "x").unwrap_err().to_string();
    assert_eq!(error, "NotFoundError: No entity named 'x' found, with kind 'template' in namespace 'default'");
    let jane = catalog.entity_by_name("user", "default", "jane").unwrap();
    assert_eq!(jane["relations"], json!([{"type": "memberOf", "targetRef": "group:default/guests"}]));
    let uid = jane["metadata"]["uid"].as_str().unwrap();
    assert_eq!(catalog.entity_by_uid(uid).unwrap(), jane);
    assert!(catalog.entity_by_uid("x").is_err());
    let names = ["kind", "metadata.tags", "relations.ownedBy", "spec.type", "none"].map(String::from);
    let facets = catalog.facets(&EntityFilter::default(), &names);
    assert_eq!(
        serde_json::to_value(&facets).unwrap(),
        json!({
            "kind": [{"value": "Group", "count": 1}, {"value": "Template", "count": 3}, {"value": "User", "count": 1}],
            "metadata.tags": [{"value": "a", "count": 1}, {"value": "b", "count": 1}, {"value": "java", "count": 1}],
            "none": [],
            "relations.ownedBy": [{"value": "group:default/guests", "count": 1}, {"value": "group:default/team-a", "count": 2}],
            "spec.type": [{"value": "Service", "count": 1}, {"value": "service", "count": 2}, {"value": "team", "count": 1}],
        })
    );
}
