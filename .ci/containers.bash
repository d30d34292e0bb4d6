# Gives buildah and podman a directory of their own for images, containers and settings, which is removed at the end, so that
# nothing else on the machine changes. Scripts that run as root source it after lib.bash, whose functions it uses.

scratch=$(mktemp -d)

clean_up() {
  podman pod rm --all --force --time 0 >/dev/null 2>&1 || true
  podman rm --all --force --time 0 >/dev/null 2>&1 || true
  podman image unmount --all >/dev/null 2>&1 || true
  # Only empty ones can be removed.
  find /sys/fs/cgroup -depth -type d -path '*/libpod_parent*' -exec rmdir {} + 2>/dev/null || true
  rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Plain copies instead of an overlay, which not every file system of a build machine supports. There is no systemd for control
# groups and the journal, and the limits of processes are lower than those that podman would set.
export CONTAINERS_CONF=$scratch/containers.conf
cat >"$CONTAINERS_CONF" <<EOF
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
runtime = "runc"
tmp_dir = "$scratch/tmp"
[network]
network_config_dir = "$scratch/networks"
EOF
export CONTAINERS_STORAGE_CONF=$scratch/storage.conf
cat >"$CONTAINERS_STORAGE_CONF" <<EOF
[storage]
driver = "vfs"
graphroot = "$scratch/storage"
runroot = "$scratch/run"
EOF
# No systemd timer runs health checks.
export DISABLE_HC_SYSTEMD=true

# Builds the image localhost/debian: directories and links, into which the /usr of this machine is mounted.
stand_in() {
  mkdir -p "$scratch"/debian/{dev,etc,proc,run,sys,usr,var}
  mkdir -m 1777 "$scratch/debian/tmp"
  local name
  for name in bin lib lib64 sbin; do
    ln -s "usr/$name" "$scratch/debian/$name"
  done
  run buildah build --quiet --isolation chroot --tag localhost/debian --file - "$scratch/debian" <<'EOF'
FROM scratch
COPY . /
EOF
}

archive=$target_directory/image.tar
