//! A stock Backstage portal with the service in the scaffolder's place: its pages in a real browser, its people's tokens, and
//! its permission policy. `tests/frontend` has the portal, the templates and what the browser is made to do.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use understudy_testbed::{
    http::{Answer, Client},
    portal::Portal,
    process::{ServiceOptions, free_port},
};

use crate::support::{Running, TASKS, binary, manifest_dir};

const STATIC_TOKEN: &str = "a-token-of-the-continuous-integration";

/// Portal and service side by side, each knowing where the other is. `site_port` is where templates may read from.
struct Company {
    portal: Portal,
    service: Running,
}

impl Company {
    async fn start() -> Self {
        let (port, site_port) = (free_port().unwrap(), free_port().unwrap());
        let shared = shared_config(port, site_port);
        let endpoints = |target: String, plugins: &[&str]| json!({"discovery": {"endpoints": [{"target": target, "plugins": plugins}]}});
        let backstage = format!("http://127.0.0.1:{port}/api/{{{{pluginId}}}}");
        let options = ServiceOptions::new(binary())
            .config(shared.to_string())
            .config(endpoints(backstage, &["auth", "catalog", "permission"]).to_string());
        let service = Running::with(options).await;
        let mut config = shared;
        let scaffolder = format!("{}/api/{{{{pluginId}}}}", service.service.base_url());
        config["discovery"] = endpoints(scaffolder, &["scaffolder"])["discovery"].take();
        let portal = Portal::start(&config, port, site_port).await.unwrap();
        Self { portal, service }
    }

    /// A client with this token, or with none.
    fn client(&self, token: Option<&str>) -> Client {
        let client = self.service.service.client().clone();
        match token {
            Some(token) => client.authorized(format!("Bearer {token}")),
            None => client,
        }
    }

    async fn signed_in(&self, colleague: Option<&str>) -> Client {
        self.client(Some(&self.portal.sign_in(colleague).await.unwrap()))
    }
}

/// What both have in their configuration.
fn shared_config(port: u16, site_port: u16) -> Value {
    json!({
        "organization": {"name": "Example"},
        "backend": {
            "cors": {"origin": format!("http://127.0.0.1:{port}"), "credentials": true},
            "reading": {"allow": [{"host": format!("127.0.0.1:{site_port}")}]},
            "auth": {"externalAccess": [{"type": "static", "options": {"token": STATIC_TOKEN, "subject": "ci"}}]},
        },
        "auth": {
            "environment": "development",
            "providers": {"guest": {"dangerouslyAllowOutsideDevelopment": true}, "colleague": {}},
        },
        "permission": {"enabled": true},
        "catalog": {
            "rules": [{"allow": ["Template", "Location"]}],
            "locations": [{"type": "file", "target": manifest_dir().join("tests/frontend/templates.yaml").as_str()}],
        },
    })
}

/// A task without parameters that need somebody else.
fn order(template: &str) -> Value {
    json!({"templateRef": format!("template:default/{template}"), "values": {}})
}

fn error_of(answer: &Answer) -> (u16, String) {
    let name = answer.json().ok().and_then(|body| body.pointer("/error/name")?.as_str().map(str::to_owned));
    (answer.status.as_u16(), name.unwrap_or_else(|| answer.text()))
}

fn refused(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_portal_with_the_service_in_the_scaffolders_place() {
    let company = Company::start().await;
    in_the_browser(&company).await;
    tokens(&company).await;
    policies(&company).await;
    the_backend_served_no_scaffolder(&company).await;
    let Company { portal, service } = company;
    service.stop().await;
    drop(portal);
}

/// Everybody sees what they should; each step has its screenshot.
async fn in_the_browser(company: &Company) {
    let scaffolder = format!("{}/api/scaffolder", company.service.service.base_url());
    let steps = match company.portal.drive(&scaffolder).await {
        Ok(steps) => steps,
        Err(error) => {
            let log = company.service.service.logs();
            let last: Vec<&str> = log.lines().rev().take(60).collect();
            panic!("{error}\nlast of the service's log:\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"))
        }
    };
    let done: Vec<String> = steps.iter().map(|step| format!("{}: {}", step.person, step.step)).collect();
    assert_eq!(done, include_str!("../frontend/steps.txt").lines().collect::<Vec<_>>());
    for step in &steps {
        let size = std::fs::metadata(&step.screenshot).map(|file| file.len()).unwrap_or_default();
        assert!(size > 5_000, "{} of \"{}\" has {size} bytes", step.screenshot.display(), step.step);
    }
}

