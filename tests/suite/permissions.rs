//! What credentials have to allow is said of every action that uses any: in its description and in the documentation.

use crate::support::{Running, manifest_dir};

/// Beginnings of ids, the page that documents them, and what their descriptions say.
const OURS: &[(&str, &str, &str)] = &[
    ("publish:github", "github", "Least permissions of the token"),
    ("github:", "github", "Least permissions of the token"),
    ("wait-workflow", "github", "Least permissions of the token"),
    ("kubernetes:", "kubernetes", "verb"),
    ("argocd:create-resources", "argocd", "The account"),
    ("cnoe:create-argocd-app", "argocd", "The account"),
    ("argocd:", "argocd", "verbs"),
    ("crossplane:", "crossplane", "RBAC verbs"),
];
/// The actions that the documentation names, and their other names.
const ALL: &[(&str, &[&str])] = &[
    ("publish:github", &[]),
    ("publish:github:pull-request", &[]),
    ("github:repo:create", &[]),
    ("github:repo:push", &[]),
    ("github:actions:dispatch", &[]),
    ("github:webhook", &[]),
    ("github:issues:label", &[]),
    ("github:issues:create", &[]),
    ("github:deployKey:create", &[]),
    ("github:environment:create", &[]),
    ("github:autolinks:create", &[]),
    ("github:pages:enable", &[]),
    ("github:branch-protection:create", &[]),
    ("wait-workflow", &["github:wait-workflow"]),
    ("github:wait-last-workflow", &[]),
    ("kubernetes:apply", &["kube:apply", "cnoe:kubernetes:apply"]),
    ("kubernetes:delete", &["kube:delete"]),
    ("kubernetes:get", &[]),
    ("kubernetes:wait", &[]),
    ("kubernetes:create-namespace", &[]),
    ("argocd:create-app", &[]),
    ("argocd:create-helm-application", &[]),
    ("argocd:create-resources", &[]),
    ("cnoe:create-argocd-app", &[]),
    ("argocd:wait-app", &["argocd:wait"]),
    ("argocd:sync-app", &[]),
    ("argocd:delete-app", &[]),
    ("crossplane:claim", &[]),
    ("crossplane:wait", &[]),
    ("crossplane:delete", &[]),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_action_says_what_it_needs() {
    let running = Running::start("{}").await;
    let actions = running.get("/api/scaffolder/v2/actions").await.json().unwrap();
    let page = |name: &str| std::fs::read_to_string(manifest_dir().join(format!("docs/{name}.md"))).unwrap();
    for (id, aliases) in ALL {
        let (_, document, words) = OURS.iter().find(|(prefix, ..)| id.starts_with(prefix)).unwrap();
        let action = actions.as_array().unwrap().iter().find(|action| action["id"] == *id);
        let description = action.unwrap_or_else(|| panic!("{id} is missing"))["description"].as_str().unwrap();
        assert!(description.contains(words), "{id}: {description}");
        let document = page(document);
        for name in [*id].iter().chain(*aliases) {
            assert!(document.contains(&format!("`{name}`")), "the documentation doesn't name {name}");
        }
    }
    for action in actions.as_array().unwrap() {
        let id = action["id"].as_str().unwrap();
        let is_ours = OURS.iter().any(|(prefix, ..)| id.starts_with(prefix));
        assert!(!is_ours || ALL.iter().any(|(known, _)| *known == id), "{id} is not in this table");
    }
    running.stop().await;
}
