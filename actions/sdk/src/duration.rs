//! Durations as people write them, in inputs of actions and in configuration.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

/// Longer than any step waits, and short enough for every clock.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

const SECOND: f64 = 1.0;
const MINUTE: f64 = 60.0 * SECOND;
const HOUR: f64 = 60.0 * MINUTE;
const DAY: f64 = 24.0 * HOUR;
const YEAR: f64 = 365.0 * DAY;
const MONTH: f64 = 30.0 * DAY;

/// What to write, for error messages.
pub const EXPECTED: &str = "a duration: a number of seconds like 600, a text like '90s', '10m' or '1h 30m', ISO text like \
                            'PT10M', or an object like {minutes: 10}";

/// A duration in an action's input: a number of seconds (`600`), a text (`10m`, `1h 30m`, `90 seconds`, `PT10M`; digits alone
/// are seconds), or Backstage's object form (`{minutes: 10}`). At most ten years.
///
/// `Display` gives the short form of logs: `10 min`, `1 h 30 min`, `1.5 s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(Duration);

impl HumanDuration {
    /// A duration of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
    /// The duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
    /// Reads a JSON value; `None` for what is no duration.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let duration = match value {
            Value::Number(number) => of_seconds(number.as_f64()?),
            Value::String(text) => parse(text, Duration::from_secs(1)),
            Value::Object(members) if !members.is_empty() => {
                let mut sum = 0.0;
                for (name, number) in members {
                    let number = match number {
                        Value::Number(number) => number.as_f64()?,
                        Value::String(text) => text.trim().parse().ok()?,
                        _ => return None,
                    };
                    sum += number * member_seconds(name)?;
                }
                of_seconds(sum)
            }
            _ => None,
        };
        duration.filter(|duration| *duration <= LONGEST).map(Self)
    }
}

impl From<Duration> for HumanDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<HumanDuration> for Duration {
    fn from(duration: HumanDuration) -> Self {
        duration.0
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if seconds < 10 && self.0.subsec_millis() > 0 {
            return write!(f, "{} s", f64::from(u32::try_from(self.0.as_millis()).unwrap_or(u32::MAX)) / 1000.0);
        }
        let parts =
            [(seconds / 86400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
        let mut written = false;
        for (number, unit) in parts {
            if number > 0 {
                write!(f, "{}{number} {unit}", if written { " " } else { "" })?;
                written = true;
            }
        }
        if written { Ok(()) } else { f.write_str("0 s") }
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_json(&value).ok_or_else(|| D::Error::custom(format!("expected {EXPECTED}; found {value}")))
    }
}

impl JsonSchema for HumanDuration {
    fn schema_name() -> Cow<'static, str> {
        "HumanDuration".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"type": "number", "minimum": 0},
            {"type": "string"},
            {"type": "object", "additionalProperties": {"type": "number"}},
        ]})
    }
}

/// Reads a duration from text: ISO (`PT5M`), or numbers with units (`5m`, `1h 30m`, `30 seconds`, as npm `ms` names them).
/// A number alone counts in `bare`. `None` for anything else.
#[must_use]
pub fn parse(text: &str, bare: Duration) -> Option<Duration> {
    let text = text.trim();
    if let Some(iso) = text.strip_prefix('P') {
        return of_seconds(iso_seconds(iso)?);
    }
    if let Ok(number) = text.parse::<f64>() {
        return of_seconds(number * bare.as_secs_f64());
    }
    let mut rest = text;
    let mut sum = 0.0;
    let mut smallest = f64::INFINITY;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = unit_seconds(&rest[..end])?;
        // Units come in order, each at most once.
        if unit >= smallest {
            return None;
        }
        smallest = unit;
        sum += number * unit;
        rest = rest[end..].trim_start();
    }
    of_seconds(sum).filter(|_| smallest.is_finite())
}

/// The length in seconds of a unit as Backstage's objects name it (`minutes`); `None` for other names.
#[must_use]
pub fn member_seconds(name: &str) -> Option<f64> {
    Some(match name {
        "years" => YEAR,
        "months" => MONTH,
        "weeks" => 7.0 * DAY,
        "days" => DAY,
        "hours" => HOUR,
        "minutes" => MINUTE,
        "seconds" => SECOND,
        "milliseconds" => 0.001,
        _ => return None,
    })
}

fn unit_seconds(name: &str) -> Option<f64> {
    Some(match name.to_ascii_lowercase().as_str() {
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => 0.001,
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => MINUTE,
        "h" | "hr" | "hrs" | "hour" | "hours" => HOUR,
        "d" | "day" | "days" => DAY,
        "w" | "week" | "weeks" => 7.0 * DAY,
        "y" | "yr" | "yrs" | "year" | "years" => 365.25 * DAY,
        _ => return None,
    })
}

