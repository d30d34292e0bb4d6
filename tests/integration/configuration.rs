//! Every configuration error: one sentence that names the place, the reason and the remedy, all at once, exit 78.

use std::fs;

use crate::support::{Scratch, check, run, run_command};

const ARN: (&str, &str) = (
    "ALIBABA_CLOUD_ROLE_ARN",
    "acs:ram::1234567890123456:role/job",
);
const PRESET: (&str, &str) = ("RAM_SIDECAR_ROLE_PRESET", "pai-default");
const ACCOUNT: (&str, &str) = ("RAM_SIDECAR_ACCOUNT_ID", "1234567890123456");
const BUCKET: (&str, &str) = ("RAM_SIDECAR_OSS_BUCKET", "examplebucket");
const NONE: (&str, &str) = ("RAM_SIDECAR_ROLE_PRESET", "none");
const ID: (&str, &str) = ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIexample");
const SECRET: (&str, &str) = ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "planted-secret");
const PROVIDER: (&str, &str) = (
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    "acs:ram::1234567890123456:oidc-provider/ack",
);
const TOKEN_FILE: (&str, &str) = ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/var/run/token");

struct Case {
    args: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
    toml: &'static str,
    /// The start of each reported error, in order and complete.
    errors: &'static [&'static str],
}

/// A role and an identity, so that only the error under test is reported.
const VALID: &[(&str, &str)] = &[ARN, ID, SECRET];

const fn flag(args: &'static [&'static str], error: &'static [&'static str]) -> Case {
    Case {
        args,
        env: VALID,
        toml: "",
        errors: error,
    }
}

const fn variables(
    env: &'static [(&'static str, &'static str)],
    errors: &'static [&'static str],
) -> Case {
    Case {
        args: &[],
        env,
        toml: "",
        errors,
    }
}

