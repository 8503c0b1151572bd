//! Writing, syncing and deleting through the API server.

use serde_json::{Value, json};
use understudy_sdk::schema::Validator;
use understudy_testbed::argocd::{ArgocdDouble, Behaviour, NAMESPACE};

use crate::bench::{Bench, instance};

fn shop() -> Value {
    json!({
        "name": "shop", "argoInstance": "main",
        "source": {"repoURL": "https://git.example.org/shop.git", "path": "deploy", "targetRevision": "main"},
        "destination": {"namespace": "shop"},
        "syncPolicy": {"automated": {"prune": true}},
    })
}

fn with(mut input: Value, changes: &[(&str, Value)]) -> Value {
    for (pointer, value) in changes {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        input.pointer_mut(parent).unwrap()[name] = value.clone();
    }
    input
}

#[tokio::test]
async fn an_application_is_created_found_updated_and_protected() {
    let double = ArgocdDouble::start().await.unwrap();
    let bench = Bench::with_token(&double, "admin");
    let output = bench.run("argocd:create-app", shop()).await.unwrap();
    let page = format!("{}/applications/argocd/shop", double.url());
    assert_eq!(
        (&output["name"], &output["namespace"], &output["url"]),
        (&json!("shop"), &json!("argocd"), &json!(page))
    );
    assert_eq!(bench.log(), format!("Info Created the application argocd/shop: {page}"));

    bench.run("argocd:create-app", shop()).await.unwrap();
    assert!(bench.log().starts_with("Info The application argocd/shop is unchanged"));
    assert_eq!(double.requests().iter().filter(|request| request.method == "POST").count(), 1);

    let changed = with(shop(), &[("/source/targetRevision", json!("v2")), ("/labels", json!({"team": "a"}))]);
    let refused = bench.fails("argocd:create-app", with(changed.clone(), &[("/upsert", json!(false))])).await;
    assert!(refused.starts_with("ConflictError: The application shop exists already, and differs"), "{refused}");
    for line in ["spec.source.targetRevision: \"main\" → \"v2\"", "+ metadata.labels"] {
        assert!(refused.contains(line), "{refused}");
    }
    bench.log();
    bench.run("argocd:create-app", changed.clone()).await.unwrap();
    let log = bench.log();
    assert!(log.starts_with("Info Updated the application argocd/shop"), "{log}");
    assert!(log.contains("Info   spec.source.targetRevision: \"main\" → \"v2\""), "{log}");
    bench.run("argocd:create-app", changed).await.unwrap();
    assert!(bench.log().contains("is unchanged"));
    let app = double.app(NAMESPACE, "shop").unwrap();
    assert_eq!(app["spec"]["source"]["targetRevision"], "v2");
    assert_eq!(app["spec"]["destination"], json!({"namespace": "shop", "server": "https://kubernetes.default.svc"}));
    assert_eq!(double.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_wrong_is_told_before_anything_is_sent() {
    let double = ArgocdDouble::start().await.unwrap();
    let bench = Bench::with_token(&double, "admin");
    let wrong = with(
        shop(),
        &[
            ("/name", json!("Shop!")),
            ("/source/chart", json!("shop")),
            ("/destination/name", json!("x")),
            ("/destination/server", json!("https://y")),
        ],
    );
    let error = bench.fails("argocd:create-app", wrong).await;
    assert!(
        error.starts_with("InputError: The application 'Shop!' was not written: 3 things are wrong with it:"),
        "{error}"
    );
    let error = bench.fails("argocd:create-app", with(shop(), &[("/argoInstance", json!("other"))])).await;
    assert_eq!(error, "InputError: Unable to find Argo instance named 'other' (there are main)");
    let error = bench.fails("argocd:create-app", with(shop(), &[("/clusterName", json!("x"))])).await;
    assert!(error.contains("clusterName is for mode crd"), "{error}");
    assert!(double.requests().is_empty());

    let mut bench = bench;
    bench.ctx.is_dry_run = true;
    bench.run("argocd:create-app", shop()).await.unwrap();
    assert!(bench.log().contains("Dry run: the application shop is well-formed"));
    for id in ["argocd:sync-app", "argocd:delete-app", "argocd:wait-app"] {
        bench.run(id, json!({"name": "shop", "argoInstance": "main"})).await.unwrap();
        assert!(bench.log().starts_with("Info Dry run: "));
    }
    assert!(double.requests().is_empty());
}

#[tokio::test]
async fn argo_cds_refusals_are_passed_on() {
    let double = ArgocdDouble::start().await.unwrap();
    double.account("portal", "p, portal, applications, get, */*, allow");
    double.lock_repository("https://git.example.org/private.git");
    let admin = Bench::with_token(&double, "admin");
    let cases = [
        (with(shop(), &[("/project", json!("nope"))]), "application references project nope which does not exist"),
        (
            with(shop(), &[("/source/repoURL", json!("https://git.example.org/private.git"))]),
            "repository not accessible: repository \"https://git.example.org/private.git\"",
        ),
        (with(shop(), &[("/destination", json!({"name": "mars"}))]), "there are no clusters with this name: mars"),
    ];
    for (input, expected) in cases {
        let error = admin.fails("argocd:create-app", input).await;
        assert!(
            error.starts_with("InputError: Argo CD instance 'main' refused to write the application 'shop': "),
            "{error}"
        );
        assert!(error.contains(expected), "{error}");
    }
    let error = Bench::with_token(&double, "portal").fails("argocd:create-app", shop()).await;
    assert!(
        error.starts_with(
            "NotAllowedError: Argo CD instance 'main' refused to write the application 'shop': permission denied: applications, create, default/shop"
        ),
        "{error}"
    );
}

#[tokio::test]
async fn sessions_are_shared_and_renewed_and_tokens_are_not() {
    let double = ArgocdDouble::start().await.unwrap();
    let bench = Bench::with_password(&double);
    let logins = || double.requests().iter().filter(|request| request.path.ends_with("/session")).count();
    bench.run("argocd:create-app", shop()).await.unwrap();
    bench.run("argocd:create-app", shop()).await.unwrap();
    assert_eq!(logins(), 1);
    double.expire_tokens();
    bench.run("argocd:create-app", shop()).await.unwrap();
    assert_eq!(logins(), 2);

    let error = Bench::with_token(&double, "admin").fails("argocd:create-app", shop()).await;
    assert!(
        error.starts_with(&format!("Error: Getting unauthorized for Argo CD instance {}: ", double.url())),
        "{error}"
    );
    assert!(error.contains("token is expired") && error.contains("argocd account generate-token"), "{error}");

    let wrong = instance(&json!({"name": "main", "url": double.url(), "username": "admin", "password": "hunter2"}));
    let error = Bench::new(&wrong, None).fails("argocd:create-app", shop()).await;
    assert!(error.contains("Getting unauthorized") && error.contains("Invalid username or password"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");

    let none = instance(&json!({"name": "main", "url": double.url()}));
    let error = Bench::new(&none, None).fails("argocd:create-app", shop()).await;
    assert!(error.starts_with("Error: Missing credentials in config for Argo Instance."), "{error}");
}

#[tokio::test]
async fn a_server_that_is_away_for_a_moment_is_asked_again() {
    let double = ArgocdDouble::start().await.unwrap();
    let bench = Bench::with_token(&double, "admin");
    double.fail(2, 502);
    bench.run("argocd:create-app", shop()).await.unwrap();
    let log = bench.log();
    assert!(log.contains("Warn Argo CD instance 'main' refused to look up the application 'shop': HTTP 502"), "{log}");
    assert!(log.contains("trying again in 0.5 s") && log.contains("Created the application"), "{log}");

    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let away = instance(&json!({"name": "main", "url": format!("http://127.0.0.1:{port}"), "token": "t"}));
    let bench = Bench::new(&away, None);
    bench.ctx.cancel.cancel();
    let error = bench.fails("argocd:create-app", shop()).await;
    assert!(
        error.contains("Argo CD instance 'main' could not be reached to look up the application 'shop'"),
        "{error}"
    );
}

#[tokio::test]
async fn the_wrappers_make_what_roadies_service_makes() {
    let double = ArgocdDouble::start().await.unwrap();
    let mut config = instance(&json!({"name": "main", "url": double.url(), "token": "admin-token"}));
    config["argocd"]["projectSettings"] = json!({"clusterResourceWhitelist": [{"group": "*", "kind": "Namespace"}]});
    let bench = Bench::new(&config, None);
    let input = json!({"appName": "shop", "argoInstance": "main", "namespace": "shops", "repoUrl": "https://git/x.git", "path": "deploy"});
    let output = bench.run("argocd:create-resources", input.clone()).await.unwrap();
    assert!(output["url"].as_str().unwrap().ends_with("/applications/argocd/shop"));
    assert!(bench.log().starts_with("Info Created the project shop\nInfo Created the application argocd/shop"));
    assert_eq!(
        double.project("shop").unwrap(),
        json!({
            "metadata": {"name": "shop", "namespace": "argocd", "finalizers": ["resources-finalizer.argocd.argoproj.io"]},
            "spec": {
                "destinations": [{"name": "local", "namespace": "shops", "server": "https://kubernetes.default.svc"}],
                "sourceRepos": ["https://git/x.git"],
                "clusterResourceWhitelist": [{"group": "*", "kind": "Namespace"}],
            },
        })
    );
    let app = double.app(NAMESPACE, "shop").unwrap();
    assert_eq!(app["metadata"]["labels"], json!({"backstage-name": "shop"}));
    assert_eq!(
        app["spec"],
        json!({
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "shops"},
            "project": "shop",
            "revisionHistoryLimit": 10,
            "source": {"path": "deploy", "repoURL": "https://git/x.git"},
            "syncPolicy": {
                "automated": {"allowEmpty": true, "prune": true, "selfHeal": true},
                "retry": {"backoff": {"duration": "5s", "factor": 2, "maxDuration": "5m"}, "limit": 10},
                "syncOptions": ["CreateNamespace=false", "FailOnSharedResource=true", "ServerSideApply=true"],
            },
        })
    );
    bench.run("argocd:create-resources", input.clone()).await.unwrap();
    let log = bench.log();
    assert!(
        log.contains("The project shop is unchanged") && log.contains("The application argocd/shop is unchanged"),
        "{log}"
    );

    let other = with(input.clone(), &[("/repoUrl", json!("https://git/y.git"))]);
    let error = bench.fails("argocd:create-resources", other).await;
    assert!(error.starts_with("ConflictError: Duplicate project detected. Cannot overwrite existing."), "{error}");
    assert!(error.contains("spec.sourceRepos[0]: \"https://git/x.git\" → \"https://git/y.git\""), "{error}");
    let error = bench.fails("argocd:create-resources", with(input, &[("/path", json!("other"))])).await;
    assert!(
        error.starts_with("ConflictError: Error creating argo app: The application shop exists already"),
        "{error}"
    );
    assert!(error.contains("spec.source.path: \"deploy\" → \"other\""), "{error}");

    let cnoe = json!({"appName": "web", "appNamespace": "web", "argoInstance": "main", "projectName": "default", "repoUrl": "https://git/w.git", "path": ".", "labelValue": "w"});
    bench.run("cnoe:create-argocd-app", cnoe.clone()).await.unwrap();
    bench.log();
    bench.run("cnoe:create-argocd-app", cnoe).await.unwrap();
    assert!(bench.log().contains("The application argocd/web is unchanged"));
    let older = json!({"appName": "web", "appNamespace": "web", "argoInstance": "main", "projectName": "default", "repoUrl": "https://git/w.git", "path": ".", "labelValue": "w"});
    bench.run("argocd:create-app", older).await.unwrap();
    assert!(bench.log().contains("The application argocd/web is unchanged"));
    assert_eq!(double.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_sync_is_started_once() {
    let double = ArgocdDouble::start().await.unwrap();
    let bench = Bench::with_token(&double, "admin");
    let at = json!({"name": "shop", "argoInstance": "main"});
    let error = bench.fails("argocd:sync-app", at.clone()).await;
    assert!(
        error.starts_with("NotFoundError: There is no application shop: Argo CD instance 'main' has none"),
        "{error}"
    );
    let mut input = shop();
    input.as_object_mut().unwrap().remove("syncPolicy");
    bench.run("argocd:create-app", input).await.unwrap();
    double.set("shop", Behaviour::SyncHangs);
    bench.log();
    bench.run("argocd:sync-app", at.clone()).await.unwrap();
    assert!(bench.log().contains("Started a sync of the application shop (Deployment shop/shop)"));
    bench.run("argocd:sync-app", at.clone()).await.unwrap();
    assert!(bench.log().contains("has an operation under way already"));
    double.set("shop", Behaviour::Healthy);
    bench.run("argocd:wait-app", with(at.clone(), &[("/timeout", json!("30s"))])).await.unwrap();
    bench.log();
    let output = bench.run("argocd:sync-app", at.clone()).await.unwrap();
    assert!(bench.log().contains("is in sync already at revision 53e28ff2"));
    assert_eq!((&output["sync"], &output["health"]), (&json!("Synced"), &json!("Healthy")));
    // A commit that Argo CD hasn't noticed is found, as the sync compares first.
    double.push("d1e8f0a");
    bench.run("argocd:sync-app", at.clone()).await.unwrap();
    assert!(bench.log().contains("Started a sync"));
    let done = with(at, &[("/revision", json!("d1e8f0a")), ("/timeout", json!("30s"))]);
    let output = bench.run("argocd:wait-app", done).await.unwrap();
    assert_eq!(output["revision"], "d1e8f0a");
    assert_eq!(double.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn an_application_is_deleted_with_or_without_its_resources() {
    let double = ArgocdDouble::start().await.unwrap();
    let bench = Bench::with_token(&double, "admin");
    let at = json!({"name": "shop", "argoInstance": "main", "timeout": "20s"});
    bench.run("argocd:create-app", shop()).await.unwrap();
    bench.log();
    bench.run("argocd:delete-app", at.clone()).await.unwrap();
    let log = bench.log();
    assert!(log.contains("Deleting the application shop with its resources"), "{log}");
    assert!(log.ends_with("Info The application shop is gone"), "{log}");
    assert!(double.app(NAMESPACE, "shop").is_none());
    bench.run("argocd:delete-app", at.clone()).await.unwrap();
    assert_eq!(bench.log(), "Info There is no application shop (any more); nothing to do");

    bench.run("argocd:create-app", shop()).await.unwrap();
    bench.run("argocd:delete-app", with(at.clone(), &[("/cascade", json!(false))])).await.unwrap();
    let deletes: Vec<_> = double.requests().into_iter().filter(|request| request.method == "DELETE").collect();
    assert!(deletes[0].query.contains("cascade=true&propagationPolicy=foreground"), "{}", deletes[0].query);
    assert!(
        deletes[1].query.contains("cascade=false") && !deletes[1].query.contains("propagation"),
        "{}",
        deletes[1].query
    );

    bench.run("argocd:create-app", shop()).await.unwrap();
    double.set("shop", Behaviour::Undeletable("namespaces \"shop\" is forbidden".into()));
    let error = bench.fails("argocd:delete-app", with(at.clone(), &[("/timeout", json!(2))])).await;
    assert!(error.contains("wasn't gone within 2 s: DeletionError: namespaces \"shop\" is forbidden"), "{error}");
    double.set("shop", Behaviour::Healthy);
    bench.log();
    bench.run("argocd:delete-app", at).await.unwrap();
    assert!(bench.log().ends_with("is gone"));
    assert_eq!(bench.released(), 0);
}

/// The rules that the documentation gives for a mode, ready to apply.
fn documented(language: &str, after: &str) -> String {
    let text = include_str!("../../../../docs/argocd.md");
    let section = text.split(after).nth(1).expect("the section is there");
    let block = section.split(&format!("```{language}\n")).nth(1).expect("it has a block");
    block.split("```").next().unwrap().to_owned()
}

#[tokio::test]
async fn the_documented_roles_are_enough() {
    let double = ArgocdDouble::start().await.unwrap();
    let policy = documented("csv", "### Argo CD roles");
    double.account("portal", &policy);
    let bench = Bench::with_token(&double, "portal");
    let resources = json!({"appName": "web", "argoInstance": "main", "namespace": "web", "repoUrl": "https://git/w.git", "path": "."});
    bench.run("argocd:create-resources", resources).await.unwrap();
    bench.run("argocd:create-app", shop()).await.unwrap();
    bench.run("argocd:create-app", with(shop(), &[("/source/path", json!("other"))])).await.unwrap();
    let at = json!({"name": "shop", "argoInstance": "main", "timeout": "30s"});
    bench.run("argocd:wait-app", at.clone()).await.unwrap();
    bench.run("argocd:sync-app", json!({"name": "shop", "argoInstance": "main", "force": true})).await.unwrap();
    bench.run("argocd:delete-app", at).await.unwrap();
}

#[tokio::test]
async fn examples_fit_their_schemas() {
    let bench = Bench::new(&json!({}), None);
    let ours = bench.registry.list().filter(|action| action.id().contains("argocd"));
    let mut count = 0;
    for action in ours {
        let validator = Validator::new(&action.input_schema().unwrap()).unwrap();
        assert!(action.supports_dry_run() && action.output_schema().is_some(), "{}", action.id());
        assert!(!action.examples().is_empty(), "{}", action.id());
        for example in action.examples() {
            let document: Value = serde_saphyr::from_str(&example.example).unwrap();
            let steps = document["steps"].as_array().unwrap();
            let mut own = steps.iter().filter(|step| step["action"] == action.id()).peekable();
            assert!(own.peek().is_some(), "{}: {}", action.id(), example.description);
            for step in own {
                let violations = validator.validate(&step["input"]);
                assert!(violations.is_empty(), "{}: {violations:#?}", action.id());
            }
        }
        count += 1;
    }
    assert_eq!(count, 7);
}
