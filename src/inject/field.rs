//! The fields of a request, and by which names and by whom they are set.

/// A field of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The role: its ARN, or its name.
    Role,
    /// How the sidecar authenticates.
    Identity,
    /// The image of the sidecar.
    Image,
    /// Whether the sidecar is an ordinary container.
    Classic,
    /// The last segment of the URI's path.
    Key,
    /// The first port of the sidecar.
    Port,
    /// Whether AWS SDKs are served too.
    Container,
    /// Whether the ECS metadata dialect is served on loopback.
    Metadata,
    /// Whether the pod gets the address of the ECS metadata service.
    MetadataAddress,
    /// Whether metrics and probes are served on the pod's address.
    Metrics,
    /// Whether the pod is ready only while it has credentials.
    Readiness,
    /// The OIDC provider (RRSA).
    OidcProviderArn,
    /// The account of a role that is given by its name.
    AccountId,
    /// The Secret that holds an AccessKey.
    Secret,
    /// The address of another credentials server.
    CredentialsUri,
    /// The `ConfigMap` with the certificates that the sidecar trusts.
    CaConfigMap,
    /// The region whose STS is used.
    Region,
    /// Whether STS is called inside the region's VPCs.
    Vpc,
    /// The lifetime of the credentials.
    Duration,
    /// The lifetime of the service account's token.
    TokenExpiration,
    /// The CPU that the sidecar requests.
    RequestCpu,
    /// The memory that the sidecar requests.
    RequestMemory,
    /// The CPU limit of the sidecar.
    LimitCpu,
    /// The memory limit of the sidecar.
    LimitMemory,
    /// The containers that get no credentials.
    SkipContainers,
    /// The only containers that get credentials.
    OnlyContainers,
}

/// From whom the annotations of a field are accepted by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptedFrom {
    /// A pod, and its service account.
    PodAndAccount,
    /// A pod.
    Pod,
    /// Neither: the field has no annotation.
    Neither,
}

/// The names of a field: its flag and its annotations.
#[derive(Clone, Copy, Debug)]
pub struct FieldNames {
    /// The field.
    pub field: Field,
    /// The long flag, without dashes.
    pub flag: Option<&'static str>,
    /// The placeholder of the value in the help; `None` if the flag has no value.
    pub value: Option<&'static str>,
    /// The `ram-sidecar/` annotation.
    pub annotation: Option<&'static str>,
    /// The annotation of ACK's webhook for RRSA.
    pub ack_annotation: Option<&'static str>,
    /// From whom its annotations are accepted by default.
    pub accepted_from: AcceptedFrom,
    /// The help of the flag.
    pub help: &'static str,
}

