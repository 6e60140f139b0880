#!/bin/sh
# A Slurm of one node on this host, for as long as a command runs: controller, node and authentication are started by
# hand, listen on 127.0.0.1, keep all of their files in one folder, and are ended by their process ids afterwards.
# For trying things out, not for work. Needs Debian's slurm-wlm and munge; the service files are not used.
#
# usage: deploy/try_slurm.sh COMMAND...      for example: deploy/try_slurm.sh sinfo
#
# settings: TRY_SLURM_CPUS (else the host's), TRY_SLURM_GPUS (pretended ones, else 0), TRY_SLURM_PORT (and the next
# one, else 16817), TRY_SLURM_REQUEUE_S (how long a requeued job waits, else Slurm's 120), TRY_SLURM_DIR (kept
# afterwards; else a folder that is removed)
set -eu

[ $# -gt 0 ] || { echo "usage: $0 COMMAND..." >&2; exit 2; }
PATH=$PATH:/usr/sbin
for program in munged slurmctld slurmd sbatch; do
    command -v "$program" >/dev/null || {
        echo "error: there is no $program on this host" >&2
        echo "hint: apt-get install slurm-wlm munge" >&2
        exit 3
    }
done

folder=${TRY_SLURM_DIR:-$(mktemp -d)}
mkdir -p "$folder/state" "$folder/spool"
user=$(id -un) name=$(hostname -s) port=${TRY_SLURM_PORT:-16817} gpus=${TRY_SLURM_GPUS:-0}
memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)

(umask 077 && dd if=/dev/urandom of="$folder/munge.key" bs=128 count=1 2>/dev/null)
cat >"$folder/slurm.conf" <<CONF
ClusterName=try
SlurmctldHost=$name(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=$user
SlurmdUser=$user
SlurmdParameters=config_overrides
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=${TRY_SLURM_REQUEUE_S:-120}
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
GresTypes=gpu
NodeName=$name NodeAddr=127.0.0.1 CPUs=${TRY_SLURM_CPUS:-$(nproc --all)} RealMemory=$memory Gres=gpu:$gpus State=UNKNOWN
PartitionName=try Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
if [ "$gpus" -gt 0 ]; then # what asks for a GPU gets the number of its device in CUDA_VISIBLE_DEVICES
    for number in $(seq 0 $((gpus - 1))); do ln -sf /dev/null "$folder/gpu$number"; done
    echo "Name=gpu File=$folder/gpu[0-$((gpus - 1))]" >"$folder/gres.conf"
else
    sed -i '/^GresTypes/d; s/ Gres=gpu:0//' "$folder/slurm.conf"
fi

started=""
finish() {
    trap - EXIT INT TERM
    scancel --user="$user" 2>/dev/null || true
    for _ in $(seq 45); do # jobs outlive the node's daemon: until they have ended, or were killed (KillWait)
        [ -n "$(squeue --noheader 2>/dev/null)" ] || break
        sleep 1
    done
    for pid in $started; do # the node first
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    [ -n "${TRY_SLURM_DIR:-}" ] || rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

munged --foreground --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
    --pid-file="$folder/munge.pid" --seed-file="$folder/munge.seed" >"$folder/munge.log" 2>&1 &
started=$!
export SLURM_CONF="$folder/slurm.conf"
for _ in $(seq 50); do [ -S "$folder/munge.socket" ] && break; sleep 0.1; done
slurmctld -D >"$folder/slurmctld.out" 2>&1 &
started="$! $started"
slurmd -D -N "$name" >"$folder/slurmd.out" 2>&1 &
started="$! $started"
for second in $(seq 30); do
    sinfo --noheader --format=%T 2>/dev/null | grep -q idle && break
    [ "$second" -lt 30 ] || { cat "$folder"/*.out "$folder"/*.log >&2; exit 3; }
    sleep 1
done
for pid in $started; do # another Slurm on these ports would have answered as well
    kill -0 "$pid" || { cat "$folder"/*.out >&2; exit 3; }
done
code=0
"$@" || code=$?
exit "$code"
