//! Writes results into the corpus.

use understudy_corpus::{Case, Expected, Feature, Older, Outcome, Row};
use understudy_templating::Dialect;

use crate::{Error, Oracle};

/// Evaluates the rows of the named features (all, when none is named) and writes what came out; with `new`, only those
/// without a result. Returns a line for each row that has changed or could not be recorded.
///
/// # Errors
/// When the corpus cannot be read or written, or the oracle cannot be asked.
pub fn record(oracle: &mut Oracle, names: &[String], new: bool) -> Result<Vec<String>, Error> {
    let mut changes = Vec::new();
    for mut feature in Feature::all()? {
        if !(names.is_empty() || names.contains(&feature.name)) {
            continue;
        }
        let cases: Vec<Case> = feature.rows().filter(|row| due(row, new)).map(|row| row.case.clone()).collect();
        let todays = oracle.evaluate(Dialect::Nunjitsu, &cases)?;
        let olders = oracle.evaluate(Dialect::Nunjucks3, &cases)?;
        let results = todays.iter().zip(&olders);
        let name = feature.name.clone();
        for (row, (today, older)) in feature.rows_mut().filter(|row| due(row, new)).zip(results) {
            if let Err(change) = update(row, today, older) {
                changes.push(format!("{name}:{}: {}: {change}", row.line, row.case.source));
            }
        }
        feature.write()?;
    }
    Ok(changes)
}

fn due(row: &Row, new: bool) -> bool {
    !new || row.expected.is_none()
}

/// Puts the results into the row. What is worth a look is the error.
fn update(row: &mut Row, today: &Outcome, older: &Outcome) -> Result<(), String> {
    let expected = Expected::try_from(today).map_err(|outcome| format!("nunjitsu: {outcome}"))?;
    let before = row.expected.replace(expected.clone());
    if !matches!(row.older, Older::NotFollowed(_)) {
        row.older = older_of(&expected, older)?;
    }
    match before {
        Some(before) if before != expected => Err(format!("was {before}, is {expected}")),
        _ => Ok(()),
    }
}

/// What to record of the older language beside today's.
pub(crate) fn older_of(today: &Expected, older: &Outcome) -> Result<Older, String> {
    let older = Expected::try_from(older).map_err(|outcome| format!("nunjucks: {outcome}"))?;
    Ok(if older == *today || (older.is_error() && today.is_error()) { Older::Same } else { Older::Differs(older) })
}
