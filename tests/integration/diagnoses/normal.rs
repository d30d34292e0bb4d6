//! Replaces what differs from run to run, and from machine to machine, by placeholders.

/// Returns a sentence as the golden file has it.
pub(super) fn sentence(diagnosis: &str) -> String {
    let diagnosis = between(diagnosis, "(RequestId ", ")", "…");
    let diagnosis = between(&diagnosis, "name cannot be resolved (", ");", SYSTEM);
    diagnosis.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Replaces what stands after each `start`, up to the next `end`.
fn between(text: &str, start: &str, end: &str, placeholder: &str) -> String {
    let mut parts = text.split(start);
    let mut normal = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        normal.push_str(start);
        normal.push_str(placeholder);
        normal.push_str(part.find(end).map_or("", |at| &part[at..]));
    }
    normal
}

fn word(word: &str) -> String {
    let core = word.trim_end_matches([',', ';', ':', ')']);
    let rest = &word[core.len()..];
    let is_date = core.len() == 20 && core.ends_with('Z') && core.as_bytes()[10] == b'T';
    let normal = if is_date {
        "<time>".to_owned()
    } else if core.len() > 20 && (core.starts_with("LTAI") || core.starts_with("STS.")) {
        "<id>".to_owned()
    } else if let Some((host, port)) = core.rsplit_once(':')
        && host.contains("127.0.0.1")
        && port.parse::<u16>().is_ok()
    {
        format!("{host}:<port>")
    } else {
        core.to_owned()
    };
    normal + rest
}

/// The message for an unknown name differs between systems.
const SYSTEM: &str = "<message of the system>";
