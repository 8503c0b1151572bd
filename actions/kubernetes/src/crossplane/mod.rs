//! Crossplane: `crossplane:claim`, `crossplane:wait` and `crossplane:delete`.
//!
//! `definition` knows XRDs and the forms their kinds have, `structural` and `validate` check a spec against one, `manifest`
//! makes the object; none of them talks to a cluster. `state` reads what a resource says about itself, `follow` waits for it
//! and for what it is made of.

mod claim;
mod definition;
mod delete;
mod follow;
mod inputs;
mod manifest;
mod source;
mod state;
mod structural;
mod suggest;
mod validate;
mod wait;

use std::sync::Arc;

use understudy_sdk::Registry;

use crate::KubernetesDeps;

/// Adds the Crossplane actions.
pub(crate) fn register(registry: &mut Registry, deps: &Arc<KubernetesDeps>) {
    registry.register(claim::Claim::new(deps));
    registry.register(wait::Wait::new(deps));
    registry.register(delete::Delete::new(deps));
}
