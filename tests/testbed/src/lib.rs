//! Real counterparts for end-to-end tests: a GitHub double, Git over HTTPS
