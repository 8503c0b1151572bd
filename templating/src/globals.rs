//! The functions every template can call: `range`, `cycler`, `joiner`.

use std::cmp::Ordering;

use crate::error::{Fault, Res};
use crate::eval::{Arguments, Interp};
use crate::function::{Callable, Kind};
use crate::value::Value;

/// A function of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builtin {
    Range,
    Cycler,
    Joiner,
}

/// The names of all of them.
pub(crate) const NAMES: [&str; 3] = ["cycler", "joiner", "range"];

/// The value of a global name.
pub(crate) fn find(name: &str) -> Option<&'static Value> {
    static RANGE: Value = Value::Function(Callable(Kind::Builtin(Builtin::Range)));
    static CYCLER: Value = Value::Function(Callable(Kind::Builtin(Builtin::Cycler)));
    static JOINER: Value = Value::Function(Callable(Kind::Builtin(Builtin::Joiner)));
    match name {
        "range" => Some(&RANGE),
        "cycler" => Some(&CYCLER),
        "joiner" => Some(&JOINER),
        _ => None,
    }
}

/// Refuses arguments by their number and kind.
pub(crate) fn check(builtin: Builtin, positional: usize, keyword: usize) -> Res<()> {
    let (name, most) = match builtin {
        Builtin::Range => ("range", Some(3)),
        Builtin::Cycler => ("cycler", None),
        Builtin::Joiner => ("joiner", Some(1)),
    };
    if keyword > 0 {
        return Err(Fault::evaluation(format!("Built-in global {name} does not accept keyword arguments")));
    }
    match most {
        Some(most) if positional > most => {
            let plural = if most == 1 { "" } else { "s" };
            Err(Fault::evaluation(format!("Built-in global {name} accepts at most {most} positional argument{plural}")))
        }
        _ => Ok(()),
    }
}

/// Calls a global function.
pub(crate) fn call(interp: &mut Interp<'_>, builtin: Builtin, arguments: Arguments) -> Res<Value> {
    let values = interp.positional_only(arguments).positional;
    match builtin {
        Builtin::Range => range(interp, &values),
        Builtin::Cycler => Ok(interp.new_cycler(values)),
        Builtin::Joiner => {
            let separator = values.into_iter().next().filter(Value::is_truthy);
            Ok(interp.new_joiner(separator.unwrap_or_else(|| Value::string(","))))
        }
    }
}

/// The values from the first on, as JavaScript's comparison and addition make them: texts are possible.
fn range(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let value = |index: usize| values.get(index).cloned().unwrap_or_default();
    let (mut at, stop, step) = match value(1) {
        Value::Undefined => (Value::Number(0.0), value(0), Value::Number(1.0)),
        stop => (value(0), stop, Some(value(2)).filter(Value::is_truthy).unwrap_or(Value::Number(1.0))),
    };
    let upwards = interp.compare(&step, &Value::Number(0.0))? == Some(Ordering::Greater);
    let goes_on = if upwards { Ordering::Less } else { Ordering::Greater };
    let mut items = Vec::new();
    while interp.compare(&at, &stop)? == Some(goes_on) {
        interp.charge(1)?;
        items.push(at.clone());
        at = interp.add(&at, &step)?;
    }
    interp.array(items)
}
