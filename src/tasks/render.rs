//! What templates of a task see, and the rendering of JSON values.
//!
//! The rules are those of `@backstage/plugin-scaffolder-backend` 4.2.0 (`NunjucksWorkflowRunner`): only string values are
//! templates, keys never; a string that can't be rendered stays as it is; `undefined` removes an object's member.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Map, Value, json};
use tokio::runtime::{Handle, RuntimeFlavor};
use understudy_actions_core::templating::Templating;
use understudy_sdk::{ActionError, Secrets};
use understudy_templating::{
    Context, Dialect, Engine, Error as TemplateError, ErrorKind, Template, Value as Data, js_number_to_string,
};

use super::{
    beta2::{self, Handlebars, Part},
    lock, redact,
};
use crate::{model::UserSpec, yaml::MAX_DEPTH};

/// What `always()` and `failure()` know and say.
#[derive(Default)]
struct StatusFunctions {
    failed: AtomicBool,
    called: AtomicBool,
}

/// The rendering of one task: its functions and its compiled templates.
pub(super) struct Renderer {
    engine: Engine,
    /// In place of the engine, for templates that were written for it.
    handlebars: Option<Handlebars>,
    compiled: Mutex<HashMap<String, Result<Template, TemplateError>>>,
    status: Arc<StatusFunctions>,
}

/// The data of one rendering. Without a context (the data can't be shown to templates) every string stays as it is.
#[derive(Clone)]
pub(super) struct Scope {
    context: Option<Context>,
    /// What templates of `backstage.io/v1beta2` see.
    beta2: Option<Arc<Value>>,
}

impl Scope {
    /// The same data and one more name.
    #[must_use]
    pub(super) fn with(&self, name: &str, value: &Value) -> Self {
        let context = self.context.as_ref().and_then(|context| {
            let data = shown(name, value)?;
            Some(context.with(name, data))
        });
        Self { context, beta2: self.beta2.clone() }
    }
    /// The same data with the current iteration of `each`.
    #[must_use]
    pub(super) fn with_each(&self, key: &str, value: &Value) -> Self {
        self.with("each", &json!({"key": key, "value": value}))
    }
}

/// A value as templates see it; `None` when it holds what they may not see.
fn shown(name: &str, value: &Value) -> Option<Data> {
    let mut map = Map::new();
    map.insert(name.to_string(), value.clone());
    Context::from_json(&map).ok()?.get(name).cloned()
}

