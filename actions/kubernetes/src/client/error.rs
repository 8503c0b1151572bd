//! What can go wrong with a cluster, in words for the reader of the task's log.

use kube::core::{Status, response::StatusCause};
use understudy_sdk::{ActionError, ErrorName};

use super::clusters::Connection;

/// Why a cluster did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum KubeError {
    /// No cluster is configured.
    #[error(
        "no Kubernetes cluster is configured: {reason}. Run the service in a cluster with a service account, point \
         KUBECONFIG at a kubeconfig file, or list clusters in kubernetes.clusterLocatorMethods"
    )]
    NotConfigured {
        /// What was looked at.
        reason: String,
    },
    /// A step names a cluster that the configuration does not.
    #[error("there is no cluster '{name}' in kubernetes.clusterLocatorMethods; {known}")]
    UnknownCluster {
        /// As the step has it.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A cluster's configuration can't be used.
    #[error("the configuration of {cluster} can't be used: {reason}")]
    Config {
        /// The cluster.
        cluster: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The cluster serves no such kind.
    #[error("{cluster} knows no kind {kind} in {api_version}; {hint}")]
    UnknownKind {
        /// The cluster.
        cluster: String,
        /// `group/version`.
        api_version: String,
        /// The kind.
        kind: String,
        /// Near kinds, or what to install.
        hint: String,
    },
    /// RBAC says no.
    #[error("{cluster} does not allow this: {message}{hint}")]
    Forbidden {
        /// The cluster.
        cluster: String,
        /// Verb, resource and namespace, or the server's words.
        message: String,
        /// The rule that is missing.
        hint: String,
    },
    /// The credentials are refused.
    #[error(
        "{cluster} refuses the credentials (401 Unauthorized): the token or certificate is wrong or has expired. It was \
         read again before this was reported; {hint}"
    )]
    Unauthorized {
        /// The cluster.
        cluster: String,
        /// Where the credentials come from.
        hint: String,
    },
    /// The object is not there.
    #[error("{0}")]
    NotFound(String),
    /// The namespace that the object goes to is not there.
    #[error("{0}")]
    NoNamespace(String),
    /// The object exists.
    #[error("{0}")]
    Exists(String),
    /// Others manage the fields, or changed the object meanwhile.
    #[error("{0}")]
    Conflict(String),
    /// The object is not acceptable.
    #[error("{0}")]
    Invalid(String),
    /// What the step asks for is wrong; nothing was sent.
    #[error("{0}")]
    Input(String),
    /// No answer.
    #[error("{cluster} can't be reached: {reason}")]
    Unreachable {
        /// The cluster.
        cluster: String,
        /// The network's words.
        reason: String,
    },
    /// The wait was too long.
    #[error("{0}")]
    Timeout(String),
    /// Anything else that the server answers.
    #[error("{cluster} answered {code} to {what}: {message}")]
    Api {
        /// The cluster.
        cluster: String,
        /// HTTP status.
        code: u16,
        /// The request.
        what: String,
        /// The server's words.
        message: String,
    },
}

impl From<KubeError> for ActionError {
    fn from(error: KubeError) -> Self {
        let name = match &error {
            KubeError::Input(_) | KubeError::Invalid(_) | KubeError::UnknownCluster { .. } => ErrorName::InputError,
            KubeError::Forbidden { .. } => ErrorName::NotAllowedError,
            KubeError::Unauthorized { .. } => ErrorName::AuthenticationError,
            KubeError::NotFound(_) | KubeError::NoNamespace(_) | KubeError::UnknownKind { .. } => {
                ErrorName::NotFoundError
            }
            KubeError::Conflict(_) | KubeError::Exists(_) => ErrorName::ConflictError,
            KubeError::Api { .. } => ErrorName::ResponseError,
            KubeError::NotConfigured { .. }
            | KubeError::Config { .. }
            | KubeError::Unreachable { .. }
            | KubeError::Timeout(_) => ErrorName::Error,
        };
        Self::new(name, error.to_string())
    }
}

impl KubeError {
    /// The HTTP status of the cluster's answer, if it answered.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Unauthorized { .. } => Some(401),
            Self::Forbidden { .. } => Some(403),
            Self::NotFound(_) | Self::NoNamespace(_) => Some(404),
            Self::Conflict(_) | Self::Exists(_) => Some(409),
            Self::Invalid(_) => Some(422),
            Self::Api { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the cluster may do better in a while.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Api { code, .. } => matches!(code, 408 | 429 | 500 | 502..=504),
            _ => false,
        }
    }
}

