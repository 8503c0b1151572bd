//! The files that a step renders, checked before any step runs.

use std::collections::HashSet;

use camino::Utf8Path;
use serde_json::{Map, Value};
use understudy_actions_core::{
    sources::{SourceFile, Sources},
    templating::Templating,
};
use understudy_scm::Scm;
use understudy_sdk::ErrorName;
use understudy_templating::{Guard, Lookup, closest_name};

use super::{
    expression::{Language, Remark, did_you_mean, unknown_root},
    finding::{Finding, Severity},
    positions::Place,
};
use crate::cli::source::Origin;

/// A step's files, still to be read.
pub(super) struct Skeleton {
    /// The step's id.
    pub(super) step: String,
    pub(super) sources: Sources,
    /// What the step says of the values.
    pub(super) values: Values,
    /// Where the step names the files.
    pub(super) file: String,
    pub(super) place: Place,
    pub(super) source: Option<String>,
}

/// The values that templates find.
pub(super) enum Values {
    /// These, though each may be anything.
    Known(Map<String, Value>),
    /// The run will tell.
    Unknown,
}

impl Values {
    pub(super) fn of(input: &Map<String, Value>) -> Self {
        match input.get("values") {
            None => Self::Known(Map::new()),
            Some(Value::Object(values)) => Self::Known(values.clone()),
            Some(_) => Self::Unknown,
        }
    }
}

impl Skeleton {
    /// Reads the files and checks them.
    pub(super) async fn check(&self, scm: &Scm, templating: &Templating, origin: &Origin) -> Vec<Finding> {
        let base = match origin {
            Origin::File(path) => format!("file://{path}"),
            Origin::Url(url) => url.clone(),
        };
        let repository = match origin {
            Origin::File(path) => path.ancestors().skip(1).find(|dir| dir.join(".git").exists()),
            Origin::Url(_) => None,
        };
        let files = match self.sources.read(scm, &base, repository).await {
            Ok(files) => files,
            Err(error) => {
                // Another machine may well be asked later, with other credentials; and what lies outside a local template's
                // directory is there for one that is read by URL.
                let is_remote = matches!(origin, Origin::Url(_)) || self.sources.url.contains("://");
                let is_remote = is_remote || matches!(error.name(), ErrorName::NotAllowedError);
                let (severity, code) = if is_remote {
                    (Severity::Warning, "skeleton-unread")
                } else {
                    (Severity::Error, "skeleton-missing")
                };
                let message = format!("the files of {} can't be checked: {}", self.sources.url, error.message());
                return vec![self.at_step(severity, code, message)];
            }
        };
        let language = Language::new(templating.files(self.sources.syntax).clone());
        let mut told = HashSet::new();
        files.iter().flat_map(|file| self.check_file(&language, file, &mut told)).collect()
    }

    fn at_step(&self, severity: Severity, code: &'static str, message: String) -> Finding {
        let (file, place, source) = (self.file.clone(), Some(self.place), self.source.clone());
        Finding { file, place, severity, code, message, hint: None, source }
    }