const fn toml(toml: &'static str, errors: &'static [&'static str]) -> Case {
    Case {
        args: &[],
        env: VALID,
        toml,
        errors,
    }
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Roles.
    variables(&[ID, SECRET], &["role.arn: no role is given; set ALIBABA_CLOUD_ROLE_ARN"]),
    variables(&[("ALIBABA_CLOUD_ROLE_ARN", "arn:aws:iam::1:role/x"), ID, SECRET], &["ALIBABA_CLOUD_ROLE_ARN: `arn:aws:iam::1:role/x` is not a role ARN: it does not begin with `acs:ram::`"]),
    flag(&["--role-arn", "acs:ram::1:role/other"],
        &["two role choices are given, `acs:ram::1:role/other` (--role-arn) and `acs:ram::1234567890123456:role/job` (ALIBABA_CLOUD_ROLE_ARN); a job has one role: remove one of them"]),
    toml("role.arn = 'acs:ram::1:role/other'",
        &["two role choices are given, `acs:ram::1234567890123456:role/job` (ALIBABA_CLOUD_ROLE_ARN) and `acs:ram::1:role/other` (role.arn in FILE); a job has one role"]),
    flag(&["--role-arn", "acs:ram::1234567890123456:role/job", "--role-arn", "acs:ram::1:role/other"], &["two role choices are given, `acs:ram::1:role/other` (--role-arn) and"]),
    Case { args: &["--account-id", "222"], env: &[ID, SECRET, PRESET, ACCOUNT, BUCKET], toml: "", errors: &["two accounts are given, `222` (--account-id) and `1234567890123456` (RAM_SIDECAR_ACCOUNT_ID)"] },
    variables(&[ARN, ID, SECRET, PRESET, ACCOUNT, BUCKET], &["two role choices are given, `pai-default` (RAM_SIDECAR_ROLE_PRESET) and `acs:ram::1234567890123456:role/job` (ALIBABA_CLOUD_ROLE_ARN)"]),
    variables(&[ARN, ID, SECRET, NONE], &["two role choices are given, `none` (RAM_SIDECAR_ROLE_PRESET) and"]),
    variables(&[ID, SECRET, ("RAM_SIDECAR_ROLE_PRESET", "some")], &["RAM_SIDECAR_ROLE_PRESET: `some` is not a preset; choose pai-default or none"]),
    variables(&[ID, SECRET, PRESET], &["role.account_id: it is missing for role.preset pai-default; set RAM_SIDECAR_ACCOUNT_ID", "role.oss_bucket: it is missing for role.preset pai-default; set RAM_SIDECAR_OSS_BUCKET"]),
    variables(&[ID, SECRET, PRESET, BUCKET, ("RAM_SIDECAR_ACCOUNT_ID", "me")], &["RAM_SIDECAR_ACCOUNT_ID: `me` is not an account id; write its digits"]),
    variables(&[ID, SECRET, PRESET, ACCOUNT, ("RAM_SIDECAR_OSS_BUCKET", "oss://b/*")], &["RAM_SIDECAR_OSS_BUCKET: `oss://b/*` is not a bucket; write its name alone"]),
    variables(&[ID, SECRET, PRESET, ACCOUNT, BUCKET, ("RAM_SIDECAR_POLICY_FILE", "/p")], &["RAM_SIDECAR_POLICY_FILE: role.preset pai-default has its own session policy"]),
    variables(&[ARN, ID, SECRET, BUCKET], &["RAM_SIDECAR_OSS_BUCKET: it belongs to role.preset pai-default; set that too, or remove it"]),
    variables(&[NONE, ("RAM_SIDECAR_EXTERNAL_ID", "partner")], &["RAM_SIDECAR_EXTERNAL_ID: it takes effect only with a role; set role.arn, or remove it"]),
    variables(&[("RAM_SIDECAR_IDENTITY", "ecs_ram_role"), ("RAM_SIDECAR_POLICY", r#"{"Version":"1","Statement":[]}"#)], &["RAM_SIDECAR_POLICY: it takes effect only with a role"]),
    flag(&["--role-via", "acs:ram::1:role/a,job"], &["--role-via: `job` is not a role ARN"]),
    flag(&["--role-via", "acs:ram::1:role/a,"], &["--role-via: it is empty or has an empty entry; write it like a,b"]),
    toml("role.via = ['acs:ram::1:role/a', 7]", &["role.via in FILE: it cannot be of type array"]),
    flag(&["--source-identity", "a b"], &["--source-identity: `a b` is not a source identity; use 2 to 64"]),
    flag(&["--role-session-name", "a b"], &["--role-session-name: `a b` is not a session name; use 2 to 64"]),
    flag(&["--duration", "60"], &["--duration: `60` has no unit; write it like 30s, 5m or 1h"]),
    flag(&["--duration", "soon"], &["--duration: `soon` is not a duration"]),
    flag(&["--duration", "5m"], &["--duration: `5m` is outside the limits of STS; choose 15m to 12h"]),
    flag(&["--duration", "13h"], &["--duration: `13h` is outside the limits of STS"]),
    flag(&["--external-id", "x"], &["--external-id: it is not an external ID; use 2 to 1224"]),
    flag(&["--policy-file", "/nonexistent/policy"], &["--policy-file: cannot read /nonexistent/policy: No such file or directory (os error 2); correct the path"]),
    variables(&[ARN, ID, SECRET, ("RAM_SIDECAR_POLICY", "{")], &["RAM_SIDECAR_POLICY: the session policy is not JSON"]),
    variables(&[ARN, ID, SECRET, ("RAM_SIDECAR_POLICY", "{}"), ("RAM_SIDECAR_POLICY_FILE", "/p")],
        &["RAM_SIDECAR_POLICY and RAM_SIDECAR_POLICY_FILE both give a session policy; keep one", "RAM_SIDECAR_POLICY: the session policy lacks", "RAM_SIDECAR_POLICY_FILE: cannot read /p"]),
    // Identities.
    variables(&[ARN], &["identity.type: no identity is given; set ALIBABA_CLOUD_ACCESS_KEY_ID"]),
    variables(&[ARN, ID], &["identity.access_key_secret: it is missing, but the rest of the AccessKey is set; set ALIBABA_CLOUD_ACCESS_KEY_SECRET or ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE"]),
    variables(&[ARN, SECRET], &["identity.access_key_id: it is missing"]),
    variables(&[ARN, ID, ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "planted secret\n")], &["ALIBABA_CLOUD_ACCESS_KEY_SECRET: it contains white space"]),
    variables(&[ARN, ID, SECRET, ("ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE", "/s")], &["ALIBABA_CLOUD_ACCESS_KEY_SECRET and ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE both give the same part"]),
    variables(&[ARN, ID, ("ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE", "planted-secret")], &["ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE: it is not an absolute path; write the path of a mounted file"]),
    variables(&[ARN, ID, SECRET, PROVIDER, TOKEN_FILE],
        &["two identities are given, access_key (ALIBABA_CLOUD_ACCESS_KEY_ID) and oidc (ALIBABA_CLOUD_OIDC_TOKEN_FILE); choose one with identity.type (RAM_SIDECAR_IDENTITY)"]),
    variables(&[ARN, PROVIDER], &["identity.oidc_token_file: it is missing for the oidc identity; set ALIBABA_CLOUD_OIDC_TOKEN_FILE"]),
    variables(&[ARN, TOKEN_FILE], &["identity.oidc_provider_arn: it is missing"]),
    variables(&[ARN, TOKEN_FILE, ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "ack")], &["ALIBABA_CLOUD_OIDC_PROVIDER_ARN: `ack` is not an OIDC provider; write acs:ram::<account id>:oidc-provider/<name>"]),
    variables(&[ARN, PROVIDER, TOKEN_FILE, ("RAM_SIDECAR_EXTERNAL_ID", "partner")], &["RAM_SIDECAR_EXTERNAL_ID: AssumeRoleWithOIDC does not support the external ID; remove it"]),
    flag(&["--identity", "magic"], &["--identity: `magic` is not an identity; choose access_key, oidc, ecs_ram_role, profile, credentials_uri or process"]),
    variables(&[ARN, PROVIDER, TOKEN_FILE, ("RAM_SIDECAR_SOURCE_IDENTITY", "me")], &["RAM_SIDECAR_SOURCE_IDENTITY: AssumeRoleWithOIDC does not support the source identity; remove it"]),
    variables(&[ARN, ID, SECRET, ("ALIBABA_CLOUD_ECS_METADATA", "node"), ("RAM_SIDECAR_COMMAND", "helper")],
        &["3 identities are given, access_key (ALIBABA_CLOUD_ACCESS_KEY_ID) and ecs_ram_role (ALIBABA_CLOUD_ECS_METADATA) and process (RAM_SIDECAR_COMMAND); choose one"]),
    variables(&[ARN, ("ALIBABA_CLOUD_CREDENTIALS_URI", "http://127.0.0.1:7009/planted")],
        &["identity.type: no identity is given; set ALIBABA_CLOUD_ACCESS_KEY_ID"]),
    variables(&[ARN, ("RAM_SIDECAR_IDENTITY", "credentials_uri"), ("ALIBABA_CLOUD_CREDENTIALS_URI", "http://10.0.0.1/planted")],
        &["ALIBABA_CLOUD_CREDENTIALS_URI: plain http to another machine would send credentials in the clear"]),
    variables(&[ARN, ("RAM_SIDECAR_IDENTITY", "credentials_uri"), ("ALIBABA_CLOUD_CREDENTIALS_URI", "http://localhost:7002/planted")],
        &["ALIBABA_CLOUD_CREDENTIALS_URI: it is the address of this daemon (serve.listen)"]),
    variables(&[ARN, ("RAM_SIDECAR_IDENTITY", "credentials_uri")], &["identity.credentials_uri: it is missing for the credentials_uri identity; set ALIBABA_CLOUD_CREDENTIALS_URI"]),
    variables(&[ARN, ("ALIBABA_CLOUD_ECS_METADATA", "node"), ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")],
        &["ALIBABA_CLOUD_ECS_METADATA_DISABLED: it forbids the ECS metadata service, which the ecs_ram_role identity uses; unset it"]),
    variables(&[ARN, ("ALIBABA_CLOUD_ECS_METADATA", "acs:ram::1:role/x")], &["ALIBABA_CLOUD_ECS_METADATA: `acs:ram::1:role/x` is not a role name; write the name alone"]),
    variables(&[ARN, ("ALIBABA_CLOUD_ECS_METADATA", "node"), ("ALIBABA_CLOUD_IMDS_ENDPOINT", "http://10.0.0.1")], &["ALIBABA_CLOUD_IMDS_ENDPOINT: it is not a metadata service"]),
    variables(&[ARN, ("ALIBABA_CLOUD_PROFILE", "training")], &["identity.profile_file: HOME is not set, so .aliyun/config.json cannot be found; set ALIBABA_CLOUD_CONFIG_FILE"]),
    variables(&[ARN, ("ALIBABA_CLOUD_CONFIG_FILE", "config.json")], &["ALIBABA_CLOUD_CONFIG_FILE: it is not an absolute path"]),
    variables(&[ARN, ("RAM_SIDECAR_IDENTITY", "process")], &["identity.command: it is missing for the process identity; set RAM_SIDECAR_COMMAND"]),
    variables(&[ARN, ("RAM_SIDECAR_COMMAND", "helper --json")], &["RAM_SIDECAR_COMMAND: it is one text with white space in it, not a list of words"]),
    variables(&[ARN, ("RAM_SIDECAR_COMMAND", "bin/helper")], &["RAM_SIDECAR_COMMAND: its program is a relative path, which leads elsewhere from each working directory; write its path from the root"]),
    toml("identity.command = ['./helper', '--json']\nidentity.type = 'process'", &["identity.command in FILE: its program is a relative path"]),
    variables(&[ARN, ("RAM_SIDECAR_COMMAND", "no-such-helper"), ("PATH", "/bin::/usr/bin")], &["RAM_SIDECAR_COMMAND: its program is not found before the relative directory \"\" of PATH, which leads elsewhere from each working directory; write its path from the root, or remove that directory from PATH"]),
    variables(&[ARN, ("RAM_SIDECAR_COMMAND", "[7]")], &["RAM_SIDECAR_COMMAND: it is not a list of texts; write it like"]),
    variables(&[ARN, ("RAM_SIDECAR_COMMAND", "helper"), ("RAM_SIDECAR_IDENTITY_TIMEOUT", "1h")], &["RAM_SIDECAR_IDENTITY_TIMEOUT: `1h` is outside the limits; choose 1s to 5m"]),
    variables(&[ARN, ("ALIBABA_CLOUD_ACCESS_KEY_ID", "\"LTAIexample\""), SECRET], &["ALIBABA_CLOUD_ACCESS_KEY_ID: it is in quotes, which docker --env-file keeps; set it again without them"]),
    // Proxies.
    variables(&[ARN, ID, SECRET, ("HTTPS_PROXY", "\"http://proxy:3128\"")], &["HTTPS_PROXY: it is in quotes, which docker --env-file keeps; write it like http://proxy:3128"]),
    variables(&[ARN, ID, SECRET, ("https_proxy", "http://me:planted-word@proxy:3128\r")], &["https_proxy: it contains a blank or a line break"]),
    variables(&[ARN, ID, SECRET, ("ALL_PROXY", "http:/proxy:3128")], &["ALL_PROXY: it has one slash instead of two"]),
    variables(&[ARN, ID, SECRET, ("ALL_PROXY", "socks5://proxy:1080")], &["ALL_PROXY: its scheme is neither http nor https"]),
    // A file that cannot be read may hold a role and an identity.
    Case { args: &["--log-level", "loud"], env: &[], toml: "role.arn = ", errors: &["FILE: line 1 is not TOML", "--log-level: `loud`"] },
    // STS.
    flag(&["--sts-endpoint", "http://sts.aliyuncs.com"], &["--sts-endpoint: it is not an STS endpoint: plain http"]),
    flag(&["--sts-endpoint", "https://me:planted-word@sts.aliyuncs.com"], &["--sts-endpoint: it is not an STS endpoint: it contains a user name"]),
    flag(&["--sts-endpoint", "x y", "--vpc=maybe"], &["--vpc: `maybe` is neither", "--sts-endpoint: it is not an STS endpoint"]),
    flag(&["--sts-endpoint", "sts.aliyuncs.com", "--sts-endpoint", "http://sts.aliyuncs.com"], &["--sts-endpoint: entry 2 is not an STS endpoint: plain http"]),
    flag(&["--sts-signature", "v2"], &["--sts-signature: `v2` is not a signature; choose v1 or v3"]),
    flag(&["--vpc"], &["--vpc: a VPC endpoint belongs to a region; set sts.region (ALIBABA_CLOUD_STS_REGION) too"]),
    variables(&[ARN, ID, SECRET, ("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "yes")], &["ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED: `yes` is neither true nor false"]),
    flag(&["--region", "cn hangzhou"], &["--region: `cn hangzhou` is not a region"]),
    flag(&["--ca-file", "/nonexistent/ca"], &["--ca-file: cannot read certificates from /nonexistent/ca"]),
    flag(&["--ca-file", "/etc/passwd"], &["--ca-file: /etc/passwd contains no certificate; set the path of a PEM file"]),
    flag(&["--ca-file", "/dev/zero"], &["--ca-file: cannot read certificates from /dev/zero: it is not a regular file; set"]),
    flag(&["--policy-file", "/dev/zero"], &["--policy-file: cannot read /dev/zero: it is not a regular file; correct"]),
    // Listeners.
    flag(&["--listen", "localhost"], &["--listen: `localhost` has no port; write it like localhost:7002"]),
    flag(&["--listen", ":7002"], &["--listen: `:7002` has no IP address; write 127.0.0.1:7002 for this machine, or 0.0.0.0:7002 for all of its addresses"]),
    flag(&["--listen", "7002"], &["--listen: `7002` has no IP address; write 127.0.0.1:7002"]),
    flag(&["--listen", "0.0.0.0:7002"], &["--listen: 0.0.0.0 can be reached from other machines; listen on 127.0.0.1, or set serve.allow_remote",
        "RAM_SIDECAR_KEY: other machines can reach 0.0.0.0, so serve.key must be a random secret of at least 128 bits"]),
    flag(&["--listen", "0.0.0.0:7002", "--key", "9d464f0d525a17d6b379b2c1660ebe17"], &["--listen: 0.0.0.0 can be reached from other machines"]),
    flag(&["--listen", "0.0.0.0:7002", "--allow-remote", "--key", "0123456789abcdefghijkl"], &["--key: other machines can reach 0.0.0.0"]),
    flag(&["--listen", "127.0.0.1:7003"], &["serve.listen and admin.listen are the same address, 127.0.0.1:7003; give one of them another port"]),
    flag(&["--metadata-listen", "127.0.0.1:7002"], &["serve.listen and metadata.listen are the same address, 127.0.0.1:7002"]),
    Case { args: &["--sandbox", "--sandbox-listen", "127.0.0.1:7003"], env: &[], toml: "", errors: &["admin.listen and --sandbox-listen are the same address, 127.0.0.1:7003"] },
    flag(&["--allow-uids", "root"], &["--allow-uids: `root` is not a user id; write numbers, like 0,1000"]),
    flag(&["--allow-uids", "0,"], &["--allow-uids: it is empty or has an empty entry"]),
    flag(&["--allow-uids=-1"], &["--allow-uids: `-1` is not a user id"]),
    flag(&["--metadata-listen", "0.0.0.0:80"], &["--metadata-listen: 0.0.0.0 can be reached from other machines, and the metadata dialect does not support a secret"]),
    flag(&["--metadata-listen", "100.100.100.200"], &["--metadata-listen: `100.100.100.200` has no port; write it like 100.100.100.200:7002"]),
    flag(&["--metadata-role-name", "acs:ram::1:role/x"], &["--metadata-role-name: `acs:ram::1:role/x` is not a role name"]),
    flag(&["--container-token-file", "/nowhere"], &["--container-token-file: cannot read /nowhere: No such file",
        "--container-token-file: it protects the dialect of AWS SDKs, which is disabled; set container.enabled"]),
    flag(&["--container", "--container-token-file", "planted"], &["--container-token-file: it is not an absolute path"]),
    flag(&["--admin-listen", "of"], &["--admin-listen: `of` is not an address; write an IP address and a port, like 127.0.0.1:7002 or [::1]:7002, or off"]),
    flag(&["--key", "a/b"], &["--key: it is not a key; use 1 to 128"]),
    flag(&["--admin-listen", "here"], &["--admin-listen: `here` is not an address"]),
    flag(&["--admin-stop", "me"], &["--admin-stop: `me` is not who may stop it; choose owner or anyone"]),
    flag(&["--admin-hosts", "a,b:80"], &["--admin-hosts: `b:80` is not a host name; write names without a port, like probe.example.com"]),
    // Files.
    flag(&["--file", "credentials"], &["--file: path `credentials` is not absolute; write it from the root"]),
    flag(&["--file", "/a/b,mode=rw"], &["--file: mode `rw` is not a file mode; write it in octal, like 0640"]),
    flag(&["--file", "/a/b,uid=root"], &["--file: uid `root` is not a numeric id"]),
    flag(&["--file", "/a/b,owner=1"], &["--file: unknown field `owner`; use path, format, mode, uid and gid"]),
    flag(&["--file", "/a/b", "--file", "/a/b"], &["--file: /a/b is configured twice; keep one"]),
    variables(&[ARN, ID, SECRET, ("RAM_SIDECAR_FILE", "/a/b:c")], &["RAM_SIDECAR_FILE: path `c` is not absolute"]),
    // The rest.
    flag(&["--drain", "1d"], &["--drain: `1d` is not a duration"]),
    flag(&["--log-level", "loud"], &["--log-level: `loud` is not a level; choose error, warn, info, debug or trace"]),
    flag(&["--log-format", "xml"], &["--log-format: `xml` is not a log format; choose text or json"]),
    flag(&["--config", "/dev/zero"], &["/dev/zero: cannot read the configuration file: it is not a regular file; correct --config"]),
    flag(&["--config", "/nonexistent/toml"], &["/nonexistent/toml: cannot read the configuration file: No such file"]),
    Case { args: &["--sandbox", "--fault", "lifetime=x"], env: &[], toml: "", errors: &["--fault: lifetime: `x` is not a duration"] },
    Case { args: &["--sandbox", "--role-arn", "x"], env: &[], toml: "", errors: &["--role-arn: --sandbox has its own role, identity and STS"] },
    Case { args: &["--sandbox"], env: &[("RAM_SIDECAR_FILE", "/a/b")], toml: "", errors: &["RAM_SIDECAR_FILE: --sandbox would replace real credentials with ones that only it accepts"] },
    // The file.
    toml("role = 7", &["role in FILE: unknown key"]),
    toml("[role]\nduraton = '1h'", &["role.duraton in FILE: unknown key; did you mean role.duration?"]),
    toml("[sts]\nsession_name = 'x'", &["sts.session_name in FILE: unknown key; did you mean role.session_name?"]),
    toml("[role]\nduration = 3600", &["role.duration in FILE: `3600` has no unit"]),
    toml("[role]\nduration = ['1h']", &["role.duration in FILE: it cannot be of type array"]),
    toml("[identity]\naccess_key_secret = 'planted-secret'", &["identity.access_key_secret in FILE: the file must not contain secrets; set ALIBABA_CLOUD_ACCESS_KEY_SECRET or identity.access_key_secret_file"]),
    toml("file = '/a/b'", &["file in FILE: it is not a list of tables; write [[file]]"]),
    toml("[[file]]\npath = '/a/b'\nmode = 600", &["file[0] in FILE: mode is a number; write it as text"]),
    toml("[[file]]\nmode = '0600'", &["file[0] in FILE: path `` is not absolute"]),
    toml("[serve\nkey", &["FILE: line 1 is not TOML"]),
    toml("[serve]\nlisten = 127.0.0.1:7002", &["FILE: line 2 is not TOML: invalid"]),
    // What it spells wrong may be the role and the identity.
    Case { args: &[], env: &[], toml: "[rol]\narn = 'acs:ram::1:role/job'\n[Identity]\ntype = 'profile'",
        errors: &["Identity in FILE: unknown key; did you mean [identity]?", "rol in FILE: unknown key; did you mean [role]?"] },
    Case { args: &[], env: &[], toml: "role_arn = 'acs:ram::1:role/job'", errors: &["role_arn in FILE: unknown key; did you mean role.arn?"] },
];

#[test]
fn each_configuration_error_names_the_setting_on_one_line() {
    let scratch = Scratch::new();
    let file = scratch.join("config.toml");
    let file = file.to_str().unwrap();
    for case in CASES {
        fs::write(file, case.toml).unwrap();
        let mut args = case.args.to_vec();
        if !case.toml.is_empty() {
            args.extend(["--config", file]);
        }
        let (code, message) = run(&args, case.env);
        let message = message.replace(file, "FILE");
        assert_eq!(code, Some(78), "{message}");
        let lines: Vec<&str> = message.lines().skip(1).map(str::trim_start).collect();
        assert_eq!(lines.len(), case.errors.len(), "{message}");
        for (line, error) in lines.iter().zip(case.errors) {
            assert!(line.starts_with(error), "\n{line}\n{error}");
        }
        assert!(!message.contains("planted"), "{message}");
    }
}

#[test]
fn all_configuration_errors_are_reported_at_once() {
    let scratch = Scratch::new();
    let file = scratch.join("config.toml");
    fs::write(&file, "[role]\nduration = '1'\n[nope]\nx = 1\n").unwrap();
    let (code, message) = run(
        &[
            "--config",
            file.to_str().unwrap(),
            "--log-level",
            "loud",
            "--drain",
            "x",
        ],
        &[("RAM_SIDECAR_KEY", "a b"), ("RAM_SIDECAR_FILE", "x")],
    );
    assert_eq!(code, Some(78));
    assert!(
        message.starts_with("ram-sidecar: 8 configuration errors:"),
        "{message}"
    );
    for place in [
        "nope in",
        "role.duration in",
        "role.arn:",
        "identity.type:",
        "RAM_SIDECAR_KEY:",
        "RAM_SIDECAR_FILE:",
        "--drain:",
        "--log-level:",
    ] {
        assert!(
            message.contains(&format!("\n  {place}")),
            "{place}\n{message}"
        );
    }
}

#[test]
fn usage_error_and_configuration_error_have_different_exit_codes() {
    for args in [
        &["--no-such-flag"][..],
        &["--access-key-secret", "x"],
        &["--fault", "lifetime=1m"],
        &["stray"],
    ] {
        let (code, message) = run(args, &[]);
        assert_eq!(code, Some(64), "{message}");
        assert!(
            message.contains("Usage:") || message.contains("--help"),
            "{message}"
        );
    }
    let (code, _) = run(&["--help"], &[]);
    assert_eq!(code, Some(0));
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let (code, message) = run(
        &[],
        &[
            ARN,
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", ""),
            ("RAM_SIDECAR_CONFIG", ""),
        ],
    );
    assert_eq!(code, Some(78));
    assert!(message.contains("no identity is given"), "{message}");
}

#[test]
fn error_begins_with_what_could_be_the_identity() {
    let scratch = Scratch::new();
    let profiles = r#"{"current":"work","profiles":[{"name":"other","mode":"OIDC"},{"name":"work","mode":"A\u001bK"}]}"#;
    fs::create_dir(scratch.join(".aliyun")).unwrap();
    fs::write(scratch.join(".aliyun/config.json"), profiles).unwrap();
    let home = scratch.path().to_str().unwrap();
    let uri = (
        "ALIBABA_CLOUD_CREDENTIALS_URI",
        "http://localhost:7002/api/v1/credentials/0",
    );
    // With another one's credentials, nothing else is missing.
    for (env, found) in [
        (
            &[("HOME", home), uri][..],
            "found the profile `work` (A K) of ",
        ),
        (&[uri], "found ALIBABA_CLOUD_CREDENTIALS_URI"),
    ] {
        let ended = run_command("exec", &["--", "true"], env);
        assert_eq!(ended.code, Some(78), "{}", ended.stderr);
        let lines: Vec<&str> = ended.stderr.lines().collect();
        assert!(lines.len() == 1 && lines[0].contains(found), "{lines:?}");
        let (code, report) = check(&["--listen", "127.0.0.1:0"], env);
        assert_eq!(code, Some(69), "{report}");
        assert!(report.contains(&format!("✗ {found}")), "{report}");
        assert!(!report.contains("no role is given"), "{report}");
    }
    let (_, output) = run(&["--drain", "x"], &[uri]);
    let lines: Vec<&str> = output.lines().collect();
    let [hint, count, own, drain] = lines[..] else {
        panic!("{output}");
    };
    assert!(
        hint.contains("found ALIBABA_CLOUD_CREDENTIALS_URI"),
        "{hint}"
    );
    assert!(count.contains("2 configuration errors"), "{count}");
    assert!(own.contains("it is the address of this daemon"), "{own}");
    assert!(drain.contains("--drain: `x`"), "{drain}");
    // Where the tests run on one, an instance is found.
    let (code, output) = run(&[], &[]);
    assert_eq!(code, Some(78), "{output}");
    let first = output.lines().next().unwrap_or_default();
    assert!(first.contains("ECS instance"), "{output}");
    // Beside a daemon, `get` can print its credentials.
    let output = run_command("get", &[], &[]).stderr;
    assert!(
        output.contains("--from http://127.0.0.1:7002/api/v1/credentials/KEY"),
        "{output}"
    );
    // Whoever has begun to configure one needs no other.
    let (_, output) = run(&["--identity", "oidc"], &[("HOME", home)]);
    assert!(!output.contains("found the profile"), "{output}");
}
