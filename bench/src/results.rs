//! What was measured, as it is kept: one JSON document, to which each run adds the workloads it ran.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    machine::Conditions,
    stats,
};

/// Our side's name in [`Point::series`].
pub(crate) const OURS: &str = "understudy";
/// The other side's.
pub(crate) const UPSTREAM: &str = "upstream";

/// All workloads measured so far, by id.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Results {
    /// By id, in the order of their last run.
    pub(crate) workloads: BTreeMap<String, Measured>,
}

/// One workload's run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Where and when.
    pub(crate) conditions: Conditions,
    /// How long the run took, in seconds.
    pub(crate) seconds: f64,
    /// What was found to be the same on both sides.
    pub(crate) compared: Vec<String>,
    /// Remarks of the run.
    pub(crate) notes: Vec<String>,
    /// By id, in the order they were begun.
    pub(crate) metrics: Vec<Metric>,
}

/// One figure, at several sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Metric {
    /// Unique within the workload.
    pub(crate) id: String,
    /// By size, ascending.
    pub(crate) points: Vec<Point>,
}

/// One figure at one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Files, tasks, subscribers …
    pub(crate) size: u64,
    /// Both sides and limits, by name.
    pub(crate) series: BTreeMap<String, Series>,
}

/// What one side did at one size, round by round.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    /// The figure of each round, none left out.
    pub(crate) rounds: Vec<f64>,
    /// Processor seconds of each round, where taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cpu_seconds: Vec<f64>,
    /// The highest proportional set size of each round in MiB, where taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) peak_mib: Vec<f64>,
    /// The time limit was reached in a round: the figure is the limit, the true one is worse.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unfinished: bool,
}

impl Series {
    pub(crate) fn median(&self) -> f64 {
        stats::median(&self.rounds)
    }
}

impl Results {
    /// Reads a document; an empty one when there is none.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|error| Error::Failed(format!("{}: {error}; remove it to begin anew", path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::at(path)(error)),
        }
    }

    /// Writes the document in one piece.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::at(folder))?;
        }
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::Failed(error.to_string()))?;
        let part = path.with_extension("part");
        fs::write(&part, text + "\n").map_err(Error::at(&part))?;
        fs::rename(&part, path).map_err(Error::at(path))
    }
}

impl Measured {
    pub(crate) fn metric(&self, id: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.id == id)
    }

    /// The place of a series; made when it is not there.
    pub(crate) fn series(&mut self, metric: &str, size: u64, name: &str) -> &mut Series {
        let at = match self.metrics.iter().position(|known| known.id == metric) {
            Some(at) => at,
            None => {
                self.metrics.push(Metric { id: metric.to_owned(), points: Vec::new() });
                self.metrics.len() - 1
            }
        };
        let points = &mut self.metrics[at].points;
        let at = match points.binary_search_by_key(&size, |point| point.size) {
            Ok(at) => at,
            Err(at) => {
                points.insert(at, Point { size, series: BTreeMap::new() });
                at
            }
        };
        points[at].series.entry(name.to_owned()).or_default()
    }
}

impl Metric {
    /// The point of a size.
    pub(crate) fn at(&self, size: u64) -> Option<&Point> {
        self.points.iter().find(|point| point.size == size)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_document_is_added_to_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/performance.json");
        let mut results = Results::read(&path).unwrap();
        let mut measured = Measured {
            conditions: Conditions::default(),
            seconds: 1.5,
            compared: vec!["events".into()],
            notes: Vec::new(),
            metrics: Vec::new(),
        };
        measured.series("time", 1000, OURS).rounds.push(2.0);
        measured.series("time", 10, OURS).rounds.push(1.0);
        measured.series("time", 1000, OURS).rounds.extend([4.0, 9.0]);
        measured.series("time", 1000, UPSTREAM).unfinished = true;
        results.workloads.insert("fetch".into(), measured);
        results.write(&path).unwrap();

        let read = Results::read(&path).unwrap();
        let metric = read.workloads["fetch"].metric("time").unwrap();
        assert_eq!(metric.points.iter().map(|point| point.size).collect::<Vec<_>>(), [10, 1000]);
        assert!((metric.at(1000).unwrap().series[OURS].median() - 4.0).abs() < 1e-9);
        assert!(metric.at(1000).unwrap().series[UPSTREAM].unfinished && metric.at(11).is_none());

        std::fs::write(&path, "{").unwrap();
        assert!(Results::read(&path).unwrap_err().to_string().contains("performance.json"));
    }
}
