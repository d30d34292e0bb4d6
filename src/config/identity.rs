//! Selects the identity: the one of `identity.type`, else the only one whose settings are present.

use std::path::PathBuf;

use crate::http::client::Outbound;
use crate::identity::{
    AccessKey, Defaults, EcsRamRole, File, Identity, Launch, Metadata, Oidc, Process, Profile,
    Value,
};

use super::checker::{Checker, Reported};
use super::layers::Origin;
use super::parse::{KINDS, Kind, names};
use super::setting::{Definition, Setting};
use super::settings::SETTINGS;
use super::{Candidate, Input, session, settings};

/// Returns every kind whose settings are present, selected or not.
pub(super) fn candidates(checker: &Checker) -> Vec<Candidate> {
    let chosen = checker.given(&settings::IDENTITY_TYPE);
    let present = |(kind, setting): &(Kind, &Definition)| {
        let given = checker.given(setting)?;
        // Every container of a pod may have this variable: it names the server for clients, which is this process.
        let is_for_clients = given.origin == Origin::Variable(&settings::CREDENTIALS_URI);
        Some(Candidate {
            kind: *kind,
            origin: given.origin.to_string(),
            is_selected: chosen.map_or(!is_for_clients, |chosen| chosen.value == kind.name()),
        })
    };
    let mut candidates: Vec<Candidate> = SELECTORS.iter().filter_map(present).collect();
    candidates.dedup_by_key(|candidate| candidate.kind);
    candidates
}

/// Returns the selected kind. Fails if there is none, or more than one.
pub(super) fn selected_kind(checker: &Checker) -> Result<Kind, String> {
    if let Some(chosen) = checker.given(&settings::IDENTITY_TYPE) {
        return (settings::IDENTITY_TYPE.parse)(&chosen.value)
            .map_err(|reason| format!("{}: {reason}", chosen.origin));
    }
    let candidates = candidates(checker);
    let taken: Vec<&Candidate> = candidates.iter().filter(|c| c.is_selected).collect();
    match taken.as_slice() {
        [only] => Ok(only.kind),
        [] => {
            let unused = candidates.first().map_or_else(String::new, |c| {
                format!(
                    " ({} is for clients; it becomes the identity with RAM_SIDECAR_IDENTITY={})",
                    c.origin,
                    c.kind.name()
                )
            });
            Err(format!(
                "identity.type: no identity is given; set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET (or their _FILE forms), or ALIBABA_CLOUD_OIDC_PROVIDER_ARN and ALIBABA_CLOUD_OIDC_TOKEN_FILE, or choose with RAM_SIDECAR_IDENTITY: {}{unused}",
                names(&KINDS)
            ))
        }
        several => {
            let count = if several.len() == 2 {
                "two".to_owned()
            } else {
                several.len().to_string()
            };
            let named: Vec<String> = several
                .iter()
                .map(|c| format!("{} ({})", c.kind.name(), c.origin))
                .collect();
            Err(format!(
                "{count} identities are given, {}; choose one with identity.type (RAM_SIDECAR_IDENTITY)",
                named.join(" and ")
            ))
        }
    }
}

/// Reads the settings of an identity.
pub(super) fn read(
    checker: &mut Checker,
    kind: Kind,
    input: &Input<'_>,
    outbound: &Outbound,
) -> Result<Identity, Reported> {
    let launch = launch(checker, input);
    match kind {
        Kind::AccessKey => access_key(checker),
        Kind::Oidc => oidc(checker),
        Kind::EcsRamRole => ecs_ram_role(checker),
        Kind::Profile => profile(checker, input, launch?, outbound),
        Kind::CredentialsUri => credentials_uri(checker, outbound),
        Kind::Process => process(checker, launch?),
    }
}

/// Returns how programs are run. They do not inherit the variables of our own settings, of which some are secrets; those of
/// Alibaba's tools have the same meaning to a program, which may need them.
fn launch(checker: &mut Checker, input: &Input<'_>) -> Result<Launch, Reported> {
    let variables = SETTINGS.iter().map(|setting| setting.variable());
    Ok(Launch {
        search_path: (input.variable)("PATH").unwrap_or_else(|| SEARCH_PATH.into()),
        hidden: variables
            .filter(|name| name.starts_with("RAM_SIDECAR_"))
            .collect(),
        timeout: checker.value(&settings::IDENTITY_TIMEOUT)?,
    })
}

fn process(checker: &mut Checker, launch: Launch) -> Result<Identity, Reported> {
    let command = checker.required(&settings::COMMAND, " for the process identity")?;
    let process = Process { command, launch };
    process.check().map_err(|reason| {
        // The word itself may be a secret in the wrong place.
        checker.reject(&settings::COMMAND, &format!("its program {reason}"))
    })?;
    Ok(Identity::Process(process))
}

fn access_key(checker: &mut Checker) -> Result<Identity, Reported> {
    let id = required_part(
        checker,
        &settings::ACCESS_KEY_ID,
        &settings::ACCESS_KEY_ID_FILE,
    );
    let secret = required_part(
        checker,
        &settings::ACCESS_KEY_SECRET,
        &settings::ACCESS_KEY_SECRET_FILE,
    );
    let token = part(
        checker,
        &settings::SECURITY_TOKEN,
        &settings::SECURITY_TOKEN_FILE,
    );
    Ok(Identity::AccessKey(AccessKey {
        id: id?,
        secret: secret?,
        token: token?,
    }))
}

