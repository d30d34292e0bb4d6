# The image holds the static binary and nothing else. The certificate authorities are part of the binary.
#
#     docker build -t ram-sidecar .
#     docker run --rm --network host ram-sidecar serve --sandbox
#
# Credentials are served on the loopback address, so the container shares the network namespace of the job: the same pod,
# `--network container:<job>`, or `--network host`. That is why no port is exposed: a published port reaches nothing.
#
# In Kubernetes, probes run `/ram-sidecar health live`, `ready` or `startup`. For `httpGet` probes the kubelet comes to the
# address of the pod, so set RAM_SIDECAR_ADMIN_LISTEN=0.0.0.0:7003 (admin.listen); that listener has no access to the
# credentials.
#
# A file to keep the credentials in (RAM_SIDECAR_FILE) needs a volume that user 65532 can write to.

ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
# With an explicit --target the flags are for the binary alone; without it procedural macros would get them too, and a
# static compiler plug-in cannot be loaded. The target is the builder's own, so that the same file serves x86-64 and
# 64-bit Arm.
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
 && RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --bin ram-sidecar --target "$target" \
 && install -D -m 0755 "target/$target/release/ram-sidecar" /out/ram-sidecar
# A binary that asks for a loader does not start in an empty image.
RUN readelf --program-headers --wide /out/ram-sidecar >/tmp/headers && ! grep -w INTERP /tmp/headers

FROM scratch
COPY --from=build /out/ram-sidecar /ram-sidecar
# A number, because there is no /etc/passwd; Kubernetes checks runAsNonRoot against it.
USER 65532:65532
HEALTHCHECK CMD ["/ram-sidecar", "health", "live"]
ENTRYPOINT ["/ram-sidecar"]
CMD ["serve"]
