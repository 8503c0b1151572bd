//! The short way for lists of records.
//!
//! Most lists that are filtered hold records, and what is asked of them is a plain key. Then nothing can fail, and what a
//! filter costs is known beforehand, so that the items need not be copied: what is chosen refers to the list it was
//! chosen from. Each function here gives `None` for everything else, and for that the filter itself is there; nothing here
//! decides what a filter means.

use std::cmp::Ordering;

use indexmap::IndexMap;

use super::sequence::sorting_cost;
use crate::error::Res;
use crate::eval::{Hint, Interp};
use crate::string::{Str, StrBuilder};
use crate::value::{Array, Value, is_reserved};

/// Longer texts are not made before they have been paid for.
const MAX_BYTES: usize = 1 << 20;

/// What a list and a key are to a filter.
struct Keyed<'v> {
    array: &'v Array,
    key: &'v str,
}

impl<'v> Keyed<'v> {
    /// The list and the key, if both are plain.
    fn new(interp: &Interp<'_>, input: &'v Value, attribute: &'v Value) -> Option<Self> {
        let (array, Value::String(key)) = (interp.plain_array(input)?, attribute) else { return None };
        let key = key.as_str()?;
        let is_plain = !key.is_empty() && !key.contains('.') && !is_reserved(key);
        is_plain.then_some(Self { array, key })
    }

    /// Calls `take` with what each record has at the key, until there is something else than a record or `take` gives up.
    #[inline]
    fn each(&self, mut take: impl FnMut(u32, &'v Value) -> Option<()>) -> Option<()> {
        let mut hint = Hint::default();
        let mut take = |position: usize, item: &'v Value| {
            let Value::Record(record) = item else { return None };
            take(position as u32, hint.get(record, || self.key).unwrap_or(&Value::Undefined))
        };
        match self.array.chosen_from() {
            None => self.array.items().iter().enumerate().try_for_each(|(position, item)| take(position, item)),
            Some((base, chosen)) => {
                chosen.iter().enumerate().try_for_each(|(position, place)| take(position, base.get(*place as usize)?))
            }
        }
    }
}

pub(super) fn groupby(interp: &mut Interp<'_>, input: &Value, attribute: &Value) -> Res<Option<Value>> {
    let Some(keyed) = Keyed::new(interp, input, attribute) else { return Ok(None) };
    let mut groups: IndexMap<&Str, Vec<u32>> = IndexMap::new();
    let mut last = 0;
    let grouped = keyed.each(|position, value| {
        let Value::String(key) = value else { return None };
        // Neighbours often belong together, and groups come in turns.
        let next = if last + 1 < groups.len() { last + 1 } else { 0 };
        for group in [next, last] {
            if let Some((known, positions)) = groups.get_index_mut(group)
                && *known == key
            {
                positions.push(position);
                last = group;
                return Some(());
            }
        }
        key.as_str().filter(|key| !is_reserved(key))?;
        let entry = groups.entry(key);
        last = entry.index();
        entry.or_default().push(position);
        Some(())
    });
    if grouped.is_none() {
        return Ok(None);
    }
    interp.charge(keyed.array.len())?;
    let mut record = IndexMap::with_capacity(groups.len());
    for (key, positions) in groups {
        record.insert(key.to_key(), interp.chosen(keyed.array, positions)?);
    }
    interp.record(record).map(Some)
}

/// `selectattr` and `rejectattr`.
pub(super) fn select(interp: &mut Interp<'_>, input: &Value, attribute: &Value, wanted: bool) -> Res<Option<Value>> {
    let Some(keyed) = Keyed::new(interp, input, attribute) else { return Ok(None) };
    let mut kept = Vec::with_capacity(keyed.array.len());
    let selected = keyed.each(|position, value| {
        if value.is_truthy() == wanted {
            kept.push(position);
        }
        Some(())
    });
    if selected.is_none() {
        return Ok(None);
    }
    interp.charge(keyed.array.len())?;
    interp.chosen(keyed.array, kept).map(Some)
}

