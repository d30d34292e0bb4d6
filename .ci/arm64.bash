# Makes a root of Debian 12 with a compiler for 64-bit Arm and an emulator of it, below the target directory, so that nothing
# else on the machine changes. Scripts that run as root source it after lib.bash.

arm64_target=aarch64-unknown-linux-gnu
arm64_root=$(realpath --canonicalize-missing "$target_directory/arm64")
# With these, cargo compiles for it where /usr is that of the root. The standard library of a target must be of the same compiler.
arm64_variables=(
  "CARGO_BUILD_TARGET=$arm64_target" RUSTC=/usr/bin/rustc CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
)

make_arm64_root() {
  [[ ! -d $arm64_root ]] || return 0
  have mmdebstrap || fail "mmdebstrap is missing"
  local mirror security keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  local packages=coreutils,dash,grep,sed,gcc-aarch64-linux-gnu,libc6-dev-arm64-cross,qemu-user-static
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'ORIGIN: Debian' 'LABEL: Debian' | head -n 1)
  security=$(apt-get indextargets --format '$(REPO_URI)' 'ORIGIN: Debian' 'LABEL: Debian-Security' | head -n 1)
  rm -rf "$arm64_root.new"
  # Packages are unpacked and not configured: nothing of them is started.
  run mmdebstrap --quiet --variant=extract --architectures=amd64,arm64 --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --include="$packages,rustc-web,libstd-rust-web-dev:arm64" bookworm "$arm64_root.new" \
    "deb [signed-by=$keyring] ${mirror:-http://deb.debian.org/debian} bookworm main" \
    "deb [signed-by=$keyring] ${security:-http://deb.debian.org/debian-security} bookworm-security main"
  ln -s gcc "$arm64_root.new/usr/bin/cc"
  mv "$arm64_root.new" "$arm64_root"
}

# Before a command, runs it where /usr is that of the root.
with_arm64_root=(
  unshare --mount sh -euc 'mount --bind "$1" /usr; shift; exec env "$@"' sh "$arm64_root/usr" "${arm64_variables[@]}"
)
