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

use understudy_sdk::Registry;

use crate::client::Clusters;

/// Adds the Crossplane actions.
pub(crate) fn register(registry: &mut Registry, clusters: &Clusters) {
    registry.register(claim::Claim::new(clusters));
    registry.register(wait::Wait::new(clusters));
    registry.register(delete::Delete::new(clusters));
}
