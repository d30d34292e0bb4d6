# The image contains only the static binary. The root certificates are part of the binary.
#
#     docker build -t ram-sidecar:0.1.0 .
#     docker run --rm --network host ram-sidecar:0.1.0 serve --sandbox
#
# Credentials are served on the loopback address, so the container shares the network namespace of the job: the same pod,
# `--network container:<job>`, or `--network host`. No port is exposed, because a published port does not reach loopback.
#
# It needs no capability, and writes only to configured paths: `--read-only --cap-drop all --security-opt no-new-privileges`
# work. A file with the credentials (RAM_SIDECAR_FILE) needs a volume that user 65532 can write to.
#
# In Kubernetes, probes run `/ram-sidecar health live`, `ready` or `startup`. For `httpGet` probes the kubelet calls the
# address of the pod, so set RAM_SIDECAR_ADMIN_LISTEN=0.0.0.0:7003 (admin.listen); that listener has no access to the
# credentials. config/kubernetes has manifests.
#
# For 64-bit Arm, build on such a machine, or with `docker buildx build --platform linux/arm64`, which emulates one where
# QEMU is registered with the kernel (binfmt_misc). Nothing else differs: the base image must have that platform. A base image
# with a cross compiler names the target in CARGO_BUILD_TARGET.

# Any image with this Rust, a C compiler, binutils and a glibc that includes its static archive. A tag can be moved:
# `--build-arg RUST_IMAGE=docker.io/library/rust@sha256:…` is always the same compiler.
ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm

FROM ${RUST_IMAGE} AS build
# The version of cargo-auditable that adds the list of the crates to the binary, for `cargo audit bin` and for scanners of images. An
# empty value adds none.
ARG CARGO_AUDITABLE=
RUN [ -z "$CARGO_AUDITABLE" ] || env --unset=CARGO_BUILD_TARGET cargo install --quiet --locked --root /mnt "cargo-auditable@$CARGO_AUDITABLE"
# The features of the crate, separated by commas: `default` are those that Cargo.toml names, an empty value is none.
ARG FEATURES=default
# The commit of the sources, which `--version` prints.
ARG REVISION=
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY config/order.ld config/
# With an explicit --target the flags apply only to the binary; without it they would apply to procedural macros too, and a
# static one cannot be loaded. The target is the builder's own unless the base image names another one, so that the same file
# serves x86-64 and 64-bit Arm. Packed relocations make the binary and the memory of the process smaller, and the order of its
# functions makes fewer pages of it resident. Without the remapping, messages of a panic name the directory of the dependencies,
# and the same sources make another binary elsewhere.
RUN target="${CARGO_BUILD_TARGET:-$(rustc -vV | sed -n 's/^host: //p')}" \
 && export RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs,-T,config/order.ld --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" \
 && export PATH="/mnt/bin:$PATH" \
 && RAM_SIDECAR_REVISION="$REVISION" cargo ${CARGO_AUDITABLE:+auditable} build --release --locked --bin ram-sidecar --target "$target" \
      --no-default-features --features "$FEATURES" \
 && install -D -m 0755 "target/$target/release/ram-sidecar" /out/ram-sidecar
# A binary that needs a loader does not start in an empty image.
RUN readelf --program-headers --wide /out/ram-sidecar >/tmp/headers && ! grep -w INTERP /tmp/headers

FROM scratch
# Where the sources are, which commit of them it is, and the time of that commit.
ARG SOURCE=
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.title="ram-sidecar" \
      org.opencontainers.image.description="Serves temporary Alibaba Cloud RAM role credentials to the job beside it, where its tools already look." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
COPY --from=build /out/ram-sidecar /ram-sidecar
# A number, because there is no /etc/passwd; Kubernetes checks runAsNonRoot against it.
USER 65532:65532
# Docker uses it, Kubernetes does not. It asks the daemon, or the STS of `sandbox`; other commands end soon or have no such probe:
# `--no-healthcheck`.
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["/ram-sidecar", "health", "live"]
ENTRYPOINT ["/ram-sidecar"]
CMD ["serve"]