/// `1Y2M3W4DT5H6M7.5S`
fn iso_seconds(text: &str) -> Option<f64> {
    let (date, time) = match text.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (text, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let dates = iso_part(date, &[('Y', YEAR), ('M', MONTH), ('W', 7.0 * DAY), ('D', DAY)])?;
    Some(dates + iso_part(time, &[('H', HOUR), ('M', MINUTE), ('S', SECOND)])?)
}

fn iso_part(mut text: &str, units: &[(char, f64)]) -> Option<f64> {
    let mut sum = 0.0;
    let mut units = units.iter();
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',')?;
        let number: f64 = text[..end].replace(',', ".").parse().ok()?;
        let letter = text[end..].chars().next()?;
        // Units come in order, each at most once.
        let (_, unit) = units.find(|(name, _)| *name == letter)?;
        sum += number * unit;
        text = &text[end + letter.len_utf8()..];
    }
    Some(sum)
}

/// To the millisecond, so that `0.1 s` is what it says.
fn of_seconds(seconds: f64) -> Option<Duration> {
    let millis = (seconds * 1000.0).round();
    if millis.is_finite() && millis >= 0.0 { Duration::try_from_secs_f64(millis / 1000.0).ok() } else { None }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_way_to_write_one() {
        for (value, millis) in [
            (json!(600), Some(600_000)),
            (json!(0), Some(0)),
            (json!(1.5), Some(1500)),
            (json!("600"), Some(600_000)),
            (json!(" 10m "), Some(600_000)),
            (json!("10 Minutes"), Some(600_000)),
            (json!("1h30m"), Some(5_400_000)),
            (json!("1h 30m"), Some(5_400_000)),
            (json!("1.5h"), Some(5_400_000)),
            (json!("1 day"), Some(86_400_000)),
            (json!("500ms"), Some(500)),
            (json!("PT10M"), Some(600_000)),
            (json!("P1DT1M"), Some(86_460_000)),
            (json!("PT0.5S"), Some(500)),
            (json!({"minutes": 10}), Some(600_000)),
            (json!({"hours": 1, "minutes": "30"}), Some(5_400_000)),
            (json!(-1), None),
            (json!("-1s"), None),
            (json!(""), None),
            (json!("soon"), None),
            (json!("10 parsecs"), None),
            (json!("10m 10"), None),
            (json!("10m 1h"), None),
            (json!("5s 5s"), None),
            (json!("m"), None),
            (json!("P"), None),
            (json!("PT"), None),
            (json!("P1H"), None),
            (json!("PT1M1H"), None),
            (json!("PT1"), None),
            (json!("inf"), None),
            (json!("NaN"), None),
            (json!("1e300"), None),
            (json!("11y"), None),
            (json!("1ü"), None),
            (json!({}), None),
            (json!({"moons": 1}), None),
            (json!({"minutes": true}), None),
            (json!({"minutes": -1}), None),
            (json!(true), None),
            (json!(null), None),
            (json!([1]), None),
        ] {
            let found = HumanDuration::from_json(&value).map(|found| found.get().as_millis());
            assert_eq!(found, millis, "{value}");
        }
    }

    #[test]
    fn a_number_alone_counts_in_what_the_caller_says() {
        assert_eq!(parse("100", Duration::from_millis(1)), Some(Duration::from_millis(100)));
        assert_eq!(parse("100", Duration::from_secs(60)), Some(Duration::from_secs(6000)));
    }

    #[test]
    fn logs_show_it_briefly() {
        for (value, text) in [
            (json!(0), "0 s"),
            (json!("1500ms"), "1.5 s"),
            (json!(59), "59 s"),
            (json!("10m"), "10 min"),
            (json!(5400), "1 h 30 min"),
            (json!("1d 1s"), "1 d 1 s"),
        ] {
            assert_eq!(HumanDuration::from_json(&value).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_none_is_refused_with_a_reason() {
        let error = serde_json::from_value::<HumanDuration>(json!("soon")).unwrap_err();
        assert!(error.to_string().starts_with("expected a duration: a number of seconds like 600"), "{error}");
        assert!(error.to_string().ends_with("found \"soon\""), "{error}");
    }

    #[test]
    fn the_schema_lets_all_forms_through() {
        #[derive(Deserialize, JsonSchema)]
        struct Input {
            /// How long to wait.
            timeout: Option<HumanDuration>,
        }
        let schema = crate::schema::of::<Input>();
        let validator = crate::schema::Validator::new(&schema).unwrap();
        for timeout in [json!(1), json!("10m"), json!({"minutes": 1})] {
            let input = json!({"timeout": timeout});
            assert_eq!(validator.validate(&input), []);
            assert!(serde_json::from_value::<Input>(input).unwrap().timeout.is_some());
        }
        for timeout in [json!(true), json!(-1), json!([])] {
            assert!(!validator.validate(&json!({"timeout": timeout})).is_empty(), "{timeout}");
        }
        assert_eq!(schema["properties"]["timeout"]["description"], "How long to wait.");
    }
}
