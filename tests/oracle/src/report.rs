//! How far the corpus, the reference implementations and ours agree.

use std::fmt;

use understudy_corpus::{Case, Expected, Feature, Older, Outcome, evaluate};
use understudy_templating::Dialect;

use crate::{Error, Oracle, record::older_of};

/// What came of comparing the whole corpus.
#[derive(Debug, Default)]
pub struct Report {
    /// A line for each feature.
    pub features: Vec<Agreement>,
    /// Rows whose recorded result is not what the reference implementation gives now.
    pub stale: Vec<String>,
    /// Rows whose result differs between the reference implementation and ours.
    pub differences: Vec<String>,
}

/// The figures of one feature.
#[derive(Debug, Default, Clone)]
pub struct Agreement {
    /// The feature.
    pub name: String,
    /// How many rows it has.
    pub rows: usize,
    /// On how many of them ours agrees with `nunjitsu`, error messages included.
    pub nunjitsu: usize,
    /// On how many of them the older dialect is promised to be `nunjucks` 3.2.4.
    pub older_promised: usize,
    /// On how many of those it agrees, in value and in whether there is an error.
    pub older: usize,
}

impl Report {
    /// Evaluates the corpus with both reference implementations and with ours.
    ///
    /// # Errors
    /// When the corpus cannot be read or the oracle cannot be asked.
    pub fn of_corpus(oracle: &mut Oracle) -> Result<Self, Error> {
        let mut report = Self::default();
        for feature in Feature::all()? {
            report.add(oracle, &feature)?;
        }
        Ok(report)
    }

    fn add(&mut self, oracle: &mut Oracle, feature: &Feature) -> Result<(), Error> {
        let cases: Vec<Case> = feature.rows().map(|row| row.case.clone()).collect();
        let todays = oracle.evaluate(Dialect::Nunjitsu, &cases)?;
        let olders = oracle.evaluate(Dialect::Nunjucks3, &cases)?;
        let mut agreement = Agreement { name: feature.name.clone(), rows: cases.len(), ..Agreement::default() };
        for ((row, today), older) in feature.rows().zip(&todays).zip(&olders) {
            let place = format!("{}:{}: {}", feature.name, row.line, row.case.source);
            let recorded = row.expected.as_ref().map_or_else(|| "nothing".to_owned(), Expected::to_string);
            match Expected::try_from(today) {
                Ok(now) if row.expected.as_ref() == Some(&now) => {
                    if !matches!(row.older, Older::NotFollowed(_)) && older_of(&now, older).as_ref() != Ok(&row.older) {
                        self.stale.push(format!("{place}: nunjucks gives {older}"));
                    }
                }
                _ => self.stale.push(format!("{place}: recorded {recorded}, nunjitsu gives {today}")),
            }
            let ours = evaluate(Dialect::Nunjitsu, &row.case);
            if ours == *today {
                agreement.nunjitsu += 1;
            } else {
                self.differences.push(format!("{place}: nunjitsu gives {today}, ours {ours}"));
            }
            if !matches!(row.older, Older::NotFollowed(_)) {
                agreement.older_promised += 1;
                let ours = evaluate(Dialect::Nunjucks3, &row.case);
                agreement.older += usize::from(same_but_for_wording(older, &ours));
            }
        }
        self.features.push(agreement);
        Ok(())
    }

    /// The sums over all features.
    pub fn total(&self) -> Agreement {
        self.features.iter().fold(Agreement { name: "total".to_owned(), ..Agreement::default() }, |sum, one| {
            Agreement {
                rows: sum.rows + one.rows,
                nunjitsu: sum.nunjitsu + one.nunjitsu,
                older_promised: sum.older_promised + one.older_promised,
                older: sum.older + one.older,
                ..sum
            }
        })
    }
}

/// Whether both are the same value, or both are errors.
fn same_but_for_wording(one: &Outcome, other: &Outcome) -> bool {
    one == other || (one.is_error() && other.is_error())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| feature | cases | as nunjitsu 0.7.0 | as nunjucks 3.2.4 (older dialect) |")?;
        writeln!(f, "|---|---:|---:|---:|")?;
        for Agreement { name, rows, nunjitsu, older_promised, older } in self.features.iter().chain([&self.total()]) {
            writeln!(f, "| {name} | {rows} | {nunjitsu} | {older} of {older_promised} |")?;
        }
        Ok(())
    }
}