/// Sorts by keys that are all numbers or all texts: those have one order only, so that any stable way of sorting gives
/// the same.
pub(super) fn sort(
    interp: &mut Interp<'_>,
    input: &Value,
    attribute: &Value,
    reversed: bool,
    case_sensitive: bool,
) -> Res<Option<Value>> {
    let Some(keyed) = Keyed::new(interp, input, attribute) else { return Ok(None) };
    // A single element is compared with nothing.
    if keyed.array.len() < 2 {
        return Ok(None);
    }
    if let Some(numbers) = small_numbers(&keyed, reversed) {
        let order = |a: &u64, b: &u64| (a >> 32).cmp(&(b >> 32));
        interp.charge(numbers.len())?;
        interp.charge(sorting_cost(&numbers, &order))?;
        let mut numbers = numbers;
        numbers.sort_unstable();
        return interp.chosen(keyed.array, numbers.into_iter().map(|packed| packed as u32).collect()).map(Some);
    }
    let mut numbers: Vec<(f64, u32)> = Vec::with_capacity(keyed.array.len());
    let are_numbers = keyed.each(|position, value| match value {
        Value::Number(number) if !number.is_nan() => {
            // Zero has two signs and one place.
            numbers.push((if reversed { 0.0 - number } else { number + 0.0 }, position));
            Some(())
        }
        _ => None,
    });
    if are_numbers.is_some() {
        let order = |a: &(f64, u32), b: &(f64, u32)| a.0.total_cmp(&b.0);
        return ordered(interp, keyed.array, numbers, order).map(Some);
    }
    let mut texts: Vec<(Str, u32)> = Vec::with_capacity(keyed.array.len());
    let are_texts = keyed.each(|position, value| match value {
        Value::String(text) if case_sensitive => {
            texts.push((text.clone(), position));
            Some(())
        }
        Value::String(text) => {
            texts.push((text.map_text(str::to_lowercase), position));
            Some(())
        }
        _ => None,
    });
    if are_texts.is_none() {
        return Ok(None);
    }
    let order = |a: &(Str, u32), b: &(Str, u32)| if reversed { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) };
    ordered(interp, keyed.array, texts, order).map(Some)
}

/// What is sorted by, if all of it is whole numbers of no more than 32 bits: each with its position in the lower half, so
/// that no two are equal.
fn small_numbers(keyed: &Keyed<'_>, reversed: bool) -> Option<Vec<u64>> {
    let mut numbers = Vec::with_capacity(keyed.array.len());
    keyed.each(|position, value| {
        let number = value.as_number()?;
        let number = if reversed { -number } else { number };
        let whole = number as i32;
        if f64::from(whole) != number {
            return None;
        }
        numbers.push((u64::from(whole.wrapping_sub(i32::MIN) as u32) << 32) | u64::from(position));
        Some(())
    })?;
    Some(numbers)
}

fn ordered<K>(
    interp: &mut Interp<'_>,
    array: &Array,
    mut keyed: Vec<(K, u32)>,
    order: impl Fn(&(K, u32), &(K, u32)) -> Ordering,
) -> Res<Value> {
    interp.charge(array.len())?;
    interp.charge(sorting_cost(&keyed, &order))?;
    keyed.sort_by(order);
    interp.chosen(array, keyed.into_iter().map(|(_, position)| position).collect())
}

pub(super) fn join(interp: &mut Interp<'_>, input: &Value, separator: &Str, attribute: &Value) -> Res<Option<Value>> {
    let Some(keyed) = Keyed::new(interp, input, attribute) else { return Ok(None) };
    let mut text = StrBuilder::default();
    let (mut work, mut longest) = (0, separator.byte_len());
    let joined = keyed.each(|position, value| {
        if position > 0 {
            work += separator.byte_len() / 64;
            text.push(separator);
        }
        let length = match value {
            Value::String(part) => {
                text.push(part);
                part.byte_len()
            }
            Value::Number(number) => text.push_number(*number),
            _ => return None,
        };
        work += 1 + length / 64;
        longest = longest.max(length);
        (text.byte_len() <= MAX_BYTES).then_some(())
    });
    // A text that is too long is one for the filter itself, which knows when to stop.
    if joined.is_none() || interp.check_bytes(longest).is_err() {
        return Ok(None);
    }
    interp.charge(keyed.array.len())?;
    interp.charge(work)?;
    Ok(Some(Value::String(text.finish())))
}

