#!/bin/sh
# Make a virtual environment: venv.sh PYTHON FOLDER REQUIREMENTS [REQUIREMENTS-WITHOUT-DEPENDENCIES]
# Every failure ends in one line that says what to do.
set -eu
python=$1 folder=$2 requirements=$3 nodeps=${4:-}

fail() {
    echo "$1" >&2
    exit 1
}

# Without a wish of the user's, any Python that is new enough will do.
[ "$python" != python3.11 ] || command -v "$python" >/dev/null 2>&1 || python=python3
command -v "$python" >/dev/null 2>&1 ||
    fail "$python is missing. Install it (apt-get install python3.11 python3.11-venv), or name it: make PYTHON=/path/to/python."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old; Python 3.11 is wanted. Name it: make PYTHON=python3.11."
"$python" -c 'import ensurepip' 2>/dev/null ||
    fail "Python's venv module is missing. Install it: apt-get install python3-venv."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
began=$(date +%s)
printf '  installing %s …' "$requirements" >&2
[ -x "$folder/bin/python" ] || "$python" -m venv "$folder" >"$log" 2>&1 || {
    echo >&2
    fail "The virtual environment $folder cannot be made: $(tail -n 1 "$log")"
}
install() {
    "$folder/bin/python" -m pip --disable-pip-version-check install --quiet "$@" >"$log" 2>&1 || {
        echo >&2
        if grep -qE 'NewConnectionError|Temporary failure|Could not find a version|ConnectTimeout' "$log"; then
            fail "The package registry cannot be reached. Check the network and try again."
        fi
        fail "Installing failed: $(grep -i error "$log" | tail -n 1)"
    }
}
install -r "$requirements"
[ -z "$nodeps" ] || install --no-deps -r "$nodeps"
echo " $(($(date +%s) - began)) s" >&2