impl Renderer {
    /// A renderer for one task of a template of this version, with its functions `always()` and `failure()`.
    pub(super) fn new(templating: &Templating, api_version: &str) -> Self {
        let is_beta2 = api_version == beta2::API_VERSION;
        let handlebars = is_beta2.then(|| Handlebars::new(templating.scm()));
        Self { handlebars, ..Self::with(templating.values()) }
    }
    fn with(engine: &Engine) -> Self {
        let status = Arc::new(StatusFunctions::default());
        let (always, failure) = (Arc::clone(&status), Arc::clone(&status));
        let engine = engine
            .with_global_fn("always", move |_: &[Data]| {
                always.called.store(true, Ordering::Relaxed);
                Ok(Data::from(true))
            })
            .with_global_fn("failure", move |_: &[Data]| {
                failure.called.store(true, Ordering::Relaxed);
                Ok(Data::from(failure.failed.load(Ordering::Relaxed)))
            });
        Self { engine, handlebars: None, compiled: Mutex::default(), status }
    }
    /// From now on `failure()` is true.
    pub(super) fn set_failed(&self) {
        self.status.failed.store(true, Ordering::Relaxed);
    }
    /// Whether rendering this condition calls `always()` or `failure()`: only such steps run after a failure.
    pub(super) fn asks_for_status(&self, condition: Option<&Value>, scope: &Scope) -> bool {
        let Some(Value::String(condition)) = condition else { return false };
        if self.handlebars.is_some() {
            return false;
        }
        self.status.called.store(false, Ordering::Relaxed);
        // What it gives doesn't matter here, nor whether it does.
        let _ = apart(|| self.render_string(condition, scope));
        self.status.called.load(Ordering::Relaxed)
    }
    /// The value with every string in it rendered; `None` is JavaScript's `undefined`.
    ///
    /// # Errors
    /// A string of a template of `backstage.io/v1beta2` that can't be rendered.
    pub(super) fn render(&self, part: Part, value: &Value, scope: &Scope) -> Result<Option<Value>, ActionError> {
        self.render_telling(part, value, scope, "", &mut Vec::new())
    }
    /// As [`Renderer::render`]; tells what could not be rendered and stays as it is. `name` is what the value is called.
    ///
    /// # Errors
    /// As [`Renderer::render`].
    pub(super) fn render_telling(
        &self,
        part: Part,
        value: &Value,
        scope: &Scope,
        name: &str,
        unrendered: &mut Vec<Unrendered>,
    ) -> Result<Option<Value>, ActionError> {
        apart(|| match (&self.handlebars, &scope.beta2) {
            (Some(handlebars), Some(data)) => handlebars.render(part, value, data),
            _ => Ok(self.render_value(value, scope, &Trail::root(name), &mut |found| unrendered.push(found))),
        })
    }
    /// Whether strings are Handlebars, as in templates of `backstage.io/v1beta2`.
    pub(super) fn is_beta2(&self) -> bool {
        self.handlebars.is_some()
    }
    fn render_value(
        &self,
        value: &Value,
        scope: &Scope,
        trail: &Trail<'_>,
        tell: &mut dyn FnMut(Unrendered),
    ) -> Option<Value> {
        match value {
            Value::String(text) => match self.render_string(text, scope) {
                Ok(rendered) => rendered,
                Err(error) => {
                    tell(Unrendered::new(trail, text, &error));
                    Some(value.clone())
                }
            },
            Value::Array(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| {
                        self.render_value(item, scope, &trail.item(index), tell).unwrap_or(Value::Null)
                    })
                    .collect(),
            ),
            Value::Object(members) => Some(Value::Object(
                members
                    .iter()
                    .filter_map(|(name, value)| {
                        Some((name.clone(), self.render_value(value, scope, &trail.member(name), tell)?))
                    })
                    .collect(),
            )),
            other => Some(other.clone()),
        }
    }
    fn render_string(&self, text: &str, scope: &Scope) -> Result<Option<Value>, TemplateError> {
        let unchanged = || Ok(Some(Value::String(text.to_string())));
        // Nothing else begins a tag, so the text would come out as it is.
        if !["${{", "{%", "{#"].iter().any(|tag| text.contains(tag)) {
            // What came out empty was no value in the older generation, whether it was rendered or not.
            let is_nothing = text.is_empty() && self.engine.dialect() == Dialect::Nunjucks3;
            return if is_nothing { Ok(None) } else { unchanged() };
        }
        let Some(context) = &scope.context else { return unchanged() };
        self.template(text)?.render_value(context).map(|value| value.to_json())
    }
    /// The compiled text.
    fn template(&self, text: &str) -> Result<Template, TemplateError> {
        if let Some(known) = lock(&self.compiled).get(text) {
            return known.clone();
        }
        let template = self.engine.parse(text);
        lock(&self.compiled).insert(text.to_string(), template.clone());
        template
    }
}

/// A text that could not be rendered and stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Unrendered {
    /// Which text, where in it, why, and the line with a caret under the place.
    report: String,
}

