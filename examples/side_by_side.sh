# Read by other scripts: jobs side by side, each on one core. JOBS says how many, 2 by default.

side_by_side() { # FUNCTION, exported: it is called with the words of each line of the input
    OMP_NUM_THREADS=1 xargs -P "${JOBS:-2}" -L 1 bash -c "set -o pipefail; $1 \"\$@\"" "$1"
}
