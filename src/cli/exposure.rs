//! Warns of unknown variables, of a proxy that cannot be used, and of files that other users can change and that choose the role or run programs.

use std::env::split_paths;
use std::path::PathBuf;

use clap::ArgMatches;
use rustix::process::geteuid;

use super::input::{config_file, unknown_variables, variable};
use crate::config::{Config, Upstream};
use crate::system::resolve;

/// Returns a sentence for each unknown variable, for a proxy that cannot be used, and for each file that another user than root and this one can change.
/// Blocks.
pub(super) fn warnings(given: &ArgMatches, config: &Config) -> Vec<String> {
    let mut files = Vec::new();
    files.extend(config_file(given).map(|file| ("the configuration", file)));
    if let Upstream::Cloud(cloud) = &config.upstream {
        let profile = cloud.identity.source_file();
        files.extend(profile.map(|file| ("the profile", file.to_owned())));
        let programs = cloud.identity.program().map(candidates);
        let programs = programs.into_iter().flatten();
        files.extend(programs.map(|file| ("the program for credentials", file)));
    }
    let mut warnings = unknown_variables();
    if let Upstream::Cloud(cloud) = &config.upstream {
        let unused = cloud.unused_proxy.as_ref();
        warnings.extend(unused.map(|problem| {
            format!("{problem}; it is ignored, because these credentials need no proxy")
        }));
    }
    warnings.extend(files.iter().filter_map(warning));
    warnings
}

fn warning((what, file): &(&str, PathBuf)) -> Option<String> {
    let exposure = resolve::exposure(file)?;
    let (file, user) = (file.display(), geteuid().as_raw());
    Some(format!(
        "Other users can change {what} {file}, and with it the role or the programs of this process: {exposure}; let only root and user {user} write it and the directories of its path"
    ))
}

/// Returns where a program may be: at its path, or in the directories of `PATH` up to the first that has it.
fn candidates(program: &str) -> Vec<PathBuf> {
    if program.contains('/') {
        return vec![program.into()];
    }
    let path = variable("PATH").unwrap_or_default();
    let mut candidates = Vec::new();
    for directory in split_paths(&path) {
        let file = directory.join(program);
        if file.is_file() {
            candidates.push(file);
            break;
        }
        candidates.push(directory);
    }
    candidates
}
