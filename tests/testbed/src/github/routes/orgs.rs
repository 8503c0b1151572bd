//! `/orgs`.

use super::{Answer, Call, Outcome, Refusal};
use crate::github::state::{Access, Account, State, Team};

fn org<'a>(call: &Call, state: &'a State) -> Result<&'a Account, Refusal> {
    state.account(call.param("org")).filter(|account| account.organization).ok_or_else(Refusal::not_found)
}

/// Teams are visible to the organisation's members only.
fn visible_team<'a>(call: &Call, state: &'a State) -> Result<(&'a Account, &'a Team), Refusal> {
    let org = org(call, state)?;
    if !org.members.contains_key(&call.login.to_lowercase()) {
        return Err(Refusal::not_found());
    }
    let team = state.team(&org.login, call.param("team_slug")).ok_or_else(Refusal::not_found)?;
    Ok((org, team))
}

pub(super) async fn get(call: Call) -> Outcome {
    let state = call.state();
    let org = org(&call, &state)?;
    Ok(Answer::Json(200, call.urls().organization(&state, org)))
}

pub(super) async fn team(call: Call) -> Outcome {
    let state = call.state();
    let (org, team) = visible_team(&call, &state)?;
    Ok(Answer::Json(200, call.urls().full_team(&state, org, team)))
}

pub(super) async fn add_team_to_repo(call: Call) -> Outcome {
    let slug = {
        let state = call.state();
        let (org, team) = visible_team(&call, &state)?;
        if !org.login.eq_ignore_ascii_case(call.param("owner")) {
            let message = "The team and the repository must belong to the same organization.";
            return Err(Refusal::invalid("Validation Failed", "Team", "repository", "invalid", message));
        }
        team.slug.clone()
    };
    let permission = call.body["permission"].as_str().unwrap_or("push");
    let Some(access) = Access::named(permission) else {
        let message = format!("`{permission}` is no permission of this organization");
        return Err(Refusal::invalid("Validation Failed", "TeamMember", "permission", "invalid", &message));
    };
    call.change(Access::Admin, |repo| repo.teams.insert(slug, access))?;
    Ok(Answer::Empty(204))
}
