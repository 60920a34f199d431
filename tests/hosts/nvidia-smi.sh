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

value() {
  case $1 in
    name | gpu_name) echo 'NVIDIA GB10' ;;
    index) echo 0 ;;
    count) echo 1 ;;
    uuid | gpu_uuid) echo GPU-6b656570-0000-0000-0000-000000000001 ;;
    driver_version) echo 580.95.05 ;;
    compute_cap) echo 12.1 ;;
    utilization.gpu) echo "3${units:+ %}" ;;
    temperature.gpu) echo 41 ;;
    power.draw*) echo "12.34${units:+ W}" ;;
    *) echo '[N/A]' ;;
  esac
}

if [ "$list" = gpus ]; then
  echo "GPU 0: NVIDIA GB10 (UUID: $(value uuid))"
elif [ -n "$query" ]; then
  line=
  IFS=', '
  for field in $query; do line="$line, $(value "$field")"; done
  [ -z "$header" ] || echo "$query" | sed 's/,/, /g'
  echo "${line#, }"
elif [ -z "$list" ]; then
  echo "| NVIDIA-SMI 580.95.05    Driver Version: 580.95.05    CUDA Version: 13.0 |"
  echo "|   0  NVIDIA GB10     On | 0000000F:01:00.0 Off |                  N/A |"
fi
