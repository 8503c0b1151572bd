//! Argo CD's RBAC: lines `p, subject, resource, action, object, allow`.

/// The rules of all accounts.
#[derive(Debug, Clone, Default)]
pub(super) struct Policy(Vec<[String; 4]>);

impl Policy {
    /// Reads lines of a policy; others than `p` lines that allow are passed over.
    pub(super) fn parse(csv: &str) -> Self {
        let rule = |line: &str| {
            let parts: Vec<_> = line.split(',').map(str::trim).collect();
            match parts[..] {
                ["p", subject, resource, action, object, "allow"] => {
                    Some([subject, resource, action, object].map(str::to_owned))
                }
                _ => None,
            }
        };
        Self(csv.lines().filter_map(rule).collect())
    }

    /// Whether the subject may do this.
    pub(super) fn allows(&self, subject: &str, resource: &str, action: &str, object: &str) -> bool {
        self.0.iter().any(|rule| {
            rule[0] == subject && glob(&rule[1], resource) && glob(&rule[2], action) && glob(&rule[3], object)
        })
    }
}

/// `*` stands for any text.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| glob(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_allow_what_they_name() {
        let policy = Policy::parse(
            "# comment\np, portal, applications, get, shops/*, allow\np, portal, applications, sync, */shop, allow\ng, x, y\n",
        );
        for (action, object, allowed) in [
            ("get", "shops/a", true),
            ("get", "others/a", false),
            ("sync", "any/shop", true),
            ("delete", "shops/a", false),
        ] {
            assert_eq!(policy.allows("portal", "applications", action, object), allowed, "{action} {object}");
        }
        assert!(!policy.allows("other", "applications", "get", "shops/a"));
        assert!(glob("https://*/x*", "https://a/b/x.git") && !glob("a*b", "ac"));
    }
}
