//! How the HTTP server treats its clients: the keys of `@backstage/backend-defaults` 0.18.0 for the root HTTP router.

use std::{net::SocketAddr, time::Duration};

use actix_web::http::header::{HeaderName, HeaderValue};
use ipnet::IpNet;
use serde_json::Value;

use super::{ConfigError, reader::Reader};

/// What is allowed to be loaded by pages that come from here, before `backend.csp`: npm `helmet` 6 without
/// `form-action`, and with the `script-src` of Backstage.
const CONTENT_SECURITY_POLICY: [(&str, &str); 10] = [
    ("default-src", "'self'"),
    ("base-uri", "'self'"),
    ("font-src", "'self' https: data:"),
    ("frame-ancestors", "'self'"),
    ("img-src", "'self' data:"),
    ("object-src", "'none'"),
    ("script-src", "'self' 'unsafe-eval'"),
    ("script-src-attr", "'none'"),
    ("style-src", "'self' https: 'unsafe-inline'"),
    ("upgrade-insecure-requests", ""),
];

/// The policies that `Referrer-Policy` knows.
const REFERRER_POLICIES: [&str; 8] = [
    "no-referrer",
    "no-referrer-when-downgrade",
    "same-origin",
    "origin",
    "strict-origin",
    "origin-when-cross-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
];

/// Networks with a name in `backend.trustProxy`.
const NAMED_NETWORKS: [(&str, &[&str]); 3] = [
    ("loopback", &["127.0.0.0/8", "::1/128"]),
    ("linklocal", &["169.254.0.0/16", "fe80::/10"]),
    ("uniquelocal", &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]),
];

/// How the HTTP server treats its clients.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// `backend.csp`, as the value of `Content-Security-Policy`; `None` when every directive is taken out.
    pub content_security_policy: Option<HeaderValue>,
    /// `backend.referrer.policy`, as the value of `Referrer-Policy`.
    pub referrer_policy: HeaderValue,
    /// `backend.cors`
    pub cors: Option<CorsConfig>,
    /// `backend.rateLimit`, for all requests of a client together.
    pub rate_limit: Option<RateLimitConfig>,
    /// `backend.rateLimit.plugin.scaffolder`, for those to the scaffolder.
    pub plugin_rate_limit: Option<RateLimitConfig>,
    /// `backend.trustProxy`
    pub trust_proxy: TrustProxy,
    /// `backend.lifecycle.startupRequestPauseTimeout`: how long requests wait for the end of the start.
    pub startup_pause: Duration,
    /// `backend.lifecycle.serverShutdownDelay`: how long requests are still served after the request to end.
    pub shutdown_delay: Duration,
    /// `backend.health.headers`, sent with the answers of the health routes.
    pub health_headers: Vec<(HeaderName, HeaderValue)>,
    /// `backend.server.*`
    pub timeouts: Timeouts,
    /// `backend.metrics.prometheus.listen`: where Prometheus finds the metrics; `None`: nowhere.
    pub metrics_listen: Option<SocketAddr>,
}

/// `backend.cors`
#[derive(Debug, Clone, Default)]
pub struct CorsConfig {
    /// Allowed origins (patterns); absent: all.
    pub origin: Option<Vec<String>>,
    /// Allowed methods.
    pub methods: Option<Vec<String>>,
    /// `Access-Control-Allow-Credentials`.
    pub credentials: bool,
    /// Allowed request headers; absent: those asked for.
    pub allowed_headers: Option<Vec<String>>,
    /// Exposed response headers.
    pub exposed_headers: Option<Vec<String>>,
    /// Seconds a preflight may be cached.
    pub max_age: Option<u64>,
    /// Whether preflights go on to the route instead of being answered.
    pub preflight_continue: bool,
    /// The status of a preflight's answer, 204 when absent.
    pub options_success_status: Option<u16>,
}

