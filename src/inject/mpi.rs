//! MPI jobs: ranks run in other pods than their launcher, and get its environment (Hydra) or none (Open MPI over ssh).

use serde_json::Value;

use super::clients::URI;
use super::field::Field;
use super::is_injected;
use super::json::{text_of, uses_host_network};
use super::request::Request;
use super::volumes::CREDENTIALS_PATH;

/// Returns the default of an MPI job's pod: a key that is the same in every pod, so that the launcher's URI works for its ranks.
///
/// There is none on the network of the node: where another pod's sidecar has the port, the job would get that one's credentials.
pub(super) fn defaults(pod: &Value) -> Request {
    let mut request = Request::default();
    if !uses_host_network(pod) {
        request.set(Field::Key, "0", DEFAULT);
    }
    request
}

/// Whether a request uses the default.
pub(super) fn has_default(request: &Request) -> bool {
    let key = request.get(Field::Key);
    key.is_some_and(|key| key.place == DEFAULT)
}

/// Warns of the default.
pub(super) const WARNING: &str = "has the key 0, because MPI ranks get the URI of their launcher: it can be guessed, --key (ram-sidecar/key) sets another";

/// Warns where the default does not apply.
pub(super) fn without_default(pod: &Value, request: &Request) -> Option<String> {
    let lacks = uses_host_network(pod) && request.get(Field::Key).is_none();
    lacks.then(|| format!("has the pod's UID as its key, because with hostNetwork another job on the node could answer for the key 0: MPI ranks cannot use the URI of their launcher, let them read {CREDENTIALS_PATH}/credentials, or set a key of this job (--key, ram-sidecar/key)"))
}

/// Whether the labels of a pod are those that operators give to the pods of MPI jobs.
pub(super) fn is_rank(pod: &Value) -> bool {
    let labels = &pod["metadata"]["labels"];
    // Source: the MPI operator's versions 2 and 1, and the training operator.
    text_of(labels, "training.kubeflow.org/operator-name").starts_with("mpi")
        || ["mpi-job-name", "mpi_job_name"]
            .iter()
            .any(|name| labels.get(name).is_some())
}

/// Whether an object starts MPI jobs: Kubeflow's, Volcano's with its plugin, or a runtime of Kubeflow's trainer.
pub(super) fn is_job(object: &Value) -> bool {
    object["kind"] == "MPIJob"
        || ["plugins", "mlPolicy"]
            .iter()
            .any(|field| !object["spec"][*field]["mpi"].is_null())
}

/// Says how ranks of Open MPI find a sidecar that is new, unless a command passes the URI on.
pub(super) fn note(object: &Value) -> Option<String> {
    let spec = &object["spec"];
    let set = [
        &spec["mpiImplementation"],
        &spec["mlPolicy"]["mpi"]["mpiImplementation"],
    ];
    // Source: the default of the MPI operator.
    let is_open = set.iter().all(|name| name.is_null() || **name == "OpenMPI");
    let is_told =
        is_job(object) && is_open && !any(object, &is_injected) && !any(object, &passes_uri);
    // A pod on the network of its node cannot have the address.
    let address = if any(object, &|fields| fields["hostNetwork"] == true) {
        ""
    } else {
        ", or use --metadata-address"
    };
    is_told.then(|| format!("with Open MPI, ranks over ssh get no environment: let them read {CREDENTIALS_PATH}/credentials, or start them by mpirun -x {URI}{address}"))
}

/// Whether a container's command names the URI.
fn passes_uri(container: &Value) -> bool {
    ["command", "args"].iter().any(|field| {
        let words = container[*field].as_array().into_iter().flatten();
        words
            .filter_map(Value::as_str)
            .any(|word| word.contains(URI))
    })
}

/// Whether an object, or one at any depth in it, fulfils a condition.
fn any(value: &Value, condition: &dyn Fn(&Value) -> bool) -> bool {
    match value {
        Value::Object(fields) => {
            condition(value) || fields.values().any(|value| any(value, condition))
        }
        Value::Array(items) => items.iter().any(|item| any(item, condition)),
        _ => false,
    }
}

const DEFAULT: &str = "the default of MPI jobs";
