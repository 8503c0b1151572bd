//! Calls: macros, functions, methods, filters and tests.

use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use indexmap::IndexMap;

use super::expression::Found;
use super::not_text;
use super::scope::{Exporting, Frame, Scope};
use super::{Cycler, Interp, Joiner};
use crate::ast::{self, ExprId, ExprKind, Macro};
use crate::context::Context;
use crate::definition::{ARGUMENTS, Defined};
use crate::dialect::Dialect;
use crate::error::{Fault, Res};
use crate::filters::FilterRef;
use crate::function::{Callable, HostFn, Kind};
use crate::globals;
use crate::methods;
use crate::string::Str;
use crate::tests::{Test, TestRef};
use crate::value::{MAX_VALUE_DEPTH, Record, Value, too_deep};

/// Evaluated arguments.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) positional: Vec<Value>,
    pub(crate) keyword: IndexMap<Arc<str>, Value>,
}

impl Arguments {
    /// The arguments as a function of Nunjucks sees them: keywords come last, as a record.
    fn flatten(self) -> Vec<Value> {
        let mut values = self.positional;
        if !self.keyword.is_empty() {
            let mut keyword = self.keyword;
            keyword.insert("__keywords".into(), Value::Bool(true));
            values.push(Value::Record(Record::new(keyword)));
        }
        values
    }
}

/// A macro, or the body of a `call` with the scope it was written in.
#[derive(Clone)]
pub(super) struct Closure<'t> {
    pub(super) definition: &'t Arc<Macro>,
    /// `None` for a macro, which sees the context only.
    pub(super) surroundings: Option<Surroundings>,
}

/// What the body of a `call` sees.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) scope: Rc<Scope>,
    pub(super) frame: Rc<Frame>,
}

impl<'t> Interp<'t> {
    pub(super) fn eval_call(&mut self, callee: ExprId, arguments: &'t ast::Arguments) -> Res<Value> {
        let (target, found) = self.callee(callee)?;
        match found {
            Found::Method(method) => {
                self.check_method(method, arguments)?;
                let arguments = self.arguments(arguments)?;
                methods::call(self, method, &target, arguments)
            }
            Found::Value(Value::Function(callable)) => {
                self.check_call(&callable, arguments)?;
                let arguments = self.arguments(arguments)?;
                self.call(&callable, arguments)
            }
            Found::Value(other) => Err(self.not_callable(callee, &other).hint(self.call_hint(callee, &target))),
        }
    }

    /// Refuses arguments by their number and kind, before any is evaluated.
    fn check_call(&self, callable: &Callable, arguments: &ast::Arguments) -> Res<()> {
        if self.dialect() == Dialect::Nunjucks3 {
            return Ok(());
        }
        let exactly_none = |what| exactly(arguments, 0, what);
        match &callable.0 {
            Kind::Builtin(builtin) => globals::check(*builtin, arguments.positional.len(), arguments.keyword.len()),
            Kind::Method(method) => self.check_method(method.1, arguments),
            Kind::CyclerNext(_) => exactly_none("Cycler next"),
            Kind::CyclerReset(_) => exactly_none("Cycler reset"),
            Kind::Joiner(_) => exactly_none("Joiner instance"),
            Kind::Cycler(_) => Err(Fault::evaluation("Interpreter builtin object is not directly callable")),
            Kind::Host { .. } | Kind::Defined(_) | Kind::Macro(_) => Ok(()),
        }
    }

    fn check_method(&self, method: methods::Method, arguments: &ast::Arguments) -> Res<()> {
        if self.dialect() == Dialect::Nunjucks3 {
            return Ok(());
        }
        methods::check(method, arguments.positional.len(), arguments.keyword.len())
    }

    /// What is called, and what it was taken from.
    fn callee(&mut self, callee: ExprId) -> Res<(Value, Found)> {
        match &self.ast.expr(callee).kind {
            ExprKind::Member { target, name } => {
                let target = self.eval(*target)?;
                let found = self.member(&target, name);
                Ok((target, found))
            }
            ExprKind::Index { target, key } => {
                let target = self.eval(*target)?;
                let key = self.eval(*key)?;
                let found = self.index(&target, &key)?;
                Ok((target, found))
            }
            _ => Ok((Value::Undefined, Found::Value(self.eval(callee)?))),
        }
    }

