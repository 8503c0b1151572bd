//! Branch protection.

use std::time::Duration;

use http::Method;
use serde::Serialize;
use serde_json::Number;
use understudy_sdk::{ActionContext, ActionError};

use crate::{
    client::{Client, Route},
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

/// As [`protect_branch`], with every refusal turned into a warning: the repository is there and filled by now.
///
/// # Errors
/// The task was cancelled, or the branch name can't be used.
pub(crate) async fn protect_default_branch(
    ctx: &ActionContext,
    client: &Client<'_>,
    target: &Target,
    branch: &str,
    rules: &ProtectionRules,
) -> Result<(), ActionError> {
    if let Err(error) = protect_branch(ctx, client, target, branch, rules).await {
        let error = error.survivable()?;
        ctx.log.warn(format!("Skipping: default branch protection on '{}', {error}", target.repo));
    }
    Ok(())
}
