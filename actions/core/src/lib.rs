//! The built-in actions: fetch, fs, debug and catalog
