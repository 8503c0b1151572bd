//! What requests must look like, in the words of upstream's OpenAPI validator.
//!
//! `@backstage/backend-openapi-utils` 0.7.2 puts express-openapi-validator before every documented route and answers
//! each of its complaints with a 400 `InputError` that keeps only the message.

use std::io::{self, Read as _};

use actix_web::{
    HttpMessage, HttpRequest,
    error::PayloadError,
    http::{StatusCode, header},
    web,
};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use futures_util::StreamExt;
use indexmap::IndexMap;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::{edge::is_timeout, error::ApiError, json_syntax};

/// Largest JSON body, upstream's limit.
const BODY_LIMIT: usize = 10 * 1024 * 1024;
/// How much of a body that is too large is read (and dropped) so that the client gets to see the answer.
const DRAIN_LIMIT: usize = 64 * 1024 * 1024;

/// The decoded segment of the path that the route calls `name`.
///
/// actix decodes segments leniently; here broken escapes are errors, so the raw path is read.
pub(super) fn segment(request: &HttpRequest, name: &str) -> Result<String, ApiError> {
    let pattern = request.match_pattern().unwrap_or_default();
    let wanted = format!("{{{name}}}");
    let raw = pattern.split('/').position(|part| part == wanted).and_then(|at| request.path_raw().split('/').nth(at));
    let raw = raw.unwrap_or_default();
    if !well_escaped(raw) {
        return Err(malformed_uri());
    }
    percent_decode_str(raw).decode_utf8().map(|text| text.into_owned()).map_err(|_| malformed_uri())
}

fn malformed_uri() -> ApiError {
    ApiError::input("malformed uri'")
}

fn well_escaped(raw: &str) -> bool {
    let bytes = raw.as_bytes();
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(at, _)| {
        bytes.get(at + 1).is_some_and(u8::is_ascii_hexdigit) && bytes.get(at + 2).is_some_and(u8::is_ascii_hexdigit)
    })
}

trait RawPath {
    fn path_raw(&self) -> &str;
}

impl RawPath for HttpRequest {
    fn path_raw(&self) -> &str {
        self.uri().path()
    }
}

/// The query's parameters; a parameter may repeat, `name[]` and `name[0]` are the same as `name`.
#[derive(Debug, Default)]
pub(super) struct Query(IndexMap<String, Vec<String>>);

impl Query {
    /// Any query.
    pub(super) fn parse(request: &HttpRequest) -> Self {
        let mut parameters: IndexMap<String, Vec<String>> = IndexMap::new();
        for pair in request.query_string().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name);
            let name = match name.split_once('[') {
                Some((base, index)) if !base.is_empty() && index.ends_with(']') => base.to_string(),
                _ => name,
            };
            parameters.entry(name).or_default().push(decode(value));
        }
        Self(parameters)
    }
    /// A query of a documented route: only these parameters, none of them empty.
    pub(super) fn documented(request: &HttpRequest, known: &[&str]) -> Result<Self, ApiError> {
        let query = Self::parse(request);
        for (name, values) in &query.0 {
            if !known.contains(&name.as_str()) {
                return Err(ApiError::input(format!("Unknown query parameter '{name}'")));
            }
            if values.len() == 1 && values[0].is_empty() {
                return Err(ApiError::input(format!("Empty value found for query parameter '{name}'")));
            }
        }
        Ok(query)
    }
    /// All values of a parameter.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
    /// The only value of a parameter.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        match self.all(name) {
            [value] => Some(value),
            _ => None,
        }
    }
    /// An integer parameter.
    pub(super) fn integer(&self, name: &str, minimum: Option<i64>) -> Result<Option<i64>, ApiError> {
        let values = self.all(name);
        if values.is_empty() {
            return Ok(None);
        }
        let number = match values {
            [value] => value.trim().parse::<f64>().ok().filter(|number| number.is_finite() && number.fract() == 0.0),
            _ => None,
        };
        let Some(number) = number else {
            return Err(ApiError::input(format!("request/query/{name} must be integer")));
        };
        // Saturates: no table has as many rows.
        let number = number as i64;
        match minimum {
            Some(minimum) if number < minimum => {
                Err(ApiError::input(format!("request/query/{name} must be >= {minimum}")))
            }
            _ => Ok(Some(number)),
        }
    }
}

/// Refuses any query parameter.
pub(super) fn no_query(request: &HttpRequest) -> Result<(), ApiError> {
    Query::documented(request, &[]).map(|_| ())
}

fn decode(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

/// Reads the JSON body. A request without any gives an empty object where the body is optional.
pub(super) async fn body(request: &HttpRequest, payload: web::Payload, optional: bool) -> Result<Value, ApiError> {
    let declared = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = declared.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    match media_type.as_deref() {
        Some("application/json") => {}
        None | Some("") if optional => return Ok(Value::Object(Map::new())),
        None | Some("") => return Err(ApiError::input("media type not specified")),
        Some(_) => {
            return Err(ApiError::input(format!("unsupported media type {}", declared.unwrap_or_default())));
        }
    }
    if let Ok(Some(charset)) = request.encoding().map(|encoding| Some(encoding.name()))
        && !charset.starts_with("UTF-")
    {
        return Err(ApiError::input(format!("unsupported charset \"{charset}\"")));
    }
    let text = read(request, payload).await?;
    if text.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    json_syntax::parse(&text).map_err(ApiError::input)
}

async fn read(request: &HttpRequest, payload: web::Payload) -> Result<Vec<u8>, ApiError> {
    let mut stream = payload.into_inner();
    let mut text = Vec::new();
    let mut seen = 0usize;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| unreadable(&error))?;
        seen += chunk.len();
        if seen <= BODY_LIMIT {
            text.extend_from_slice(&chunk);
        } else {
            text = Vec::new();
            if seen > DRAIN_LIMIT {
                break;
            }
        }
    }
    if seen > BODY_LIMIT {
        return Err(too_large());
    }
    let coding = request.headers().get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    match coding.unwrap_or("identity").trim().to_ascii_lowercase().as_str() {
        "identity" | "" => Ok(text),
        "gzip" => unpack(move || read_up_to_limit(MultiGzDecoder::new(&text[..]))).await,
        "deflate" => unpack(move || read_up_to_limit(ZlibDecoder::new(&text[..]))).await,
        other => Err(ApiError::input(format!("unsupported content encoding \"{other}\""))),
    }
}
/// Unpacks a body away from the threads that serve requests. No more than the limit is unpacked, whatever it grows to.
async fn unpack(work: impl FnOnce() -> io::Result<Vec<u8>> + Send + 'static) -> Result<Vec<u8>, ApiError> {
    let unpacked = web::block(work).await.map_err(|error| ApiError::internal(&error))?;
    let text = unpacked.map_err(|error| ApiError::input(format!("the body can't be unpacked: {error}")))?;
    if text.len() > BODY_LIMIT { Err(too_large()) } else { Ok(text) }
}