    fn check_file(
        &self,
        language: &Language,
        file: &SourceFile,
        told: &mut HashSet<(String, &'static str, String)>,
    ) -> Vec<Finding> {
        let path = self.path_of(&file.path);
        let mut findings = Vec::new();
        if let Some(name) = file.name.as_deref().filter(|name| is_template(name)) {
            for remark in language.inspect(name, |lookup| self.look(lookup)) {
                // What is wrong with a directory's name is so with those of all its files.
                let upto = name[..name.floor_char_boundary(remark.offset)].to_string();
                if told.insert((upto, remark.code, remark.message.clone())) {
                    let Remark { severity, code, message, hint, .. } = remark;
                    let message = format!("in the name: {message}");
                    findings.push(Finding {
                        file: path.clone(),
                        place: Some(Place::START),
                        severity,
                        code,
                        message,
                        hint,
                        source: None,
                    });
                }
            }
        }
        if let Some(content) = file.content.as_deref().filter(|content| is_template(content)) {
            findings.extend(language.inspect(content, |lookup| self.look(lookup)).into_iter().map(|remark| {
                let place = Place::of(content, remark.offset);
                let Remark { severity, code, message, hint, .. } = remark;
                let line = usize::try_from(place.line).ok().and_then(|line| content.lines().nth(line.checked_sub(1)?));
                let (file, source) = (path.clone(), line.map(str::to_string));
                Finding { file, place: Some(place), severity, code, message, hint, source }
            }));
        }
        if file.is_too_large {
            let message = format!("{path} is too large to be checked");
            findings.push(self.at_step(Severity::Warning, "skeleton-unread", message));
        }
        findings
    }

    /// The path of a file of the skeleton, written as that of the template is.
    fn path_of(&self, path: &Utf8Path) -> String {
        let url = &self.sources.url;
        if url.contains("://") {
            return format!("{}/{path}", url.trim_end_matches('/')).trim_end_matches('/').to_string();
        }
        let (root, dir) = match self.file.rsplit_once('/') {
            Some((dir, _)) if dir.starts_with('/') => ("/", dir),
            Some((dir, _)) => ("", dir),
            None if self.file.starts_with('/') => ("/", ""),
            None => ("", ""),
        };
        let mut parts: Vec<&str> = dir.split('/').filter(|part| !part.is_empty()).collect();
        for part in url.split('/').chain(path.as_str().split('/')).filter(|part| !matches!(*part, "" | ".")) {
            match part {
                ".." if parts.last().is_some_and(|last| !matches!(*last, "." | "..")) => _ = parts.pop(),
                part => parts.push(part),
            }
        }
        format!("{root}{}", parts.join("/"))
    }

    fn look(&self, lookup: &Lookup) -> Option<Remark> {
        let root = &lookup.path[0];
        if root.name != self.sources.root() {
            return unknown_root(lookup, self.meant(lookup), &[self.sources.root()]);
        }
        let Values::Known(values) = &self.values else { return None };
        let mut members = values;
        for (index, segment) in lookup.path.iter().enumerate().skip(1) {
            match members.get(&segment.name) {
                Some(Value::Object(inner)) => members = inner,
                Some(_) => return None,
                // A method of an object: those of cookiecutter.
                None if lookup.is_call && index + 1 == lookup.path.len() => return None,
                None => {
                    let around: Vec<&str> = lookup.path[..index].iter().map(|segment| segment.name.as_str()).collect();
                    let message =
                        format!("the step \"{}\" gives no \"{}.{}\"", self.step, around.join("."), segment.name);
                    let hint = did_you_mean(&segment.name, members.keys().map(String::as_str));
                    // Skeletons are shared by templates that don't give the same values: what a condition decides about
                    // may never be rendered for this one.
                    let is_certain = lookup.guard == Guard::None && !lookup.is_conditional;
                    let guard = if is_certain { Guard::None } else { Guard::Default };
                    return Remark::error(segment, "value-not-given", message).hint(hint).guarded(guard);
                }
            }
        }
        None
    }

    /// What somebody may have meant who began with another name than that of the values.
    fn meant(&self, lookup: &Lookup) -> Option<String> {
        let (name, root) = (&*lookup.path[0].name, self.sources.root());
        if let "parameters" | "values" | "cookiecutter" = name {
            let member = lookup.path.get(1).map(|member| format!(".{}", member.name)).unwrap_or_default();
            return Some(format!("files see only what the step gives; did you mean \"{root}{member}\"?"));
        }
        if let Values::Known(values) = &self.values
            && lookup.path.len() == 1
        {
            let known = values.keys().map(String::as_str);
            if values.contains_key(name) {
                return Some(format!("did you mean \"{root}.{name}\"?"));
            }
            return closest_name(name, known).map(|known| format!("did you mean \"{root}.{known}\"?"));
        }
        None
    }
}

/// Whether a file has anything to render, as the action sees it.
fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#", "#}"].iter().any(|tag| text.contains(tag))
}
