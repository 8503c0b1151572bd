//! `scaffolder.templating`: the language of templates, and the filters and globals that are added to it.

use serde_json::{Map, Value};
use understudy_actions_core::templating::{Function, GlobalValue, Language, LanguageError, STATUS_FUNCTIONS};
use understudy_templating::DefinitionKind;

use super::{ConfigError, reader::Reader};

/// Reads and checks the key: a language's name, or an object.
pub(super) fn read(templating: &Reader<'_>) -> Result<Language, ConfigError> {
    let mut language = Language::default();
    match templating.value() {
        None => return Ok(language),
        Some(Value::String(_)) => {
            language.dialect = dialect(templating)?;
            return Ok(language);
        }
        Some(Value::Object(_)) => {}
        Some(_) => {
            return Err(templating.expected("a language's name, or an object with language, filters and globals"));
        }
    }
    known(templating, &["language", "filters", "globals"])?;
    let place = templating.at("language")?;
    if place.value().is_some() {
        language.dialect = dialect(&place)?;
    }
    for (name, place) in templating.at("filters")?.members()? {
        language.functions.push(function(DefinitionKind::Filter, name, &place)?);
    }
    for (name, place) in templating.at("globals")?.members()? {
        if STATUS_FUNCTIONS.contains(&name.as_str()) {
            return Err(place.wrong("every step has a function of this name; choose another"));
        }
        if place.value().is_some_and(|value| value.get("value").is_some()) {
            language.values.push(value(name, &place)?);
        } else {
            language.functions.push(function(DefinitionKind::Function, name, &place)?);
        }
    }
    language.check().map_err(|errors| match errors.first() {
        Some(error) => refusal(templating, error),
        None => templating.wrong("can't be used"),
    })?;
    Ok(language)
}

fn dialect(place: &Reader<'_>) -> Result<understudy_templating::Dialect, ConfigError> {
    let name = place.string()?.unwrap_or_default();
    name.parse().map_err(|error: understudy_templating::UnknownDialect| place.wrong(&error.to_string()))
}

/// An expression, or an object with one and what is told of it.
fn function(kind: DefinitionKind, name: String, place: &Reader<'_>) -> Result<Function, ConfigError> {
    let mut about = Map::new();
    let expression = match place.value() {
        Some(Value::String(_)) => place.string()?,
        Some(Value::Object(_)) => {
            known(place, &["expression", "description", "schema", "examples"])?;
            let description = place.at("description")?;
            if let Some(text) = description.string()? {
                about.insert("description".into(), text.into());
            }
            if let Some(schema) = place.at("schema")?.value() {
                about.insert("schema".into(), schema_of(kind, &place.at("schema")?, schema)?);
            }
            let examples = place.at("examples")?.items()?.iter().map(example).collect::<Result<Vec<_>, _>>()?;
            if !examples.is_empty() {
                about.insert("examples".into(), examples.into());
            }
            let place = place.at("expression")?;
            Some(place.string()?.ok_or_else(|| place.expected("an expression over args"))?)
        }
        _ => None,
    };
    let expected = match kind {
        DefinitionKind::Filter => "an expression over args, or an object with one at `expression`",
        DefinitionKind::Function => {
            "an expression over args, or an object with one at `expression` or a value at `value`"
        }
    };
    let expression = expression.ok_or_else(|| place.expected(expected))?.to_string();
    Ok(Function { kind, name, expression, about })
}

fn value(name: String, place: &Reader<'_>) -> Result<GlobalValue, ConfigError> {
    known(place, &["value", "description"])?;
    let description = place.at("description")?.string()?.map(String::from);
    let place = place.at("value")?;
    let value = place.value().ok_or_else(|| place.expected("a value"))?.clone();
    Ok(GlobalValue { name, value, description })
}

/// JSON Schemas of what goes in and comes out, for those who read the API.
fn schema_of(kind: DefinitionKind, place: &Reader<'_>, schema: &Value) -> Result<Value, ConfigError> {
    match kind {
        DefinitionKind::Filter => known(place, &["input", "arguments", "output"])?,
        DefinitionKind::Function => known(place, &["arguments", "output"])?,
    }
    place.at("arguments")?.items()?;
    Ok(schema.clone())
}

fn example(place: &Reader<'_>) -> Result<Value, ConfigError> {
    if place.value().is_some_and(Value::is_string) {
        return Ok(Value::Object(Map::from_iter([(
            "example".to_string(),
            place.value().cloned().unwrap_or_default(),
        )])));
    }
    known(place, &["example", "description", "notes"])?;
    let text = place.at("example")?;
    text.string()?.ok_or_else(|| text.expected("a text"))?;
    for name in ["description", "notes"] {
        place.at(name)?.string()?;
    }
    Ok(place.value().cloned().unwrap_or_default())
}

/// Refuses members of other names: a slip of the pen would go unnoticed.
fn known(place: &Reader<'_>, names: &[&str]) -> Result<(), ConfigError> {
    for (name, member) in place.members()? {
        if !names.contains(&name.as_str()) {
            return Err(member.wrong(&format!("unknown; {} are known here", names.join(", "))));
        }
    }
    Ok(())
}

/// The error at the key of what can't be used.
fn refusal(templating: &Reader<'_>, error: &LanguageError) -> ConfigError {
    let (kind, name, error) = error.parts();
    let section = match kind {
        DefinitionKind::Filter => "filters",
        DefinitionKind::Function => "globals",
    };
    let found = templating.at(section).and_then(|section| section.members());
    let place = found.ok().and_then(|members| members.into_iter().find(|(member, _)| member == name));
    let mut place = place.map_or_else(|| templating.clone(), |(_, place)| place);
    for member in ["expression", "value"] {
        if place.value().is_some_and(|value| value.get(member).is_some()) {
            place = place.at(member).unwrap_or(place);
        }
    }
    place.wrong(&if error.line().is_some() { error.report("expression") } else { error.message().to_string() })
}