/// A request, for messages.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// `the cluster 'prod' (https://…)`.
    pub(crate) cluster: String,
    /// Where the credentials come from and how to renew them.
    pub(crate) credentials: String,
    /// RBAC verb: `get`, `patch`, …
    pub(crate) verb: &'static str,
    /// `Deployment apps/web`, or the kind alone for lists.
    pub(crate) object: String,
    /// Namespace of the object.
    pub(crate) namespace: Option<String>,
    /// Whether the server's words may quote credentials of the object (a Secret).
    pub(crate) is_sensitive: bool,
}

/// Whether the server does not accept the credentials.
pub(crate) fn is_unauthorized(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 401,
        // A token file that is unreadable or a plugin that failed.
        kube::Error::Auth(_) => true,
        _ => false,
    }
}

/// Whether the network or the server is at fault, so that a later try may do better.
pub(crate) fn is_transient(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            matches!(status.code, 408 | 410 | 429 | 500 | 502 | 503 | 504)
        }
        kube::Error::HyperError(_)
        | kube::Error::Service(_)
        | kube::Error::ReadEvents(_)
        | kube::Error::SerdeError(_)
        | kube::Error::LinesCodecMaxLineLengthExceeded => true,
        _ => false,
    }
}

/// An error with its causes in one line, each said once.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

impl Request {
    /// To get something that is no object.
    pub(super) fn about(what: impl Into<String>, connection: &Connection) -> Self {
        Self {
            cluster: connection.label.to_string(),
            credentials: connection.credentials.to_string(),
            verb: "get",
            object: what.into(),
            namespace: None,
            is_sensitive: false,
        }
    }

    /// `Deployment shop/web in the cluster 'prod'`.
    fn place(&self) -> String {
        format!("{} in {}", self.object, self.cluster)
    }

    /// The error in words.
    pub(crate) fn fail(&self, error: &kube::Error) -> KubeError {
        match error {
            kube::Error::Api(status) => self.status(status),
            kube::Error::Auth(error) => {
                KubeError::Config { cluster: self.cluster.clone(), reason: format!("no credentials: {}", chain(error)) }
            }
            error if is_transient(error) => {
                let text = chain(error);
                let reason = text.trim_start_matches("ServiceError: ").trim_start_matches("HyperError: ");
                KubeError::Unreachable { cluster: self.cluster.clone(), reason: reason.to_string() }
            }
            other => KubeError::Config { cluster: self.cluster.clone(), reason: chain(other) },
        }
    }

    /// No answer within this time.
    pub(crate) fn no_answer(&self, limit: std::time::Duration) -> KubeError {
        KubeError::Unreachable {
            cluster: self.cluster.clone(),
            reason: format!("no answer to {} {} within {} s", self.verb, self.object, limit.as_secs()),
        }
    }

    fn status(&self, status: &Status) -> KubeError {
        let message = self.harmless(&status.message);
        match status.code {
            401 => KubeError::Unauthorized { cluster: self.cluster.clone(), hint: self.credentials.clone() },
            403 => self.forbidden(&message),
            404 => self.not_found(status, &message),
            409 if status.is_already_exists() => KubeError::Exists(format!("{} exists already", self.place())),
            409 => KubeError::Conflict(self.conflict(status, &message)),
            422 => KubeError::Invalid(self.invalid(status, &message)),
            400 => KubeError::Invalid(format!("{} is not acceptable: {message}", self.place())),
            // Servers before 1.26 call it their own failure when a manifest does not fit the schema.
            500 if message.starts_with("failed to create typed patch object") => {
                KubeError::Invalid(format!("{} is not valid: {message}", self.place()))
            }
            code => KubeError::Api {
                cluster: self.cluster.clone(),
                code,
                what: format!("{} {}", self.verb, self.object),
                message,
            },
        }
    }

    /// The server quotes what it can't decode; of a Secret that may be what must not be seen.
    fn harmless(&self, message: &str) -> String {
        if !self.is_sensitive {
            return message.to_string();
        }
        let cut = [", error found in", "Invalid value:", ": illegal base64"]
            .iter()
            .filter_map(|mark| message.find(mark))
            .min();
        match cut {
            Some(at) => format!("{} (the rest is left out, it may quote the Secret)", &message[..at]),
            None => message.to_string(),
        }
    }