impl Unrendered {
    fn new(trail: &Trail<'_>, text: &str, error: &TemplateError) -> Self {
        let name = trail.to_string();
        let report = error.report(&name);
        // What a filter says of a value that was made from a secret is not known to be one.
        if error.kind() == ErrorKind::Syntax || !redact::is_about_secrets(text) {
            return Self { report };
        }
        let source = report.split_once('\n').map(|(_, source)| format!("\n{source}")).unwrap_or_default();
        let place = error.line().zip(error.column());
        let place = place.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
        Self { report: format!("{name}{place}: a value made from secrets could not be rendered{source}") }
    }
    /// For the log: `consequence` says what becomes of it.
    pub(super) fn line(&self, consequence: &str) -> String {
        match self.report.split_once('\n') {
            Some((first, source)) => format!("{first}; {consequence}\n{source}"),
            None => format!("{}; {consequence}", self.report),
        }
    }
}

/// The way to a value: `steps.publish.input.files[0].from`.
struct Trail<'a> {
    around: Option<&'a Trail<'a>>,
    segment: Segment<'a>,
}

enum Segment<'a> {
    Root(&'a str),
    Member(&'a str),
    Item(usize),
}

impl<'a> Trail<'a> {
    fn root(name: &'a str) -> Self {
        Self { around: None, segment: Segment::Root(name) }
    }
    fn member(&'a self, name: &'a str) -> Self {
        Self { around: Some(self), segment: Segment::Member(name) }
    }
    fn item(&'a self, index: usize) -> Self {
        Self { around: Some(self), segment: Segment::Item(index) }
    }
}

impl fmt::Display for Trail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(around) = self.around {
            around.fmt(f)?;
        }
        match self.segment {
            Segment::Root(name) => f.write_str(name),
            Segment::Member(name) => f.write_str(&member_access(name)),
            Segment::Item(index) => write!(f, "[{index}]"),
        }
    }
}

/// A member as an expression names it: `.name`, `['first-step']`.
pub(super) fn member_access(name: &str) -> String {
    let mut characters = name.chars();
    let begins = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    match begins && characters.all(|character| character.is_ascii_alphanumeric() || character == '_') {
        true => format!(".{name}"),
        false => format!("['{name}']"),
    }
}

/// Renders while the runtime's other tasks go on elsewhere: within its limits a hostile expression still computes for
/// seconds, and a few of them would hold every thread that answers requests.
fn apart<T>(render: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(render),
        _ => render(),
    }
}

/// Refuses a value that could be stored but not read again, as the reader of JSON stops at a depth.
///
/// # Errors
/// `what` is nested too deeply.
pub(super) fn check_depth(value: &Value, what: std::fmt::Arguments<'_>) -> Result<(), ActionError> {
    fn is_deeper(value: &Value, levels: usize) -> bool {
        match value {
            Value::Array(items) => levels == 0 || items.iter().any(|item| is_deeper(item, levels - 1)),
            Value::Object(members) => levels == 0 || members.values().any(|member| is_deeper(member, levels - 1)),
            _ => false,
        }
    }
    if is_deeper(value, MAX_DEPTH) {
        return Err(ActionError::failed(format!("{what} is nested more than {MAX_DEPTH} levels deep")));
    }
    Ok(())
}

/// Whether an `if` with this rendered value is met: JavaScript's truthiness, but an empty array is false.
pub(super) fn is_truthy(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(yes)) => *yes,
        Some(Value::Number(number)) => number.as_f64().is_some_and(|number| number != 0.0 && !number.is_nan()),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(_)) => true,
    }
}

/// JavaScript's `String(value)`.
pub(super) fn js_string(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), js_number_to_string),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let texts: Vec<_> =
                items.iter().map(|item| if item.is_null() { String::new() } else { js_string(item) }).collect();
            texts.join(",")
        }
        Value::Object(_) => "[object Object]".into(),
    }
}

/// A task's data, from which its scopes are made.
pub(super) struct TaskData {
    base: Scope,
    environment_parameters: Value,
    secrets: Value,
    environment_secrets: Value,
    /// `{"steps": {…}}`
    steps: Map<String, Value>,
    public: Scope,
}

