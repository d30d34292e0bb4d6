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
