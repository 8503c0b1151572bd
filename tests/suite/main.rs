//! End-to-end tests: the built service, spoken to over HTTP as Backstage, curl and CI do.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod actions_registry;
mod argocd;
mod audit;
mod auth;
mod autocomplete;
mod bad_input;
mod beta2;
mod catalog;
mod chaos;
mod clients;
mod command_line;
mod conformance;
mod credentials;
mod crossplane;
mod eval;
mod floors;
mod frontend;
mod gitops;
mod golden_path;
mod hostile;
mod killed;
mod kubernetes;
mod language;
mod large;
mod otlp;
mod owners;
mod permissions;
mod policies;
mod private_reading;
mod replicas;
mod retries;
mod schedules;
mod secrets;
mod server;
mod support;
mod tasks;
mod templates;
mod tutorial;
mod twice;
mod upstream;
mod validate;
mod waits;
mod workspaces;
