//! Calls: macros, functions, methods, filters and tests.

use std::sync::{Arc, LazyLock};

use indexmap::IndexMap;

use super::env::{Cycler, Joiner, tables};
use super::path::{Member, Place, QuickLeaf};
use super::scope::{Exporting, FrameId, Held, Room};
use super::{Interp, Val, not_text};
use crate::ast::{self, Call, Expr, ExprId, ExprKind, FilterCall, Macro, NameId, Parameter, TestCall, Variable};
use crate::context::Context;
use crate::definition::Defined;
use crate::dialect::Dialect;
use crate::error::{Fault, Res, quote};
use crate::filters::FilterRef;
use crate::function::{Callable, HostFn, Kind};
use crate::globals;
use crate::methods;
use crate::tests::{Test, TestRef};
use crate::value::{MAX_VALUE_DEPTH, Record, Value, too_deep};

/// Evaluated arguments.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) positional: Vec<Value>,
    pub(crate) keyword: Vec<(NameId, Value)>,
}

/// A macro, or the body of a `call` with what it sees of its surroundings.
pub(super) struct Closure<'t> {
    pub(super) definition: &'t Macro,
    /// `None` for a macro, which sees the context only.
    pub(super) surroundings: Option<Surroundings<'t>>,
}

/// What the body of a `call` sees.
pub(super) struct Surroundings<'t> {
    pub(super) names: Vec<(u32, Val<'t>)>,
    pub(super) frame: Option<FrameId>,
}

/// The arguments of a macro: the last ones in [`Interp::arguments`].
#[derive(Clone, Copy)]
struct MacroArguments<'t> {
    /// Where they start.
    start: usize,
    positional: usize,
    /// The names of those after the positional ones.
    keywords: &'t [(NameId, ExprId)],
}

impl<'t> Interp<'t> {
    pub(super) fn eval_call(&mut self, call: &'t Call, depth: u32) -> Res<Value> {
        let Call { callee, arguments } = call;
        let (target, member) = self.callee(*callee, depth)?;
        match member {
            Member::Method(method) => {
                self.check_method(method, arguments)?;
                let arguments = self.evaluate_arguments(arguments, None, depth)?;
                self.depth = depth;
                methods::call(self, method, &target, arguments)
            }
            Member::Value(Value::Function(Callable(Kind::Macro(closure)))) => {
                let text = self.capture(|interp| interp.call_macro(closure, arguments, None, depth))?;
                Ok(Value::safe(text))
            }
            Member::Value(Value::Function(callable)) => {
                self.check_call(&callable, arguments)?;
                let arguments = self.evaluate_arguments(arguments, None, depth)?;
                self.call(&callable, arguments, depth)
            }
            Member::Value(other) => Err(self.not_callable(*callee, &other).hint(self.call_hint(*callee, &target))),
        }
    }

    /// A call whose result is written and nothing else: what a macro writes need not become a string first.
    pub(super) fn write_call(&mut self, call: &'t Call, offset: u32, depth: u32) -> Res<()> {
        if !matches!(self.env.ast.expr(call.callee).kind, ExprKind::Name(_) | ExprKind::Bound { .. }) {
            let value = self.eval_call(call, depth).map_err(|fault| fault.at(offset))?;
            return self.write_value(&value);
        }
        let callee = self.env.expr(call.callee);
        let place = match self.env.leaf_ref(callee) {
            Some(value) => {
                self.env.enter(depth + 1, callee.offset)?;
                Place::Near(value)
            }
            None => self.env.path_of(callee, depth)?,
        };
        let Value::Function(Callable(Kind::Macro(closure))) = *place else {
            let callee = place.into_val();
            let value = self.call_value(call, &callee, depth).map_err(|fault| fault.at(offset))?;
            return self.write_value(&value);
        };
        let start = self.out.byte_len();
        self.call_macro(closure, &call.arguments, None, depth).map_err(|fault| fault.at(offset))?;
        // It has been written for its macro, and is now written for the template.
        let units = self.out.units_since(start);
        self.count_written(units)
    }

