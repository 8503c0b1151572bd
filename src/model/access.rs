//! What tokens for external access may do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `accessRestrictions` of one plugin, as `@backstage/backend-plugin-api` 1.9 serialises them
/// (`BackstagePrincipalAccessRestrictions`): what is absent restricts nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessRestrictions {
    /// The only permissions, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub permission_names: Vec<String>,
    /// The only attributes of permissions.
    #[serde(skip_serializing_if = "PermissionAttributes::is_empty")]
    pub permission_attributes: PermissionAttributes,
}

/// Attributes that permissions must have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PermissionAttributes {
    /// Any of `create`, `read`, `update`, `delete`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub action: Vec<String>,
}

/// Restrictions by plugin; a plugin that is not there is out of reach.
pub type RestrictionsByPlugin = BTreeMap<String, AccessRestrictions>;

impl PermissionAttributes {
    fn is_empty(&self) -> bool {
        self.action.is_empty()
    }
}

impl AccessRestrictions {
    /// Whether a permission with this name and `attributes.action` is within the restrictions.
    pub fn allow(&self, permission: &str, action: Option<&str>) -> bool {
        let actions = &self.permission_attributes.action;
        (self.permission_names.is_empty() || self.permission_names.iter().any(|name| name == permission))
            && (actions.is_empty() || action.is_some_and(|action| actions.iter().any(|known| known == action)))
    }
    /// Whether only some permissions are granted; such access can't be passed on to another plugin.
    pub fn are_partial(&self) -> bool {
        !self.permission_names.is_empty() || !self.permission_attributes.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn absent_members_restrict_nothing() {
        let read = |json| serde_json::from_value::<AccessRestrictions>(json).unwrap();
        let all = read(json!({}));
        assert!(all.allow("scaffolder.task.create", None) && !all.are_partial());
        assert_eq!(serde_json::to_value(&all).unwrap(), json!({}));
        let some = json!({"permissionNames": ["a"], "permissionAttributes": {"action": ["read"]}});
        let partial = read(some.clone());
        assert!(partial.allow("a", Some("read")) && partial.are_partial());
        assert!(!partial.allow("b", Some("read")) && !partial.allow("a", Some("create")) && !partial.allow("a", None));
        assert_eq!(serde_json::to_value(&partial).unwrap(), some);
    }
}