impl TaskData {
    /// The data of a task before its first step. In a dry run `environment_secrets` is empty.
    pub(super) fn new(
        task_id: &str,
        parameters: &Map<String, Value>,
        user: &UserSpec,
        environment_parameters: &Map<String, Value>,
        secrets: &Secrets,
        environment_secrets: &Secrets,
    ) -> Self {
        let mut base = Map::new();
        base.insert("parameters".into(), Value::Object(parameters.clone()));
        base.insert("environment".into(), json!({"parameters": environment_parameters, "secrets": {}}));
        base.insert("steps".into(), json!({}));
        base.insert("user".into(), serde_json::to_value(user).unwrap_or_default());
        base.insert("context".into(), json!({"task": {"id": task_id}}));
        let base = Scope { context: Context::from_json(&base).ok(), beta2: None };
        let mut steps = Map::new();
        steps.insert("steps".into(), json!({}));
        Self {
            public: base.clone(),
            base,
            environment_parameters: Value::Object(environment_parameters.clone()),
            secrets: Value::Object(secrets.expose_object()),
            environment_secrets: Value::Object(environment_secrets.expose_object()),
            steps,
        }
    }
    /// Makes a step's output visible.
    pub(super) fn add_step(&mut self, step_id: &str, output: Value) {
        if let Some(Value::Object(steps)) = self.steps.get_mut("steps") {
            steps.insert(step_id.to_string(), json!({ "output": output }));
        }
        let data = Context::from_json(&self.steps).ok().and_then(|context| context.get("steps").cloned());
        let context = match (&self.base.context, data) {
            (Some(base), Some(steps)) => Some(base.with("steps", steps)),
            _ => None,
        };
        self.public.context = context;
        if let Some(seen) = &mut self.public.beta2 {
            Arc::make_mut(seen)["steps"] = self.steps["steps"].clone();
        }
    }
    /// The same for a template of `backstage.io/v1beta2`, which sees nothing else.
    #[must_use]
    pub(super) fn for_beta2(mut self, parameters: &Map<String, Value>) -> Self {
        self.public.beta2 = Some(Arc::new(json!({"parameters": parameters, "steps": {}})));
        self
    }
    /// What `if` and `output` see: no secrets.
    pub(super) fn public(&self) -> &Scope {
        &self.public
    }
    /// What `input` and `each` see.
    pub(super) fn private(&self) -> Scope {
        self.with_secrets(&self.secrets, &self.environment_secrets)
    }
    /// As [`TaskData::private`] with empty objects in place of the secrets.
    pub(super) fn without_secrets(&self) -> Scope {
        self.with_secrets(&json!({}), &json!({}))
    }
    /// As [`TaskData::private`] with `***` in place of every secret.
    pub(super) fn masked(&self) -> Scope {
        self.with_secrets(&masked(&self.secrets), &masked(&self.environment_secrets))
    }
    /// Whether there are any secrets.
    pub(super) fn has_secrets(&self) -> bool {
        [&self.secrets, &self.environment_secrets].iter().any(|secrets| **secrets != json!({}))
    }
    fn with_secrets(&self, secrets: &Value, environment_secrets: &Value) -> Scope {
        let environment = json!({"parameters": self.environment_parameters, "secrets": environment_secrets});
        self.public.with("secrets", secrets).with("environment", &environment)
    }
}

