//! Everything that is wrong with a configuration, a line for each mistake.

use std::fmt;

use crate::failure::breaks_a_line;

/// Everything that is wrong with a configuration, a sentence each.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<String>);

impl Mistakes {
    /// Makes each of them one line, whatever text it repeats.
    pub(crate) fn of(problems: &[String]) -> Self {
        Self(problems.iter().map(|problem| line(problem)).collect())
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{count} configuration mistake{plural}:")?;
        self.0
            .iter()
            .try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}

/// Keeps the beginning, which says where the mistake is, and the end, which says what to write instead.
fn line(problem: &str) -> String {
    let mut line: Vec<char> = problem
        .chars()
        .map(|c| if breaks_a_line(c) { ' ' } else { c })
        .collect();
    if line.len() > LONGEST {
        line.splice(LONGEST / 2..line.len() - LONGEST / 2, ['…']);
    }
    line.into_iter().collect()
}

/// Longer than any mistake that does not repeat a text of that length.
const LONGEST: usize = 2000;
