//! Where entities are read from.

use std::fmt;

use serde_json::{Value, json};
use sha1::{Digest, Sha1};

/// What a location's target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LocationKind {
    /// An absolute path on this machine; may be a pattern.
    File,
    /// A URL.
    Url,
}

impl LocationKind {
    /// `file` or `url`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Url => "url",
        }
    }
    /// The kind of this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::File, Self::Url].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A place entities are read from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// What the target is.
    pub kind: LocationKind,
    /// Path or URL.
    pub target: String,
}

impl fmt::Display for Location {
    /// `url:https://…`, as in the annotation `backstage.io/managed-by-location`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.target)
    }
}

impl Location {
    /// A URL.
    pub fn url(target: impl Into<String>) -> Self {
        Self { kind: LocationKind::Url, target: target.into() }
    }
    /// An absolute path.
    pub fn file(target: impl Into<String>) -> Self {
        Self { kind: LocationKind::File, target: target.into() }
    }
    /// The location of the text that [`Display`](fmt::Display) gives.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, target) = text.split_once(':')?;
        Some(Self { kind: LocationKind::parse(kind)?, target: target.to_string() })
    }
    /// The name of the `Location` entity that Backstage makes for a location.
    pub fn generated_name(&self) -> String {
        let digest = Sha1::digest(self.to_string().as_bytes());
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("generated-{hex}")
    }
    /// The reference of that entity.
    pub fn entity_ref(&self) -> String {
        format!("location:default/{}", self.generated_name())
    }
    /// That entity, as a dry run lists it.
    pub(super) fn generated_entity(&self, parent: &Self, origin: &Self) -> Value {
        json!({
            "metadata": {
                "annotations": {
                    "backstage.io/managed-by-location": parent.to_string(),
                    "backstage.io/managed-by-origin-location": origin.to_string(),
                },
                "name": self.generated_name(),
                "namespace": "default",
            },
            "apiVersion": "backstage.io/v1alpha1",
            "kind": "Location",
            "spec": { "type": self.kind.as_str(), "target": self.target },
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_backstages() {
        let location = Location::url("https://github.com/nope/nope/blob/main/catalog-info.yaml");
        assert_eq!(location.entity_ref(), "location:default/generated-634d4de0b0a1676e6854c3fb789567c16a6e371d");
        assert_eq!(Location::parse(&location.to_string()).unwrap(), location);
        assert_eq!(Location::parse("file:/a:b").unwrap(), Location::file("/a:b"));
        for text in ["", "url", "ftp:x"] {
            assert_eq!(Location::parse(text), None, "{text}");
        }
    }
}
