//! What may help when something can't be called.

use super::Interp;
use super::scope::{Found, Held};
use crate::ast::{ExprId, ExprKind, NameId, Variable};
use crate::globals;
use crate::methods;
use crate::suggest::closest_name;
use crate::value::Value;

impl Interp<'_> {
    /// A hint for the call of `callee`, whose member belongs to `target`.
    pub(super) fn call_hint(&self, callee: ExprId, target: &Value) -> Option<String> {
        match &self.ast.expr(callee).kind {
            ExprKind::Name(Variable { name, .. }) | ExprKind::Bound { name, .. } => {
                let name = self.ast.name(*name);
                let known = closest_name(name, self.known_names())?;
                Some(format!("did you mean \"{known}\"?"))
            }
            ExprKind::Member { name, target: parent, .. } if target.is_undefined() => {
                // Where nothing has the root's name, the member can't be to blame.
                let (root, value) = self.root(*parent)?;
                if !value.is_undefined() {
                    return None;
                }
                let (root, name) = (self.ast.name(root), self.ast.name(*name));
                let known = closest_name(root, self.known_names())?;
                (root != name).then(|| format!("\"{root}\" is not defined, did you mean \"{known}\"?"))
            }
            ExprKind::Member { name, .. } => {
                let known =
                    closest_name(self.ast.name(*name), methods::names(target, self.dialect(), self.is_cookiecutter()))?;
                Some(format!("did you mean \"{known}\"?"))
            }
            _ => None,
        }
    }

    fn known_names(&self) -> impl Iterator<Item = &str> {
        let hosts = self.settings.globals.keys().map(|name| &**name);
        self.context.names().chain(hosts).chain(globals::NAMES)
    }

    fn value_of(&self, found: Found<'_, '_>) -> Value {
        match found {
            Found::Variable(Held::Ref(value)) => Value::clone(value),
            Found::Variable(Held::Own(value)) => value.clone(),
            Found::Variable(Held::Loop(number)) => self.loops[*number].record().clone(),
            Found::Export(value) => Value::clone(value),
            Found::Known(value) => value.clone(),
        }
    }

    /// The name that a path starts at, and its value.
    fn root(&self, mut id: ExprId) -> Option<(NameId, Value)> {
        loop {
            id = match &self.ast.expr(id).kind {
                ExprKind::Name(variable) => return Some((variable.name, self.value_of(self.find(*variable)))),
                ExprKind::Bound { name, slot } => {
                    return Some((*name, self.value_of(Found::Variable(self.variable(*slot)))));
                }
                ExprKind::Member { target, .. } | ExprKind::Index { target, .. } => *target,
                _ => return None,
            };
        }
    }
}
