#!/usr/bin/env bash
# How a node of a Ray cluster is set up, in one place: ray_cluster.yaml, docs/Dockerfile (and with it docs/kuberay.yaml)
# and docs/cluster.md all call this script.
#
#   node.sh install <lock file>   makes the environment of the lock file, and nothing else, first on the PATH of shells
#   node.sh ray <arguments>       runs `ray` in that environment, with token authentication
#   node.sh mlflow <port> <database> <artifacts>
#                                 starts MLflow's server on this machine, if none runs, for jobs whose drivers run here
#
# GAIT_ENVIRONMENT is the folder of the environment, by default ~/gait.
set -euo pipefail
environment=${GAIT_ENVIRONMENT:-$HOME/gait}

case ${1:-} in
install)
    # Runs again at each `ray up`: nothing is done twice.
    test -x "$environment/bin/python" || python3 -m venv "$environment"
    "$environment/bin/python" -m pip install --disable-pip-version-check --quiet -r "$2"
    # For the shells of `ray exec` and `ray attach`.
    grep -qs RAY_AUTH_MODE ~/.bashrc || echo "export PATH=$environment/bin:\$PATH RAY_AUTH_MODE=token" >> ~/.bashrc
    ;;
ray)
    # What Ray starts inherits these: the python of jobs and workers is the first on the PATH.
    export PATH=$environment/bin:$PATH RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
    exec "$@"
    ;;
mlflow)
    # MLflow asks nobody for a password: only this machine reaches it, and others through SSH.
    (exec 3<> "/dev/tcp/127.0.0.1/$2") 2> /dev/null && exit 0
    export PATH=$environment/bin:$PATH DO_NOT_TRACK=1 MLFLOW_DISABLE_TELEMETRY=true
    [[ $3 != sqlite:////* ]] || mkdir -p "$(dirname "/${3#sqlite:////}")"
    setsid nohup mlflow server --host 127.0.0.1 --port "$2" --workers 2 \
        --backend-store-uri "$3" --artifacts-destination "$4" < /dev/null > ~/mlflow.log 2>&1 &
    ;;
*)
    echo "usage: node.sh install <lock file> | node.sh ray <arguments> | node.sh mlflow <port> <database> <artifacts>" >&2
    exit 2
    ;;
esac