pub(super) fn sum(interp: &mut Interp<'_>, input: &Value, attribute: &Value) -> Res<Option<Value>> {
    let Some(keyed) = Keyed::new(interp, input, attribute) else { return Ok(None) };
    let mut total = 0.0;
    let added = keyed.each(|_, value| {
        total += value.as_number()?;
        Some(())
    });
    if added.is_none() {
        return Ok(None);
    }
    interp.charge(keyed.array.len().saturating_mul(2))?;
    Ok(Some(Value::Number(total)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::{Context, Engine, Limits};
    use serde_json::json;

    /// What a template renders to, and the least work that allows it.
    fn cost(template: &str, context: &Context, quickly: bool) -> (String, u64) {
        // In cookiecutter mode nothing is done quickly.
        let engine = |work: u64| {
            let limits = Limits::default().with_work_units(work);
            Engine::builder().cookiecutter(!quickly).tags("${{", "}}").limits(limits).build()
        };
        let text = engine(1_000_000).render_str(template, context).unwrap();
        let (mut low, mut high) = (0, 1_000_000);
        while low < high {
            let middle = (low + high) / 2;
            match engine(middle).render_str(template, context) {
                Ok(_) => high = middle,
                Err(_) => low = middle + 1,
            }
        }
        (text, low)
    }

    #[test]
    fn does_and_costs_the_same() {
        let rows: Vec<_> = (0..200)
            .map(|row| {
                let long = "x".repeat(row % 150);
                json!({"n": (row * 37) % 101, "s": format!("B{}", row % 7), "t": long, "b": row % 3 == 0})
            })
            .collect();
        let few = json!([{"n": -0.0}, {"n": 0}, {"n": 1}]);
        let wide = [0.5, -2_147_483_648.0, 2_147_483_647.0, -1.0, 2_147_483_648.0, 3.0, -3.0, 3.0];
        let wide: Vec<_> =
            wide.iter().map(|n| json!({"n": n, "half": n % 1.0 != 0.0 || *n > 2_147_483_647.0})).collect();
        let context = Context::try_from(&json!({"rows": rows, "few": few, "wide": wide})).unwrap();
        for filters in [
            "rows | groupby('s') | dump",
            "rows | groupby('n') | dump",
            "rows | selectattr('b') | join(',', 'n')",
            "rows | rejectattr('b') | join(',', 's')",
            "rows | rejectattr('missing') | length",
            "rows | join('---', 't')",
            "rows | join(',', 'missing')",
            "rows | sum('n')",
            "rows | sum('n', 5)",
            "rows | sum('s')",
            "rows | sort(false, false, 'n') | dump",
            "rows | sort(true, false, 'n') | dump",
            "rows | sort(true, true, 's') | dump",
            "rows | sort(attribute='s') | dump",
            "rows | sort(false, false, 't') | join(',', 'n')",
            "rows | sort(false, false, 'b') | join(',', 'n')",
            "few | sort(true, false, 'n') | dump",
            "few | sort(false, false, 'n') | dump",
            "wide | sort(true, false, 'n') | dump",
            "wide | sort(false, false, 'n') | dump",
            "wide | rejectattr('half') | sort(true, false, 'n') | dump",
            "wide | rejectattr('half') | sort(false, false, 'n') | dump",
            "rows | selectattr('b') | sort(false, false, 'n') | first | dump",
            "rows | selectattr('b') | sort(false, false, 'n') | last | dump",
        ] {
            let template = format!("${{{{ {filters} }}}}");
            assert_eq!(cost(&template, &context, true), cost(&template, &context, false), "{filters}");
        }
    }
}
