//! The functions every template can call: `range`, `cycler`, `joiner`.

use crate::dialect::Dialect;
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
pub(crate) fn find(name: &str) -> Option<Value> {
    let builtin = match name {
        "range" => Builtin::Range,
        "cycler" => Builtin::Cycler,
        "joiner" => Builtin::Joiner,
        _ => return None,
    };
    Some(Value::Function(Callable(Kind::Builtin(builtin))))
}

/// Calls a global function.
pub(crate) fn call(interp: &mut Interp<'_>, builtin: Builtin, arguments: Arguments) -> Res<Value> {
    let (name, most) = match builtin {
        Builtin::Range => ("range", Some(3)),
        Builtin::Cycler => ("cycler", None),
        Builtin::Joiner => ("joiner", Some(1)),
    };
    let arguments = interp.positional_only(arguments);
    if !arguments.keyword.is_empty() {
        return Err(Fault::evaluation(format!("Built-in global {name} does not accept keyword arguments")));
    }
    let values = arguments.positional;
    if let Some(most) = most
        && interp.dialect() == Dialect::Nunjitsu
        && values.len() > most
    {
        let plural = if most == 1 { "" } else { "s" };
        return Err(Fault::evaluation(format!(
            "Built-in global {name} accepts at most {most} positional argument{plural}"
        )));
    }
    match builtin {
        Builtin::Range => range(interp, &values),
        Builtin::Cycler => Ok(interp.new_cycler(values)),
        Builtin::Joiner => {
            let separator = values.into_iter().next().filter(Value::is_truthy);
            Ok(interp.new_joiner(separator.unwrap_or_else(|| Value::string(","))))
        }
    }
}

fn range(interp: &mut Interp<'_>, values: &[Value]) -> Res<Value> {
    let numbers = values.iter().map(|value| interp.number(value)).collect::<Res<Vec<f64>>>()?;
    let given = |index: usize| values.get(index).is_some_and(|value| !value.is_undefined());
    let number = |index: usize| numbers.get(index).copied().unwrap_or(f64::NAN);
    let (mut at, stop, step) = match given(1) {
        true => (number(0), number(1), if values.get(2).is_some_and(Value::is_truthy) { number(2) } else { 1.0 }),
        false => (0.0, number(0), 1.0),
    };
    let mut items = Vec::new();
    while if step > 0.0 { at < stop } else { at > stop } {
        interp.charge(1)?;
        items.push(Value::Number(at));
        at += step;
    }
    interp.array(items)
}
