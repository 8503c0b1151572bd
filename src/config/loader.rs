//! Finds, reads, transforms and merges the sources of a configuration.
//!
//! Behaviour: `@backstage/config-loader` 1.11.3. Sources are not watched; a change takes effect with the next start.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value};

use super::{ConfigError, LoadOptions, env, transform::Transformer};
use crate::yaml;

/// The merged configuration, and where its values came from.
#[derive(Debug, Clone, Default)]
pub(super) struct Loaded {
    pub(super) value: Value,
    origins: BTreeMap<String, String>,
}

impl Loaded {
    /// The file or variable that set a key: the closest ancestor's when the key itself was not set.
    pub(super) fn origin(&self, key: &str) -> &str {
        let mut key = key;
        loop {
            if let Some(origin) = self.origins.get(key) {
                return origin;
            }
            match key.rfind(['.', '[']) {
                Some(end) => key = &key[..end],
                None => return "configuration",
            }
        }
    }

    fn merge(&mut self, value: Value, origin: &str) {
        let base = std::mem::take(&mut self.value);
        self.value = merge(base, value, "", origin, &mut self.origins);
    }
}

/// Later values win; objects are merged, everything else is replaced; `null` removes.
fn merge(base: Value, over: Value, path: &str, origin: &str, origins: &mut BTreeMap<String, String>) -> Value {
    let Value::Object(over) = over else {
        // What was below the key is gone, with its origins.
        let below = format!("{path}.");
        origins.retain(|key, _| !key.starts_with(&below));
        origins.insert(path.to_string(), origin.to_string());
        return over;
    };
    let mut merged = match base {
        Value::Object(base) => base,
        _ => Map::new(),
    };
    if !path.is_empty() {
        origins.entry(path.to_string()).or_insert_with(|| origin.to_string());
    }
    for (key, value) in over {
        let child = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if value.is_null() {
            merged.shift_remove(&key);
            merge(Value::Null, value, &child, origin, origins);
            continue;
        }
        let place = merged.entry(key).or_insert(Value::Null);
        *place = merge(std::mem::take(place), value, &child, origin, origins);
    }
    Value::Object(merged)
}

/// Reads all sources.
pub(super) fn load(options: &LoadOptions) -> Result<Loaded, ConfigError> {
    let mut loaded = Loaded { value: Value::Object(Map::new()), origins: BTreeMap::new() };
    for path in files(options)? {
        if let Some(value) = read_file(&path, options)? {
            loaded.merge(value, path.as_str());
        }
    }
    env::apply(&options.env, &mut |value, origin| loaded.merge(value, origin))?;
    Ok(loaded)
}

fn files(options: &LoadOptions) -> Result<Vec<Utf8PathBuf>, ConfigError> {
    if !options.config_paths.is_empty() {
        return options
            .config_paths
            .iter()
            .map(|path| {
                if path.as_str().contains("://") {
                    return Err(ConfigError::File {
                        path: path.to_string(),
                        reason: "a configuration can't be read from a URL; download it and name the file".to_string(),
                    });
                }
                let path = options.root.join(path);
                if path.is_file() {
                    return Ok(path);
                }
                let reason = format!("Config file \"{path}\" does not exist");
                Err(ConfigError::File { path: path.to_string(), reason })
            })
            .collect();
    }
    let names = options.env.get("BACKSTAGE_ENV").map(String::as_str).unwrap_or_default();
    let names: Vec<&str> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let mut candidates = vec!["app-config.yaml".to_string()];
    candidates.extend(names.iter().map(|name| format!("app-config.{name}.yaml")));
    candidates.push("app-config.local.yaml".to_string());
    candidates.extend(names.iter().map(|name| format!("app-config.{name}.local.yaml")));
    Ok(candidates.into_iter().map(|name| options.root.join(name)).filter(|path| path.is_file()).collect())
}

fn read_file(path: &Utf8Path, options: &LoadOptions) -> Result<Option<Value>, ConfigError> {
    let value = parse_file(path)?;
    if value.is_null() {
        return Ok(None);
    }
    let transformer = Transformer { env: &options.env, source: path };
    let directory = path.parent().unwrap_or(Utf8Path::new("."));
    match transformer.apply(value, directory, "")? {
        Some(value @ Value::Object(_)) => Ok(Some(value)),
        Some(_) => {
            Err(ConfigError::File { path: path.to_string(), reason: "expected object at config root".to_string() })
        }
        None => Ok(None),
    }
}

/// Reads a YAML or JSON file.
pub(super) fn parse_file(path: &Utf8Path) -> Result<Value, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::File { path: path.to_string(), reason: format!("can't be read: {error}") })?;
    yaml::parse_yaml(&text).map_err(|error| ConfigError::Yaml { path: path.to_string(), error })
}
