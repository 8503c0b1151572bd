//! Where workspaces of running tasks are saved: `scaffolder.taskRecovery`.

use serde_json::Value;
use understudy_sdk::Secret;
use url::Url;

use super::{ConfigError, LoadOptions, reader::Reader};

/// The region of stores that know none.
const DEFAULT_REGION: &str = "us-east-1";

/// `scaffolder.taskRecovery.workspaceProvider`
#[derive(Debug, Clone, Default)]
pub enum WorkspaceProvider {
    /// On this machine's disk, below `backend.workingDirectory`, and nowhere else.
    #[default]
    Local,
    /// In the database.
    Database,
    /// In a bucket of an S3-compatible object store.
    S3(Box<S3Config>),
}

/// `scaffolder.taskRecovery.s3`; its members have the names of Backstage's `techdocs.publisher.awsS3`.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// `endpoint`; without it, Amazon's in this region.
    pub endpoint: Url,
    /// `bucketName`
    pub bucket: String,
    /// `bucketRootPath`: what keys begin with, without slashes around.
    pub root: String,
    /// `region`
    pub region: String,
    /// `s3ForcePathStyle`: the bucket is part of the path, not of the host's name. On where an `endpoint` is set, unless
    /// this says otherwise.
    pub path_style: bool,
    /// `credentials.accessKeyId`
    pub access_key_id: Secret,
    /// `credentials.secretAccessKey`
    pub secret_access_key: Secret,
    /// `credentials.sessionToken`
    pub session_token: Option<Secret>,
}

pub(super) fn read(scaffolder: &Reader<'_>, options: &LoadOptions) -> Result<WorkspaceProvider, ConfigError> {
    let recovery = scaffolder.at("taskRecovery")?;
    let mut place = recovery.at("workspaceProvider")?;
    let mut name = place.string()?;
    if name.is_none() && scaffolder.at("EXPERIMENTAL_workspaceSerialization")?.boolean()?.unwrap_or(false) {
        place = scaffolder.at("EXPERIMENTAL_workspaceSerializationProvider")?;
        name = Some(place.string()?.unwrap_or("database"));
    }
    match name {
        None | Some("local") => Ok(WorkspaceProvider::Local),
        Some("database") => Ok(WorkspaceProvider::Database),
        Some("s3") => s3(&recovery.at("s3")?, options).map(|config| WorkspaceProvider::S3(Box::new(config))),
        Some(other) => Err(place.wrong(&format!(
            "Workspace provider '{other}' is configured but not available: this service has local, database and s3"
        ))),
    }
}

fn s3(place: &Reader<'_>, options: &LoadOptions) -> Result<S3Config, ConfigError> {
    let env = |names: &[&str]| names.iter().find_map(|name| options.env.get(*name)).filter(|text| !text.is_empty());
    let required = |key: &str, names: &[&str]| -> Result<String, ConfigError> {
        let member = place.at(key)?;
        match member.string()? {
            Some(text) => Ok(text.to_string()),
            None => env(names).cloned().ok_or_else(|| match names.first() {
                Some(name) => member.wrong(&format!("not set, and {name} is not in the environment")),
                None => member.expected("a text"),
            }),
        }
    };
    let endpoint_place = place.at("endpoint")?;
    let own_endpoint = endpoint_place.string()?;
    let region = match required("region", &["AWS_REGION", "AWS_DEFAULT_REGION"]) {
        Err(error) if own_endpoint.is_none() => return Err(error),
        region => region.unwrap_or_else(|_| DEFAULT_REGION.to_string()),
    };
    let endpoint = own_endpoint.map_or_else(|| format!("https://s3.{region}.amazonaws.com"), String::from);
    let endpoint = Url::parse(&endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let endpoint = endpoint.ok_or_else(|| endpoint_place.wrong("no http or https URL"))?;
    let bucket_place = place.at("bucketName")?;
    let bucket = required("bucketName", &[])?;
    if bucket.contains(['/', '?', '#']) || bucket.chars().any(char::is_whitespace) {
        return Err(bucket_place.wrong("no name of a bucket"));
    }
    let root_place = place.at("bucketRootPath")?;
    let root = root_place.string()?.unwrap_or_default().trim_matches('/').to_string();
    if root.split('/').any(|part| matches!(part, "." | "..")) || root.contains("//") {
        return Err(root_place.wrong("must be a path without empty parts, '.' and '..'"));
    }
    let own_credentials = !matches!(place.at("credentials")?.value(), None | Some(Value::Null));
    let session_token = match place.at("credentials.sessionToken")?.string()? {
        Some(token) => Some(Secret::new(token)),
        None if own_credentials => None,
        None => env(&["AWS_SESSION_TOKEN"]).map(|token| Secret::new(token.as_str())),
    };
    Ok(S3Config {
        path_style: place.at("s3ForcePathStyle")?.boolean()?.unwrap_or(own_endpoint.is_some()),
        endpoint,
        bucket,
        root,
        region,
        access_key_id: Secret::new(required("credentials.accessKeyId", &["AWS_ACCESS_KEY_ID"])?),
        secret_access_key: Secret::new(required("credentials.secretAccessKey", &["AWS_SECRET_ACCESS_KEY"])?),
        session_token,
    })
}