fn required_part(
    checker: &mut Checker,
    part: &Setting<Value>,
    file: &Setting<File>,
) -> Result<Value, Reported> {
    self::part(checker, part, file)?.ok_or_else(|| {
        let (key, variable) = (part.key, part.variable());
        checker.report_missing(format!("{key}: it is missing, but the rest of the AccessKey is set; set {variable} or {variable}_FILE"))
    })
}

/// Reads one part of an AccessKey: its value, or the path of its file.
fn part(
    checker: &mut Checker,
    part: &Setting<Value>,
    file: &Setting<File>,
) -> Result<Option<Value>, Reported> {
    checker.keep_one(part, file, "the same part of the AccessKey")?;
    let given = checker.optional(part)?;
    Ok(given.or(checker.optional(file)?.map(Value::File)))
}

fn oidc(checker: &mut Checker) -> Result<Identity, Reported> {
    if checker.given(&settings::ROLE_VIA).is_none() {
        for (setting, what) in [
            (&settings::ROLE_EXTERNAL_ID, "external ID"),
            (&settings::ROLE_SOURCE_IDENTITY, "source identity"),
        ] {
            let reason = format!("AssumeRoleWithOIDC does not support the {what}; remove it");
            checker.reject_given(&[setting], &reason);
        }
    }
    let provider_arn = checker.required(&settings::OIDC_PROVIDER_ARN, " for the oidc identity");
    let token_file = checker.required(&settings::OIDC_TOKEN_FILE, " for the oidc identity");
    Ok(Identity::Oidc(Oidc {
        provider_arn: provider_arn?,
        token_file: token_file?,
    }))
}

fn metadata(checker: &mut Checker) -> Result<Metadata, Reported> {
    let url = checker.value(&settings::METADATA_URL);
    let allow_v1 = checker.value(&settings::ALLOW_V1);
    let disabled = checker.value(&settings::METADATA_DISABLED);
    Ok(Metadata {
        url: url?,
        allow_v1: allow_v1?,
        disabled: disabled?,
    })
}

fn ecs_ram_role(checker: &mut Checker) -> Result<Identity, Reported> {
    let metadata = metadata(checker);
    let role = checker.optional(&settings::ECS_ROLE_NAME);
    if metadata.as_ref().is_ok_and(|metadata| metadata.disabled) {
        checker.reject(&settings::METADATA_DISABLED, "it forbids the ECS metadata service, which the ecs_ram_role identity uses; unset it for this process, or choose another identity");
    }
    Ok(Identity::EcsRamRole(EcsRamRole::new(metadata?, role?)))
}

fn profile(
    checker: &mut Checker,
    input: &Input<'_>,
    launch: Launch,
    outbound: &Outbound,
) -> Result<Identity, Reported> {
    let metadata = metadata(checker);
    let file = checker.optional(&settings::PROFILE_FILE).and_then(|given| {
        let home = || (input.variable)("HOME").filter(|home| !home.is_empty());
        let in_home = || Some(File::new(PathBuf::from(home()?).join(".aliyun/config.json")));
        given.or_else(in_home).ok_or_else(|| {
            checker.report_missing("identity.profile_file: HOME is not set, so .aliyun/config.json cannot be found; set ALIBABA_CLOUD_CONFIG_FILE".to_owned())
        })
    });
    let name = checker.optional(&settings::PROFILE);
    let session_name = session::name(checker, input);
    let listen = checker.value(&settings::SERVE_LISTEN);
    let defaults = Defaults {
        session_name: session_name?,
        launch,
        metadata: metadata?,
        own_port: listen?.port(),
        outbound: outbound.clone(),
    };
    Ok(Identity::Profile(Profile::new(file?, name?, defaults)))
}

fn credentials_uri(checker: &mut Checker, outbound: &Outbound) -> Result<Identity, Reported> {
    let mut uri = checker.required(
        &settings::CREDENTIALS_URI,
        " for the credentials_uri identity",
    )?;
    let listen = checker.value(&settings::SERVE_LISTEN)?;
    if uri.loopback_port() == Some(listen.port()) {
        return Err(checker.reject(&settings::CREDENTIALS_URI, "it is the address of this daemon (serve.listen); set the address of another server, or change serve.listen"));
    }
    uri.outbound = outbound.clone();
    Ok(Identity::CredentialsUri(uri))
}

/// Where programs are searched for without `PATH`.
const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The settings whose presence selects a kind, those of a kind one after the other.
static SELECTORS: [(Kind, &Definition); 11] = [
    (Kind::AccessKey, &settings::ACCESS_KEY_ID.definition),
    (Kind::AccessKey, &settings::ACCESS_KEY_ID_FILE.definition),
    (Kind::AccessKey, &settings::ACCESS_KEY_SECRET.definition),
    (
        Kind::AccessKey,
        &settings::ACCESS_KEY_SECRET_FILE.definition,
    ),
    (Kind::Oidc, &settings::OIDC_TOKEN_FILE.definition),
    (Kind::Oidc, &settings::OIDC_PROVIDER_ARN.definition),
    (Kind::EcsRamRole, &settings::ECS_ROLE_NAME.definition),
    (Kind::Profile, &settings::PROFILE.definition),
    (Kind::Profile, &settings::PROFILE_FILE.definition),
    (Kind::CredentialsUri, &settings::CREDENTIALS_URI.definition),
    (Kind::Process, &settings::COMMAND.definition),
];