/// How many requests a client may send. Counted per address (IPv6: per /56) in windows that start with the first request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimitConfig {
    /// Length of the window.
    pub window: Duration,
    /// Requests in it.
    pub limit: u64,
    /// Addresses that are not counted; both the address of the connection and the client's are looked up.
    pub allow: Vec<String>,
    /// Leaves requests out that were answered with a status below 400.
    pub skip_successful: bool,
    /// Leaves requests out that were answered with 400 and above.
    pub skip_failed: bool,
}

/// Whose `X-Forwarded-*` headers are believed (Express 4, `trust proxy`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TrustProxy {
    /// Nobody's: the client is who connects.
    #[default]
    Nobody,
    /// Everybody's: the client is the first address of `X-Forwarded-For`.
    Everybody,
    /// That many proxies in a row, counted from here.
    Hops(usize),
    /// Those with an address in these networks.
    Networks(Vec<IpNet>),
}

/// `backend.server.*`: how long clients may take. The defaults are those of Node's server unless said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// `headersTimeout`: for a request's head, 60 seconds. Zero: for ever.
    pub head: Duration,
    /// `requestTimeout`: for a request's body, 5 minutes. Zero: for ever.
    pub body: Duration,
    /// `keepAliveTimeout`: without a request on an open connection, 5 seconds. Zero: connections are not kept open.
    pub keep_alive: Duration,
    /// `timeout`: without taking anything of what is sent to it; 2 minutes (Node: for ever). Zero: for ever.
    pub stalled: Duration,
}

/// Reads it from `backend`.
///
/// # Errors
/// A value is wrong.
pub(super) fn read(backend: &Reader<'_>, warnings: &mut Vec<String>) -> Result<ServerConfig, ConfigError> {
    let (rate_limit, plugin_rate_limit) = rate_limits(&backend.at("rateLimit")?, warnings)?;
    let duration = |key: &str, default: u64| -> Result<Duration, ConfigError> {
        Ok(milliseconds(&backend.at(key)?)?.unwrap_or(Duration::from_secs(default)))
    };
    for key in ["server.maxHeadersCount", "server.maxRequestsPerSocket"] {
        if backend.at(key)?.value().is_some() {
            warnings.push(format!(
                "backend.{key} has no effect: a request may have 96 headers, a connection any number of requests"
            ));
        }
    }
    Ok(ServerConfig {
        content_security_policy: content_security_policy(&backend.at("csp")?)?,
        referrer_policy: referrer_policy(&backend.at("referrer.policy")?)?,
        cors: cors(&backend.at("cors")?)?,
        rate_limit,
        plugin_rate_limit,
        trust_proxy: trust_proxy(&backend.at("trustProxy")?)?,
        startup_pause: duration("lifecycle.startupRequestPauseTimeout", 5)?,
        shutdown_delay: duration("lifecycle.serverShutdownDelay", 0)?,
        health_headers: health_headers(&backend.at("health.headers")?)?,
        timeouts: Timeouts {
            head: duration("server.headersTimeout", 60)?,
            body: duration("server.requestTimeout", 300)?,
            keep_alive: duration("server.keepAliveTimeout", 5)?,
            stalled: duration("server.timeout", 120)?,
        },
        metrics_listen: metrics_listen(&backend.at("metrics.prometheus.listen")?)?,
    })
}

/// A duration; a number alone is milliseconds.
fn milliseconds(place: &Reader<'_>) -> Result<Option<Duration>, ConfigError> {
    match place.value() {
        Some(Value::Number(_)) => Ok(place.whole()?.map(Duration::from_millis)),
        _ => place.duration(),
    }
}

/// A text as it stands, or a list of texts.
fn texts(place: &Reader<'_>) -> Result<Option<Vec<String>>, ConfigError> {
    match place.value() {
        Some(Value::String(_)) => Ok(place.string()?.map(|text| vec![text.to_string()])),
        _ => place.strings(),
    }
}

