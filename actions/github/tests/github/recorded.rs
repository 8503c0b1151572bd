//! The requests that upstream was recorded making: the same input makes the same requests in the same order.

use serde::Deserialize;
use serde_json::{Value, json};
use understudy_testbed::github::{DEFAULT_TOKEN, GithubOptions, Token};

use crate::double::Case;

const WORKFLOW: (&str, &str) =
    (".github/workflows/ci.yml", "on: workflow_dispatch\njobs: {a: {runs-on: x, steps: []}}\n");

#[derive(Deserialize)]
struct Table {
    cases: Vec<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    name: String,
    action: String,
    /// `nothing`, `empty repository` or `repository` (with a workflow and an issue).
    before: String,
    input: Value,
    requests: Vec<Expected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    request: String,
    body: Option<Value>,
    /// `X-GitHub-Api-Version`
    api_version: Option<String>,
    /// Why we don't make it.
    only_upstream: Option<String>,
    /// Why we make it in addition.
    only_ours: Option<String>,
    /// How ours deliberately differs.
    ours: Option<Ours>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ours {
    request: Option<String>,
    body: Option<Value>,
    reason: String,
}

async fn prepare(recorded: &Recorded) -> Case {
    let options = GithubOptions::default()
        .user("octocat")
        .user("u1")
        .org("acme", &["octocat"])
        .team("acme", "platform", &["octocat"])
        .team("acme", "t2", &["octocat"])
        .token(Token::new(DEFAULT_TOKEN, "octocat"))
        .token(Token::new("ghp_of_the_step", "octocat"));
    let mut case = Case::with(options, "acme", recorded.input.clone()).await;
    case.job.action.clone_from(&recorded.action);
    let client = case.github.client().unwrap();
    match recorded.before.as_str() {
        "nothing" => {}
        "empty repository" => {
            let made = client.post("/orgs/acme/repos", &json!({"name": "shop", "private": true})).await.unwrap();
            made.expect_json(201).unwrap();
        }
        "repository" => {
            case.github.seed_repo("acme", "shop", &[WORKFLOW]).await.unwrap();
            let made = client.post("/repos/acme/shop/issues", &json!({"title": "first"})).await.unwrap();
            made.expect_json(201).unwrap();
        }
        other => panic!("{other}"),
    }
    case.github.clear_requests();
    case
}

#[tokio::test]
async fn the_same_input_makes_the_same_requests() {
    let table: Table = serde_json::from_str(include_str!("../../testdata/recorded.json")).unwrap();
    assert_eq!(table.cases.len(), 12, "every action but publish:github:pull-request");
    for recorded in table.cases {
        let name = &recorded.name;
        let case = prepare(&recorded).await;
        case.succeed().await;
        assert_eq!(case.warnings(), Vec::<String>::new(), "{name}");
        let requests = case.github.requests();
        let mut requests = requests.iter();
        for expected in &recorded.requests {
            let reasons = [&expected.only_upstream, &expected.only_ours];
            let reasons = reasons.into_iter().flatten().chain(expected.ours.as_ref().map(|ours| &ours.reason));
            assert!(reasons.clone().all(|reason| reason.len() > 20), "{name}: {}", expected.request);
            if expected.only_upstream.is_some() {
                continue;
            }
            let request = requests.next().unwrap_or_else(|| panic!("{name}: {} is missing", expected.request));
            let ours = expected.ours.as_ref();
            let line = ours.and_then(|ours| ours.request.as_ref()).unwrap_or(&expected.request);
            assert_eq!(&request.line(), line, "{name}");
            let mut body = request.body.clone();
            // Sealing is never twice the same; what was sealed is checked elsewhere.
            if let Some(body) = &mut body
                && body.get("encrypted_value").is_some()
            {
                body["encrypted_value"] = "sealed".into();
                body["key_id"] = "key".into();
            }
            assert_eq!(
                &body,
                ours.map_or(&expected.body, |ours| if ours.body.is_some() { &ours.body } else { &expected.body }),
                "{name}: {line}"
            );
            if expected.api_version.is_some() {
                assert_eq!(request.api_version, expected.api_version, "{name}: {line}");
            }
        }
        let rest: Vec<_> = requests.map(|request| request.line()).collect();
        assert_eq!(rest, Vec::<String>::new(), "{name}: too many");
    }
}
