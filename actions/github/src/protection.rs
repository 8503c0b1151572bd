//! Branch protection.

use std::time::Duration;

use http::Method;
use serde::Serialize;
use serde_json::{Number, Value};
use understudy_sdk::{ActionContext, ActionError};

use crate::{
    client::{Client, Route},
    differences::Differences,
    error::ApiError,
    inputs::{Allowances, Restrictions},
    target::Target,
};

/// GitHub needs a moment to see a branch that was just pushed.
const BRANCH_DELAY: Duration = Duration::from_millis(600);

/// The rules for a branch.
#[derive(Debug)]
pub(crate) struct ProtectionRules {
    pub(crate) enforce_admins: bool,
    pub(crate) status_check_contexts: Vec<String>,
    pub(crate) up_to_date: bool,
    pub(crate) restrictions: Option<Restrictions>,
    pub(crate) approving_review_count: Number,
    pub(crate) code_owner_reviews: bool,
    pub(crate) bypass_allowances: Option<Allowances>,
    pub(crate) dismiss_stale_reviews: bool,
    pub(crate) last_push_approval: bool,
    pub(crate) conversation_resolution: bool,
    pub(crate) linear_history: bool,
    pub(crate) block_creations: bool,
    pub(crate) commit_signing: bool,
}

#[derive(Serialize)]
struct ProtectionBody<'a> {
    required_status_checks: StatusChecks<'a>,
    // `null` lifts restrictions; GitHub wants the member to be there.
    restrictions: Option<&'a Restrictions>,
    enforce_admins: bool,
    required_pull_request_reviews: Reviews<'a>,
    required_conversation_resolution: bool,
    required_linear_history: bool,
    block_creations: bool,
}

#[derive(Serialize)]
struct StatusChecks<'a> {
    strict: bool,
    contexts: &'a [String],
}

#[derive(Serialize)]
struct Reviews<'a> {
    required_approving_review_count: &'a Number,
    require_code_owner_reviews: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    bypass_pull_request_allowances: Option<&'a Allowances>,
    dismiss_stale_reviews: bool,
    require_last_push_approval: bool,
}

/// Protects a branch that was just pushed.
///
/// # Errors
/// What GitHub refuses, except that protection isn't part of the owner's plan, which is only warned about.
pub(crate) async fn protect_branch(
    ctx: &ActionContext,
    client: &Client<'_>,
    target: &Target,
    branch: &str,
    rules: &ProtectionRules,
) -> Result<(), ApiError> {
    match try_once(ctx, client, target, branch, rules).await {
        Err(ApiError::Refused { message, .. }) if message.contains("Branch not found") => {
            ctx.waiting(tokio::time::sleep(BRANCH_DELAY)).await?;
            try_once(ctx, client, target, branch, rules).await
        }
        result => result,
    }
}

async fn try_once(
    ctx: &ActionContext,
    client: &Client<'_>,
    target: &Target,
    branch: &str,
    rules: &ProtectionRules,
) -> Result<(), ApiError> {
    let body = ProtectionBody {
        required_status_checks: StatusChecks { strict: rules.up_to_date, contexts: &rules.status_check_contexts },
        restrictions: rules.restrictions.as_ref(),
        enforce_admins: rules.enforce_admins,
        required_pull_request_reviews: Reviews {
            required_approving_review_count: &rules.approving_review_count,
            require_code_owner_reviews: rules.code_owner_reviews,
            bypass_pull_request_allowances: rules.bypass_allowances.as_ref(),
            dismiss_stale_reviews: rules.dismiss_stale_reviews,
            require_last_push_approval: rules.last_push_approval,
        },
        required_conversation_resolution: rules.conversation_resolution,
        required_linear_history: rules.linear_history,
        block_creations: rules.block_creations,
    };
    let Target { owner, repo, .. } = target;
    let protection = ["repos", owner, repo, "branches", branch, "protection"];
    let signatures = [&protection[..], &["required_signatures"]].concat();
    let result = async {
        client.put(&Route::new(&protection)?, &body).await?;
        if rules.commit_signing {
            client.send(&Method::POST, &Route::new(&signatures)?, None::<&()>).await?;
        }
        Ok(())
    };
    match result.await {
        Err(ApiError::Refused { message, .. })
            if message.contains("Upgrade to GitHub Pro or make this repository public to enable this feature") =>
        {
            ctx.log.warn("Branch protection was not enabled as it requires GitHub Pro for private repositories");
            Ok(())
        }
        result => result,
    }
}