/// Every field, in the order of the help.
#[rustfmt::skip]
pub const FIELDS: &[FieldNames] = &[
    FieldNames { field: Field::Role, flag: Some("role"), value: Some("ROLE"), annotation: Some("ram-sidecar/role"), ack_annotation: Some("pod-identity.alibabacloud.com/role-name"), accepted_from: AcceptedFrom::PodAndAccount,
        help: "The role: acs:ram::<account id>:role/<name>, or its name if --oidc-provider-arn or --account-id gives the account" },
    FieldNames { field: Field::Identity, flag: Some("identity"), value: Some("TYPE"), annotation: Some("ram-sidecar/identity"), ack_annotation: None, accepted_from: AcceptedFrom::Pod,
        help: "How the sidecar authenticates: oidc, access_key, ecs_ram_role, credentials_uri or sandbox; by default the one whose flag is set" },
    FieldNames { field: Field::OidcProviderArn, flag: Some("oidc-provider-arn"), value: Some("ARN"), annotation: Some("ram-sidecar/oidc-provider-arn"), ack_annotation: None, accepted_from: AcceptedFrom::Pod,
        help: "oidc: the cluster's OIDC provider (RRSA), acs:ram::<account id>:oidc-provider/<name>" },
    FieldNames { field: Field::AccountId, flag: Some("account-id"), value: Some("ID"), annotation: None, ack_annotation: None, accepted_from: AcceptedFrom::Neither,
        help: "The account of a role that is given by its name" },
    FieldNames { field: Field::Secret, flag: Some("secret"), value: Some("NAME"), annotation: Some("ram-sidecar/secret"), ack_annotation: None, accepted_from: AcceptedFrom::Pod,
        help: "access_key: the Secret that holds access-key-id and access-key-secret" },
    FieldNames { field: Field::CredentialsUri, flag: Some("credentials-uri"), value: Some("URI"), annotation: None, ack_annotation: None, accepted_from: AcceptedFrom::Neither,
        help: "credentials_uri: another credentials server, on the pod's loopback address or by https" },
    FieldNames { field: Field::Image, flag: Some("image"), value: Some("IMAGE"), annotation: Some("ram-sidecar/image"), ack_annotation: None, accepted_from: AcceptedFrom::Pod,
        help: "The image of the sidecar; by default ram-sidecar and this version" },
    FieldNames { field: Field::Classic, flag: Some("classic"), value: None, annotation: Some("ram-sidecar/classic"), ack_annotation: None, accepted_from: AcceptedFrom::Pod,
        help: "An ordinary container instead of a native sidecar, for Kubernetes before 1.29" },
    FieldNames { field: Field::Key, flag: Some("key"), value: Some("KEY"), annotation: Some("ram-sidecar/key"), ack_annotation: None, accepted_from: AcceptedFrom::Pod,
        help: "The last segment of ALIBABA_CLOUD_CREDENTIALS_URI: pod-uid, or a text, such as 0 for jobs with PAI's address; by default pod-uid, and 0 for MPI jobs, whose ranks get the URI of another pod" },
    FieldNames { field: Field::Port, flag: Some("port"), value: Some("PORT"), annotation: Some("ram-sidecar/port"), ack_annotation: None, accepted_from: AcceptedFrom::Pod,
        help: "The port of the credentials; the next two are those of the probes and of --metadata; by default 7002" },
    FieldNames { field: Field::Container, flag: Some("container"), value: None, annotation: Some("ram-sidecar/container"), ack_annotation: None, accepted_from: AcceptedFrom::Pod,
        help: "Serve AWS SDKs too, for the S3-compatible interface of OSS, and give them the file with a token that some require" },
    FieldNames { field: Field::Metadata, flag: Some("metadata"), value: None, annotation: Some("ram-sidecar/metadata"), ack_annotation: None, accepted_from: AcceptedFrom::Pod,
        help: "Serve the ECS metadata dialect on loopback too, for tools that know ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT, such as opendal" },
    FieldNames { field: Field::MetadataAddress, flag: Some("metadata-address"), value: None, annotation: Some("ram-sidecar/metadata-address"), ack_annotation: None, accepted_from: AcceptedFrom::Pod,
        help: "Serve it at 100.100.100.200, the ECS metadata service's address, for tools that know no other; the pod needs the privileged Pod Security level" },
    FieldNames { field: Field::Metrics, flag: Some("metrics"), value: None, annotation: Some("ram-sidecar/metrics"), ack_annotation: None, accepted_from: AcceptedFrom::Pod,
        help: "Let Prometheus scrape the sidecar: serve metrics and probes, and nothing else, on the pod's address too, at the port after --port" },
    FieldNames { field: Field::Readiness, flag: Some("readiness"), value: None, annotation: Some("ram-sidecar/readiness"), ack_annotation: None, accepted_from: AcceptedFrom::Pod,
        help: "Give the sidecar a readiness probe: while there are no valid credentials, the pod's events say why, and its Services leave it out" },
    FieldNames { field: Field::CaConfigMap, flag: Some("ca-config-map"), value: Some("NAME"), annotation: Some("ram-sidecar/ca-config-map"), ack_annotation: None, accepted_from: AcceptedFrom::Pod,
        help: "The ConfigMap whose ca.crt has the certificates to trust instead of the bundled roots; for a TLS-inspecting proxy" },
    FieldNames { field: Field::Region, flag: Some("region"), value: Some("REGION"), annotation: None, ack_annotation: None, accepted_from: AcceptedFrom::Neither,
        help: "The region whose STS endpoint to use, such as cn-hangzhou" },
    FieldNames { field: Field::Vpc, flag: Some("vpc"), value: None, annotation: None, ack_annotation: None, accepted_from: AcceptedFrom::Neither,
        help: "Use the endpoint inside the region's VPCs" },
    FieldNames { field: Field::Duration, flag: Some("duration"), value: Some("DURATION"), annotation: Some("ram-sidecar/duration"), ack_annotation: None, accepted_from: AcceptedFrom::PodAndAccount,
        help: "The lifetime of the credentials, 15m to 12h; by default 1h" },
    FieldNames { field: Field::TokenExpiration, flag: None, value: Some("SECONDS"), annotation: None, ack_annotation: Some("pod-identity.alibabacloud.com/service-account-token-expiration"), accepted_from: AcceptedFrom::PodAndAccount,
        help: "The lifetime of the service account's token" },
    FieldNames { field: Field::RequestCpu, flag: Some("request-cpu"), value: Some("QUANTITY"), annotation: Some("ram-sidecar/request-cpu"), ack_annotation: None, accepted_from: AcceptedFrom::Pod,
        help: "The CPU that the sidecar requests, or none; by default 5m" },
    FieldNames { field: Field::RequestMemory, flag: Some("request-memory"), value: Some("QUANTITY"), annotation: Some("ram-sidecar/request-memory"), ack_annotation: None, accepted_from: AcceptedFrom::Pod,
        help: "The memory that the sidecar requests, or none; by default 16Mi" },
    FieldNames { field: Field::LimitCpu, flag: Some("limit-cpu"), value: Some("QUANTITY"), annotation: Some("ram-sidecar/limit-cpu"), ack_annotation: None, accepted_from: AcceptedFrom::Pod,
        help: "The CPU limit of the sidecar, or none; by default 100m, or the request if that is more, where all containers of the pod have one, else none" },
    FieldNames { field: Field::LimitMemory, flag: Some("limit-memory"), value: Some("QUANTITY"), annotation: Some("ram-sidecar/limit-memory"), ack_annotation: None, accepted_from: AcceptedFrom::Pod,
        help: "The memory limit of the sidecar, or none; by default 64Mi, or the request if that is more" },
    FieldNames { field: Field::SkipContainers, flag: Some("skip-containers"), value: Some("NAME,…"), annotation: Some("ram-sidecar/skip-containers"), ack_annotation: Some("pod-identity.alibabacloud.com/skip-containers"), accepted_from: AcceptedFrom::PodAndAccount,
        help: "Containers that get no credentials" },
    FieldNames { field: Field::OnlyContainers, flag: Some("only-containers"), value: Some("NAME,…"), annotation: Some("ram-sidecar/only-containers"), ack_annotation: Some("pod-identity.alibabacloud.com/only-containers"), accepted_from: AcceptedFrom::PodAndAccount,
        help: "The only containers that get credentials" },
];
