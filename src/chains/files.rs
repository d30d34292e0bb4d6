//! Reading a file for a step.

use secrecy::SecretString;

use super::surroundings::{FileState, Surroundings};
use super::{Finding, On, Outcome, Remedy};

/// Reads a file, or returns what becomes of the step without it.
pub(super) fn read(
    surroundings: &Surroundings<'_>,
    path: &str,
    remedy: Remedy,
) -> Result<SecretString, Outcome> {
    match (surroundings.file)(path) {
        FileState::Text(text) => Ok(text),
        FileState::Missing => Err(Outcome::Absent(format!("there is no {path}"))),
        FileState::Unreadable(reason) => {
            Err(Outcome::Skipped(format!("cannot read {path}: {reason}")))
        }
        FileState::Unseen => {
            let finding = Finding {
                identity: format!("whatever {path} holds"),
                keys: None,
                is_ours: false,
                ends: None,
                is_renewed: false,
                remedy,
            };
            Err(Outcome::Depends(finding, On::Unseen))
        }
    }
}
