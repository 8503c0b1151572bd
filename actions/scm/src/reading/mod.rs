//! Reading files and trees (`urlReader` of `@backstage/backend-defaults` 0.18.0).

pub(crate) mod allow;