fn read_up_to_limit(reader: impl io::Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    reader.take(BODY_LIMIT as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

fn too_large() -> ApiError {
    ApiError::input("request entity too large")
}

fn unreadable(error: &PayloadError) -> ApiError {
    if is_timeout(error) {
        return ApiError::with_status(
            "RequestTimeoutError",
            "the request's body did not arrive in time (backend.server.requestTimeout)",
            StatusCode::REQUEST_TIMEOUT,
        );
    }
    ApiError::input(format!("the body can't be read: {error}"))
}

/// A place in the body, for messages: `request/body/values`.
pub(super) struct Place(String);

impl Place {
    /// `request/body`.
    pub(super) fn body() -> Self {
        Self("request/body".into())
    }
    /// A member or item of this place.
    pub(super) fn at(&self, name: impl std::fmt::Display) -> Self {
        Self(format!("{}/{}", self.0, name.to_string().replace('~', "~0").replace('/', "~1")))
    }
    fn must_be(&self, what: &str) -> ApiError {
        ApiError::input(format!("{} must be {what}", self.0))
    }
    /// The value as an object with these members.
    pub(super) fn object(&self, value: Value, required: &[&str]) -> Result<Map<String, Value>, ApiError> {
        let Value::Object(members) = value else { return Err(self.must_be("object")) };
        match required.iter().find(|name| !members.contains_key(**name)) {
            Some(name) => Err(ApiError::input(format!("{} must have required property '{name}'", self.0))),
            None => Ok(members),
        }
    }
    /// The value as a string.
    pub(super) fn string(&self, value: Value) -> Result<String, ApiError> {
        match value {
            Value::String(text) => Ok(text),
            _ => Err(self.must_be("string")),
        }
    }
    /// The value as an array.
    pub(super) fn array(&self, value: Value) -> Result<Vec<Value>, ApiError> {
        match value {
            Value::Array(items) => Ok(items),
            _ => Err(self.must_be("array")),
        }
    }
    /// The value, if there is one, as an object whose members are strings.
    pub(super) fn strings(&self, value: Option<Value>) -> Result<Map<String, Value>, ApiError> {
        let Some(value) = value else { return Ok(Map::new()) };
        let members = self.object(value, &[])?;
        match members.iter().find(|(_, value)| !value.is_string()) {
            Some((name, _)) => Err(self.at(name).must_be("string")),
            None => Ok(members),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use actix_web::test::TestRequest;
    use serde_json::json;

    use super::*;

    fn message<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
        match result {
            Err(ApiError::Named { name, message, .. }) if name == "InputError" => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn queries_are_refused_as_recorded() {
        for (query, expected) in [
            ("foo=bar&limit=1", "Unknown query parameter 'foo'"),
            ("createdBy=", "Empty value found for query parameter 'createdBy'"),
            ("limit=-1", "request/query/limit must be >= 0"),
            ("limit=x", "request/query/limit must be integer"),
            ("limit=1.5", "request/query/limit must be integer"),
            ("limit=1&limit=2", "request/query/limit must be integer"),
        ] {
            let request = TestRequest::with_uri(&format!("/x?{query}")).to_http_request();
            let result = Query::documented(&request, &["createdBy", "status", "limit"])
                .and_then(|query| query.integer("limit", Some(0)));
            assert_eq!(message(result), expected, "{query}");
        }
    }

    #[test]
    fn parameters_repeat() {
        let request =
            TestRequest::with_uri("/x?status=open&status[]=failed&status[1]=a%2Cb+c&limit=1e2").to_http_request();
        let query = Query::documented(&request, &["status", "limit"]).unwrap();
        assert_eq!(query.all("status"), ["open", "failed", "a,b c"]);
        assert_eq!(query.integer("limit", Some(0)).unwrap(), Some(100));
    }

    #[test]
    fn bodies_are_refused_as_recorded() {
        let body = Place::body();
        assert_eq!(message(body.object(json!([]), &[])), "request/body must be object");
        assert_eq!(
            message(body.object(json!({"values": {}}), &["templateRef", "values"])),
            "request/body must have required property 'templateRef'"
        );
        assert_eq!(message(body.at("templateRef").string(json!(5))), "request/body/templateRef must be string");
        assert_eq!(message(body.at("secrets").strings(Some(json!({"a": 1})))), "request/body/secrets/a must be string");
        assert_eq!(
            message(body.at("secrets").strings(Some(json!({"a/b": 1})))),
            "request/body/secrets/a~1b must be string"
        );
    }
}