/// Protects a branch that may be protected already: one that is protected in the same way is left as it is.
///
/// # Errors
/// As [`protect_branch`].
pub(crate) async fn update_protection(
    ctx: &ActionContext,
    client: &Client<'_>,
    target: &Target,
    branch: &str,
    rules: &ProtectionRules,
) -> Result<(), ApiError> {
    match client.get::<Value>(&target.route(&["branches", branch, "protection"])?).await {
        Ok(known) => {
            let differences = differences(&known, rules);
            if differences.is_empty() {
                ctx.log.info(format!(
                    "The branch {branch} of {target} is protected in the same way already; nothing is changed"
                ));
                return Ok(());
            }
            ctx.log.info(format!(
                "The branch {branch} of {target} is protected already; its rules are replaced: {}",
                differences.text()
            ));
        }
        // Not protected, or the owner's plan has no protection: setting it tells.
        Err(error) if error.is_status(404) || error.is_status(403) => {}
        Err(error) => return Err(error),
    }
    protect_branch(ctx, client, target, branch, rules).await
}

/// How a branch's protection, as GitHub tells of it, differs from the rules.
fn differences(known: &Value, rules: &ProtectionRules) -> Differences {
    let mut found = Differences::default();
    let enabled = |name: &str| known[name]["enabled"] == true;
    found.compare("enforceAdmins", &enabled("enforce_admins"), &rules.enforce_admins);
    found.compare(
        "requiredConversationResolution",
        &enabled("required_conversation_resolution"),
        &rules.conversation_resolution,
    );
    found.compare("requiredLinearHistory", &enabled("required_linear_history"), &rules.linear_history);
    found.compare("blockCreations", &enabled("block_creations"), &rules.block_creations);
    // The step never takes the requirement away.
    if rules.commit_signing {
        found.compare("requiredCommitSigning", &enabled("required_signatures"), &rules.commit_signing);
    }
    let checks = &known["required_status_checks"];
    found.compare("requireBranchesToBeUpToDate", &(checks["strict"] == true), &rules.up_to_date);
    found.compare_sets(
        "requiredStatusCheckContexts",
        texts(&checks["contexts"], None),
        rules.status_check_contexts.iter().cloned(),
    );
    let reviews = &known["required_pull_request_reviews"];
    let count = &reviews["required_approving_review_count"];
    found.compare("requiredApprovingReviewCount", count, &Value::Number(rules.approving_review_count.clone()));
    for (what, name, asked) in [
        ("requireCodeOwnerReviews", "require_code_owner_reviews", rules.code_owner_reviews),
        ("dismissStaleReviews", "dismiss_stale_reviews", rules.dismiss_stale_reviews),
        ("requireLastPushApproval", "require_last_push_approval", rules.last_push_approval),
    ] {
        found.compare(what, &(reviews[name] == true), &asked);
    }
    let bypass = &reviews["bypass_pull_request_allowances"];
    let asked = rules.bypass_allowances.clone().unwrap_or_default();
    compare_actors(&mut found, "bypassPullRequestAllowances", bypass, [asked.users, asked.teams, asked.apps]);
    let restrictions = &known["restrictions"];
    found.compare("whether pushing is restricted", &restrictions.is_object(), &rules.restrictions.is_some());
    if let Some(asked) = rules.restrictions.clone() {
        let asked = [Some(asked.users), Some(asked.teams), asked.apps];
        compare_actors(&mut found, "restrictions", restrictions, asked);
    }
    found
}

/// Users, teams and apps, which GitHub tells of as objects.
fn compare_actors(found: &mut Differences, what: &str, known: &Value, asked: [Option<Vec<String>>; 3]) {
    for ((kind, name), asked) in [("users", "login"), ("teams", "slug"), ("apps", "slug")].into_iter().zip(asked) {
        let asked = asked.into_iter().flatten().map(|name| name.to_lowercase());
        found.compare_sets(&format!("{what}.{kind}"), texts(&known[kind], Some(name)), asked);
    }
}

/// The texts of a list, or those that its objects have as `member`, which GitHub compares without regard to case.
fn texts(list: &Value, member: Option<&str>) -> Vec<String> {
    let text = |item: &Value| match member {
        Some(member) => item[member].as_str().map(str::to_lowercase),
        None => item.as_str().map(str::to_string),
    };
    list.as_array().into_iter().flatten().filter_map(text).collect()
}

/// As [`protect_branch`] (or [`update_protection`] where the branch was `there_before`), with every refusal turned into a warning: the repository is there and filled by now.
///
/// # Errors
/// The task was cancelled, or the branch name can't be used.
pub(crate) async fn protect_default_branch(
    ctx: &ActionContext,
    client: &Client<'_>,
    target: &Target,
    branch: &str,
    rules: &ProtectionRules,
    there_before: bool,
) -> Result<(), ActionError> {
    let result = if there_before {
        update_protection(ctx, client, target, branch, rules).await
    } else {
        protect_branch(ctx, client, target, branch, rules).await
    };
    if let Err(error) = result {
        let error = error.survivable()?;
        ctx.log.warn(format!("Skipping: default branch protection on '{}', {error}", target.repo));
    }
    Ok(())
}
