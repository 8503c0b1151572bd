//! What a template can call.

use std::fmt;
use std::sync::Arc;

use crate::globals::Builtin;
use crate::methods::Method;
use crate::value::Value;

/// A synchronous function of the host: positional values in, a value or a reason for refusing out.
pub(crate) type HostFn = dyn Fn(&[Value]) -> Result<Value, String> + Send + Sync;

/// A callable value. Templates can call it and pass it on, but it never becomes text or data.
#[derive(Clone)]
pub struct Callable(pub(crate) Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    /// A function registered by the host.
    Host(Arc<Host>),
    /// A function of the language.
    Builtin(Builtin),
    /// A function written in the language, by its number in the engine.
    Defined(usize),
    /// A method taken from a value: `name.toUpperCase`.
    Method(Arc<(Value, Method)>),
    /// A macro or a `call` body, by its number in the running render.
    Macro(usize),
    /// What `cycler(…)` made, by its number in the running render.
    Cycler(usize),
    /// `next` of a cycler.
    CyclerNext(usize),
    /// `reset` of a cycler.
    CyclerReset(usize),
    /// What `joiner(…)` made, by its number in the running render.
    Joiner(usize),
}

/// A function registered by the host, with its name.
pub(crate) struct Host {
    pub(crate) name: Arc<str>,
    pub(crate) function: Box<HostFn>,
}

impl Callable {
    pub(crate) fn host<F>(name: impl Into<Arc<str>>, function: F) -> Self
    where
        F: Fn(&[Value]) -> Result<Value, String> + Send + Sync + 'static,
    {
        Self(Kind::Host(Arc::new(Host { name: name.into(), function: Box::new(function) })))
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Host(a), Kind::Host(b)) => Arc::ptr_eq(a, b),
            (Kind::Builtin(a), Kind::Builtin(b)) => a == b,
            (Kind::Macro(a), Kind::Macro(b)) | (Kind::Cycler(a), Kind::Cycler(b)) => a == b,
            (Kind::Defined(a), Kind::Defined(b)) => a == b,
            (Kind::Joiner(a), Kind::Joiner(b)) => a == b,
            _ => false,
        }
    }
}

impl fmt::Debug for Callable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Host(host) => write!(f, "function {}", host.name),
            Kind::Builtin(builtin) => write!(f, "function {builtin:?}"),
            Kind::Method(method) => write!(f, "method {:?}", method.1),
            Kind::Defined(index) => write!(f, "definition {index}"),
            Kind::Macro(_) => f.write_str("macro"),
            Kind::Cycler(_) | Kind::CyclerNext(_) | Kind::CyclerReset(_) => f.write_str("cycler"),
            Kind::Joiner(_) => f.write_str("joiner"),
        }
    }
}
