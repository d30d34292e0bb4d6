//! The errors of a configuration, one line each.

use std::fmt;

use crate::system::display::one_line;

/// The errors of a configuration, one sentence each.
#[derive(Debug, PartialEq, Eq)]
pub struct Errors(pub Vec<String>);

impl Errors {
    /// Limits each error to one line of limited length, because it may repeat text of the input.
    pub(crate) fn of(problems: &[String]) -> Self {
        Self(problems.iter().map(|problem| line(problem)).collect())
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{count} configuration error{plural}:")?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl std::error::Error for Errors {}

/// Keeps the start, which names the place, and the end, which names the remedy.
fn line(problem: &str) -> String {
    let mut line: Vec<char> = one_line(problem).collect();
    if line.len() > LONGEST {
        line.splice(LONGEST / 2..line.len() - LONGEST / 2, ['…']);
    }
    line.into_iter().collect()
}

/// Characters: longer than any error that does not repeat long text of the input.
const LONGEST: usize = 2000;
