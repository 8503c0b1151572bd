//! Which transcripts differ, and why.

/// The head of `docs/compatibility.md`.
pub(crate) const INTRODUCTION: &str = "# Compatibility with `@backstage/plugin-scaffolder-backend` 4.2.0\n\n\
Written by the conformance suite (`UPDATE_DOCS=1 cargo test --test suite conformance`). Each row is a recorded request; \
status, content type, relevant headers and body are compared after ids, times and paths have been made equal.\n";

/// Why the recordings with tokens are not replayed yet.
pub(crate) const AUTH: &str = "waits for authentication and permissions";

/// A reason for a difference.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reason {
    pub(crate) text: &'static str,
    /// Whether the request is replayed all the same.
    pub(crate) replay: bool,
    /// Whether the difference must then really be there; what depends on timing may pass as well.
    pub(crate) always: bool,
}

const fn differs(text: &'static str) -> Reason {
    Reason { text, replay: true, always: true }
}
const fn elsewhere(text: &'static str) -> Reason {
    Reason { text, replay: false, always: true }
}

const OTHER_PLUGIN: Reason = elsewhere("answered by another plugin of the Backstage backend");
const REGISTRY: Reason = differs("the actions registry comes with authentication");
const UNREACHABLE: Reason = elsewhere("deliberate: an error of GitHub's is told without the internals of its client");
const PROMPT_CANCEL: Reason = Reason {
    text: "deliberate: a cancelled task stops at once here, upstream notices about a second later",
    replay: true,
    always: false,
};
const OVER_ALREADY: Reason = Reason {
    text: "deliberate: 50 ms after the retry the task is over here, upstream is still at it",
    replay: true,
    always: false,
};
const PUSHED: Reason = Reason {
    text: "deliberate: the poll answers with the first event, upstream with all of its next look a second later",
    replay: true,
    always: false,
};
const NAMED_FILE: Reason =
    differs("deliberate: one more line of the log names the file, the line and the column of a template error");
const BETA2: Reason = differs("deliberate: templates of backstage.io/v1beta2, which upstream has dropped, run here");
const NAMED_INPUT: Reason = differs(
    "deliberate: the log names the field, the line and the column of each template error in a step, which upstream passes over",
);
const WAIT_FREES_SLOT: Reason = differs("deliberate: a waiting step gives its worker slot back, so no task stays open");

/// The reason for a transcript's difference, if it has one.
pub(crate) fn reason(file: &str) -> Option<Reason> {
    let number: u32 = file.split('-').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    Some(match number {
        21 | 22 | 24 | 25 => OTHER_PLUGIN,
        23 | 28..=33 => REGISTRY,
        108 | 109 => NAMED_INPUT,
        112 | 113 => NAMED_FILE,
        217 => BETA2,
        229 => UNREACHABLE,
        172 => PROMPT_CANCEL,
        179 => OVER_ALREADY,
        403 => PUSHED,
        421 | 423 | 424 => WAIT_FREES_SLOT,
        _ => return None,
    })
}
