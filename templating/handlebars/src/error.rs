//! What goes wrong with a template, and where.

use std::fmt;

/// A template that can't be read or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    message: String,
    place: Option<(usize, usize)>,
}

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None }
    }
    /// Gives the error a place, unless it has a more precise one.
    pub(crate) fn at(mut self, place: Option<(usize, usize)>) -> Self {
        self.place = self.place.or(place);
        self
    }
    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }
    /// The line, from 1, where it is known.
    pub fn line(&self) -> Option<usize> {
        self.place.map(|(line, _)| line)
    }
    /// The column in characters, from 1, where it is known.
    pub fn column(&self) -> Option<usize> {
        self.place.map(|(_, column)| column)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => {
                write!(f, "Handlebars error at line {line}, column {column}: {}", self.message)
            }
            None => write!(f, "Handlebars error: {}", self.message),
        }
    }
}
