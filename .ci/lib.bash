# What the scripts beside it have in common. They source it, and run at the root of the repository.

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

# passed SENTENCE: says that what it claims was seen.
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
