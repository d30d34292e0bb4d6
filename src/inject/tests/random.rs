//! Random pods and specs.

use serde_json::{Map, Value, json};

use super::{PROVIDER, ROLE};
use crate::inject::{Identity, Key, Metadata, Mode, Spec};

/// A random number generator with a seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        // Source: xorshift64*, by Marsaglia and Vigna.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % limit
    }

    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn some_of<'a>(&mut self, from: &[&'a str]) -> Vec<&'a str> {
        let mut some = from.to_vec();
        some.retain(|_| self.one_in(3));
        some
    }
}

/// Returns a random pod. A restricted one complies with the restricted Pod Security Standard.
pub(super) fn pod(random: &mut Random, is_restricted: bool) -> Value {
    let mut spec = Map::new();
    if random.one_in(3) {
        spec.insert(
            "terminationGracePeriodSeconds".into(),
            json!(random.below(100)),
        );
    }
    if random.one_in(3) {
        spec.insert(
            "restartPolicy".into(),
            json!(random.pick(&["Always", "Never", "OnFailure"])),
        );
    }
    if random.one_in(2) {
        let count = random.below(3);
        spec.insert(
            "initContainers".into(),
            containers(random, count, is_restricted, "init"),
        );
    }
    let count = 1 + random.below(3);
    spec.insert(
        "containers".into(),
        containers(random, count, is_restricted, "job"),
    );
    match random.below(4) {
        0 => {
            let kind = if is_restricted {
                "emptyDir"
            } else {
                "hostPath"
            };
            let volumes: Vec<Value> = random
                .some_of(VOLUMES)
                .iter()
                .map(|name| json!({ "name": name, kind: { "path": "/" } }))
                .collect();
            spec.insert("volumes".into(), volumes.into());
        }
        1 => {
            spec.insert("volumes".into(), Value::Null);
        }
        _ => {}
    }
    if is_restricted {
        let context =
            json!({ "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } });
        spec.insert("securityContext".into(), context);
    } else if random.one_in(2) {
        let sysctls = [
            "net.ipv4.ip_unprivileged_port_start",
            "kernel.shm_rmid_forced",
        ];
        let sysctls: Vec<Value> = random
            .some_of(&sysctls)
            .iter()
            .map(|name| json!({ "name": name, "value": "1" }))
            .collect();
        let context = if random.one_in(3) {
            json!({ "runAsUser": 0 })
        } else {
            json!({ "sysctls": sysctls })
        };
        spec.insert("securityContext".into(), context);
    }
    spec.insert(
        random
            .pick(&["nodeSelector", "unknown field", "hostAliases"])
            .into(),
        odd(random, 0),
    );
    let mut pod = json!({ "metadata": { "annotations": odd(random, 2) } });
    pod["spec"] = spec.into();
    pod["status"] = odd(random, 0);
    pod
}

fn containers(random: &mut Random, count: usize, is_restricted: bool, prefix: &str) -> Value {
    let containers = (0..count).map(|index| {
        let odd_name = random.pick(ODD);
        let mut container =
            json!({ "name": format!("{prefix}{index}{odd_name}"), "image": random.pick(ODD) });
        match random.below(4) {
            0 => container["env"] = Value::Null,
            1 => container["env"] = json!([]),
            2 => {
                let value = random.pick(ODD);
                let env = random.some_of(VARIABLES);
                let env = env
                    .iter()
                    .map(|name| json!({ "name": name, "value": value }));
                container["env"] = env.collect();
            }
            _ => {}
        }
        if random.one_in(2) {
            let is_read_only = random.one_in(2);
            let mounts = random.some_of(MOUNTS);
            let mounts = mounts
                .iter()
                .map(|path| json!({ "name": "data", "mountPath": path, "readOnly": is_read_only }));
            container["volumeMounts"] = mounts.collect();
        }
        if is_restricted {
            container["securityContext"] =
                json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } });
        }
        if random.one_in(3) {
            container["args"] = odd(random, 1);
        }
        container
    });
    containers.collect()
}

fn odd(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth > 2 { 4 } else { 6 }) {
        0 => random.pick(ODD).into(),
        1 => random.below(1000).into(),
        2 => Value::Null,
        3 => json!(-0.5),
        4 => (0..random.below(3))
            .map(|_| odd(random, depth + 1))
            .collect(),
        _ => {
            let fields =
                (0..random.below(3)).map(|_| (random.pick(ODD).to_owned(), odd(random, depth + 1)));
            Value::Object(fields.collect())
        }
    }
}

/// Returns a random spec.
pub(super) fn spec(random: &mut Random) -> Spec {
    let identity = match random.below(5) {
        0 => Identity::EcsRamRole,
        1 => Identity::AccessKey {
            secret: "key".into(),
        },
        2 => Identity::CredentialsUri {
            uri: "https://a/b".into(),
        },
        3 => Identity::Sandbox,
        _ => Identity::Oidc {
            provider: PROVIDER.into(),
        },
    };
    let mut spec = super::rrsa().check().unwrap();
    assert_eq!(spec.role.as_ref().unwrap().as_str(), ROLE);
    spec.endpoints.metadata = match random.below(4) {
        0 if identity != Identity::EcsRamRole => Some(Metadata::Address),
        1 => Some(Metadata::Loopback),
        _ => None,
    };
    spec.endpoints.container = random.one_in(3);
    spec.metrics = random.one_in(2);
    spec.readiness = random.one_in(2);
    if random.one_in(3) {
        spec.endpoints.key = Key::Text("0".to_owned());
    }
    spec.identity = identity;
    spec.mode = if random.one_in(2) {
        Mode::Classic
    } else {
        Mode::Native
    };
    spec.vpc = random.one_in(2);
    spec.selection.skip = random
        .some_of(&["job0main", "job1y", "init0main"])
        .iter()
        .map(ToString::to_string)
        .collect();
    spec.selection.only = random
        .one_in(3)
        .then(|| vec!["job0main".to_owned(), "init00644".to_owned()]);
    spec
}

const ODD: &[&str] = &[
    "main",
    "y",
    "0644",
    "null",
    "中文",
    "a b",
    "tab\there",
    "two\nlines\n",
    "'",
    "\"",
    "# no",
    "- a",
    "a: b",
    "🚀",
    "\u{2028}",
    "",
    "~",
    "1e3",
    "{}",
    "sidecar-1",
];

const VARIABLES: &[&str] = &[
    "A",
    "RAM_SIDECAR_POD_UID",
    "ALIBABA_CLOUD_CREDENTIALS_URI",
    "ALIBABA_CLOUD_ECS_METADATA_DISABLED",
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ROLE_ARN",
    "HTTP_PROXY",
];

const MOUNTS: &[&str] = &[
    "/data",
    "/mnt/.alibabacloud",
    "/mnt/.alibabacloud/",
    "/mnt",
    "/mnt/",
    "/",
    "/mnt/.ali",
];

const VOLUMES: &[&str] = &[
    "data",
    "ram-sidecar-credentials",
    "ram-sidecar-state",
    "ram-sidecar-access-key",
    "rrsa-oidc-token",
];
