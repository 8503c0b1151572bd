//! Cross-origin requests, as npm `cors` answers them for `@backstage/backend-defaults` 0.18.0.

use actix_web::http::StatusCode;
use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::config::CorsConfig;

/// Methods allowed where the configuration names none.
const DEFAULT_METHODS: &str = "GET,HEAD,PUT,PATCH,POST,DELETE";

/// The rules of `backend.cors`.
#[derive(Debug, Clone)]
pub(super) struct Cors {
    /// Absent: every origin may, as one that is not named.
    origins: Option<GlobSet>,
    methods: String,
    config: CorsConfig,
}

impl Cors {
    /// Compiles the origins' patterns. They are minimatch's as Backstage uses them: case does not matter, and `**` means
    /// no more than `*`, any text without a slash.
    pub(super) fn new(config: &CorsConfig) -> Result<Self, globset::Error> {
        let compile = |patterns: &Vec<String>| {
            let mut origins = GlobSetBuilder::new();
            for pattern in patterns {
                let mut pattern = pattern.clone();
                while pattern.contains("**") {
                    pattern = pattern.replace("**", "*");
                }
                origins.add(GlobBuilder::new(&pattern).literal_separator(true).case_insensitive(true).build()?);
            }
            origins.build()
        };
        let methods = config.methods.as_ref().map_or(DEFAULT_METHODS.into(), |methods| methods.join(","));
        Ok(Self { origins: config.origin.as_ref().map(compile).transpose()?, methods, config: config.clone() })
    }

    /// What is said of the origins that may read an answer; nothing where this one may not.
    fn allowed(&self, request: &HttpRequest) -> Option<HeaderValue> {
        let Some(origins) = &self.origins else { return Some(HeaderValue::from_static("*")) };
        let origin = request.headers().get(header::ORIGIN)?;
        origins.is_match(origin.to_str().ok()?).then(|| origin.clone())
    }

    /// The answer to a preflight from an allowed origin.
    pub(super) fn preflight(&self, request: &HttpRequest) -> Option<HttpResponse> {
        if request.method() != Method::OPTIONS || self.config.preflight_continue {
            return None;
        }
        self.allowed(request)?;
        let status = self.config.options_success_status.and_then(|status| StatusCode::from_u16(status).ok());
        let mut response = HttpResponse::new(status.unwrap_or(StatusCode::NO_CONTENT));
        let headers = response.headers_mut();
        self.mark(request, headers);
        set(headers, header::ACCESS_CONTROL_ALLOW_METHODS, &self.methods);
        match &self.config.allowed_headers {
            Some(allowed) => set(headers, header::ACCESS_CONTROL_ALLOW_HEADERS, &allowed.join(",")),
            None => {
                add_vary(headers, "Access-Control-Request-Headers");
                if let Some(asked) = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
                }
            }
        }
        if let Some(seconds) = self.config.max_age {
            set(headers, header::ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
        }
        Some(response)
    }

    /// Marks an answer as readable for an allowed origin.
    pub(super) fn mark(&self, request: &HttpRequest, headers: &mut HeaderMap) {
        let Some(origin) = self.allowed(request) else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.origins.is_some() {
            add_vary(headers, "Origin");
        }
        if self.config.credentials {
            set(headers, header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        if let Some(exposed) = self.config.exposed_headers.as_ref().filter(|exposed| !exposed.is_empty()) {
            set(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, &exposed.join(","));
        }
    }
}

/// Adds a field name to `Vary`.
pub(super) fn add_vary(headers: &mut HeaderMap, field: &str) {
    let vary = match headers.get(header::VARY).and_then(|vary| vary.to_str().ok()) {
        Some(vary) if vary.split(',').any(|known| known.trim().eq_ignore_ascii_case(field)) => return,
        Some(vary) => format!("{vary}, {field}"),
        None => field.to_string(),
    };
    set(headers, header::VARY, &vary);
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => {
            headers.insert(name, value);
        }
        Err(_) => tracing::warn!(header = %name, "backend.cors holds a value that can't be sent in a header"),
    }
}
