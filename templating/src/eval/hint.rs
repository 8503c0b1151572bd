//! What may help when something can't be called.

use super::Interp;
use crate::ast::{ExprId, ExprKind};
use crate::globals;
use crate::methods;
use crate::suggest::closest_name;
use crate::value::Value;

impl Interp<'_> {
    /// A hint for the call of `callee`, whose member belongs to `target`.
    pub(super) fn call_hint(&self, callee: ExprId, target: &Value) -> Option<String> {
        match &self.ast.expr(callee).kind {
            ExprKind::Name(name) | ExprKind::Bound { name, .. } => {
                let known = closest_name(name, self.known_names())?;
                Some(format!("did you mean \"{known}\"?"))
            }
            ExprKind::Member { name, target: parent } if target.is_undefined() => {
                // Where nothing has the root's name, the member can't be to blame.
                let root = self.root_name(*parent)?;
                if !self.lookup(root).is_undefined() {
                    return None;
                }
                let known = closest_name(root, self.known_names())?;
                (root != &**name).then(|| format!("\"{root}\" is not defined, did you mean \"{known}\"?"))
            }
            ExprKind::Member { name, .. } => {
                let known = closest_name(name, methods::names(target, self.dialect(), self.is_cookiecutter()))?;
                Some(format!("did you mean \"{known}\"?"))
            }
            _ => None,
        }
    }

    fn known_names(&self) -> impl Iterator<Item = &str> {
        let hosts = self.settings.globals.keys().map(|name| &**name);
        self.context.names().chain(hosts).chain(globals::NAMES)
    }

    fn root_name(&self, mut id: ExprId) -> Option<&str> {
        loop {
            id = match &self.ast.expr(id).kind {
                ExprKind::Name(name) | ExprKind::Bound { name, .. } => return Some(name),
                ExprKind::Member { target, .. } | ExprKind::Index { target, .. } => *target,
                _ => return None,
            };
        }
    }
}