/// With a static token, with a user's token, with none and with a wrong one.
async fn tokens(company: &Company) {
    let order = order("patience");
    let guest = company.signed_in(None).await;
    for client in [company.client(Some(STATIC_TOKEN)), guest] {
        let created = client.post(TASKS, &order).await.unwrap().expect_json(201).unwrap();
        let id = created["id"].as_str().expect("an id");
        client.post(&format!("{TASKS}/{id}/cancel"), &json!({})).await.unwrap().expect_json(200).unwrap();
    }
    for token in [None, Some("made-up")] {
        let answer = company.client(token).post(TASKS, &order).await.unwrap();
        assert_eq!(error_of(&answer), refused(401, "AuthenticationError"), "{token:?}");
    }
}

/// What the browser showed, asked for directly.
async fn policies(company: &Company) {
    let ci = company.client(Some(STATIC_TOKEN));
    let created = ci.post(TASKS, &order("patience")).await.unwrap().expect_json(201).unwrap();
    let others = format!("{TASKS}/{}", created["id"].as_str().expect("an id"));

    let dora = company.signed_in(Some("dora")).await;
    let answer = dora.post(TASKS, &order("patience")).await.unwrap();
    assert_eq!(error_of(&answer), refused(403, "NotAllowedError"));
    dora.get(&others).await.unwrap().expect_json(200).unwrap();

    let ida = company.signed_in(Some("ida")).await;
    assert_eq!(error_of(&ida.get(&others).await.unwrap()), refused(403, "NotAllowedError"));
    assert_eq!(
        error_of(&ida.post(&format!("{others}/cancel"), &json!({})).await.unwrap()),
        refused(403, "NotAllowedError")
    );
    let tasks = async |client: &Client| {
        let listed = client.get(&format!("{TASKS}?limit=100")).await.unwrap().expect_json(200).unwrap();
        let owners: Vec<String> = listed["tasks"]
            .as_array()
            .expect("a list of tasks")
            .iter()
            .map(|task| task["createdBy"].as_str().unwrap_or("-").to_owned())
            .collect();
        assert_eq!(listed["totalTasks"], owners.len(), "the total counts what is listed");
        owners
    };
    let (seen, all) = (tasks(&ida).await, tasks(&dora).await);
    assert!(!seen.is_empty() && seen.iter().all(|owner| owner == "user:default/ida"), "{seen:?}");
    assert!(all.len() > seen.len() && all.iter().any(|owner| owner == "user:development/guest"), "{all:?}");

    let pages = async |client: &Client| {
        let path = "/api/scaffolder/v2/templates/default/template/greeting/parameter-schema";
        let form = client.get(path).await.unwrap().expect_json(200).unwrap();
        form["steps"].as_array().expect("pages").iter().map(|page| page["title"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(pages(&ida).await, ["Whom to greet"]);
    assert_eq!(pages(&dora).await, ["Whom to greet", "For operators"]);
    ci.post(&format!("{others}/cancel"), &json!({})).await.unwrap().expect_json(200).unwrap();
}

/// The access log has what the app and the service asked the backend, and nothing for the scaffolder, which it does not have.
async fn the_backend_served_no_scaffolder(company: &Company) {
    let mark = "/api/scaffolder/v2/actions?asked-by=the-test";
    let asked = company.portal.client().get(mark).await.unwrap();
    assert_eq!(asked.status.as_u16(), 404, "{}", asked.text());
    // The log is written in the order of the answers: with this one, all before it are there.
    let deadline = Instant::now() + Duration::from_secs(60);
    let requests = loop {
        let requests = company.portal.requests();
        if requests.iter().any(|line| line.contains(mark)) {
            break requests;
        }
        assert!(Instant::now() < deadline, "the access log lacks {mark}:\n{requests:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for path in ["/api/auth/", "/api/catalog/", "/api/permission/authorize"] {
        assert!(requests.iter().any(|line| line.contains(path)), "the access log lacks {path}:\n{requests:#?}");
    }
    let scaffolders: Vec<&String> = requests.iter().filter(|line| line.contains("/api/scaffolder")).collect();
    assert!(scaffolders.iter().all(|line| line.contains(mark)), "{scaffolders:#?}");
}
