//! `backend.auth` and `discovery.endpoints`.

use std::collections::BTreeSet;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use camino::Utf8PathBuf;
use serde_json::Value;
use understudy_sdk::Secret;
use url::Url;
use zeroize::Zeroizing;

use super::{ConfigError, LoadOptions, reader::Reader};
use crate::{
    discovery::{Endpoint, check_target},
    model::{AccessRestrictions, PermissionAttributes, RestrictionsByPlugin},
};

/// `backend.auth`
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// Who may ask.
    pub policy: AuthPolicy,
    /// `externalAccess` and, behind it, the older `keys`.
    pub external: Vec<ExternalAccess>,
    /// `pluginKeyStore`
    pub key_store: KeyStoreConfig,
}

/// Whether requests need credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthPolicy {
    /// They do: an auth backend is known, or `backend.auth` grants access to somebody.
    Required,
    /// `dangerouslyDisableDefaultAuthPolicy`: nobody needs any.
    Disabled,
    /// Nothing is configured that anybody could show credentials of: nobody needs any, and only this machine can ask.
    Standalone,
}

/// An item of `externalAccess`.
#[derive(Debug, Clone)]
pub struct ExternalAccess {
    /// How tokens are recognised.
    pub kind: ExternalKind,
    /// `accessRestrictions`; `None`: none.
    pub restrictions: Option<RestrictionsByPlugin>,
}

/// How tokens of external access are recognised.
#[derive(Clone)]
pub enum ExternalKind {
    /// By being equal.
    Static {
        /// The token.
        token: Secret,
        /// The principal's subject.
        subject: String,
    },
    /// By a signature (HS256) with a shared secret.
    Legacy {
        /// The secret, decoded.
        secret: Zeroizing<Vec<u8>>,
        /// The principal's subject.
        subject: String,
    },
    /// By a signature with one of the keys at a URL.
    Jwks {
        /// Where the keys are.
        url: Url,
        /// Accepted issuers; empty: any.
        issuers: Vec<String>,
        /// Accepted algorithms; empty: any.
        algorithms: Vec<String>,
        /// Accepted audiences; empty: any.
        audiences: Vec<String>,
        /// Stands before the token's subject.
        subject_prefix: Option<String>,
    },
}

impl std::fmt::Debug for ExternalKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Static { subject, .. } => write!(f, "Static({subject})"),
            Self::Legacy { subject, .. } => write!(f, "Legacy({subject})"),
            Self::Jwks { url, .. } => write!(f, "Jwks({url})"),
        }
    }
}

/// `backend.auth.pluginKeyStore`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyStoreConfig {
    /// Keys are made here; their public halves are in the database.
    Database,
    /// Keys from files, the first for signing.
    Static(Vec<StaticKey>),
}

/// A key from files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticKey {
    /// `keyId`
    pub id: String,
    /// PEM, SubjectPublicKeyInfo.
    pub public_file: Utf8PathBuf,
    /// PEM, PKCS#8.
    pub private_file: Option<Utf8PathBuf>,
}

/// Reads `backend.auth`. `auth_is_elsewhere`: an auth backend is known.
pub(super) fn read(
    auth: &Reader<'_>,
    auth_is_elsewhere: bool,
    options: &LoadOptions,
    warnings: &mut Vec<String>,
) -> Result<AuthConfig, ConfigError> {
    let disabled = auth.at("dangerouslyDisableDefaultAuthPolicy")?.boolean()?;
    let mut external = Vec::new();
    for entry in auth.at("externalAccess")?.items()? {
        let options = entry.at("options")?;
        let kind = entry.at("type")?;
        let kind = match kind.string()? {
            Some("static") => static_token(&options)?,
            Some("legacy") => legacy(&options, None)?,
            Some("jwks") => jwks(&options)?,
            Some(_) => return Err(kind.wrong("no type of external access, 'static', 'legacy' and 'jwks' are")),
            None => return Err(kind.expected("'static', 'legacy' or 'jwks'")),
        };
        external.push(ExternalAccess { kind, restrictions: restrictions(&entry)? });
    }
    let keys = auth.at("keys")?.items()?;
    if !keys.is_empty() {
        warnings
            .push("backend.auth.keys is an older form: use backend.auth.externalAccess with the type legacy".into());
    }
    for entry in keys {
        let kind = legacy(&entry, Some("external:backstage-plugin"))?;
        external.push(ExternalAccess { kind, restrictions: restrictions(&entry)? });
    }
    let policy = match disabled {
        Some(true) => AuthPolicy::Disabled,
        Some(false) => AuthPolicy::Required,
        None if auth_is_elsewhere || !external.is_empty() => AuthPolicy::Required,
        None => AuthPolicy::Standalone,
    };
    Ok(AuthConfig { policy, external, key_store: key_store(&auth.at("pluginKeyStore")?, options)? })
}

