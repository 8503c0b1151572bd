//! Which transcripts differ, and why.

/// The head of `docs/compatibility.md`.
pub(crate) const INTRODUCTION: &str = "# Compatibility with `@backstage/plugin-scaffolder-backend` 4.2.0\n\n\
Written by the conformance suite (`UPDATE_DOCS=1 cargo test --test suite conformance`). Each row is a recorded request; \
status, content type, relevant headers and body are compared after ids, times and paths have been made equal.\n";

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

pub(crate) const OTHER_PLUGIN: Reason = elsewhere("answered by another plugin of the Backstage backend");
const YAML_WORDS: Reason =
    differs("deliberate: a mistake in a template's YAML is told in the words of this parser, with its line and column");
const UNREACHABLE: Reason = elsewhere("deliberate: an error of GitHub's is told without the internals of its client");
const PROMPT: Reason = Reason {
    text: "deliberate: a cancelled task stops, and a task put back begins, at once here, upstream notices about a second later",
    replay: true,
    always: false,
};
const PUSHED: Reason = Reason {
    text: "deliberate: the poll answers with the first event, upstream with all of its next look a second later",
    replay: true,
    always: false,
};
const NAMED_PLACE: Reason = differs(
    "deliberate: one more line of the log names the field or file, the line and the column of each template error",
);
const BETA2: Reason = differs("deliberate: templates of backstage.io/v1beta2, which upstream has dropped, run here");
const WAIT_FREES_SLOT: Reason = differs("deliberate: a waiting step gives its worker slot back, so no task stays open");
const RETRY_GOES_ON: Reason = differs(
    "deliberate: a task that failed and is retried goes on with the step that failed, upstream runs all steps once more",
);

/// The reason for a transcript's difference, if it has one.
pub(crate) fn reason(set: &str, file: &str) -> Option<Reason> {
    let number: u32 = file.split('-').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    Some(match number {
        21 | 22 | 24 | 25 | 330..=332 | 359..=363 => OTHER_PLUGIN,
        364 if set == "auth" => OTHER_PLUGIN,
        32 if set == "auth" => YAML_WORDS,
        108 | 109 | 112 | 113 => NAMED_PLACE,
        217 => BETA2,
        229 => UNREACHABLE,
        172 | 179 => PROMPT,
        180 | 191 | 192 | 195 | 201..=203 => RETRY_GOES_ON,
        403 => PUSHED,
        421 | 423 | 424 => WAIT_FREES_SLOT,
        _ => return None,
    })
}
