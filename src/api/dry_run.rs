//! A template run without a task.

use actix_web::{HttpRequest, HttpResponse, web, web::Data};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    ApiState,
    caller::Caller,
    error::{ApiError, ErrorBody, ViolationsBody},
    form, reply,
    request::{self, Place},
    templates,
};
use crate::{
    audit::{Act, Pending},
    permission::known::{TASK_CREATE, TEMPLATE_DRY_RUN},
    tasks::{DryRunRequest, DryRunResult},
    zod::{self, ZodError},
};

/// What `POST /v2/dry-run` is given.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct DryRun {
    /// The template entity.
    #[schema(value_type = Object)]
    template: Map<String, Value>,
    /// The form's values.
    #[schema(value_type = Object)]
    values: Map<String, Value>,
    /// Secrets by name.
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    secrets: Map<String, Value>,
    /// The files beside the template.
    #[schema(value_type = Vec<DryRunFile>)]
    directory_contents: Vec<(String, Vec<u8>)>,
    /// What the files lack, in zod's words.
    #[schema(ignore)]
    missing: Vec<Value>,
}

/// A file given to a dry run.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code, reason = "documents an item of the body, which is read member by member")]
pub(super) struct DryRunFile {
    /// Relative to the template.
    path: String,
    /// The content.
    base64_content: String,
}

impl DryRun {
    fn read(body: Value) -> Result<Self, ApiError> {
        let place = Place::body();
        let mut members = place.object(body, &["template", "values", "directoryContents"])?;
        let mut take = |name: &str| members.shift_remove(name);
        let template = place.at("template").object(take("template").unwrap_or_default(), &[])?;
        let values = place.at("values").object(take("values").unwrap_or_default(), &[])?;
        let secrets = place.at("secrets").strings(take("secrets"))?;
        let place = place.at("directoryContents");
        let files = place.array(take("directoryContents").unwrap_or_default())?;
        let mut directory_contents = Vec::with_capacity(files.len());
        let mut missing = Vec::new();
        for (index, file) in files.into_iter().enumerate() {
            let place = place.at(index);
            let mut file = place.object(file, &[])?;
            let mut text = |name: &str| match file.shift_remove(name) {
                Some(value) => place.at(name).string(value).map(Some),
                None => {
                    missing.push(zod::required("string", &["directoryContents".into(), index.into(), name.into()]));
                    Ok(None)
                }
            };
            if let (Some(path), Some(content)) = (text("path")?, text("base64Content")?) {
                directory_contents.push((path, decode(&content)));
            }
        }
        Ok(Self { template, values, secrets, directory_contents, missing })
    }

    /// The request, if its files lack nothing. Upstream looks at this later than at the rest, and with another tool.
    fn complete(self) -> Result<Self, ApiError> {
        if self.missing.is_empty() {
            return Ok(self);
        }
        Err(ApiError::input(format!("Malformed request: {}", ZodError::new(self.missing))))
    }
}

/// Decodes as Node's `Buffer.from(text, "base64")` does: both alphabets, what belongs to none is skipped, the first `=`
/// ends the text.
fn decode(text: &str) -> Vec<u8> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let mut digits: Vec<u8> = text
        .bytes()
        .take_while(|byte| *byte != b'=')
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        .collect();
    if digits.len() % 4 == 1 {
        // Six bits are no byte.
        digits.pop();
    }
    LENIENT.decode(digits).unwrap_or_default()
}

/// Runs a template that need not be registered, with files given along. Actions that can't run dry are skipped.
#[utoipa::path(
    post, path = "/api/scaffolder/v2/dry-run", operation_id = "dryRun", tag = "templates", request_body = DryRun,
    responses(
        (status = 200, body = DryRunResult, description = "What the run would do"),
        (status = 400, body = ViolationsBody, description = "Values or secrets violate the template's schemas; any other mistake has the usual error body"),
        (status = 403, body = ErrorBody, description = "A file's path leads out of the directory"),
        (status = 500, body = ErrorBody, description = "A step failed"),
    ),
)]
pub(super) async fn run(
    state: Data<ApiState>,
    caller: Caller,
    http: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = request::body(&http, payload, false).await?;
    request::no_query(&http)?;
    Ok(reply::ok(&dry_run(&state, &caller, body).await?))
}

/// Runs a template for the caller. What is missing in the list of files is told to those who may run templates only.
pub(super) async fn dry_run(state: &ApiState, caller: &Caller, body: Value) -> Result<DryRunResult, ApiError> {
    let request = DryRun::read(body)?;
    let run = async |pending: &mut Pending| {
        state.permissions.require(caller.credentials(), &[TASK_CREATE, TEMPLATE_DRY_RUN]).await?;
        let DryRun { template, values, secrets, directory_contents, .. } = request.complete()?;
        if !form::is_template(&template) {
            return Err(ApiError::input("Input template is not a template"));
        }
        let template = Value::Object(template);
        templates::check_shape(&template)?;
        pending.note("templateRef", || templates::shown_ref(&template).into());
        pending.note("parameters", || template.pointer("/spec/parameters").cloned().unwrap_or_default());
        let user = caller.user_spec(state).await?;
        templates::check_values(&template, &values)?;
        templates::check_secrets(&template, &secrets)?;
        let (secrets, initiator) = (caller.dry_run_secrets(secrets), caller.credentials().clone());
        let request = DryRunRequest { template, values, secrets, directory_contents, user, initiator };
        Ok(state.tasks.dry_run(request).await?)
    };
    state.audited(caller, Act::DryRun, || [], run).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn missing_contents_are_reported_as_recorded() {
        let body = json!({"template": {}, "values": {}, "directoryContents": [{"path": "x"}]});
        assert_eq!(
            DryRun::read(body).and_then(DryRun::complete).map(drop).unwrap_err().to_string(),
            "InputError: Malformed request: [\n  {\n    \"code\": \"invalid_type\",\n    \"expected\": \"string\",\n    \"received\": \"undefined\",\n    \"path\": [\n      \"directoryContents\",\n      0,\n      \"base64Content\"\n    ],\n    \"message\": \"Required\"\n  }\n]"
        );
    }

    #[test]
    fn contents_are_decoded_leniently() {
        for (text, bytes) in
            [("aGk=", &b"hi"[..]), ("aGk", b"hi"), ("aG\nk=", b"hi"), ("-_8", &[0xfb, 0xff]), ("a", b""), ("", b"")]
        {
            assert_eq!(decode(text), bytes, "{text}");
        }
    }
}
