//! Short names for values, the same in every version of the program.

use serde::Serialize;
use sha1::{Digest, Sha1};

/// Sixteen hexadecimal digits that stand for a value, by its JSON: in checkpoint keys they tell the runs of one step apart
/// (`each`), and a retry after an update of the program still finds them. Not for secrets, and no proof of anything.
pub fn fingerprint(value: &impl Serialize) -> String {
    // What can't be written as JSON (a map with keys that are no texts) shares a name; it is no input of an action.
    let json = serde_json::to_vec(value).unwrap_or_default();
    Sha1::digest(json).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_have_lasting_names() {
        assert_eq!(fingerprint(&json!({"a": 1})), "9f89c740ceb46d74");
        assert_eq!(fingerprint(&("a", Some(1))), fingerprint(&json!(["a", 1])));
        assert_ne!(fingerprint(&json!({"a": 1})), fingerprint(&json!({"a": "1"})));
    }
}