fn content_security_policy(csp: &Reader<'_>) -> Result<Option<HeaderValue>, ConfigError> {
    let mut directives: Vec<(String, String)> =
        CONTENT_SECURITY_POLICY.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    for (key, place) in csp.members()? {
        let name = dashed(&key);
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(place.wrong("no name of a directive of Content-Security-Policy, as in connect-src"));
        }
        if matches!(place.value(), Some(Value::Bool(false))) {
            directives.retain(|(known, _)| *known != name);
            continue;
        }
        let Some(Value::Array(_)) = place.value() else { return Err(place.expected("a list of texts, or false")) };
        let sources = place.strings()?.unwrap_or_default();
        if sources.iter().any(|source| source.contains([';', ',']) || HeaderValue::from_str(source).is_err()) {
            return Err(
                place.wrong("a source must not hold semicolons, commas, line breaks or other control characters")
            );
        }
        match directives.iter_mut().find(|(known, _)| *known == name) {
            Some((_, value)) => *value = sources.join(" "),
            None => directives.push((name, sources.join(" "))),
        }
    }
    if !directives.is_empty() && !directives.iter().any(|(name, _)| name == "default-src") {
        return Err(csp.wrong("default-src can't be taken out alone, since all other directives start from it"));
    }
    let texts: Vec<String> = directives
        .into_iter()
        .map(|(name, value)| if value.is_empty() { name } else { format!("{name} {value}") })
        .collect();
    if texts.is_empty() {
        return Ok(None);
    }
    HeaderValue::from_str(&texts.join(";")).map(Some).map_err(|_| csp.wrong("can't be sent in a header"))
}

/// `connectSrc` and `connect-src` are the same.
fn dashed(key: &str) -> String {
    let mut out = String::new();
    for c in key.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn referrer_policy(policy: &Reader<'_>) -> Result<HeaderValue, ConfigError> {
    let tokens = texts(policy)?.unwrap_or_else(|| vec!["no-referrer".to_string()]);
    if tokens.is_empty() || tokens.iter().any(|token| !REFERRER_POLICIES.contains(&token.as_str())) {
        return Err(policy.wrong(&format!("expected one or several of {}", REFERRER_POLICIES.join(", "))));
    }
    HeaderValue::from_str(&tokens.join(",")).map_err(|_| policy.wrong("can't be sent in a header"))
}

fn cors(cors: &Reader<'_>) -> Result<Option<CorsConfig>, ConfigError> {
    if matches!(cors.value(), None | Some(Value::Bool(false))) {
        return Ok(None);
    }
    let status = cors.at("optionsSuccessStatus")?;
    let options_success_status = status.whole()?.map(|number| match u16::try_from(number) {
        Ok(number @ 200..=299) => Ok(number),
        _ => Err(status.wrong("no status of success, 200 to 299 are")),
    });
    Ok(Some(CorsConfig {
        origin: texts(&cors.at("origin")?)?,
        methods: texts(&cors.at("methods")?)?,
        credentials: cors.at("credentials")?.boolean()?.unwrap_or(false),
        allowed_headers: texts(&cors.at("allowedHeaders")?)?,
        exposed_headers: texts(&cors.at("exposedHeaders")?)?,
        max_age: cors.at("maxAge")?.whole()?,
        preflight_continue: cors.at("preflightContinue")?.boolean()?.unwrap_or(false),
        options_success_status: options_success_status.transpose()?,
    }))
}

/// The limit for all requests, and the one for those to the scaffolder.
fn rate_limits(
    place: &Reader<'_>,
    warnings: &mut Vec<String>,
) -> Result<(Option<RateLimitConfig>, Option<RateLimitConfig>), ConfigError> {
    match place.value() {
        None | Some(Value::Bool(false)) => return Ok((None, None)),
        // With `true` upstream takes its defaults.
        Some(Value::Bool(true)) => {
            return Ok((Some(RateLimitConfig::default()), None));
        }
        Some(_) => {}
    }
    if place.at("store.type")?.string()? == Some("redis") {
        warnings.push(
            "backend.rateLimit.store is not used: requests are counted by each process for itself, in its memory"
                .to_string(),
        );
    }
    let global = (place.at("global")?.boolean()? != Some(false)).then(|| rate_limit(place)).transpose()?;
    let plugin = place.at("plugin.scaffolder")?;
    let plugin = plugin.value().map(|_| rate_limit(&plugin)).transpose()?;
    Ok((global, plugin))
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(60),
            limit: 5,
            allow: ["127.0.0.1", "0:0:0:0:0:0:0:1", "::1"].map(String::from).to_vec(),
            skip_successful: false,
            skip_failed: false,
        }
    }
}