    fn not_callable(&self, callee: ExprId, value: &Value) -> Box<Fault> {
        let what = match self.path(callee) {
            Some(path) => format!("Template value \"{path}\""),
            None => "Template expression".to_owned(),
        };
        Fault::evaluation(format!("{what} resolved to {} and cannot be called", value.type_name()))
    }

    fn path(&self, id: ExprId) -> Option<String> {
        // From the last segment to the first, without recursion: a chain is as long as its source.
        let mut segments = Vec::new();
        let mut id = id;
        loop {
            id = match &self.ast.expr(id).kind {
                ExprKind::Name(name) | ExprKind::Bound { name, .. } => {
                    segments.push(name.to_string());
                    break;
                }
                ExprKind::Member { target, name } => {
                    segments.push(name.to_string());
                    *target
                }
                ExprKind::Index { target, key } => {
                    segments.push(match &self.ast.expr(*key).kind {
                        ExprKind::Literal(Value::String(key)) => key.to_string(),
                        ExprKind::Name(name) | ExprKind::Bound { name, .. } => name.to_string(),
                        _ => return None,
                    });
                    *target
                }
                _ => return None,
            };
        }
        segments.reverse();
        Some(segments.join("."))
    }

    pub(crate) fn call(&mut self, callable: &Callable, arguments: Arguments) -> Res<Value> {
        // JavaScript's functions take what they are given.
        let arguments = match &callable.0 {
            Kind::CyclerNext(_) | Kind::CyclerReset(_) | Kind::Joiner(_) if self.dialect() == Dialect::Nunjucks3 => {
                Arguments::default()
            }
            _ => arguments,
        };
        match &callable.0 {
            Kind::Host { name, function } => self.call_host("global", name, &**function, arguments),
            Kind::Builtin(builtin) => globals::call(self, *builtin, arguments),
            Kind::Defined(index) => self.call_defined(*index, arguments),
            Kind::Method(method) => methods::call(self, method.1, &method.0, arguments),
            Kind::Macro(closure) => self.call_macro(*closure, arguments).map(Value::Safe),
            Kind::CyclerNext(cycler) => Ok(self.cyclers[*cycler].advance()),
            Kind::CyclerReset(cycler) => {
                self.cyclers[*cycler].reset();
                Ok(Value::Undefined)
            }
            Kind::Joiner(joiner) => Ok(self.joiners[*joiner].separate()),
            Kind::Cycler(_) => Err(Fault::evaluation("A cycler cannot be called")),
        }
    }

    /// In the older dialect, keyword arguments are one more positional argument.
    pub(crate) fn positional_only(&self, arguments: Arguments) -> Arguments {
        match self.dialect() {
            Dialect::Nunjucks3 => Arguments { positional: arguments.flatten(), ..Arguments::default() },
            Dialect::Nunjitsu => arguments,
        }
    }

    /// Calls a function that the host registered.
    fn call_host(&mut self, what: &str, name: &str, function: &HostFn, arguments: Arguments) -> Res<Value> {
        let arguments = self.positional_only(arguments);
        if !arguments.keyword.is_empty() {
            return Err(Fault::evaluation(format!("Template {what} \"{name}\" does not accept keyword arguments")));
        }
        self.count_capability_call()?;
        let values = arguments.positional.iter().map(|value| self.export(value)).collect::<Res<Vec<_>>>()?;
        let result = function(&values)
            .map_err(|reason| Fault::capability(format!("Template {what} \"{name}\" failed: {reason}")))?;
        if result.depth() > MAX_VALUE_DEPTH {
            return Err(Fault::evaluation(too_deep()));
        }
        Ok(result)
    }

