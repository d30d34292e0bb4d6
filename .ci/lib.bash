# Functions that the scripts beside it share. They source it, and run at the root of the repository.

target_directory=${CARGO_TARGET_DIR:-target}

heading() {
  printf '\n=== %s\n' "$*"
}

run() {
  printf '+ %s\n' "$*"
  "$@"
}

have() {
  command -v "$1" >/dev/null 2>&1
}

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

# skip WHAT: reports that something is not checked, which is a failure where CI=true.
skip() {
  [[ ${CI-} != true ]] || fail "CI=true, and this cannot be checked: $*"
  printf '\n*** SKIPPED: %s ***\n' "$*" >&2
}

# passed CLAIM: reports that the claim was verified.
passed() {
  printf 'ok: %s\n' "$*"
}

# until_true SECONDS WHAT COMMAND...: waits until the command succeeds.
until_true() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    ((SECONDS < deadline)) || fail "$what: not in time"
    sleep 0.1
  done
}

# The commit of the sources, with -dirty if they differ from it; nothing where there is no repository.
revision() {
  local commit
  commit=$(git rev-parse --verify --quiet HEAD 2>/dev/null) || return 0
  [[ -z $(git status --porcelain) ]] || commit+=-dirty
  printf '%s\n' "$commit"
}

# The time of that commit, as RFC 3339 writes it.
commit_time() {
  TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null || true
}

# Where the sources are, which only a hosted workflow knows.
source_address() {
  printf '%s/%s\n' "${GITHUB_SERVER_URL-https://example.com}" "${GITHUB_REPOSITORY-ram-sidecar}"
}

# package KEY: the value of a key of the first table of Cargo.toml.
package() {
  sed -n "/^\[package\]/,/^\[features\]/s/^$1 = \"\(.*\)\"$/\1/p" Cargo.toml
}