fn rate_limit(place: &Reader<'_>) -> Result<RateLimitConfig, ConfigError> {
    let defaults = RateLimitConfig::default();
    let window_place = place.at("window")?;
    let window = milliseconds(&window_place)?.unwrap_or(defaults.window);
    if window.is_zero() {
        return Err(window_place.wrong("must be longer than nothing"));
    }
    Ok(RateLimitConfig {
        window,
        limit: place.at("incomingRequestLimit")?.whole()?.unwrap_or(defaults.limit),
        allow: texts(&place.at("ipAllowList")?)?.unwrap_or(defaults.allow),
        skip_successful: place.at("skipSuccessfulRequests")?.boolean()?.unwrap_or(false),
        skip_failed: place.at("skipFailedRequests")?.boolean()?.unwrap_or(false),
    })
}

fn trust_proxy(place: &Reader<'_>) -> Result<TrustProxy, ConfigError> {
    let expected = || {
        place.wrong(
            "expected true, false, the number of proxies, or addresses and networks of proxies, as in 10.0.0.0/8 or loopback",
        )
    };
    let names = match place.value() {
        None | Some(Value::Bool(false)) => return Ok(TrustProxy::Nobody),
        Some(Value::Bool(true)) => return Ok(TrustProxy::Everybody),
        Some(Value::Number(number)) => {
            let hops = number.as_u64().and_then(|hops| usize::try_from(hops).ok()).ok_or_else(expected)?;
            return Ok(if hops == 0 { TrustProxy::Nobody } else { TrustProxy::Hops(hops) });
        }
        Some(_) => place.strings()?.unwrap_or_default(),
    };
    let mut networks = Vec::new();
    for name in names {
        if let Some((_, named)) = NAMED_NETWORKS.iter().find(|(known, _)| *known == name) {
            networks.extend(named.iter().filter_map(|network| network.parse::<IpNet>().ok()));
            continue;
        }
        let network = name.parse::<IpNet>().or_else(|_| name.parse::<std::net::IpAddr>().map(IpNet::from));
        networks.push(network.map_err(|_| expected())?);
    }
    Ok(TrustProxy::Networks(networks))
}

fn health_headers(headers: &Reader<'_>) -> Result<Vec<(HeaderName, HeaderValue)>, ConfigError> {
    headers
        .members()?
        .into_iter()
        .map(|(name, place)| {
            let wrong = || place.wrong("a header needs a name and a text that can be sent");
            let value = place.string()?.ok_or_else(wrong)?;
            let name = HeaderName::try_from(name.as_str()).map_err(|_| wrong())?;
            Ok((name, HeaderValue::from_str(value).map_err(|_| wrong())?))
        })
        .collect()
}