fn masked(secrets: &Value) -> Value {
    let names = secrets.as_object().into_iter().flat_map(Map::keys);
    Value::Object(names.map(|name| (name.clone(), "***".into())).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn templating() -> Templating {
        Templating::new(&understudy_scm::Scm::from_config(&json!({})).unwrap())
    }

    #[test]
    fn texts_are_those_of_javascript() {
        let cases = [
            (json!(null), "null"),
            (json!(1.0), "1"),
            (json!(0.1), "0.1"),
            (json!(1e21), "1e+21"),
            (json!([1, null, ["a", {}]]), "1,,a,[object Object]"),
            (json!({"a": 1}), "[object Object]"),
        ];
        for (value, expected) in cases {
            assert_eq!(js_string(&value), expected);
        }
    }

    #[test]
    fn data_that_templates_may_not_see_leaves_every_text_as_it_is() {
        let parameters = json!({"constructor": 1, "fine": 2});
        let data = TaskData::new(
            "id",
            parameters.as_object().unwrap(),
            &UserSpec::default(),
            &Map::new(),
            &Secrets::default(),
            &Secrets::default(),
        );
        let renderer = Renderer::new(&templating(), "scaffolder.backstage.io/v1beta3");
        let text = json!("${{ parameters.fine }}");
        assert_eq!(renderer.render(Part::Input, &text, data.public()).unwrap(), Some(text.clone()));
        assert_eq!(renderer.render(Part::Input, &text, &data.private()).unwrap(), Some(text));
    }

    #[test]
    fn texts_that_stay_as_they_are_are_told() {
        let parameters = json!({"name": "n"});
        let secrets: Secrets = [("token", "hush")].into_iter().collect();
        let none = Secrets::default();
        let data =
            TaskData::new("id", parameters.as_object().unwrap(), &UserSpec::default(), &Map::new(), &secrets, &none);
        let renderer = Renderer::new(&templating(), "scaffolder.backstage.io/v1beta3");
        let value = json!({"fine": "${{ parameters.name }}", "list": [1, {"a-b": "x\n  ${{ parameters.name | }}"}],
            "url": "${{ parameters.name | parseRepoUrl }}", "secret": "${{ secrets.token | parseRepoUrl }}"});
        let mut unrendered = Vec::new();
        let rendered = renderer.render_telling(Part::Input, &value, &data.private(), "steps.x.input", &mut unrendered);
        assert_eq!(rendered.unwrap().unwrap()["list"], value["list"]);
        let lines: Vec<_> = unrendered.iter().map(|found| found.line("it stays")).collect();
        assert_eq!(
            lines,
            [
                "steps.x.input.list[1]['a-b']:2:25: Expected name, received end of input; it stays\n 2 |   ${{ parameters.name | }}\n   |                         ^",
                "steps.x.input.url:1:23: Template filter \"parseRepoUrl\" failed: No matching integration configuration for host n, please check your integrations config; it stays\n 1 | ${{ parameters.name | parseRepoUrl }}\n   |                       ^",
                "steps.x.input.secret:1:21: a value made from secrets could not be rendered; it stays\n 1 | ${{ secrets.token | parseRepoUrl }}\n   |                     ^",
            ]
        );
    }

    #[test]
    fn the_user_is_shown_as_far_as_known() {
        let user = UserSpec {
            entity: Some(json!({"metadata": {"name": "jane"}})),
            entity_ref: Some("user:default/jane".into()),
        };
        let data = TaskData::new("id", &Map::new(), &user, &Map::new(), &Secrets::default(), &Secrets::default());
        let renderer = Renderer::new(&templating(), "scaffolder.backstage.io/v1beta3");
        let text = json!("${{ user.ref }} ${{ user.entity.metadata.name }} ${{ user.entity.nope.nope }}.");
        assert_eq!(
            renderer.render(Part::Input, &text, data.public()).unwrap(),
            Some(json!("user:default/jane jane ."))
        );
    }
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_long_rendering_does_not_hold_up_other_work() {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let receiver = Mutex::new(receiver);
        let engine = Engine::builder().build().with_global_fn("answered", move |_: &[Data]| {
            Ok(Data::from(lock(&receiver).recv_timeout(std::time::Duration::from_secs(10)).is_ok()))
        });
        let rendering = tokio::spawn(async move {
            // Woken on the only worker, it has to run while this one renders.
            tokio::spawn(async move { sender.send(()) });
            let data = TaskData::new(
                "id",
                &Map::new(),
                &UserSpec::default(),
                &Map::new(),
                &Secrets::default(),
                &Secrets::default(),
            );
            Renderer::with(&engine).render(Part::Input, &json!("${{ answered() }}"), data.public())
        });
        assert_eq!(rendering.await.unwrap().unwrap(), Some(json!(true)));
    }
}