    /// Calls what the name of a call stands for, which is no macro.
    fn call_value(&mut self, call: &'t Call, callee: &Value, depth: u32) -> Res<Value> {
        let Value::Function(callable) = callee else {
            let hint = self.call_hint(call.callee, &Value::Undefined);
            return Err(self.not_callable(call.callee, callee).hint(hint));
        };
        self.check_call(callable, &call.arguments)?;
        let arguments = self.evaluate_arguments(&call.arguments, None, depth)?;
        self.call(callable, arguments, depth)
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
            Kind::Host(_) | Kind::Defined(_) | Kind::Macro(_) => Ok(()),
        }
    }

    fn check_method(&self, method: methods::Method, arguments: &ast::Arguments) -> Res<()> {
        if self.dialect() == Dialect::Nunjucks3 {
            return Ok(());
        }
        methods::check(method, arguments.positional.len(), arguments.keyword.len())
    }

    /// What is called, and what it was taken from.
    fn callee(&mut self, callee: ExprId, depth: u32) -> Res<(Val<'t>, Member)> {
        match &self.env.ast.expr(callee).kind {
            ExprKind::Member { target, name, .. } => {
                let target = self.eval(*target, depth)?;
                let found = self.env.member(&target, self.env.ast.name(*name));
                Ok((target, found))
            }
            ExprKind::Index { target, key, .. } => {
                let target = self.eval(*target, depth)?;
                let key = self.eval(*key, depth)?;
                let found = self.env.index(&target, &key)?;
                Ok((target, found))
            }
            _ => Ok((Val::Own(Value::Undefined), Member::Value(self.eval(callee, depth)?.into_owned()))),
        }
    }

    fn not_callable(&self, callee: ExprId, value: &Value) -> Box<Fault> {
        let what = match self.path_text(callee) {
            Some(path) => format!("Template value {}", quote(&path)),
            None => "Template expression".to_owned(),
        };
        Fault::evaluation(format!("{what} resolved to {} and cannot be called", value.type_name()))
    }

    fn path_text(&self, id: ExprId) -> Option<String> {
        let ast = self.env.ast;
        // From the last segment to the first, without recursion: a chain is as long as its source.
        let mut segments = Vec::new();
        let mut id = id;
        loop {
            id = match &ast.expr(id).kind {
                ExprKind::Name(Variable { name, .. }) | ExprKind::Bound { name, .. } => {
                    segments.push(ast.name(*name).to_owned());
                    break;
                }
                ExprKind::Member { target, name, .. } => {
                    segments.push(ast.name(*name).to_owned());
                    *target
                }
                ExprKind::Index { target, key, .. } => {
                    segments.push(match &ast.expr(*key).kind {
                        ExprKind::Literal(Value::String(key)) => key.to_string(),
                        ExprKind::Name(Variable { name, .. }) | ExprKind::Bound { name, .. } => {
                            ast.name(*name).to_owned()
                        }
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

    /// Evaluates arguments, after `first`.
    pub(super) fn evaluate_arguments(
        &mut self,
        arguments: &'t ast::Arguments,
        first: Option<Value>,
        depth: u32,
    ) -> Res<Arguments> {
        let ast = self.env.ast;
        let mut positional = self.spare.pop().unwrap_or_default();
        positional.extend(first);
        for id in ast.positional(arguments) {
            positional.push(self.eval(*id, depth)?.into_owned());
        }
        let mut keyword = Vec::new();
        for (name, id) in ast.keywords(arguments) {
            keyword.push((*name, self.eval(*id, depth)?.into_owned()));
        }
        Ok(Arguments { positional, keyword })
    }

    /// Keeps a list for the next arguments.
    fn recycle(&mut self, mut values: Vec<Value>) {
        values.clear();
        self.spare.push(values);
    }

    /// The arguments as a function of Nunjucks sees them: keywords come last, as a record.
    fn flatten(&self, arguments: Arguments) -> Vec<Value> {
        let mut values = arguments.positional;
        if !arguments.keyword.is_empty() {
            let named = arguments.keyword.into_iter();
            let mut keyword: IndexMap<Arc<str>, Value> =
                named.map(|(name, value)| (self.env.ast.name(name).into(), value)).collect();
            keyword.insert("__keywords".into(), Value::Bool(true));
            values.push(Value::Record(Record::new(keyword)));
        }
        values
    }

    /// Calls a function from within a method.
    pub(crate) fn invoke(&mut self, callable: &Callable, values: Vec<Value>) -> Res<Value> {
        let depth = self.depth;
        let Kind::Macro(closure) = callable.0 else {
            return self.call(callable, Arguments { positional: values, ..Arguments::default() }, depth);
        };
        let arguments = MacroArguments { start: self.arguments.len(), positional: values.len(), keywords: &[] };
        self.arguments.extend(values.into_iter().map(Val::Own));
        let text = self.capture(|interp| interp.run_macro(closure, arguments, None, depth))?;
        self.depth = depth;
        Ok(Value::safe(text))
    }

    /// Calls anything but a macro.
    fn call(&mut self, callable: &Callable, arguments: Arguments, depth: u32) -> Res<Value> {
        self.depth = depth;
        // JavaScript's functions take what they are given.
        let arguments = match &callable.0 {
            Kind::CyclerNext(_) | Kind::CyclerReset(_) | Kind::Joiner(_) if self.dialect() == Dialect::Nunjucks3 => {
                Arguments::default()
            }
            _ => arguments,
        };
        match &callable.0 {
            Kind::Host(host) => self.call_host("global", &host.name, &*host.function, arguments),
            Kind::Builtin(builtin) => globals::call(self, *builtin, arguments),
            Kind::Defined(index) => self.call_defined(*index, arguments, depth),
            Kind::Method(method) => methods::call(self, method.1, &method.0, arguments),
            Kind::CyclerNext(cycler) => Ok(self.cyclers[*cycler].advance()),
            Kind::CyclerReset(cycler) => {
                self.cyclers[*cycler].reset();
                Ok(Value::Undefined)
            }
            Kind::Joiner(joiner) => Ok(self.joiners[*joiner].separate()),
            Kind::Cycler(_) => Err(Fault::evaluation("A cycler cannot be called")),
            Kind::Macro(_) => Err(Fault::evaluation("A macro cannot be called here")),
        }
    }

    /// In the older dialect, keyword arguments are one more positional argument.
    pub(crate) fn positional_only(&self, arguments: Arguments) -> Arguments {
        match self.dialect() {
            Dialect::Nunjucks3 => Arguments { positional: self.flatten(arguments), ..Arguments::default() },
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
    fn call_defined(&mut self, index: usize, arguments: Arguments, depth: u32) -> Res<Value> {
        static NOTHING: LazyLock<Context> = LazyLock::new(Context::new);
        // Numbers are given out by the engine that the template belongs to.
        let settings = self.env.settings;
        let Some(defined) = settings.defined.get(index) else { return Err(Fault::evaluation("Not a function")) };
        let Defined { kind, name, ast, expr, arguments: variable } = &**defined;
        let arguments = self.positional_only(arguments);
        if !arguments.keyword.is_empty() {
            return Err(Fault::evaluation(format!("Template {kind} \"{name}\" does not accept keyword arguments")));
        }
        self.count_capability_call()?;
        let values = arguments.positional.iter().map(|value| self.export(value)).collect::<Res<Vec<_>>>()?;
        let values = self.array(values)?;
        let (names, hints) = tables(ast);
        let caller = (
            std::mem::replace(&mut self.env.ast, ast),
            std::mem::replace(&mut self.env.exprs, &ast.exprs),
            std::mem::replace(&mut self.env.context, &NOTHING),
            std::mem::replace(&mut self.env.names, names),
            std::mem::replace(&mut self.env.hints, hints),
            std::mem::take(&mut self.env.heap),
            std::mem::replace(&mut self.env.in_definition, true),
            std::mem::replace(&mut self.env.is_plain, settings.syntax.dialect == Dialect::Nunjitsu),
        );
        let result = self.run_definition(*expr, *variable, values, depth);
        let env = &mut self.env;
        (env.ast, env.exprs, env.context, env.names, env.hints, env.heap, env.in_definition, env.is_plain) = caller;
        let result = result.map(|value| match value {
            Value::Safe(text) => Value::String(text.as_ref().clone()),
            value => value,
        });
        result.map_err(|fault| fault.of_callee(|reason| format!("Template {kind} \"{name}\" failed: {reason}")))
    }

    fn run_definition(&mut self, expr: ExprId, variable: Option<u32>, values: Value, depth: u32) -> Res<Value> {
        let suspended = self.env.start_unit(self.env.ast.slots, self.env.exporting)?;
        self.env.start_frame(0, None)?;
        if let Some(slot) = variable {
            self.env.declare(slot, Held::Own(values));
        }
        let value = self.eval(expr, depth)?;
        let result = self.export(&value);
        self.env.end_frame();
        self.env.end_unit(&suspended);
        result
    }

    /// A `call` block's call: the macro gets the block as `caller`.
    pub(super) fn call_with_caller(&mut self, call: ExprId, caller: Value, depth: u32) -> Res<()> {
        let not_a_macro = || Fault::evaluation("Call blocks can target only template macros");
        let ExprKind::Call(call) = &self.env.ast.expr(call).kind else { return Err(not_a_macro()) };
        let (_, found) = self.callee(call.callee, depth)?;
        let Member::Value(Value::Function(Callable(Kind::Macro(closure)))) = found else { return Err(not_a_macro()) };
        if self.env.closures[closure].surroundings.is_some() && self.dialect() == Dialect::Nunjitsu {
            return Err(not_a_macro());
        }
        self.call_macro(closure, &call.arguments, Some(&caller), depth)
    }

    /// Calls a macro and writes what it writes.
    fn call_macro(
        &mut self,
        closure: usize,
        arguments: &'t ast::Arguments,
        caller: Option<&Value>,
        depth: u32,
    ) -> Res<()> {
        let Closure { definition, surroundings } = &self.env.closures[closure];
        if definition.simple && surroundings.is_none() && caller.is_none() {
            return self.call_simple(definition, arguments, depth);
        }
        let ast = self.env.ast;
        let start = self.arguments.len();
        for id in ast.positional(arguments) {
            self.push_argument(*id, depth)?;
        }
        let positional = self.arguments.len() - start;
        let keywords = ast.keywords(arguments);
        for (_, id) in keywords {
            self.push_argument(*id, depth)?;
        }
        self.run_macro(closure, MacroArguments { start, positional, keywords }, caller, depth)
    }

    /// The same where each argument can be put where the macro will look for it.
    fn call_simple(&mut self, definition: &'t Macro, arguments: &'t ast::Arguments, depth: u32) -> Res<()> {
        let ast = self.env.ast;
        let room = self.env.make_room(definition)?;
        let positional = ast.positional(arguments);
        for (index, id) in positional.iter().enumerate() {
            self.pass_argument(*id, room, definition.parameters.get(index), depth)?;
        }
        let mut given: u64 = 0;
        for (name, id) in ast.keywords(arguments) {
            let position = definition.parameters.iter().position(|parameter| parameter.variable.name == *name);
            let position = position.filter(|position| *position >= positional.len());
            given |= position.map_or(0, |position| 1 << position);
            self.pass_argument(*id, room, position.map(|position| &definition.parameters[position]), depth)?;
        }
        let suspended = self.env.start_room(room);
        for (index, parameter) in definition.parameters.iter().enumerate().skip(positional.len()) {
            if given & (1 << index) != 0 {
                continue;
            }
            match parameter.default.map(|default| self.env.expr(default)) {
                Some(Expr { kind: ExprKind::Literal(value), offset, .. }) => {
                    self.env.enter(depth + 1, *offset)?;
                    self.env.pass(room, parameter, || Held::Ref(value));
                }
                _ => self.env.pass(room, parameter, Held::default),
            }
        }
        self.env.check_depth(depth + 2)?;
        self.body(&definition.body, depth + 2)?;
        self.env.end_frame();
        self.env.end_unit(&suspended);
        Ok(())
    }

    /// Evaluates an argument; one without a parameter is good for nothing.
    #[inline(always)]
    fn pass_argument(&mut self, id: ExprId, room: Room, parameter: Option<&Parameter>, depth: u32) -> Res<()> {
        let expr = self.env.expr(id);
        let (Some(parameter), Some(leaf)) = (parameter, self.env.quick_leaf(expr)) else {
            let value = self.eval(id, depth)?;
            if let Some(parameter) = parameter {
                self.env.pass(room, parameter, || value.clone().into());
            }
            return Ok(());
        };
        self.env.enter(depth + 1, expr.offset)?;
        match leaf {
            QuickLeaf::Ref(value) => self.env.pass(room, parameter, || Held::Ref(value)),
            QuickLeaf::Number(bits) => {
                self.env.pass(room, parameter, || Held::Own(Value::Number(f64::from_bits(bits))));
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn push_argument(&mut self, id: ExprId, depth: u32) -> Res<()> {
        let expr = self.env.expr(id);
        match self.env.leaf(expr) {
            Some(value) => {
                self.env.enter(depth + 1, expr.offset)?;
                self.arguments.push(value);
            }
            None => {
                let value = self.eval(id, depth)?;
                self.arguments.push(value);
            }
        }
        Ok(())
    }

    fn run_macro(
        &mut self,
        closure: usize,
        arguments: MacroArguments<'t>,
        caller: Option<&Value>,
        depth: u32,
    ) -> Res<()> {
        let Closure { definition, surroundings } = &self.env.closures[closure];
        let (definition, outer) = (*definition, surroundings.as_ref().map(|surroundings| surroundings.frame));
        let exporting = Exporting { macros: outer.is_none(), assignments: false };
        let suspended = self.env.start_callable(definition, outer.flatten(), exporting)?;
        if outer.is_some() {
            self.env.restore(closure);
        }
        self.bind(definition, arguments, caller, depth)?;
        self.arguments.truncate(arguments.start);
        self.env.check_depth(depth + 2)?;
        self.body(&definition.body, depth + 2)?;
        self.env.end_frame();
        self.env.end_unit(&suspended);
        Ok(())
    }

    /// Gives the parameters of a macro their values. Positional arguments first fill those without a default, then those
    /// with one.
    #[inline]
    fn bind(
        &mut self,
        definition: &'t Macro,
        arguments: MacroArguments<'t>,
        caller: Option<&Value>,
        depth: u32,
    ) -> Res<()> {
        let (required, optional) = definition.parameters.split_at(definition.required);
        for (index, parameter) in required.iter().enumerate() {
            let value = match index < arguments.positional {
                true => self.take_argument(arguments.start + index),
                false => {
                    let value = self.keyword(arguments, caller, parameter);
                    // One of the same name before it has taken the argument.
                    let is_same = |other: &Parameter| other.variable.name == parameter.variable.name;
                    value.filter(|_| !required[arguments.positional.min(index)..index].iter().any(is_same))
                }
                .unwrap_or(Val::NOTHING),
            };
            self.env.bind_parameter(parameter, value);
        }
        let ast = self.env.ast;
        let is_caller = |parameter: &Parameter| ast.name(parameter.variable.name) == "caller";
        if let Some(slot) = definition.caller
            && !definition.parameters.iter().any(is_caller)
            && let Some(caller) = self.named_caller(arguments, caller)
        {
            self.env.declare(slot, caller.into());
        }
        for (index, parameter) in (required.len()..).zip(optional) {
            let value = match index < arguments.positional {
                true => Some(self.take_argument(arguments.start + index)),
                false => self.keyword(arguments, caller, parameter),
            };
            let value = match (value, parameter.default) {
                (Some(value), _) => value,
                // A default sees the parameters before it.
                (None, Some(default)) => self.eval(default, depth)?,
                (None, None) => Val::NOTHING,
            };
            self.env.bind_parameter(parameter, value);
        }
        Ok(())
    }

    fn take_argument(&mut self, index: usize) -> Val<'t> {
        std::mem::replace(&mut self.arguments[index], Val::NOTHING)
    }

    /// The keyword argument for a parameter; of several, the last.
    #[inline]
    fn keyword(&self, arguments: MacroArguments<'t>, caller: Option<&Value>, parameter: &Parameter) -> Option<Val<'t>> {
        if let Some(caller) = caller
            && self.env.ast.name(parameter.variable.name) == "caller"
        {
            return Some(Val::Own(caller.clone()));
        }
        let position = arguments.keywords.iter().rposition(|(name, _)| *name == parameter.variable.name)?;
        Some(self.arguments[arguments.start + arguments.positional + position].clone())
    }

    /// What a macro sees as `caller`: the body of a `call`, or a keyword argument of that name.
    fn named_caller(&self, arguments: MacroArguments<'t>, caller: Option<&Value>) -> Option<Val<'t>> {
        if let Some(caller) = caller {
            return Some(Val::Own(caller.clone()));
        }
        let ast = self.env.ast;
        let position = arguments.keywords.iter().rposition(|(name, _)| ast.name(*name) == "caller")?;
        Some(self.arguments[arguments.start + arguments.positional + position].clone())
    }

    pub(super) fn eval_filter(&mut self, call: &'t FilterCall, depth: u32) -> Res<Value> {
        if let FilterRef::Unknown(unknown) = &call.filter {
            return Err(unknown.fault());
        }
        let input = self.eval(call.input, depth)?.into_owned();
        self.apply_filter(&call.filter, input, &call.arguments, depth)
    }

    pub(super) fn apply_filter(
        &mut self,
        filter: &'t FilterRef,
        input: Value,
        arguments: &'t ast::Arguments,
        depth: u32,
    ) -> Res<Value> {
        let kind = input.type_name();
        let arguments = self.evaluate_arguments(arguments, Some(input), depth)?;
        match filter {
            FilterRef::Builtin(filter) => {
                let values = self.flatten(arguments);
                if self.dialect() == Dialect::Nunjitsu && values.iter().any(Value::has_functions) {
                    return Err(not_text());
                }
                self.depth = depth;
                let result = (filter.apply)(self, &values).map_err(|fault| {
                    fault.reword(|reason| format!("Filter \"{}\" failed for {kind} input: {reason}", filter.name))
                })?;
                self.recycle(values);
                Ok(result)
            }
            FilterRef::Unknown(unknown) => Err(unknown.fault()),
            FilterRef::Defined { index, .. } => self.call_defined(*index, arguments, depth),
            FilterRef::Host { name, function } => self.call_host("filter", name, &**function, arguments),
        }
    }

    pub(super) fn eval_test(&mut self, call: &'t TestCall, depth: u32) -> Res<bool> {
        let TestCall { test, negated, input, arguments } = call;
        let test = self.test(test, arguments)?;
        let input = self.eval(*input, depth)?.into_owned();
        let kind = input.type_name();
        let arguments = self.evaluate_arguments(arguments, Some(input), depth)?;
        let mut values = self.flatten(arguments);
        values.resize(values.len().max(2), Value::Undefined);
        let refuses_functions = self.dialect() == Dialect::Nunjitsu && !test.takes_functions;
        self.depth = depth;
        let holds = if refuses_functions && values.iter().any(Value::has_functions) {
            Err(not_text())
        } else {
            (test.holds)(self, &values)
        };
        let holds = holds.map_err(|fault| {
            fault.reword(|reason| format!("Test \"{}\" failed for {kind} input: {reason}", test.name))
        })?;
        self.recycle(values);
        Ok(holds != *negated)
    }

    /// The test, if it takes so many arguments.
    fn test(&self, test: &TestRef, arguments: &ast::Arguments) -> Res<&'static Test> {
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
