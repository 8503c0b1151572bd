//! What our engine makes of a case.

use understudy_templating::{Context, Dialect, Engine, Error, Value};

use crate::{Case, Mode, Options, Outcome, notation};

/// Evaluates a case with this project's engine.
pub fn evaluate(dialect: Dialect, case: &Case) -> Outcome {
    let engine = engine(dialect, case.options);
    let evaluated = Context::try_from(&*case.context).and_then(|context| match case.options.mode {
        Mode::Value => engine.render_value_str(&case.source, &context),
        Mode::Text => engine.render_str(&case.source, &context).map(Value::from),
    });
    match evaluated {
        Ok(value) => Outcome::Value(notation(&value)),
        Err(error) => failure(&error),
    }
}

fn engine(dialect: Dialect, options: Options) -> Engine {
    Engine::builder()
        .dialect(dialect)
        .cookiecutter(options.cookiecutter)
        .trim_blocks(options.trim_blocks)
        .lstrip_blocks(options.lstrip_blocks)
        .build()
}

fn failure(error: &Error) -> Outcome {
    Outcome::Error { name: error.name().to_owned(), message: error.to_string() }
}
