//! Draws pods of all shapes, and wishes.

use serde_json::{Map, Value, json};

use super::{PROVIDER, ROLE};
use crate::inject::{Identity, Mode, Wish};

/// Luck that can be repeated.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        // Source: xorshift64*, by Marsaglia and Vigna.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(drawn).unwrap() % limit
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

/// Draws a pod. A restricted one meets the restricted Pod Security Standard.
pub(super) fn pod(dice: &mut Dice, is_restricted: bool) -> Value {
    let mut spec = Map::new();
    if dice.one_in(3) {
        spec.insert(
            "terminationGracePeriodSeconds".into(),
            json!(dice.below(100)),
        );
    }
    if dice.one_in(3) {
        spec.insert(
            "restartPolicy".into(),
            json!(dice.pick(&["Always", "Never", "OnFailure"])),
        );
    }
    if dice.one_in(2) {
        let count = dice.below(3);
        spec.insert(
            "initContainers".into(),
            containers(dice, count, is_restricted, "init"),
        );
    }
    let count = 1 + dice.below(3);
    spec.insert(
        "containers".into(),
        containers(dice, count, is_restricted, "job"),
    );
    match dice.below(4) {
        0 => {
            let kind = if is_restricted {
                "emptyDir"
            } else {
                "hostPath"
            };
            let volumes: Vec<Value> = dice
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
    } else if dice.one_in(2) {
        let sysctls = [
            "net.ipv4.ip_unprivileged_port_start",
            "kernel.shm_rmid_forced",
        ];
        let sysctls: Vec<Value> = dice
            .some_of(&sysctls)
            .iter()
            .map(|name| json!({ "name": name, "value": "1" }))
            .collect();
        let context = if dice.one_in(3) {
            json!({ "runAsUser": 0 })
        } else {
            json!({ "sysctls": sysctls })
        };
        spec.insert("securityContext".into(), context);
    }
    spec.insert(
        dice.pick(&["nodeSelector", "unknown field", "hostAliases"])
            .into(),
        odd(dice, 0),
    );
    let mut pod = json!({ "metadata": { "annotations": odd(dice, 2) } });
    pod["spec"] = spec.into();
    pod["status"] = odd(dice, 0);
    pod
}

fn containers(dice: &mut Dice, count: usize, is_restricted: bool, prefix: &str) -> Value {
    let containers = (0..count).map(|index| {
        let odd_name = dice.pick(ODD);
        let mut container =
            json!({ "name": format!("{prefix}{index}{odd_name}"), "image": dice.pick(ODD) });
        match dice.below(4) {
            0 => container["env"] = Value::Null,
            1 => container["env"] = json!([]),
            2 => {
                let value = dice.pick(ODD);
                let env = dice.some_of(VARIABLES);
                let env = env
                    .iter()
                    .map(|name| json!({ "name": name, "value": value }));
                container["env"] = env.collect();
            }
            _ => {}
        }
        if dice.one_in(2) {
            let is_read_only = dice.one_in(2);
            let mounts = dice.some_of(MOUNTS);
            let mounts = mounts
                .iter()
                .map(|path| json!({ "name": "data", "mountPath": path, "readOnly": is_read_only }));
            container["volumeMounts"] = mounts.collect();
        }
        if is_restricted {
            container["securityContext"] =
                json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } });
        }
        if dice.one_in(3) {
            container["args"] = odd(dice, 1);
        }
        container
    });
    containers.collect()
}

fn odd(dice: &mut Dice, depth: usize) -> Value {
    match dice.below(if depth > 2 { 4 } else { 6 }) {
        0 => dice.pick(ODD).into(),
        1 => dice.below(1000).into(),
        2 => Value::Null,
        3 => json!(-0.5),
        4 => (0..dice.below(3)).map(|_| odd(dice, depth + 1)).collect(),
        _ => {
            let fields =
                (0..dice.below(3)).map(|_| (dice.pick(ODD).to_owned(), odd(dice, depth + 1)));
            Value::Object(fields.collect())
        }
    }
}

/// Draws what is wanted.
pub(super) fn wish(dice: &mut Dice) -> Wish {
    let identity = match dice.below(5) {
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
    let mut wanted = super::rrsa().checked().unwrap();
    assert_eq!(wanted.role.as_ref().unwrap().as_str(), ROLE);
    wanted.metadata = identity != Identity::EcsRamRole && dice.one_in(3);
    wanted.identity = identity;
    wanted.mode = if dice.one_in(2) {
        Mode::Classic
    } else {
        Mode::Native
    };
    wanted.vpc = dice.one_in(2);
    wanted.skip = dice
        .some_of(&["job0main", "job1y", "init0main"])
        .iter()
        .map(ToString::to_string)
        .collect();
    wanted.only = dice
        .one_in(3)
        .then(|| vec!["job0main".to_owned(), "init00644".to_owned()]);
    wanted
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
