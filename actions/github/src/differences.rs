//! How something that exists differs from what a step asks for.

use std::collections::BTreeSet;

use serde::Serialize;
use understudy_sdk::ActionError;

/// The differences found so far, one sentence each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Differences(Vec<String>);

impl Differences {
    /// Compares one property.
    pub(crate) fn compare<T: PartialEq + Serialize>(&mut self, what: &str, there: &T, asked: &T) {
        if there != asked {
            self.0.push(format!("{what} is {} there, {} was asked for", shown(there), shown(asked)));
        }
    }
    /// Compares a list whose order means nothing.
    pub(crate) fn compare_sets<T: Ord + Serialize>(
        &mut self,
        what: &str,
        there: impl IntoIterator<Item = T>,
        asked: impl IntoIterator<Item = T>,
    ) {
        self.compare(what, &there.into_iter().collect::<BTreeSet<_>>(), &asked.into_iter().collect());
    }
    /// Adds a difference that is no comparison.
    pub(crate) fn add(&mut self, sentence: impl Into<String>) {
        self.0.push(sentence.into());
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub(crate) fn text(&self) -> String {
        self.0.join("; ")
    }
    /// Succeeds where there are none.
    ///
    /// # Errors
    /// `ConflictError` that says how `what` differs.
    pub(crate) fn refuse(&self, what: &str) -> Result<(), ActionError> {
        if self.is_empty() {
            return Ok(());
        }
        Err(ActionError::conflict(format!(
            "{what} exists already and differs: {}; change the step or what is there",
            self.text()
        )))
    }
}

fn shown<T: Serialize>(value: &T) -> String {
    // Plain data always becomes JSON.
    serde_json::to_string(value).unwrap_or_else(|_| "something else".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn differences_are_said_one_by_one() {
        let mut found = Differences::default();
        found.compare("url", &"a", &"a");
        found.compare_sets("events", ["push", "issues"], ["issues", "push"]);
        found.refuse("The webhook").unwrap();
        found.compare("active", &true, &false);
        found.compare_sets("events", ["push"], ["issues"]);
        assert_eq!(
            found.refuse("The webhook").unwrap_err().to_string(),
            "ConflictError: The webhook exists already and differs: active is true there, false was asked for; \
             events is [\"push\"] there, [\"issues\"] was asked for; change the step or what is there"
        );
    }
}
