#!/bin/sh
# host-init.sh NAME FOLDER TOOLS [SHARED...]: PID 1 of a host, already inside its own namespaces.
# It builds a root filesystem of its own in FOLDER/root (only /usr and the SHARED folders are this machine's, read-only
# and at the same place), moves into it, and becomes sshd, which also reaps orphans. Everything but /run and /tmp
# outlives a crash.
set -eu
name=$1 folder=$2 tools=$3
shift 3
exec </dev/null
hostname "$name"
mount --make-rprivate /
mount --bind "$folder/root" "$folder/root"
cd "$folder/root"

mkdir -p -m 755 usr etc dev proc sys run opt/keep srv home mnt media root var/lib/docker var/log var/cache
mkdir -p -m 1777 tmp var/tmp
for link in bin sbin lib lib64; do [ ! -L /$link ] || ln -sfn usr/$link $link; done
ln -sfn /run var/run

mount --rbind /usr usr
mount -o remount,bind,ro usr
mkdir -p "$folder/etc" "$folder/etc-work"
mount -t overlay -o "lowerdir=/etc,upperdir=$folder/etc,workdir=$folder/etc-work" overlay etc
mount -t proc proc proc
echo 1 >proc/sys/net/ipv4/ip_forward # of this namespace; docker warns without it
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 cgroup sys/fs/cgroup
for tree in cpu cpuacct cpuset memory devices freezer blkio pids; do
  mkdir "sys/fs/cgroup/$tree"
  mount -t cgroup -o "$tree" cgroup "sys/fs/cgroup/$tree"
done
mkdir sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd

mount --bind /dev dev
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mkdir -p run/sshd run/keep
mkdir -m 1777 run/lock
mount --bind "$folder/control" run/keep
mount --bind "$tools" opt/keep
for shared; do
  mkdir -p ".$shared"
  mount --bind "$shared" ".$shared"
  mount -o remount,bind,ro ".$shared"
done

echo "$name" >etc/hostname
printf '127.0.0.1 localhost\n::1 localhost\n127.0.1.1 %s\n' "$name" >etc/hosts
rm -rf etc/docker etc/resolv.conf
: >etc/resolv.conf

pivot_root . mnt
cd /
umount -l /mnt
exec env -i PATH=/usr/sbin:/usr/bin /usr/sbin/sshd -D -f /run/keep/sshd_config -E /run/keep/sshd.log