    /// Calls what is written in the language itself. It gets copies and gives one, so that nothing it does is seen here.
    fn call_defined(&mut self, index: usize, arguments: Arguments) -> Res<Value> {
        static NOTHING: LazyLock<Context> = LazyLock::new(Context::new);
        // Numbers are given out by the engine that the template belongs to.
        let Some(defined) = self.settings.defined.get(index) else { return Err(Fault::evaluation("Not a function")) };
        let Defined { kind, name, ast, expr } = &**defined;
        if !arguments.keyword.is_empty() {
            return Err(Fault::evaluation(format!("Template {kind} \"{name}\" does not accept keyword arguments")));
        }
        self.count_capability_call()?;
        let values = arguments.positional.iter().map(|value| self.export(value)).collect::<Res<Vec<_>>>()?;
        let values = self.array(values)?;
        let scope = Scope::detached();
        scope.declare(&ARGUMENTS.into(), values);
        let caller = (
            std::mem::replace(&mut self.ast, ast),
            std::mem::replace(&mut self.context, &NOTHING),
            std::mem::replace(&mut self.root, scope.clone()),
            std::mem::replace(&mut self.scope, scope),
            std::mem::replace(&mut self.frame, Frame::new(0)),
            std::mem::take(&mut self.exports),
            std::mem::take(&mut self.heap),
            std::mem::replace(&mut self.in_definition, true),
        );
        let result = self.eval(*expr).and_then(|value| self.export(&value));
        (self.ast, self.context, self.root, self.scope, self.frame, self.exports, self.heap, self.in_definition) =
            caller;
        let result = result.map(|value| match value {
            Value::Safe(text) => Value::String(text),
            value => value,
        });
        result.map_err(|fault| fault.of_callee(|reason| format!("Template {kind} \"{name}\" failed: {reason}")))
    }

    /// A `call` block's call: the macro gets the block as `caller`.
    pub(super) fn call_with_caller(&mut self, call: ExprId, caller: Value) -> Res<Str> {
        let not_a_macro = || Fault::evaluation("Call blocks can target only template macros");
        let ExprKind::Call { callee, arguments } = &self.ast.expr(call).kind else { return Err(not_a_macro()) };
        let (_, found) = self.callee(*callee)?;
        let Found::Value(Value::Function(Callable(Kind::Macro(closure)))) = found else { return Err(not_a_macro()) };
        if self.closures[closure].surroundings.is_some() && self.dialect() == Dialect::Nunjitsu {
            return Err(not_a_macro());
        }
        let mut arguments = self.arguments(arguments)?;
        arguments.keyword.insert("caller".into(), caller);
        self.call_macro(closure, arguments)
    }

    fn call_macro(&mut self, closure: usize, arguments: Arguments) -> Res<Str> {
        let Closure { definition, surroundings } = self.closures[closure].clone();
        let (scope, frame, exporting) = match surroundings {
            Some(outer) => {
                (Scope::isolated(&outer.scope), Frame::within(definition.frame, outer.frame), Exporting::default())
            }
            None => (Scope::detached(), Frame::new(definition.frame), Exporting { macros: true, assignments: false }),
        };
        let Arguments { positional, mut keyword } = arguments;
        // Positional arguments first fill the parameters without a default, then those with one.
        let required = definition.parameters.iter().filter(|parameter| parameter.default.is_none());
        let optional = definition.parameters.iter().filter(|parameter| parameter.default.is_some());
        let mut positional = positional.into_iter();
        for parameter in required {
            let given = positional.next();
            let value = given.or_else(|| keyword.get(&parameter.name).cloned()).unwrap_or_default();
            if let Some(slot) = parameter.slot {
                frame.set(slot, value.clone());
            }
            scope.declare(&parameter.name, value);
        }
        for (parameter, value) in optional.clone().zip(positional) {
            keyword.insert(parameter.name.clone(), value);
        }
        let declares_caller = definition.parameters.iter().any(|parameter| &*parameter.name == "caller");
        if let Some(caller) = keyword.get("caller").filter(|_| !declares_caller) {
            scope.declare(&"caller".into(), caller.clone());
        }
        for parameter in optional {
            let value = match (keyword.get(&parameter.name), parameter.default) {
                (Some(given), _) => given.clone(),
                // A default sees the parameters before it.
                (None, Some(default)) => {
                    let place = (scope.clone(), frame.clone(), exporting);
                    self.at(place, |interp| interp.eval(default))?
                }
                (None, None) => Value::Undefined,
            };
            scope.declare(&parameter.name, value);
        }
        self.run_macro_body((scope, frame, exporting), &definition.body)
    }

