//! Suggestions for form fields, from where a user has an account.

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{error::ActionError, secrets::Secret};

/// One thing to choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// What the form gets.
    pub id: String,
    /// What people see, where it isn't the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

impl Suggestion {
    /// One whose id says it all.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), title: None }
    }
}

/// Somebody who knows what could be chosen, e.g. a source code host (`POST /v2/autocomplete/{provider}/{resource}`).
#[async_trait]
pub trait AutocompleteProvider: Send + Sync + 'static {
    /// The name in the URL, e.g. `github`.
    fn id(&self) -> &'static str;
    /// What the user may choose of `resource`, e.g. `branches`. The token is the user's own; `context` has texts from the
    /// form that narrow the choice down.
    ///
    /// # Errors
    /// `InputError` for an unknown resource or a context that lacks something; what the other side says.
    async fn suggest(
        &self,
        resource: &str,
        token: &Secret,
        context: &Map<String, Value>,
    ) -> Result<Vec<Suggestion>, ActionError>;
}