fn required<'a>(place: &Reader<'a>) -> Result<&'a str, ConfigError> {
    place.string()?.ok_or_else(|| place.expected("a text"))
}

/// A text without white space.
fn word<'a>(place: &Reader<'a>) -> Result<&'a str, ConfigError> {
    let text = required(place)?;
    if text.contains(char::is_whitespace) {
        return Err(place.wrong("must be without white space"));
    }
    Ok(text)
}

fn static_token(options: &Reader<'_>) -> Result<ExternalKind, ConfigError> {
    const MIN_LENGTH: usize = 8;
    let place = options.at("token")?;
    let token = word(&place)?;
    if token.encode_utf16().count() < MIN_LENGTH {
        return Err(place.wrong(&format!("a token has at least {MIN_LENGTH} characters")));
    }
    Ok(ExternalKind::Static { token: Secret::new(token), subject: word(&options.at("subject")?)?.to_string() })
}

fn legacy(options: &Reader<'_>, subject: Option<&str>) -> Result<ExternalKind, ConfigError> {
    let place = options.at("secret")?;
    let secret = decode(word(&place)?).ok_or_else(|| place.wrong("no base64 text"))?;
    if secret.is_empty() {
        return Err(place.wrong("holds no bytes, so anybody could sign with it"));
    }
    let subject = match subject {
        Some(subject) => subject.to_string(),
        None => word(&options.at("subject")?)?.to_string(),
    };
    Ok(ExternalKind::Legacy { secret, subject })
}

/// Both alphabets, with padding or without, as Node reads base64.
fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let standard = Zeroizing::new(text.replace('-', "+").replace('_', "/"));
    ENGINE.decode(standard.as_bytes()).ok().map(Zeroizing::new)
}

fn jwks(options: &Reader<'_>) -> Result<ExternalKind, ConfigError> {
    let place = options.at("url")?;
    let url = match Url::parse(word(&place)?) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url,
        _ => return Err(place.wrong("no http or https URL")),
    };
    Ok(ExternalKind::Jwks {
        url,
        issuers: words(&options.at("issuer")?)?,
        algorithms: words(&options.at("algorithm")?)?,
        audiences: words(&options.at("audience")?)?,
        subject_prefix: options.at("subjectPrefix")?.string()?.map(String::from),
    })
}

/// Texts separated by spaces or commas, or a list of such; each once.
fn words(place: &Reader<'_>) -> Result<Vec<String>, ConfigError> {
    let texts: Vec<&str> = match place.value() {
        Some(Value::Array(_)) => place.items()?.iter().map(required).collect::<Result<_, _>>()?,
        _ => place.string()?.into_iter().collect(),
    };
    let words = texts.iter().flat_map(|text| text.split([' ', ','])).filter(|word| !word.is_empty());
    let mut seen = BTreeSet::new();
    Ok(words.filter(|word| seen.insert(*word)).map(String::from).collect())
}

