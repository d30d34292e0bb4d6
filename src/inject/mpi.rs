//! MPI jobs: ranks run in other pods than their launcher, and get its environment (Hydra) or none (Open MPI over ssh).

use serde_json::Value;

use super::field::Field;
use super::json::text_of;
use super::request::Request;
use super::volumes::CREDENTIALS_PATH;

/// Returns the default of MPI jobs: a key that is the same in every pod, so that the launcher's URI works for its ranks.
pub(super) fn defaults() -> Request {
    let mut request = Request::default();
    request.set(Field::Key, "0", DEFAULT);
    request
}

/// Warns of the default, if a request uses it.
pub(super) fn warning(request: &Request) -> Option<String> {
    let key = request.get(Field::Key)?;
    (key.place == DEFAULT).then(|| "has the key 0, because MPI ranks get the URI of their launcher: it can be guessed, --key (ram-sidecar/key) sets another".to_owned())
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

/// Says how ranks of Open MPI find the sidecar.
pub(super) fn note(object: &Value) -> Option<String> {
    let spec = &object["spec"];
    let set = [
        &spec["mpiImplementation"],
        &spec["mlPolicy"]["mpi"]["mpiImplementation"],
    ];
    // Source: the default of the MPI operator.
    let is_open = set.iter().all(|name| name.is_null() || **name == "OpenMPI");
    (is_job(object) && is_open).then(|| format!("Open MPI passes no environment to ranks over ssh: let them read {CREDENTIALS_PATH}/credentials, start them by mpirun -x ALIBABA_CLOUD_CREDENTIALS_URI, or use --metadata-address"))
}

const DEFAULT: &str = "the default of MPI jobs";
