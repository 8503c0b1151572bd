//! Errors as the API answers them.
//!
//! The body and the mapping from class names to statuses are those of `@backstage/backend-defaults` 0.18.0
//! (`MiddlewareFactory.error`) and `@backstage/errors` 1.3.2. The answer names the request, so it is written by
//! [`edge`](super::edge), which sees both; a handler only returns the error.

use actix_web::{HttpRequest, HttpResponse, ResponseError, http::StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use understudy_sdk::{ActionError, schema::Violation};
use utoipa::ToSchema;

use crate::{
    auth::AuthError,
    catalog::Refusal,
    permission::{PermissionError, RuleError},
    store::StoreError,
    zod::ZodError,
};

/// Why a request was refused or failed.
#[derive(Debug)]
pub enum ApiError {
    /// An error with a class name that clients know.
    Named {
        /// E.g. `InputError`.
        name: String,
        /// What was wrong.
        message: String,
        /// The HTTP status.
        status: StatusCode,
        /// What was the reason, as clients see it.
        cause: Option<Value>,
    },
    /// The form's values violate the template's schemas.
    Violations(Vec<Violation>),
    /// The secrets violate the template's schema.
    SecretViolations(Vec<Violation>),
}

/// The body of an error answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// What went wrong.
    error: ErrorDetail,
    /// The request it answers.
    request: ErrorRequest,
    /// The status, for clients that only see the body.
    response: ErrorResponse,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorDetail {
    /// The class, e.g. `NotFoundError`.
    #[schema(example = "NotFoundError")]
    name: String,
    /// For people.
    #[schema(example = "No task with id 'x' found")]
    message: String,
    /// The error behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    cause: Option<Value>,
}

/// The request that failed.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorRequest {
    /// E.g. `GET`.
    method: String,
    /// Path and query, relative to the plugin's root.
    #[schema(example = "/v2/tasks/x")]
    url: String,
}

/// The answer's status.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ErrorResponse {
    /// E.g. 404.
    status_code: u16,
}

/// The answer to values or secrets that violate a template's schema.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ViolationsBody {
    /// One item for each violation, as npm `jsonschema` 1.5 reports them.
    #[schema(value_type = Vec<Object>)]
    errors: Vec<Violation>,
}

impl ApiError {
    /// An error of this class; its status follows from the name.
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        let name = name.into();
        let status = status_of(&name);
        Self::Named { name, message: message.into(), status, cause: None }
    }
    /// The same error with another status. What is no status of an error is left out.
    #[must_use]
    pub fn answered_with(mut self, code: u16) -> Self {
        if let (Self::Named { status, .. }, Ok(code)) = (&mut self, StatusCode::from_u16(code))
            && (code.is_client_error() || code.is_server_error())
        {
            *status = code;
        }
        self
    }
    /// An `InputError` because of what zod said, in the words of `@backstage/errors` 1.3.2.
    pub fn zod(message: &str, error: &ZodError) -> Self {
        Self::Named {
            name: "InputError".to_string(),
            message: format!("{message}; caused by {error}"),
            status: StatusCode::BAD_REQUEST,
            cause: Some(error.to_cause()),
        }
    }
    /// An error of this class with a status that does not follow from it.
    pub fn with_status(name: impl Into<String>, message: impl Into<String>, status: StatusCode) -> Self {
        Self::Named { name: name.into(), message: message.into(), status, cause: None }
    }
    /// An `InputError`, 400.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new("InputError", message)
    }
    /// A `NotFoundError`, 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new("NotFoundError", message)
    }
    /// A failure whose cause is none of the caller's business: it goes to the log, the caller gets a number to ask for.
    pub fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        let log_id: String = uuid::Uuid::new_v4().simple().to_string().chars().take(20).collect();
        tracing::error!(log_id, error = %Chain(cause), "a request failed");
        Self::new("Error", format!("An internal error occurred logId={log_id}"))
    }

    /// The answer to this request.
    pub(super) fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let status = self.status_code();
        match self {
            Self::Violations(errors) | Self::SecretViolations(errors) => {
                super::reply::json(status, &json!({ "errors": errors.iter().map(to_value).collect::<Vec<_>>() }))
            }
            Self::Named { name, message, cause, .. } => {
                if status == StatusCode::INTERNAL_SERVER_ERROR {
                    tracing::error!(status = status.as_u16(), "request failed with {name}: {message}");
                }
                super::reply::json(
                    status,
                    &ErrorBody {
                        error: ErrorDetail { name: name.clone(), message: message.clone(), cause: cause.clone() },
                        request: ErrorRequest {
                            method: request.method().to_string(),
                            url: relative_url(request).to_string(),
                        },
                        response: ErrorResponse { status_code: status.as_u16() },
                    },
                )
            }
        }
    }
}

fn to_value(violation: &Violation) -> Value {
    serde_json::to_value(violation).unwrap_or_default()
}

