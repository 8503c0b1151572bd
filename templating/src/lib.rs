//! The template language of scaffolder templates: a Nunjucks-compatible engine
