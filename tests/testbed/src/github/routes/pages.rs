//! GitHub Pages.

use serde_json::json;

use super::{Answer, Call, Outcome, Refusal};
use crate::github::state::Access;

pub(super) async fn get(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    repo.attachments.pages.map(|site| Answer::Json(200, site)).ok_or_else(Refusal::not_found)
}

pub(super) async fn create(call: Call) -> Outcome {
    let repo = call.repo(Access::Admin)?;
    if repo.attachments.pages.is_some() {
        return Err(Refusal::new(409, "GitHub Pages is already enabled."));
    }
    let build = call.body["build_type"].as_str().unwrap_or("legacy");
    let source = &call.body["source"];
    let branches = call.shared.store.branches(&repo.owner, &repo.name).await?;
    if build == "legacy" && !branches.iter().any(|(name, _)| source["branch"] == name.as_str()) {
        let message = format!("The {} branch must exist before GitHub Pages can be built.", source["branch"]);
        return Err(Refusal::invalid("Validation Failed", "Page", "source", "invalid", &message));
    }
    let branch = source["branch"].as_str().unwrap_or(&repo.default_branch);
    let site = json!({
        "url": format!("{}/pages", call.urls().repo(&repo)),
        "status": null,
        "cname": null,
        "custom_404": false,
        "html_url": format!("https://{}.github.io/{}/", repo.owner.to_lowercase(), repo.name),
        "build_type": build,
        "source": {"branch": branch, "path": source["path"].as_str().unwrap_or("/")},
        "public": true,
        "https_enforced": true,
    });
    call.change(Access::Admin, |repo| repo.attachments.pages = Some(site.clone()))?;
    Ok(Answer::Json(201, site))
}