    fn forbidden(&self, message: &str) -> KubeError {
        // `… is forbidden: User "u" cannot patch resource "things" in API group "g" in the namespace "n"`; an admission
        // plugin, a quota or a terminating namespace speaks otherwise.
        let quoted = |mark: &str| {
            let rest = &message[message.find(mark)? + mark.len()..];
            rest.split('"').next().filter(|text| !text.is_empty())
        };
        let verb = message
            .split_once(" cannot ")
            .and_then(|(_, rest)| rest.split_once(" resource "))
            .map(|(verb, _)| verb)
            .filter(|verb| verb.chars().all(|c| c.is_ascii_lowercase()));
        let (Some(verb), Some(resource)) = (verb, quoted(" resource \"")) else {
            return KubeError::Forbidden {
                cluster: self.cluster.clone(),
                message: format!("{} of {}: {message}", self.verb, self.object),
                hint: String::new(),
            };
        };
        let user = quoted("User \"").map_or_else(String::new, |user| format!("user '{user}' "));
        let group = quoted("in API group \"").unwrap_or("");
        let namespace = quoted("in the namespace \"");
        let (place, role) = match namespace {
            Some(namespace) => (format!(" in the namespace '{namespace}'"), format!("a Role in '{namespace}'")),
            None => (" at the cluster scope".to_string(), "a ClusterRole".to_string()),
        };
        let full = if group.is_empty() { resource.to_string() } else { format!("{resource}.{group}") };
        KubeError::Forbidden {
            cluster: self.cluster.clone(),
            message: format!("{user}may not {verb} {full}{place} (for {})", self.object),
            hint: format!(
                ". {role} needs the rule {{apiGroups: [\"{group}\"], resources: [\"{resource}\"], verbs: [\"{verb}\"]}}; \
                 docs/kubernetes.md has all rules of an action"
            ),
        }
    }

    fn not_found(&self, status: &Status, message: &str) -> KubeError {
        let details = status.details.as_ref();
        let is_namespace = details.is_some_and(|details| details.kind == "namespaces");
        match (&self.namespace, is_namespace) {
            (Some(namespace), true) => KubeError::NoNamespace(format!(
                "the namespace '{namespace}' for {} does not exist; create it first (kubernetes:create-namespace)",
                self.place()
            )),
            _ if details.is_some_and(|details| !details.name.is_empty()) => {
                KubeError::NotFound(format!("there is no {}", self.place()))
            }
            _ => KubeError::NotFound(format!("{}: {message}", self.place())),
        }
    }

    fn conflict(&self, status: &Status, message: &str) -> String {
        let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
        let managed: Vec<String> = causes
            .iter()
            .filter(|cause| cause.reason == "FieldManagerConflict")
            .map(|cause| format!("{} (by {})", cause.field.trim_start_matches('.'), manager(cause)))
            .collect();
        if managed.is_empty() {
            return format!("{}: {message}", self.place());
        }
        format!(
            "{} has fields that others manage: {}. Leave these fields out of the manifest, or set force: true to take them \
             over",
            self.place(),
            managed.join(", ")
        )
    }

    fn invalid(&self, status: &Status, message: &str) -> String {
        let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
        if causes.is_empty() {
            return format!("{} is not valid: {message}", self.place());
        }
        let lines: Vec<String> = causes
            .iter()
            .map(|cause| {
                let message = self.harmless(&cause.message);
                if cause.field.is_empty() || cause.field == "<nil>" {
                    format!("  {message}")
                } else {
                    format!("  {}: {message}", cause.field)
                }
            })
            .collect();
        format!("{} is not valid:\n{}", self.place(), lines.join("\n"))
    }
}

/// `conflict with "kubectl" using apps/v1` → `kubectl`.
pub(super) fn manager(cause: &StatusCause) -> &str {
    cause.message.split('"').nth(1).unwrap_or(&cause.message)
}

#[cfg(test)]
mod tests {
    use kube::core::response::StatusDetails;

    use super::*;

    fn request(object: &str, namespace: Option<&str>, is_sensitive: bool) -> Request {
        Request {
            cluster: "the cluster 'c'".to_string(),
            credentials: "they are in a file".to_string(),
            verb: "patch",
            object: object.to_string(),
            namespace: namespace.map(str::to_string),
            is_sensitive,
        }
    }

