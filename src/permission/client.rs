//! The permission backend's `POST /authorize`.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use understudy_scm::BodyError;
use understudy_sdk::Secret;

use super::{Condition, Decision, Permission, PermissionError};

/// How long the backend gets to decide. Requests of people wait for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// Asks the permission backend.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    patience: Duration,
}

#[derive(Deserialize)]
struct Answer {
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    id: String,
    result: String,
    plugin_id: Option<String>,
    resource_type: Option<String>,
    conditions: Option<Value>,
}

impl Client {
    pub(super) fn new(http: reqwest::Client) -> Self {
        Self { http, patience: PATIENCE }
    }

    #[cfg(test)]
    pub(super) fn patient_for(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// One decision for each permission, in their order. `backend` is its URL without a slash at the end.
    ///
    /// # Errors
    /// [`PermissionError::Unavailable`] when there is no answer in time or one that can't be understood,
    /// [`PermissionError::Refused`] when the backend does not accept the token.
    pub(super) async fn authorize(
        &self,
        backend: &str,
        token: Option<&Secret>,
        permissions: &[Permission],
    ) -> Result<Vec<Decision>, PermissionError> {
        let ids: Vec<String> = permissions.iter().map(|_| uuid::Uuid::new_v4().to_string()).collect();
        let items: Vec<Value> =
            ids.iter().zip(permissions).map(|(id, permission)| json!({"id": id, "permission": permission})).collect();
        let url = format!("{backend}/authorize");
        let mut request = self.http.post(&url).timeout(self.patience).json(&json!({ "items": items }));
        if let Some(token) = token {
            request = request.bearer_auth(token.expose());
        }
        let unavailable = |reason: String| PermissionError::Unavailable { url: url.clone(), reason };
        let answer = request.send().await.map_err(|error| unavailable(told(error)))?;
        let status = answer.status();
        if matches!(status.as_u16(), 401 | 403) {
            return Err(PermissionError::Refused {
                status: status.as_u16(),
                message: format!(
                    "Request failed with {} {}",
                    status.as_u16(),
                    status.canonical_reason().unwrap_or_default()
                ),
            });
        }
        if !status.is_success() {
            return Err(unavailable(format!("it answered with status {}", status.as_u16())));
        }
        let body = understudy_scm::read_body(answer, MAX_ANSWER).await.map_err(|error| match error {
            BodyError::Broken(error) => unavailable(told(error)),
            other => unavailable(format!("its answer {other}")),
        })?;
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|error| unavailable(format!("its answer is no decision: {error}")))?;
        decisions(answer, &ids, permissions).map_err(unavailable)
    }
}

fn told(error: reqwest::Error) -> String {
    if error.is_timeout() { "it did not answer in time".to_string() } else { understudy_scm::request_failure(error) }
}

/// The decisions in the order of the questions. An answer that does not decide each of them, once, decides none.
fn decisions(answer: Answer, ids: &[String], permissions: &[Permission]) -> Result<Vec<Decision>, String> {
    if answer.items.len() != ids.len() {
        return Err(format!("it decided {} questions of {}", answer.items.len(), ids.len()));
    }
    let mut items = answer.items;
    ids.iter()
        .zip(permissions)
        .map(|(id, permission)| {
            let found = items.iter().position(|item| item.id == *id);
            let Some(found) = found else { return Err(format!("it did not decide {}", permission.name)) };
            decision(items.swap_remove(found), permission)
        })
        .collect()
}

fn decision(item: Item, permission: &Permission) -> Result<Decision, String> {
    let name = permission.name;
    match (&*item.result, permission.resource_type) {
        ("ALLOW", _) => Ok(Decision::Allow),
        ("DENY", _) => Ok(Decision::Deny),
        ("CONDITIONAL", Some(resource_type)) => {
            let Some(conditions) = item.conditions.filter(|_| item.plugin_id.is_some()) else {
                return Err(format!("its conditional decision on {name} has no conditions or no plugin"));
            };
            if item.resource_type.as_deref() != Some(resource_type.as_str()) {
                return Err(format!(
                    "its conditional decision on {name} is about resources of type {}, not {}",
                    item.resource_type.as_deref().unwrap_or("(none)"),
                    resource_type.as_str()
                ));
            }
            let condition = Condition::parse(&conditions)
                .map_err(|error| format!("its conditional decision on {name} can't be read: {error}"))?;
            Ok(Decision::Conditional(condition))
        }
        ("CONDITIONAL", None) => Err(format!("it made a conditional decision on {name}, which has no resources")),
        (other, _) => Err(format!("its decision on {name} is {other:?}")),
    }
}