    pub(super) fn apply_filter(&mut self, filter: &FilterRef, input: Value, arguments: Arguments) -> Res<Value> {
        match filter {
            FilterRef::Builtin(filter) => {
                let kind = input.type_name();
                let mut values = Vec::with_capacity(1 + arguments.positional.len());
                values.push(input);
                values.extend(arguments.flatten());
                if self.dialect() == Dialect::Nunjitsu && values.iter().any(Value::has_functions) {
                    return Err(not_text());
                }
                (filter.apply)(self, &values).map_err(|fault| {
                    fault.reword(|reason| format!("Filter \"{}\" failed for {kind} input: {reason}", filter.name))
                })
            }
            FilterRef::Unknown(unknown) => Err(unknown.fault()),
            FilterRef::Defined { index, .. } => {
                let mut arguments = arguments;
                arguments.positional.insert(0, input);
                self.call_defined(*index, arguments)
            }
            FilterRef::Host { name, function } => {
                let mut arguments = arguments;
                arguments.positional.insert(0, input);
                self.call_host("filter", name, &**function, arguments)
            }
        }
    }

    /// The test, if it takes so many arguments.
    pub(super) fn test(&self, test: &TestRef, arguments: &ast::Arguments) -> Res<&'static Test> {
        let test = match test {
            TestRef::Known(test) => *test,
            TestRef::Unknown(unknown) => return Err(unknown.fault()),
        };
        if self.dialect() == Dialect::Nunjucks3 {
            return Ok(test);
        }
        let name = test.name;
        if !arguments.keyword.is_empty() {
            return Err(Fault::evaluation(format!("Template test {name} does not accept keyword arguments")));
        }
        if arguments.positional.len() != test.arity {
            let plural = if test.arity == 1 { "" } else { "s" };
            return Err(Fault::evaluation(format!(
                "Template test {name} requires {} positional argument{plural}",
                test.arity
            )));
        }
        Ok(test)
    }

    pub(super) fn apply_test(&mut self, test: &'static Test, input: Value, arguments: Arguments) -> Res<bool> {
        let kind = input.type_name();
        let mut values = vec![input];
        values.extend(arguments.flatten());
        values.resize(values.len().max(2), Value::Undefined);
        let refuses_functions = self.dialect() == Dialect::Nunjitsu && !test.takes_functions;
        let holds = if refuses_functions && values.iter().any(Value::has_functions) {
            Err(not_text())
        } else {
            (test.holds)(self, &values)
        };
        holds
            .map_err(|fault| fault.reword(|reason| format!("Test \"{}\" failed for {kind} input: {reason}", test.name)))
    }

    pub(crate) fn new_cycler(&mut self, items: Vec<Value>) -> Value {
        self.cyclers.push(Cycler { items, next: 0, current: Value::Null });
        Value::Function(Callable(Kind::Cycler(self.cyclers.len() - 1)))
    }

    /// What JSON has of a cycler in the older dialect, where it is an object.
    pub(crate) fn cycler_record(&self, callable: &Callable) -> Option<Value> {
        let Kind::Cycler(cycler) = callable.0 else { return None };
        let current = self.cyclers[cycler].current.clone();
        Some(Value::Record([("current", current)].into_iter().collect()))
    }

    pub(crate) fn new_joiner(&mut self, separator: Value) -> Value {
        self.joiners.push(Joiner { separator, used: false });
        Value::Function(Callable(Kind::Joiner(self.joiners.len() - 1)))
    }
}

/// Refuses any other number of arguments, and keywords.
fn exactly(arguments: &ast::Arguments, count: usize, what: &str) -> Res<()> {
    if !arguments.keyword.is_empty() {
        return Err(Fault::evaluation(format!("{what} does not accept keyword arguments")));
    }
    if arguments.positional.len() == count {
        return Ok(());
    }
    let plural = if count == 1 { "" } else { "s" };
    Err(Fault::evaluation(format!("{what} requires {count} positional argument{plural}")))
}

impl Cycler {
    fn advance(&mut self) -> Value {
        self.current = self.items.get(self.next).cloned().unwrap_or_default();
        self.next = if self.next + 1 < self.items.len() { self.next + 1 } else { 0 };
        self.current.clone()
    }

    fn reset(&mut self) {
        self.next = 0;
        self.current = Value::Null;
    }
}

impl Joiner {
    fn separate(&mut self) -> Value {
        if self.used {
            self.separator.clone()
        } else {
            self.used = true;
            Value::string("")
        }
    }
}