/// An error and its sources on one line.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// The URL without `/api/<plugin>`, as a plugin of Backstage sees it.
fn relative_url(request: &HttpRequest) -> &str {
    let url = request.uri().path_and_query().map_or("/", |url| url.as_str());
    let Some(below) = url.strip_prefix("/api/") else { return url };
    match below.find(['/', '?']) {
        Some(at) if below[at..].starts_with('/') => &below[at..],
        _ => "/",
    }
}

fn status_of(name: &str) -> StatusCode {
    match name {
        "NotModifiedError" => StatusCode::NOT_MODIFIED,
        "InputError" => StatusCode::BAD_REQUEST,
        "AuthenticationError" => StatusCode::UNAUTHORIZED,
        "NotAllowedError" => StatusCode::FORBIDDEN,
        "NotFoundError" => StatusCode::NOT_FOUND,
        "ConflictError" => StatusCode::CONFLICT,
        "NotImplementedError" => StatusCode::NOT_IMPLEMENTED,
        "ServiceUnavailableError" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named { name, message, .. } => write!(f, "{name}: {message}"),
            Self::Violations(errors) | Self::SecretViolations(errors) => {
                let stacks: Vec<_> = errors.iter().map(|error| error.stack.as_str()).collect();
                write!(f, "invalid values: {}", stacks.join(", "))
            }
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Named { status, .. } => *status,
            Self::Violations(_) | Self::SecretViolations(_) => StatusCode::BAD_REQUEST,
        }
    }
    /// Only the status: [`edge`](super::edge) writes the body, which names the request.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoTask(_) => Self::not_found(error.to_string()),
            StoreError::Conflict(message) => Self::new("ConflictError", message),
            other => Self::internal(&other),
        }
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Keys(_) => Self::internal(&error),
            other => Self::new(other.name().to_string(), other.to_string()),
        }
    }
}

impl From<ActionError> for ApiError {
    /// Of another service's answer the status is passed on, and what it said.
    fn from(error: ActionError) -> Self {
        let mut told = Self::new(error.name().to_string(), error.message());
        if let Self::Named { cause, .. } = &mut told {
            let refusal = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Refusal>());
            *cause = refusal.map(|refusal| refusal.cause.clone());
        }
        match error.status() {
            Some(status) => told.answered_with(status),
            None => told,
        }
    }
}

impl From<PermissionError> for ApiError {
    /// Denials say nothing, as upstream's (`@backstage/plugin-scaffolder-backend` 4.2.0, `checkPermissions`).
    fn from(error: PermissionError) -> Self {
        match error {
            PermissionError::Denied => Self::new("NotAllowedError", ""),
            PermissionError::Unavailable { reason, .. } => Self::new(
                "ServiceUnavailableError",
                format!("The permission backend can't be asked, so nothing is allowed at present: {reason}"),
            ),
            PermissionError::Refused { status, message } => Self::new("ResponseError", message).answered_with(status),
            PermissionError::Rule(error) => error.into(),
            PermissionError::Auth(error) => error.into(),
        }
    }
}

impl From<RuleError> for ApiError {
    fn from(error: RuleError) -> Self {
        match &error {
            RuleError::Params(issues) => Self::zod(&error.to_string(), issues),
            RuleError::Tags => Self::new("TypeError", error.to_string()),
            _ => Self::new("Error", error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use understudy_sdk::ErrorName;

    use super::*;

    #[test]
    fn urls_are_relative_to_the_plugin() {
        for (url, expected) in [
            ("/api/scaffolder/v2/tasks?limit=x", "/v2/tasks?limit=x"),
            ("/api/catalog/locations?dryRun=true", "/locations?dryRun=true"),
            ("/api/scaffolder", "/"),
            ("/healthcheck?x=1", "/healthcheck?x=1"),
            ("/api/scaffolder/v2/templates/a/%E0%A4%A/b", "/v2/templates/a/%E0%A4%A/b"),
        ] {
            assert_eq!(relative_url(&TestRequest::with_uri(url).to_http_request()), expected, "{url}");
        }
    }

    #[test]
    fn names_decide_the_status() {
        for (name, status) in
            [("InputError", 400), ("NotAllowedError", 403), ("TypeError", 500), ("ConflictError", 409)]
        {
            assert_eq!(ApiError::new(name, "x").status_code().as_u16(), status, "{name}");
        }
        assert_eq!(ApiError::from(StoreError::NoTask("7".into())).status_code().as_u16(), 404);
    }

    #[test]
    fn statuses_of_other_services_are_passed_on() {
        let answered = |status| ActionError::new(ErrorName::ResponseError, "Request failed").with_status(status);
        for (error, status) in [
            (answered(403), 403),
            (answered(503), 503),
            (answered(302), 500),
            (ActionError::new(ErrorName::ResponseError, "x"), 500),
        ] {
            assert_eq!(ApiError::from(error).status_code().as_u16(), status);
        }
    }
}
