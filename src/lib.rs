//! Understudy: the service that takes over the role of Backstage's scaffolder backend.
//!
//! Shelves, each standing on those below: `cli` → `app` → `api` → `tasks`, `catalog` → `audit` → `auth`, `workspaces` → `store` →
//! `config`, `telemetry` → `discovery`, `model`. Actions come from the crates below `actions/`, the template language from
//! `templating/`.

pub mod api;
pub mod app;
pub mod audit;
pub mod auth;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod discovery;
mod form_schema;
pub mod metrics;
pub mod model;
pub mod permission;
pub mod store;
pub mod tasks;
pub mod telemetry;
mod together;
pub mod workspaces;
pub mod yaml;
pub mod zod;
