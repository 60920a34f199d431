#!/bin/sh
# Installs what real hosts, other proxies and the benchmarks need, where this is root on Debian; elsewhere the tests that
# need them skip.
[ "$(id -u)" = 0 ] && [ -f /etc/debian_version ] || exit 0
missing=
for package in openssh-server openssh-client iproute2 nftables iptables docker.io runc docker-registry \
    busybox-static gcc libc6-dev fish csh curl ca-certificates python3 chromium haproxy nginx-light wrk; do
    dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
echo "installing for the tests on real hosts:$missing"
apt-get update -qq
# policy-rc.d keeps Debian from starting an sshd or a dockerd of its own.
made=
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    made=1
fi
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
status=$?
[ -n "$made" ] && rm -f /usr/sbin/policy-rc.d
exit $status
