#!/bin/sh
# nvidia-smi of a DGX Spark, as far as a fleet tool asks: one GB10, whose memory is the machine's,
# so every question about memory is answered [N/A].
query= header=yes units=yes list=
for argument in "$@"; do
  case $argument in
    --query-gpu=*) query=${argument#*=} ;;
    --query-compute-apps=*) list=none ;;
    --format=*)
      case $argument in *noheader*) header= ;; esac
      case $argument in *nounits*) units= ;; esac ;;
    -L | --list-gpus) list=gpus ;;
  esac
done

# Sets $v: a program that forks for each field would cost a scan more than it stands for.
value() {
  case $1 in
    name | gpu_name) v='NVIDIA GB10' ;;
    index) v=0 ;;
    count) v=1 ;;
    uuid | gpu_uuid) v=GPU-6b656570-0000-0000-0000-000000000001 ;;
    driver_version) v=580.95.05 ;;
    compute_cap) v=12.1 ;;
    utilization.gpu) v="3${units:+ %}" ;;
    temperature.gpu) v=41 ;;
    power.draw*) v="12.34${units:+ W}" ;;
    *) v='[N/A]' ;;
  esac
}

if [ "$list" = gpus ]; then
  value uuid
  echo "GPU 0: NVIDIA GB10 (UUID: $v)"
elif [ -n "$query" ]; then
  line=
  IFS=', '
  for field in $query; do value "$field"; line="$line, $v"; done
  [ -z "$header" ] || echo "$query" | sed 's/,/, /g'
  echo "${line#, }"
elif [ -z "$list" ]; then
  echo "| NVIDIA-SMI 580.95.05    Driver Version: 580.95.05    CUDA Version: 13.0 |"
  echo "|   0  NVIDIA GB10     On | 0000000F:01:00.0 Off |                  N/A |"
fi
