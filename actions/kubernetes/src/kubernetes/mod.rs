//! Actions for any object of a cluster: `kubernetes:apply`, `kubernetes:delete`, `kubernetes:get`, `kubernetes:wait` and
//! `kubernetes:create-namespace`.

mod apply;
mod create_namespace;
mod delete;
mod expression;
mod get;
mod inputs;
mod wait;

use std::sync::Arc;

use understudy_sdk::Registry;

use crate::KubernetesDeps;

/// Adds the actions for any object.
pub(crate) fn register(registry: &mut Registry, deps: &Arc<KubernetesDeps>) {
    registry.register(apply::Apply::new(deps));
    registry.register(create_namespace::CreateNamespace::new(deps));
    registry.register(delete::Delete::new(deps));
    registry.register(get::Get::new(deps));
    registry.register(wait::Wait::new(deps));
}