    fn status(code: u16, reason: &str, message: &str, kind: &str, causes: &[(&str, &str, &str)]) -> kube::Error {
        let causes = causes.iter().map(|(reason, field, message)| StatusCause {
            reason: (*reason).to_string(),
            field: (*field).to_string(),
            message: (*message).to_string(),
        });
        let details = StatusDetails {
            name: "x".to_string(),
            kind: kind.to_string(),
            causes: causes.collect(),
            group: String::new(),
            uid: String::new(),
            retry_after_seconds: 0,
        };
        kube::Error::Api(Status::failure(message, reason).with_code(code).with_details(details).boxed())
    }

    #[test]
    fn answers_in_words() {
        let map = request("ConfigMap n/x", Some("n"), false);
        let forbidden = "configmaps \"x\" is forbidden: User \"u\" cannot patch resource \"configmaps\" in API group \"\" in the namespace \"n\"";
        let cluster_wide =
            "nodes is forbidden: User \"u\" cannot list resource \"nodes\" in API group \"g\" at the cluster scope";
        let quota = "configmaps \"x\" is forbidden: exceeded quota: q";
        for (error, expected) in [
            (
                status(403, "Forbidden", forbidden, "configmaps", &[]),
                "the cluster 'c' does not allow this: user 'u' may not patch configmaps in the namespace 'n' (for ConfigMap \
                 n/x). a Role in 'n' needs the rule {apiGroups: [\"\"], resources: [\"configmaps\"], verbs: [\"patch\"]}; \
                 docs/kubernetes.md has all rules of an action",
            ),
            (
                status(403, "Forbidden", cluster_wide, "nodes", &[]),
                "the cluster 'c' does not allow this: user 'u' may not list nodes.g at the cluster scope (for ConfigMap n/x). \
                 a ClusterRole needs the rule {apiGroups: [\"g\"], resources: [\"nodes\"], verbs: [\"list\"]}; \
                 docs/kubernetes.md has all rules of an action",
            ),
            (
                status(403, "Forbidden", quota, "configmaps", &[]),
                "the cluster 'c' does not allow this: patch of ConfigMap n/x: configmaps \"x\" is forbidden: exceeded quota: q",
            ),
            (
                status(404, "NotFound", "namespaces \"n\" not found", "namespaces", &[]),
                "the namespace 'n' for ConfigMap n/x in the cluster 'c' does not exist; create it first \
                 (kubernetes:create-namespace)",
            ),
            (
                status(404, "NotFound", "configmaps \"x\" not found", "configmaps", &[]),
                "there is no ConfigMap n/x in the cluster 'c'",
            ),
            (
                status(409, "AlreadyExists", "exists", "configmaps", &[]),
                "ConfigMap n/x in the cluster 'c' exists already",
            ),
            (
                status(
                    409,
                    "Conflict",
                    "Apply failed with 2 conflicts",
                    "configmaps",
                    &[
                        ("FieldManagerConflict", ".data.a", "conflict with \"kubectl\" using v1"),
                        ("FieldManagerConflict", ".data.b", "conflict with \"helm\" using v1"),
                    ],
                ),
                "ConfigMap n/x in the cluster 'c' has fields that others manage: data.a (by kubectl), data.b (by helm). Leave \
                 these fields out of the manifest, or set force: true to take them over",
            ),
            (
                status(
                    422,
                    "Invalid",
                    "is invalid",
                    "configmaps",
                    &[
                        ("FieldValueInvalid", "spec.a", "Invalid value: 0: too small"),
                        ("FieldValueRequired", "spec.b", "Required value"),
                    ],
                ),
                "ConfigMap n/x in the cluster 'c' is not valid:\n  spec.a: Invalid value: 0: too small\n  spec.b: Required value",
            ),
            (status(503, "", "busy", "", &[]), "the cluster 'c' answered 503 to patch ConfigMap n/x: busy"),
        ] {
            let text = map.fail(&error).to_string();
            assert!(text.starts_with(expected), "{text}\n{expected}");
        }
    }

    #[test]
    fn what_the_server_quotes_of_a_secret_is_cut() {
        let secret = request("Secret n/x", Some("n"), true);
        let message = "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 4, error found \
                       in #10 byte of ...|: \"hush-hush\"|..., bigger context ...";
        for error in [
            status(400, "BadRequest", message, "secrets", &[]),
            status(500, "", &format!("failed to create typed patch object: {message}"), "secrets", &[]),
            status(
                422,
                "Invalid",
                "is invalid",
                "secrets",
                &[("FieldValueInvalid", "data[a]", "Invalid value: \"hush-hush\": no")],
            ),
        ] {
            let text = secret.fail(&error).to_string();
            assert!(!text.contains("hush") && text.contains("it may quote the Secret"), "{text}");
        }
    }
}