fn restrictions(entry: &Reader<'_>) -> Result<Option<RestrictionsByPlugin>, ConfigError> {
    let mut by_plugin = RestrictionsByPlugin::new();
    for place in entry.at("accessRestrictions")?.items()? {
        known_members(&place, &["plugin", "permission", "permissionAttribute"])?;
        let attributes = place.at("permissionAttribute")?;
        known_members(&attributes, &["action"])?;
        let action = attributes.at("action")?;
        let actions = words(&action)?;
        if let Some(wrong) =
            actions.iter().find(|name| !["create", "read", "update", "delete"].contains(&name.as_str()))
        {
            return Err(
                action.wrong(&format!("no action is called '{wrong}': create, read, update and delete are known"))
            );
        }
        let plugin = place.at("plugin")?;
        let restrictions = AccessRestrictions {
            permission_names: words(&place.at("permission")?)?,
            permission_attributes: PermissionAttributes { action: actions },
        };
        if by_plugin.insert(required(&plugin)?.to_string(), restrictions).is_some() {
            return Err(plugin.wrong("has restrictions in this list already"));
        }
    }
    Ok((!by_plugin.is_empty()).then_some(by_plugin))
}

/// A misspelt restriction would grant too much.
fn known_members(place: &Reader<'_>, known: &[&str]) -> Result<(), ConfigError> {
    match place.members()?.into_iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((_, member)) => Err(member.wrong(&format!("not known here; {} may stand here", known.join(", ")))),
        None => Ok(()),
    }
}

fn key_store(place: &Reader<'_>, options: &LoadOptions) -> Result<KeyStoreConfig, ConfigError> {
    let kind = place.at("type")?;
    match kind.string()? {
        None | Some("database") => return Ok(KeyStoreConfig::Database),
        Some("static") => {}
        Some(_) => return Err(kind.wrong("no type of key store, 'database' and 'static' are")),
    }
    let list = place.at("static.keys")?;
    let mut keys = Vec::new();
    for key in list.items()? {
        let algorithm = key.at("algorithm")?;
        if !matches!(algorithm.string()?, None | Some("ES256")) {
            return Err(algorithm.wrong("only ES256 is supported, which is what Backstage uses unless told otherwise"));
        }
        let file = |name: &str| -> Result<Option<Utf8PathBuf>, ConfigError> {
            Ok(key.at(name)?.string()?.map(|path| options.root.join(path)))
        };
        let public = key.at("publicKeyFile")?;
        keys.push(StaticKey {
            id: required(&key.at("keyId")?)?.to_string(),
            public_file: file("publicKeyFile")?.ok_or_else(|| public.expected("a path"))?,
            private_file: file("privateKeyFile")?,
        });
    }
    match keys.first() {
        None => Err(list.wrong("the type static needs at least one key")),
        Some(first) if first.private_file.is_none() => {
            Err(list.wrong("the first key signs, so it needs a privateKeyFile"))
        }
        Some(_) => Ok(KeyStoreConfig::Static(keys)),
    }
}

/// Reads `discovery.endpoints`.
pub(super) fn endpoints(root: &Reader<'_>) -> Result<Vec<Endpoint>, ConfigError> {
    let mut endpoints = Vec::new();
    for entry in root.at("discovery.endpoints")?.items()? {
        let target = entry.at("target")?;
        let (internal, external) = match target.value() {
            Some(Value::Object(_)) => (url(&target.at("internal")?)?, url(&target.at("external")?)?),
            _ => (url(&target)?, url(&target)?),
        };
        if internal.is_none() && external.is_none() {
            return Err(target.expected("a URL, or an object with internal and external"));
        }
        let plugins = entry.at("plugins")?;
        let plugins = plugins.items()?.iter().map(|id| required(id).map(String::from)).collect::<Result<_, _>>()?;
        endpoints.push(Endpoint { internal, external, plugins });
    }
    Ok(endpoints)
}

fn url(place: &Reader<'_>) -> Result<Option<String>, ConfigError> {
    let Some(text) = place.string()? else { return Ok(None) };
    check_target(text).map_err(|error| place.wrong(&error.to_string()))?;
    Ok(Some(text.to_string()))
}
