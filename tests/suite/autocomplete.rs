//! Suggestions for form fields, asked for as Backstage's frontend does.

use serde_json::{Value, json};
use understudy_testbed::process::ServiceOptions;

use crate::{
    support::{Running, binary},
    tutorial::{TOKEN, double, in_place_of_github},
};

#[tokio::test]
async fn repositories_branches_and_owners_of_github() {
    let github = double().await;
    github.seed_repo("octo", "shop", &[("README.md", "x")]).await.unwrap();
    let branch = json!({"ref": "refs/heads/feature/x", "sha": github.branches("octo", "shop").await.unwrap()[0].1});
    github.client().unwrap().post("/repos/octo/shop/git/refs", &branch).await.unwrap().expect_json(201).unwrap();
    let running =
        Running::with(ServiceOptions::new(binary()).config(in_place_of_github(&github)).extra_ca(github.ca_file()))
            .await;
    let ask = async |resource: &str, token: &str, context: Value| {
        let path = format!("/api/scaffolder/v2/autocomplete/github/{resource}");
        let answer = running.post(&path, &json!({"token": token, "context": context})).await;
        (answer.status, answer.json().unwrap())
    };
    let place = json!({"owner": "octo", "repository": "shop"});
    for (resource, context, ids) in [
        ("repositoriesWithOwner", json!({}), vec!["octo/shop"]),
        ("repositoriesWithOwner", json!({"host": github.host()}), vec!["octo/shop"]),
        ("branches", place.clone(), vec!["feature/x", "main"]),
        ("owners", json!({}), vec!["acme"]),
    ] {
        let results: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
        assert_eq!(ask(resource, TOKEN, context).await, (200, json!({"results": results})), "{resource}");
    }
    for (resource, token, context, status, message) in [
        ("branches", TOKEN, json!({}), 400, "Missing owner and/or repository context parameter"),
        ("nope", TOKEN, json!({}), 400, "Invalid resource: nope"),
        ("owners", "", json!({}), 400, "Missing token query parameter"),
        ("owners", TOKEN, json!({"host": "nowhere.example.com"}), 400, "No integration for host nowhere.example.com"),
        ("owners", "ghp_wrong", json!({}), 401, "Bad credentials - https://docs.github.com/rest"),
    ] {
        let (answered, body) = ask(resource, token, context).await;
        assert_eq!((answered, body["error"]["message"].as_str().unwrap()), (status, message), "{resource}");
    }
    assert_eq!(github.violations(), Vec::<String>::new());
}