fn metrics_listen(place: &Reader<'_>) -> Result<Option<SocketAddr>, ConfigError> {
    let Some(text) = place.string()? else { return Ok(None) };
    text.parse()
        .map(Some)
        .map_err(|_| place.wrong("expected an address and a port, as in 127.0.0.1:9464 or 0.0.0.0:9464"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{Config, LoadOptions};

    fn load(backend: &str) -> Result<(ServerConfig, Vec<String>), String> {
        let dir = tempfile::tempdir().unwrap();
        let root: camino::Utf8PathBuf = dir.path().to_owned().try_into().unwrap();
        std::fs::write(root.join("app-config.yaml"), format!("backend: {backend}\n")).unwrap();
        match Config::load(&LoadOptions { root, ..LoadOptions::default() }) {
            Ok(config) => Ok((config.server, config.warnings)),
            Err(error) => {
                Err(error.to_string().split_once("app-config.yaml: ").map(|(_, text)| text.to_string()).unwrap())
            }
        }
    }
    fn read(backend: &str) -> ServerConfig {
        load(backend).unwrap().0
    }

    #[test]
    fn defaults() {
        let config = read("{}");
        assert_eq!(
            config.content_security_policy.unwrap(),
            "default-src 'self';base-uri 'self';font-src 'self' https: data:;frame-ancestors 'self';img-src 'self' \
             data:;object-src 'none';script-src 'self' 'unsafe-eval';script-src-attr 'none';style-src 'self' https: \
             'unsafe-inline';upgrade-insecure-requests"
        );
        assert_eq!(config.referrer_policy, "no-referrer");
        assert!(config.cors.is_none() && config.rate_limit.is_none() && config.plugin_rate_limit.is_none());
        assert_eq!(config.trust_proxy, TrustProxy::Nobody);
        assert_eq!((config.startup_pause, config.shutdown_delay), (Duration::from_secs(5), Duration::ZERO));
        assert!(config.health_headers.is_empty() && config.metrics_listen.is_none());
        let Timeouts { head, body, keep_alive, stalled } = config.timeouts;
        assert_eq!([head, body, keep_alive, stalled].map(|time| time.as_secs()), [60, 300, 5, 120]);
    }

    #[test]
    fn directives_are_replaced_added_and_taken_out() {
        let config = read(
            "{csp: {connectSrc: [\"'self'\", 'https:'], upgrade-insecure-requests: false, img-src: ['*'], block-all: []}, \
             referrer: {policy: [no-referrer, same-origin]}}",
        );
        let policy = config.content_security_policy.unwrap();
        assert_eq!(
            policy,
            "default-src 'self';base-uri 'self';font-src 'self' https: data:;frame-ancestors 'self';img-src *;object-src \
             'none';script-src 'self' 'unsafe-eval';script-src-attr 'none';style-src 'self' https: \
             'unsafe-inline';connect-src 'self' https:;block-all"
        );
        assert_eq!(config.referrer_policy, "no-referrer,same-origin");
    }

    #[test]
    fn cross_origin_rules() {
        let cors = read(
            "{cors: {origin: 'http://{a,b}.example', methods: [GET, POST], credentials: 'true', maxAge: 60, \
             optionsSuccessStatus: 200}}",
        )
        .cors
        .unwrap();
        assert_eq!(cors.origin, Some(vec!["http://{a,b}.example".to_string()]));
        assert_eq!(cors.methods, Some(vec!["GET".to_string(), "POST".to_string()]));
        assert!(cors.credentials && cors.max_age == Some(60) && cors.allowed_headers.is_none());
        assert_eq!(cors.options_success_status, Some(200));
        let cors = read("{cors: {credentials: false}}").cors.unwrap();
        assert!(cors.origin.is_none() && cors.methods.is_none() && !cors.preflight_continue);
        assert!(read("{cors: false}").cors.is_none());
    }

    #[test]
    fn rate_limits() {
        assert_eq!(read("{rateLimit: true}").rate_limit, Some(RateLimitConfig::default()));
        assert_eq!(read("{rateLimit: false}").rate_limit, None);
        let (config, warnings) = load(
            "{rateLimit: {global: false, window: 6s, store: {type: redis, connection: x}, \
             plugin: {scaffolder: {window: {minutes: 2}, incomingRequestLimit: '10', ipAllowList: [10.0.0.1]}}}}",
        )
        .unwrap();
        assert_eq!(config.rate_limit, None);
        assert_eq!(
            config.plugin_rate_limit,
            Some(RateLimitConfig {
                window: Duration::from_secs(120),
                limit: 10,
                allow: vec!["10.0.0.1".to_string()],
                skip_successful: false,
                skip_failed: false,
            })
        );
        assert!(warnings.iter().any(|text| text.starts_with("backend.rateLimit.store is not used")), "{warnings:?}");
    }

    #[test]
    fn proxies_and_times() {
        for (value, expected) in [
            ("true", TrustProxy::Everybody),
            ("false", TrustProxy::Nobody),
            ("2", TrustProxy::Hops(2)),
            (
                "'loopback, 192.0.2.7'",
                TrustProxy::Networks(vec![
                    "127.0.0.0/8".parse().unwrap(),
                    "::1/128".parse().unwrap(),
                    "192.0.2.7/32".parse().unwrap(),
                ]),
            ),
            ("[10.0.0.0/8]", TrustProxy::Networks(vec!["10.0.0.0/8".parse().unwrap()])),
        ] {
            assert_eq!(read(&format!("{{trustProxy: {value}}}")).trust_proxy, expected, "{value}");
        }
        let config = read(
            "{lifecycle: {startupRequestPauseTimeout: {seconds: 1}, serverShutdownDelay: PT2S}, \
             server: {headersTimeout: 1500, requestTimeout: 3s, keepAliveTimeout: {seconds: 65}, timeout: 0}, \
             health: {headers: {x-served-by: us}}, metrics: {prometheus: {listen: '127.0.0.1:9464'}}}",
        );
        assert_eq!((config.startup_pause.as_secs(), config.shutdown_delay.as_secs()), (1, 2));
        let Timeouts { head, body, keep_alive, stalled } = config.timeouts;
        assert_eq!([head, body, keep_alive, stalled].map(|time| time.as_millis()), [1500, 3000, 65_000, 0]);
        assert_eq!(config.health_headers[0].0, "x-served-by");
        assert_eq!(config.metrics_listen, Some("127.0.0.1:9464".parse().unwrap()));
    }

    #[test]
    fn wrong_values_name_their_key() {
        for (backend, error) in [
            (
                "{csp: {'a b': []}}",
                "backend.csp.a b: no name of a directive of Content-Security-Policy, as in connect-src",
            ),
            ("{csp: {img-src: x}}", "backend.csp.img-src: expected a list of texts, or false; found a text"),
            (
                "{csp: {img-src: ['a; script-src *']}}",
                "backend.csp.img-src: a source must not hold semicolons, commas, line breaks or other control characters",
            ),
            (
                "{csp: {default-src: false}}",
                "backend.csp: default-src can't be taken out alone, since all other directives start from it",
            ),
            (
                "{trustProxy: nginx}",
                "backend.trustProxy: expected true, false, the number of proxies, or addresses and networks of proxies, as in 10.0.0.0/8 or loopback",
            ),
            ("{rateLimit: {window: 0}}", "backend.rateLimit.window: must be longer than nothing"),
            (
                "{cors: {optionsSuccessStatus: 404}}",
                "backend.cors.optionsSuccessStatus: no status of success, 200 to 299 are",
            ),
            (
                "{health: {headers: {'x y': z}}}",
                "backend.health.headers.x y: a header needs a name and a text that can be sent",
            ),
            (
                "{metrics: {prometheus: {listen: ':9464'}}}",
                "backend.metrics.prometheus.listen: expected an address and a port, as in 127.0.0.1:9464 or 0.0.0.0:9464",
            ),
        ] {
            assert_eq!(load(backend).unwrap_err(), error, "{backend}");
        }
    }
}
